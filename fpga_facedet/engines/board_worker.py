"""The board engine's thread: all that touches the hardware happens here.

It sends the next frame as soon as the DMA can take it, arms the next output buffer before it reads the last, sleeps
between, and resets DMA and shell where a frame gets stuck.
"""

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpga_facedet import shell
from fpga_facedet.engines.dma_wait import Waiter, forget_interrupt_files
from fpga_facedet.engines.hardware import (
    Hardware,
    HardwareFaultError,
    HardwareGoneError,
    explained,
    result_of,
    within,
)
from fpga_facedet.engines.protocol import LostFrameError, Slot
from fpga_facedet.engines.slots import Job, SlotRing
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import Manifest

RECOVERIES = 3
"""Resets in a row without a good result between them, after which the engine gives up."""
_OUTPUTS = 2
"""Output buffers: one that the DMA fills while the other is read."""
_FOLLOW = 0.2
"""How fast the expected time of a transfer follows the measured ones (0..1)."""
_KEPT: list[Any] = []
"""Buffers that a DMA which could not be stopped may still write: pynq would free one with the last reference to it."""


class BoardGoneError(InternalError):
    """The board gave no result in spite of resets, or vanished: the engine has ended."""


@dataclass(frozen=True)
class BoardOptions:
    """How the board engine works; see BoardEngine."""

    depth: int = 3
    timeout: float = 2.0
    attempts: int = 2
    interrupts: bool = True

    def __post_init__(self) -> None:
        if self.depth < 2 or self.attempts < 1 or self.timeout <= 0:
            raise UserError(
                f"The board engine cannot work with depth {self.depth}, {self.attempts} attempts and a timeout of "
                f"{self.timeout} s; give a depth of 2 or more, 1 attempt or more, and a timeout above 0."
            )


@dataclass(frozen=True, eq=False)
class _BoardSlot(Slot):
    """A slot in the DMA's memory; numpy's view alone would not always keep pynq's buffer alive."""

    buffer: Any


