"""The ring of slots without any engine."""

import numpy as np
import pytest

from fpga_facedet.engines.protocol import EngineStopped, Slot
from fpga_facedet.engines.slots import Job, SlotRing
from fpga_facedet.errors import InternalError


def ring_of(count: int) -> SlotRing:
    ring = SlotRing()
    for number in range(count):
        ring.add(Slot(number, np.zeros((1, 1, 4), np.uint8)))
    return ring


def begun(ring: SlotRing) -> Job:
    """Submit a frame and begin to work on it."""
    ring.submit(ring.acquire())
    job = ring.next()
    assert job is not None
    return job


def result(number: int) -> np.ndarray:
    return np.full((1, 1, 1), number, np.int8)


def free(ring: SlotRing) -> list[int]:
    """Return the numbers of the slots that can be acquired, all of them in hand afterwards."""
    return sorted(ring.acquire().number for _ in range(len(ring._free)))


def test_outcomes_come_in_the_order_of_submission_in_whatever_order_they_are_handed_in() -> None:
    ring = ring_of(3)
    jobs = [begun(ring) for _ in range(3)]
    ring.finish(jobs[1], ValueError("the second"))
    ring.finish(jobs[2], result(2))
    ring.finish(jobs[0], result(0))
    assert ring.collect() == result(0)
    with pytest.raises(ValueError, match="the second"):
        ring.collect()
    assert ring.collect() == result(2)


def test_forsaking_frees_what_is_in_hand_queued_done_and_later_what_is_worked_on() -> None:
    ring = ring_of(5)
    done, finished_later, put_back_later = begun(ring), begun(ring), begun(ring)
    ring.submit(ring.acquire())
    in_hand = ring.acquire()
    ring.finish(done, result(0))
    ring.forsake()
    assert ring.next() is None, "the queued frame is not begun any more"
    assert free(ring) == sorted([done.slot.number, 3, in_hand.number])
    ring.finish(finished_later, result(1))
    ring.put_back([put_back_later])
    assert ring.next() is None
    assert free(ring) == [finished_later.slot.number, put_back_later.slot.number]


def test_after_forsaking_the_next_outcome_is_that_of_the_next_submission() -> None:
    ring = ring_of(3)
    old = begun(ring)
    ring.forsake()
    new = begun(ring)
    ring.finish(old, result(1))
    ring.finish(new, result(2))
    assert ring.collect() == result(2)
    assert free(ring) == [0, 1, 2]


@pytest.mark.parametrize("again", ["submit", "release"])
@pytest.mark.parametrize("first", ["submit", "release"])
def test_a_slot_that_is_not_in_hand_is_refused(first: str, again: str) -> None:
    ring = ring_of(2)
    slot = ring.acquire()
    getattr(ring, first)(slot)
    with pytest.raises(InternalError, match="Slot 0 .* is not in hand: .* acquire a slot for each frame"):
        getattr(ring, again)(slot)
    if first == "submit":
        job = ring.next()
        assert job is not None and ring.next() is None
        ring.finish(job, result(0))
        ring.collect()
    assert free(ring) == [0, 1]


def test_what_had_an_outcome_at_the_end_is_still_collected() -> None:
    ring = ring_of(3)
    ring.finish(begun(ring), result(1))
    ring.submit(ring.acquire())
    in_hand = ring.acquire()
    assert ring.end(lambda: RuntimeError("the end")) == 1
    assert sorted(slot.number for slot in ring.empty()) == [0, 1], "in whose memory nobody writes"
    ring.release(in_hand)
    assert ring.collect() == result(1)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the end"):
            ring.collect()
    for wait in (ring.acquire, lambda: ring.submit(in_hand)):
        with pytest.raises(RuntimeError, match="the end"):
            wait()


def test_after_abort_nothing_is_collected() -> None:
    ring = ring_of(1)
    ring.finish(begun(ring), result(1))
    ring.abort()
    with pytest.raises(EngineStopped):
        ring.collect()
