"""The board engine through the real pynq on a software board; runs where pynq is (tests/board/test_under_pynq.py)."""

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pynq", reason="needs pynq: runs in the board's environment")

import pynq
from pynq.interrupt import _InterruptController

from fpga_facedet.engines import board_worker, hardware
from fpga_facedet.engines.board import BoardGoneError
from fpga_facedet.engines.board_worker import BoardWorker
from fpga_facedet.engines.protocol import EngineStopped
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.software_board import Fault

from .on_board import (
    WAITING,
    next_frame_of,
    not_for_ever,
    opened,
    right,
    run,
    stop_by_hand,
    submit,
    toy_board,
    wait_until,
)
from .toy import ToyEngine, frames

# The straight way


@WAITING
def test_many_frames_are_those_of_the_golden_engine_in_order(folder: Path, interrupts: bool) -> None:
    pictures = frames(200)
    with toy_board(interrupts=interrupts), opened(folder) as engine:
        assert all(right(run(engine, pictures), pictures))
        info = engine.info()
        assert (info["results"], info["lost"], info["recoveries"]) == (200, 0, 0)
        assert info["waiting"].startswith("interrupts" if interrupts else "polling (no interrupt for MM2S")
        assert info["shell"]["frames_in"] == info["shell"]["frames_out"] == 200


@WAITING
def test_frames_at_a_cameras_pace_need_no_reset_and_no_change_of_waiting(folder: Path, interrupts: bool) -> None:
    pictures = frames(30)
    with (
        toy_board(interrupts=interrupts, frame_seconds=0.015, interval_seconds=0.01),
        opened(folder) as engine,
    ):
        before = engine.info()["waiting"]
        assert all(right(run(engine, pictures), pictures))
        assert engine.info()["waiting"] == before and engine.info()["recoveries"] == 0


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_infer_takes_any_number_of_frames(folder: Path, depth: int) -> None:
    with toy_board(), opened(folder, depth=depth) as engine:
        for count in (0, 1, depth, 11):
            np.testing.assert_array_equal(engine.infer(frames(count)), ToyEngine().infer(frames(count)))
        with pytest.raises(UserError, match="uint8"):
            engine.infer(frames(1)[..., :2])


def test_the_fourth_byte_of_a_pixel_is_ignored(folder: Path) -> None:
    with toy_board(), opened(folder) as engine:
        slot = engine.acquire()
        slot.pixels[..., :3] = frames(1)[0]
        slot.pixels[..., 3] = 0xFF
        engine.submit(slot)
        np.testing.assert_array_equal(engine.collect(), ToyEngine().infer(frames(1))[0])


def test_the_next_frame_goes_in_before_the_last_result_is_read(folder: Path) -> None:
    """Nobody collects, and still every slot's frame goes through the accelerator."""
    with toy_board() as board, opened(folder, depth=4) as engine:
        submit(engine, frames(4))
        wait_until(lambda: engine.info()["results"] == 4)
        assert board.dma.receive.started == 5, "the next output buffer is armed"
        assert all(right([engine.collect() for _ in range(4)], frames(4)))


def test_a_result_is_the_callers_own(folder: Path) -> None:
    with toy_board(), opened(folder) as engine:
        first = engine.infer(frames(1, seed=1))
        kept = first.copy()
        engine.infer(frames(9, seed=2))
        np.testing.assert_array_equal(first, kept)


def test_a_released_slot_comes_back(folder: Path) -> None:
    with toy_board(), opened(folder, depth=2) as engine:
        for _ in range(5):
            engine.release(engine.acquire())
        assert all(right(run(engine, frames(5)), frames(5)))


def test_each_frame_is_flushed_once_and_each_result_invalidated_once(folder: Path) -> None:
    with toy_board() as board, opened(folder) as engine:
        before = board.flushes
        engine.infer(frames(20))
        assert (board.flushes - before, board.invalidates) == (20, 20)


@pytest.mark.parametrize("omitted", ["_flush", "_freshen"])
def test_an_engine_that_leaves_out_a_cache_operation_gives_wrong_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch, omitted: str
) -> None:
    monkeypatch.setattr(BoardWorker, omitted, lambda self, buffer: None)
    with toy_board(), opened(folder) as engine:
        assert not any(right(run(engine, frames(4)), frames(4)))


# Interrupted


def test_an_infer_that_is_interrupted_leaves_nothing_behind(folder: Path) -> None:
    """The frames under way are nobody's then; more often than there are slots."""
    with (
        toy_board(frame_seconds=0.3, interval_seconds=0.1) as board,
        opened(folder, timeout=10.0) as engine,
        not_for_ever(engine),
    ):
        for seed in range(4):
            # So many that it is still at it when the finger is late.
            stop_by_hand(lambda: engine.infer(frames(100)), next_frame_of(board))
            assert all(right(list(engine.infer(frames(2, seed))), frames(2, seed)))


