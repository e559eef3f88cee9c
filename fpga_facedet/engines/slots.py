"""The slots of a streaming engine: free, filled and queued, at work, done; shared by the threads on both sides."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpga_facedet.engines.protocol import EngineStopped, Slot

Result = npt.NDArray[np.int8]


@dataclass(eq=False)
class Job:
    """A frame handed over.

    Its number since the engine was opened, its slot, how often it has failed, and whether its pixels have been flushed
    from the cache.
    """

    number: int
    slot: Slot
    failures: int = 0
    flushed: bool = False


class SlotRing:
    """A fixed number of slots that go round: `acquire`, `submit`, worked on, `collect`, free again.

    The owner's threads call `acquire` to `abort` as the protocol says; the thread that works calls the rest. `poke` is
    called after each submission. A slot is free again when its result was collected, so no more than all of them are
    ever under way.
    """

    def __init__(self, poke: Callable[[], None] = lambda: None) -> None:
        self._poke = poke
        self._changed = threading.Condition()
        self._free: deque[Slot] = deque()
        self._queued: deque[Job] = deque()
        self._done: deque[tuple[Job, Result | BaseException]] = deque()
        self._submitted = self._collected = 0
        self._stopped = False
        self._ended: Callable[[], Exception] | None = None

    @property
    def stopped(self) -> bool:
        """Whether `abort` was called."""
        return self._stopped

    @property
    def counts(self) -> dict[str, int]:
        """Frames submitted and outcomes collected up to now."""
        with self._changed:
            return {"submitted": self._submitted, "collected": self._collected}

    def acquire(self) -> Slot:
        """Return a free slot, waiting for one; raises EngineStopped, or what `end` was given."""
        with self._changed:
            self._check()
            while not self._free:
                self._changed.wait()
                self._check()
            return self._free.popleft()

    def submit(self, slot: Slot) -> None:
        """Queue a filled slot; raises as `acquire`."""
        with self._changed:
            self._check()
            self._queued.append(Job(self._submitted, slot))
            self._submitted += 1
            self._changed.notify_all()
        self._poke()

    def release(self, slot: Slot) -> None:
        """Make a slot free; also how the ring gets its slots."""
        with self._changed:
            self._free.append(slot)
            self._changed.notify_all()

    def collect(self) -> Result:
        """Return the oldest result, waiting for it; raises the error that stands in its place, or as `acquire`."""
        with self._changed:
            while self._stopped or not self._done:
                self._check()
                self._changed.wait()
            job, result = self._done.popleft()
            self._collected += 1
            self._free.append(job.slot)
            self._changed.notify_all()
        if isinstance(result, BaseException):
            raise result
        return result

    def abort(self) -> None:
        """Make all waits end with EngineStopped."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def next(self, wait: bool = False) -> Job | None:
        """Return the oldest queued frame, None without one; with `wait`, None only after `abort`."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._stopped or self._queued)
            return self._queued.popleft() if self._queued and not self._stopped else None

    def put_back(self, jobs: Iterable[Job]) -> None:
        """Queue frames again, before all others."""
        with self._changed:
            self._queued.extendleft(reversed(list(jobs)))

    def finish(self, job: Job, result: Result | BaseException) -> None:
        """Hand a frame's result, or the error in its place, to `collect`."""
        with self._changed:
            self._done.append((job, result))
            self._changed.notify_all()

    def end(self, error: Callable[[], Exception]) -> int:
        """Let every queued frame, and all that is asked for later, fail with `error`; return how many were queued."""
        with self._changed:
            left = list(self._queued)
            self._queued.clear()
            self._done.extend((job, error()) for job in left)
            self._ended = error
            self._changed.notify_all()
        return len(left)

    def empty(self) -> list[Slot]:
        """Give up and return the slots that nobody has in hand; for after `abort`."""
        with self._changed:
            slots = [*self._free, *(job.slot for job in self._queued), *(job.slot for job, _ in self._done)]
            self._free.clear()
            self._queued.clear()
            self._done.clear()
        return slots

    def _check(self) -> None:
        if self._stopped:
            raise EngineStopped("The engine was stopped.")
        if self._ended is not None:
            raise self._ended()