class BoardWorker:
    """Runs the frames of `ring` on the accelerator of a loaded overlay, from `start` to `stop`."""

    def __init__(self, overlay: Any, manifest: Manifest, options: BoardOptions) -> None:
        self._overlay, self._manifest, self._options = overlay, manifest, options
        self.ring = SlotRing(self._poke)
        self.hardware: Hardware
        self.results = self.lost = self.recoveries = 0
        self.last_fault = ""
        self._ended = False
        self._waiter: Waiter | None = None
        self._buffers: list[Any] = []
        self._outputs: list[Any] = []
        self._on_board: deque[Job] = deque()
        self._sending: Job | None = None
        self._ready: Job | None = None
        self._sent_at = self._progress_at = 0.0
        self._usual: float | None = None
        self._faults_in_row = 0

    def start(self) -> None:
        """Start the thread and return once the hardware is open; raises what that raised."""
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(opened)), name="facedet-board", daemon=True
        )
        self._thread.start()
        try:
            opened.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the thread: the DMA is stopped and its buffers are given back."""
        self.ring.abort()
        self._poke()
        self._thread.join()

    @property
    def waiting(self) -> str:
        """How the thread waits, in words."""
        why = self._waiter.why_polling if self._waiter is not None else ""
        return f"polling ({why})" if why else "interrupts"

    def _poke(self) -> None:
        if self._waiter is not None:
            self._waiter.poke()

    # From here on: the thread itself.

    async def _serve(self, opened: "Future[None]") -> None:
        """Be the thread."""
        try:
            waiter = self._connect()
        except BaseException as error:
            self._give_back_buffers()
            forget_interrupt_files()
            opened.set_exception(error)
            return
        opened.set_result(None)
        try:
            while not self.ring.stopped and not self._ended:
                if not self._step(waiter):
                    await waiter.sleep(self._remaining(), self._until_deadline())
        except BaseException as error:  # our own mistake: nobody may wait for ever because of it
            self._give_up(f"The board engine failed ({type(error).__name__}: {error}); please report it.")
        finally:
            await waiter.close()
            if self._at_rest():
                self._give_back_buffers()
            else:
                _KEPT.extend([*self._buffers, *self._outputs])
            forget_interrupt_files()

    def _at_rest(self) -> bool:
        """Stop the hardware; return whether its DMA surely writes no more. Where not, `last_fault` says so."""
        why = "it does not end its reset"
        try:
            if self.hardware.stop():
                return True
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        self.last_fault = f"The board's DMA could not be stopped ({why}), so its buffers stay allocated"
        return False

    def _connect(self) -> Waiter:
        """Open the hardware in this thread, whose event loop pynq's interrupts are bound to."""
        with explained():
            forget_interrupt_files()
            waiter = self._waiter = Waiter()
            self.hardware = hardware = Hardware(self._overlay, self._manifest)
            size = self._manifest.input
            for number in range(self._options.depth):
                buffer = hardware.allocate((size.height, size.width, shell.PIXEL_BYTES))
                self._buffers.append(buffer)
                self.ring.add(_BoardSlot(number, np.asarray(buffer), buffer))
            for _ in range(_OUTPUTS):
                self._outputs.append(hardware.allocate((shell.result_bytes(self._manifest),)))
            if self._options.interrupts:
                waiter.listen((hardware.send, hardware.receive))
            else:
                waiter.poll("asked for")
            self._arm()
        return waiter

    def _step(self, waiter: Waiter) -> bool:
        """Do what can be done now; return whether anything was."""
        # Before the looks: a pause after them may be when the result came.
        left = self._until_deadline()
        try:
            # Sending first: while the DMA has nothing to send, the accelerator idles.
            sent = self._sent()
            started = self._start_next()
            received = self._receive()
            if sent or received:
                waiter.found()
            if not (self._prepare_next() or started or sent or received):
                self._check_deadline(left)
                return False
        except HardwareFaultError as fault:
            self._recover(fault)
        return True

    def _receive(self) -> bool:
        """Take a result that has arrived, the next output buffer armed before it is read."""
        channel = self.hardware.receive
        if not self._on_board or not channel.finished():
            return False
        came, wanted = channel.moved(), shell.result_bytes(self._manifest)
        if came != wanted:
            raise HardwareFaultError(
                f"The board's DMA channel {channel.title} was done after {came:,} of the result's {wanted:,} bytes: "
                f"{self.hardware.describe()}",
                channel,
            )
        full = self._outputs[0]
        self._outputs.reverse()
        self._arm()
        errors = self.hardware.take_errors()
        if errors:
            raise HardwareFaultError(f"The overlay's shell reports {errors}")
        self._freshen(full)
        job = self._on_board.popleft()
        self._progress_at = time.monotonic()
        self._faults_in_row = 0
        self.results += 1
        self.ring.finish(job, result_of(full, self._manifest))
        return True

    def _sent(self) -> bool:
        """Take note that the frame on its way in has gone in."""
        if self._sending is None or not self.hardware.send.finished():
            return False
        self._sending = None
        seconds = time.monotonic() - self._sent_at
        # What a frame took lately is how long until the next look is worth it.
        self._usual = seconds if self._usual is None else self._usual + _FOLLOW * (seconds - self._usual)
        return True

    def _prepare_next(self) -> bool:
        """Flush the next frame from the cache, while the one before it is still going in."""
        self._ready = self._ready or self.ring.next()
        if self._ready is None or self._ready.flushed:
            return False
        self._flush(self._buffers[self._ready.slot.number])
        self._ready.flushed = True
        return True

    def _start_next(self) -> bool:
        """Start the next frame where the DMA is free."""
        if self._sending is not None:
            return False
        self._prepare_next()
        if self._ready is None:
            return False
        job, self._ready = self._ready, None
        self._sent_at = time.monotonic()
        if not self._on_board:
            self._progress_at = self._sent_at
        self._on_board.append(job)
        self._sending = job
        self.hardware.send.start(self._buffers[job.slot.number])
        return True

    def _flush(self, buffer: Any) -> None:
        """Write what the cache holds of a frame to memory, where the DMA reads it."""
        buffer.flush()

    def _arm(self) -> None:
        """Let the DMA put the next result into the first output buffer."""
        self.hardware.receive.start(self._outputs[0])

    def _freshen(self, buffer: Any) -> None:
        """Drop what the cache holds of a buffer that the DMA has written; only pynq's spinning `wait` would."""
        buffer.invalidate()

    def _busy(self) -> bool:
        # A result may be there a moment before the DMA says that its frame has gone in.
        return bool(self._on_board) or self._sending is not None

    def _remaining(self) -> float | None:
        """Return in how many seconds something should be done; None where nothing is on the board."""
        return (self._usual or 0.0) - (time.monotonic() - self._sent_at) if self._busy() else None

    def _until_deadline(self) -> float | None:
        """Return in how many seconds the frames on the board count as stuck; None without any."""
        return self._progress_at + self._options.timeout - time.monotonic() if self._busy() else None

    def _check_deadline(self, left: float | None) -> None:
        """Raise HardwareFaultError that names the stuck channel where no time is left; None is no deadline."""
        if left is None or left > 0:
            return
        oldest = self._on_board[0] if self._on_board else self._sending
        going_in = self._sending is oldest and not self.hardware.sending_result()
        stuck = self.hardware.send if going_in else self.hardware.receive
        raise HardwareFaultError(
            f"The board's DMA channel {stuck.title} was stuck for {self._options.timeout:g} s: "
            f"{self.hardware.describe()}",
            stuck,
        )

    def _recover(self, fault: HardwareFaultError) -> None:
        """Reset DMA and shell and send the frames on the board again, but for one that has failed too often."""
        blamed = self._to_blame(fault)
        while True:
            self.recoveries += 1
            self.last_fault = str(fault)
            self._faults_in_row += 1
            if self._faults_in_row > RECOVERIES:
                self._give_up(
                    f"{RECOVERIES} resets in a row did not help against this: {within(fault)}; load the overlay again."
                )
                return
            try:
                self.hardware.reset()
                self._arm()
            except HardwareGoneError as error:
                self._give_up(str(error))
                return
            except HardwareFaultError as error:
                fault = error
            else:
                self._send_again(blamed, fault)
                return

    def _to_blame(self, fault: HardwareFaultError) -> Job | None:
        """Return the frame that a fault is counted against: the one going in, or the one whose result is next."""
        if fault.channel is self.hardware.send and self._sending in self._on_board:
            return self._sending
        return self._on_board[0] if self._on_board else None

    def _send_again(self, blamed: Job | None, fault: HardwareFaultError) -> None:
        """Queue the frames that were on the board again; the one to blame at most so many times."""
        if blamed is not None:
            blamed.failures += 1
            if blamed.failures >= self._options.attempts:
                self._on_board.remove(blamed)
                self.lost += 1
                self.ring.finish(
                    blamed,
                    LostFrameError(f"Frame {blamed.number} was lost on the board: {within(fault)}; send it again."),
                )
        self._put_back()

    def _put_back(self) -> None:
        """Queue all frames without a result again, in their order."""
        waiting = [] if self._ready is None else [self._ready]
        self.ring.put_back([*self._on_board, *waiting])
        self._on_board.clear()
        self._sending = self._ready = None

    def _give_up(self, why: str) -> None:
        """End the engine: every frame without a result fails, and so does what comes after."""
        self._put_back()
        self._ended = True
        self.lost += self.ring.end(lambda: BoardGoneError(why))

    def _give_back_buffers(self) -> None:
        """Free the buffers, but for those that somebody still fills in: they go with the last reference to them."""
        self._put_back()
        for buffer in (*(self._buffers[slot.number] for slot in self.ring.empty()), *self._outputs):
            buffer.freebuffer()
        self._buffers, self._outputs = [], []