def test_an_infer_that_is_interrupted_while_it_fills_a_slot_gives_it_back(folder: Path) -> None:
    class Stopping(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            raise KeyboardInterrupt

    with toy_board(), opened(folder) as engine, not_for_ever(engine):
        for _ in range(4):
            with pytest.raises(KeyboardInterrupt):
                engine.infer(frames(1).view(Stopping))
        assert all(right(run(engine, frames(5)), frames(5)))


def test_a_slot_that_is_submitted_twice_is_refused(folder: Path) -> None:
    with toy_board(), opened(folder, depth=2) as engine:
        slot = engine.acquire()
        slot.pixels[..., :3] = frames(1)[0]
        engine.submit(slot)
        with pytest.raises(InternalError, match="Slot 0 was given to the engine and is not in hand"):
            engine.submit(slot)
        assert all(right([engine.collect()], frames(1)))
        assert engine.info()["submitted"] == 1
        del slot


# The end


def test_closing_twice_is_once_and_gives_everything_back(folder: Path) -> None:
    with toy_board() as board:
        engine = opened(folder)
        engine.infer(frames(2))
        assert board.memory.live == 5
        engine.close()
        engine.close()
        assert board.memory.live == 0 and engine.closed
        assert board.dma.send.read(4) & 1 and board.dma.receive.read(4) & 1, "both channels are halted"
        with pytest.raises(EngineStopped):
            engine.acquire()


def test_closing_with_frames_on_the_board_gives_everything_back(folder: Path) -> None:
    with toy_board(Fault("stuck_s2mm")), opened(folder, timeout=60.0) as engine:
        submit(engine, frames(3))


@pytest.mark.parametrize("wait", ["acquire", "collect"])
def test_abort_ends_the_waits_of_other_threads(folder: Path, wait: str) -> None:
    with toy_board(), opened(folder, depth=2) as engine:
        slots = [engine.acquire(), engine.acquire()]
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
            engine.submit(slots.pop())
        # What is in hand stays allocated until it is dropped.
        slots.clear()


def test_who_still_fills_a_slot_when_the_engine_closes_writes_to_living_memory(folder: Path) -> None:
    with toy_board() as board:
        engine = opened(folder)
        slot = engine.acquire()
        engine.close()
        assert board.memory.live == 1
        slot.pixels[...] = 1
        assert slot.pixels.all()
        del slot
        assert board.memory.live == 0


def close_what_does_not_stop(folder: Path, stubborn: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """Close an engine whose DMA `stubborn` keeps from stopping; return its last fault, once that was found harmless."""
    kept: list[Any] = []
    monkeypatch.setattr(board_worker, "_KEPT", kept)
    with toy_board() as board:
        engine = opened(folder)
        engine.infer(frames(2))
        with monkeypatch.context() as patch:
            stubborn((board, patch))
            engine.close()
        said = engine.info()["last_fault"]
        assert engine.closed and not engine._worker._thread.is_alive()
        assert _InterruptController._controllers == []
        del engine
        gc.collect()
        assert board.memory.live == 5, "the DMA may still write into them, though nobody has the engine any more"
        with opened(folder) as after:
            assert all(right(run(after, frames(3)), frames(3)))
        kept.clear()
    return said


def test_the_buffers_of_a_dma_that_does_not_stop_stay_allocated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stubborn(place: Any) -> None:
        board, patch = place
        read = board.dma.read
        patch.setattr(board.dma, "read", lambda offset: read(offset) | (0x4 if offset in (0x00, 0x30) else 0))

    said = close_what_does_not_stop(folder, stubborn, monkeypatch)
    assert said == ("The board's DMA could not be stopped (it does not end its reset), so its buffers stay allocated")


def test_an_engine_whose_hardware_raises_at_the_end_is_closed_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stubborn(place: Any) -> None:
        place[1].setattr(hardware.Hardware, "stop", lambda self: 1 / 0)

    assert "(ZeroDivisionError: division by zero)" in close_what_does_not_stop(folder, stubborn, monkeypatch)


def test_a_second_engine_closes_the_first_before_it_loads(folder: Path) -> None:
    with toy_board() as board:
        first = opened(folder)
        states: list[bool] = []
        download = board.download

        def watched(*arguments: Any) -> None:
            states.append(first.closed)
            download(*arguments)

        board.download = watched
        with opened(folder) as second:
            assert states == [True]
            np.testing.assert_array_equal(second.infer(frames(2)), ToyEngine().infer(frames(2)))


def test_an_engine_whose_overlay_was_replaced_leaves_the_new_hardware_alone(folder: Path) -> None:
    with toy_board() as board:
        engine = opened(folder)
        pynq.Overlay(str(folder / "toy.bit"))
        board.compute.write = lambda *_: pytest.fail("the old engine wrote to the new overlay")
        engine.close()


def test_the_figures_say_what_they_are(folder: Path) -> None:
    with toy_board() as board, opened(folder) as engine:
        board.evidence = "simulated"
        assert engine.figures() == ()
        engine.infer(frames(2))
        latency, interval = engine.figures()
        assert (latency.name, latency.unit, latency.evidence) == ("latency", "cycles", "simulated")
        assert latency.value > 0 and interval.name == "interval"
        del board.evidence
        assert engine.figures() == (), "no evidence, no figure"


def test_our_own_mistake_ends_the_engine_and_nobody_waits_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware.Channel, "moved", lambda self: 1 / 0)
    with toy_board(), opened(folder) as engine, pytest.raises(BoardGoneError, match="ZeroDivisionError"):
        engine.infer(frames(1))
