"""Waiting for the DMA without burning the processor: interrupts where there are any, else a clock that sleeps.

pynq hands interrupts to the asyncio loop of the thread that made its drivers, so all of this belongs to one thread, the
engine's; only `poke` is for others.
"""

import asyncio
from collections.abc import Sequence

from fpga_facedet.engines.hardware import Channel

SAFETY_SECONDS = 0.05
"""With interrupts, how long the engine trusts that none got lost before it looks by itself."""
MISSES = 3
"""Transfers in a row that ended without their interrupt, after which interrupts are given up."""
SHORTEST, LONGEST = 0.00025, 0.005
"""Seconds between two looks without interrupts: a fortieth of a frame's time at 100 frames a second, and at most."""


class Waiter:
    """Lets the engine's thread sleep until something may have happened."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._awake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._by_clock = False
        self._missed = 0
        self.why_polling = ""

    @property
    def interrupts(self) -> bool:
        """Whether interrupts are used; where not, `why_polling` says why."""
        return not self.why_polling

    def listen(self, channels: Sequence[Channel]) -> None:
        """Be woken by the interrupts of all `channels`; without one of them, poll."""
        silent = [channel.title for channel in channels if channel.interrupt is None]
        if silent:
            self.why_polling = f"no interrupt for {' and '.join(silent)}"
            return
        self._tasks = [self._loop.create_task(self._listen(channel)) for channel in channels]

    def poll(self, why: str) -> None:
        """Use no interrupts from now on."""
        self.why_polling = why
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    def poke(self) -> None:
        """Wake the engine's thread; any thread may call it, also after the loop has ended."""
        try:
            self._loop.call_soon_threadsafe(self._awake.set)
        except RuntimeError:
            # The loop is closed: nobody sleeps in it any more.
            return

    async def sleep(self, remaining: float | None, deadline: float | None) -> None:
        """Sleep until an interrupt, a poke, or the time to look by oneself.

        `remaining` is in how many seconds the next transfer should end, by experience; None where nothing runs, and
        then only a poke counts. `deadline` (seconds from now) is not slept past.
        """
        seconds = None
        if remaining is not None:
            seconds = SAFETY_SECONDS if self.interrupts else _pause(remaining)
        if deadline is not None:
            seconds = max(0.0, deadline if seconds is None else min(seconds, deadline))
        timer = None if seconds is None else self._loop.call_later(seconds, self._tick)
        self._by_clock = False
        await self._awake.wait()
        self._awake.clear()
        if timer is not None:
            timer.cancel()

    def found(self) -> None:
        """Take note that something was to do after `sleep`: was the engine told, or did it find out by the clock?"""
        self._missed = self._missed + 1 if self._by_clock else 0
        self._by_clock = False
        if self.interrupts and self._missed >= MISSES:
            self.poll(f"{MISSES} transfers in a row ended without their interrupt")

    async def close(self) -> None:
        """End the listeners."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tick(self) -> None:
        self._by_clock = True
        self._awake.set()

    async def _listen(self, channel: Channel) -> None:
        try:
            while True:
                # The line stays up until it is cleared here, so one that rises meanwhile is seen by the next wait.
                await channel.interrupt.wait()
                channel.clear_interrupt()
                self._by_clock = False
                self._awake.set()
        except (RuntimeError, OSError) as error:
            self.why_polling = f"pynq's interrupt of {channel.title} failed ({error})"
            self._awake.set()


def _pause(remaining: float) -> float:
    """Return how long to sleep before the next look: half of what remains, or an eighth of what it is overdue."""
    return min(LONGEST, max(SHORTEST, remaining / 2 if remaining > 0 else -remaining / 8))


def forget_interrupt_files() -> None:
    """Drop pynq's open interrupt files, so that the next driver opens them anew, in this thread's event loop.

    pynq keeps them for ever and bound to the loop that ran when they were first opened, which is dead once that
    engine is closed. Linux counts interrupts for each open file, so another loop's file takes nothing from ours.
    Called in the engine's thread, in its loop.
    """
    from pynq.interrupt import _InterruptController
    from pynq.uio import UioController

    _InterruptController._controllers.clear()
    files = _InterruptController._uio_devices
    for line in [line for line, file in files.items() if isinstance(file, UioController)]:
        file = files.pop(line)
        # What still refers to it; without that it goes now, in the loop that its destructor asks for.
        asyncio.get_running_loop().remove_reader(file.uio)
        file.wait_events = []
        del file
