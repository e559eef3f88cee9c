import threading

import numpy as np
import numpy.typing as npt
import pytest

from fpga_facedet.engines.protocol import EngineStopped, StreamingEngine
from fpga_facedet.engines.ring import RingEngine, as_streaming
from fpga_facedet.errors import UserError

from .on_board import stop_by_hand
from .toy import ToyEngine, frames


class Moody(ToyEngine):
    """Fails for black frames, reuses its output array, and counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0
        self._output = np.empty((1, 2, 3, 6), np.int8)

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        if not frames.any():
            raise ValueError("a black frame")
        self._output[:] = super().infer(frames)
        return self._output

    def close(self) -> None:
        self.closed += 1


def send(engine: StreamingEngine, frame: npt.NDArray[np.uint8]) -> None:
    slot = engine.acquire()
    slot.pixels[..., :3] = frame
    slot.pixels[..., 3] = 77
    engine.submit(slot)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_many_frames_go_round_in_order(depth: int) -> None:
    engine = as_streaming(Moody(), depth)
    pictures = frames(20)
    producer = threading.Thread(target=lambda: [send(engine, picture) for picture in pictures])
    producer.start()
    results = np.stack([engine.collect() for _ in pictures])
    producer.join()
    np.testing.assert_array_equal(results, ToyEngine().infer(pictures))
    engine.close()


def test_an_engine_that_streams_is_left_alone() -> None:
    ring = as_streaming(ToyEngine())
    assert as_streaming(ring) is ring
    ring.close()


def test_a_failure_reaches_the_collect_of_its_frame_and_no_other() -> None:
    engine = as_streaming(Moody(), 3)
    good = frames(1)
    for picture in (good[0], np.zeros_like(good[0]), good[0]):
        send(engine, picture)
    np.testing.assert_array_equal(engine.collect(), ToyEngine().infer(good)[0])
    with pytest.raises(ValueError, match="a black frame"):
        engine.collect()
    np.testing.assert_array_equal(engine.collect(), ToyEngine().infer(good)[0])
    engine.close()


def test_slots_are_rgbx_and_a_released_one_comes_back() -> None:
    engine = as_streaming(ToyEngine(), 1)
    slot = engine.acquire()
    assert slot.pixels.shape == (32, 48, 4) and slot.pixels.dtype == np.uint8
    engine.release(slot)
    assert engine.acquire() is slot
    engine.close()


@pytest.mark.parametrize("wait", ["acquire", "collect"])
def test_abort_ends_the_waits_of_other_threads(wait: str) -> None:
    engine = as_streaming(ToyEngine(), 1)
    engine.acquire()
    caught: list[BaseException] = []

    def sit() -> None:
        try:
            getattr(engine, wait)()
        except EngineStopped as stopped:
            caught.append(stopped)

    waiting = threading.Thread(target=sit)
    waiting.start()
    engine.abort()
    waiting.join(30)
    assert not waiting.is_alive() and len(caught) == 1
    with pytest.raises(EngineStopped):
        engine.acquire()
    engine.close()


def test_nothing_is_handed_over_after_abort() -> None:
    engine = as_streaming(ToyEngine(), 2)
    slot = engine.acquire()
    engine.abort()
    with pytest.raises(EngineStopped):
        engine.submit(slot)
    engine.close()


def test_closing_closes_the_engine_once() -> None:
    inner = Moody()
    ring = RingEngine(inner)
    ring.close()
    ring.close()
    assert inner.closed == 1


def test_infer_is_the_engines_own() -> None:
    ring = RingEngine(ToyEngine())
    np.testing.assert_array_equal(ring.infer(frames(3)), ToyEngine().infer(frames(3)))
    ring.close()


def test_no_slot_is_refused() -> None:
    with pytest.raises(UserError, match="0 slots"):
        as_streaming(ToyEngine(), 0)


def test_a_collect_that_was_interrupted_has_collected_nothing() -> None:
    begun, gate = threading.Event(), threading.Event()

    class Slow(ToyEngine):
        def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
            begun.set()
            gate.wait()
            return super().infer(frames)

    engine = RingEngine(Slow())
    pictures = frames(4)
    for number, picture in enumerate(pictures):
        send(engine, picture)
        if number < 2:
            # A signal that comes just before Python goes to sleep wakes nobody, so that needs a moment; or, on a
            # busy machine, the result.
            rescue = threading.Timer(10, gate.set)
            rescue.start()
            stop_by_hand(engine.collect, lambda: begun.wait() and not threading.Event().wait(0.1))
            rescue.cancel()
        gate.set()
        np.testing.assert_array_equal(engine.collect(), ToyEngine().infer(picture[None])[0])
        gate.clear()
        begun.clear()
    engine.close()
