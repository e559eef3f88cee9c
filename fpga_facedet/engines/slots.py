"""The slots of a streaming engine: free, filled and queued, at work, done; shared by the threads on both sides."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpga_facedet.engines.protocol import EngineStopped, Slot
from fpga_facedet.errors import InternalError

Result = npt.NDArray[np.int8]


@dataclass(eq=False)
class Job:
    """A frame handed over.

    Its number since the engine was opened, its slot, how often it has failed, whether its pixels have been flushed
    from the cache, its result (or the error in its place) once there is one, and whether anybody still waits for that.
    """

    number: int
    slot: Slot
    failures: int = 0
    flushed: bool = False
    outcome: "Result | BaseException | None" = None
    wanted: bool = True


class SlotRing:
    """A fixed number of slots that go round: `acquire`, `submit`, worked on, `collect`, free again.

    The owner's threads call `acquire` to `abort` as the protocol says; the thread that works calls the rest. `poke` is
    called after each submission. A slot is free again when its result was collected, so no more than all of them are
    ever under way. Outcomes come in the order of submission, in whatever order they are handed in.
    """

    def __init__(self, poke: Callable[[], None] = lambda: None) -> None:
        self._poke = poke
        self._changed = threading.Condition()
        self._free: deque[Slot] = deque()
        self._in_hand: set[Slot] = set()
        self._queued: deque[Job] = deque()
        self._uncollected: deque[Job] = deque()
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

    def add(self, slot: Slot) -> None:
        """Give the ring one more slot."""
        with self._changed:
            self._free.append(slot)
            self._changed.notify_all()

    def acquire(self) -> Slot:
        """Return a free slot, waiting for one; raises EngineStopped, or what `end` was given."""
        with self._changed:
            self._check()
            while not self._free:
                self._changed.wait()
                self._check()
            slot = self._free.popleft()
            self._in_hand.add(slot)
            return slot

    def submit(self, slot: Slot) -> None:
        """Queue a filled slot; raises as `acquire`, and InternalError for one that is not in hand."""
        with self._changed:
            self._check()
            self._take_from_hand(slot)
            job = Job(self._submitted, slot)
            self._queued.append(job)
            self._uncollected.append(job)
            self._submitted += 1
            self._changed.notify_all()
        self._poke()

    def release(self, slot: Slot) -> None:
        """Make a slot free that was acquired and is not submitted; InternalError for one that is not in hand."""
        with self._changed:
            if slot not in self._in_hand and (self._stopped or self._ended is not None):
                # `empty` has been called: a slot kept here would keep its memory.
                return
            self._take_from_hand(slot)
            self._free.append(slot)
            self._changed.notify_all()

    def collect(self) -> Result:
        """Return the oldest result, waiting for it; raises the error that stands in its place, or as `acquire`.

        What had an outcome when `end` was called is still to be had. A wait that is interrupted has collected nothing.
        """
        with self._changed:
            while self._stopped or not self._uncollected or self._uncollected[0].outcome is None:
                self._check()
                self._changed.wait()
            job = self._uncollected.popleft()
            outcome = job.outcome
            self._collected += 1
            self._free.append(job.slot)
            self._changed.notify_all()
        if isinstance(outcome, BaseException):
            raise outcome
        assert outcome is not None
        return outcome

    def forsake(self) -> None:
        """Give up all slots in hand and all frames not collected: the next outcome is that of the next submission.

        For who is interrupted between `acquire` and `collect`. A frame that is worked on frees its slot at its end.
        """
        with self._changed:
            for job in self._uncollected:
                job.wanted = False
                if job.outcome is not None:
                    self._free.append(job.slot)
            self._uncollected.clear()
            self._free.extend(job.slot for job in self._queued)
            self._queued.clear()
            self._free.extend(self._in_hand)
            self._in_hand.clear()
            self._changed.notify_all()

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
        """Queue frames again, before all others; those that nobody waits for any more are dropped."""
        with self._changed:
            left = list(jobs)
            self._queued.extendleft(job for job in reversed(left) if job.wanted)
            self._free.extend(job.slot for job in left if not job.wanted)
            self._changed.notify_all()

    def finish(self, job: Job, outcome: Result | BaseException) -> None:
        """Hand a frame's result, or the error in its place, to `collect`."""
        with self._changed:
            job.outcome = outcome
            if not job.wanted:
                self._free.append(job.slot)
            self._changed.notify_all()

    def end(self, error: Callable[[], Exception]) -> int:
        """Let every queued frame, and all that is asked for later, fail with `error`; return how many were queued."""
        with self._changed:
            left = list(self._queued)
            self._queued.clear()
            for job in left:
                job.outcome = error()
            self._ended = error
            self._changed.notify_all()
        return len(left)

    def empty(self) -> list[Slot]:
        """Return the slots that nobody has in hand, for their memory to be freed; for after `abort` or `end`.

        The outcomes stay for `collect`, which gives them after `end`: they are no part of the slots' memory.
        """
        with self._changed:
            slots = [*self._free, *(job.slot for job in self._uncollected)]
            self._free.clear()
            self._in_hand.clear()
            self._queued.clear()
        return slots

    def _take_from_hand(self, slot: Slot) -> None:
        if slot not in self._in_hand:
            raise InternalError(
                f"Slot {slot.number} was given to the engine and is not in hand: it was submitted or released before; "
                "acquire a slot for each frame."
            )
        self._in_hand.remove(slot)

    def _check(self) -> None:
        if self._stopped:
            raise EngineStopped("The engine was stopped.")
        if self._ended is not None:
            raise self._ended()
