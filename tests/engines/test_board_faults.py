"""The board engine and a board on which things go wrong; runs where pynq is (tests/board/test_under_pynq.py)."""

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("pynq", reason="needs pynq: runs in the board's environment")

from fpga_facedet import shell
from fpga_facedet.engines import hardware
from fpga_facedet.engines.board import BoardGoneError
from fpga_facedet.engines.board_worker import RECOVERIES, BoardWorker
from fpga_facedet.engines.protocol import LostFrameError
from fpga_facedet.software_board import SILENT, Fault

from .on_board import WAITING, Clock, opened, right, run, run_out, stuck, submit, toy_board, wait_until
from .toy import ToyEngine, frames

# Faults that a reset cures


@WAITING
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stuck_mm2s", "MM2S (frame to accelerator) was stuck for 30 s: "),
        ("stuck_s2mm", "S2MM (results) was stuck for 30 s: "),
        ("early_done", "S2MM (results) was done after 8 of the result's 40 bytes: "),
        ("error_bits", "reports ERROR_SHORT_FRAME (a packet ended before its frame was full)"),
        ("slow", "S2MM (results) was stuck"),
    ],
)
def test_a_fault_of_one_frame_is_survived_and_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str, interrupts: bool
) -> None:
    clock = Clock(monkeypatch)
    fault = Fault(name, 3, 60.0 if name == "slow" else None)
    with toy_board(fault, interrupts=interrupts) as board, opened(folder) as engine:
        with clock.jumping(stuck(board, engine, name, 3)) if name in SILENT else nullcontext():
            assert all(right(run(engine, frames(12)), frames(12)))
        info = engine.info()
        assert (info["recoveries"], info["lost"]) == (1, 0)
        assert words in info["last_fault"]


@pytest.mark.parametrize("name", ["stuck_mm2s", "stuck_s2mm", "early_done", "error_bits"])
def test_with_one_attempt_the_frame_is_lost_and_the_others_are_right(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clock = Clock(monkeypatch)
    with toy_board(Fault(name, 3)) as board, opened(folder, attempts=1) as engine:
        with clock.jumping(stuck(board, engine, name, 3)) if name in SILENT else nullcontext():
            outcomes = run(engine, frames(12))
        good = right(outcomes, frames(12))
        lost = good.index(False)
        assert good.count(True) == 11 and isinstance(outcomes[lost], LostFrameError)
        assert str(outcomes[lost]).startswith(f"Frame {lost} was lost on the board: the ")
        assert all(right(run(engine, frames(5, seed=9)), frames(5, seed=9)))


def test_a_lost_frame_does_not_leave_results_behind_for_the_next_infer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with toy_board(Fault("stuck_s2mm", 1)) as board, opened(folder, attempts=1) as engine:
        with (
            clock.jumping(stuck(board, engine, "stuck_s2mm", 1)),
            pytest.raises(LostFrameError, match=r"S2MM \(results\)"),
        ):
            engine.infer(frames(8))
        np.testing.assert_array_equal(engine.infer(frames(8, seed=5)), ToyEngine().infer(frames(8, seed=5)))


@pytest.mark.parametrize(
    ("stuck", "bits", "channel", "words"),
    [
        ("stuck_mm2s", 0x20, "MM2S (frame to accelerator)", "halted, DMASlvErr (memory answered"),
        ("stuck_mm2s", 0x40, "MM2S (frame to accelerator)", "halted, DMADecErr (no memory"),
        ("stuck_s2mm", 0x20, "S2MM (results)", "halted, DMASlvErr (memory answered"),
        ("stuck_s2mm", 0x50, "S2MM (results)", "halted, DMAIntErr (a write to memory failed, or the packet"),
    ],
)
@WAITING
def test_error_bits_of_the_dma_are_spelled_out(
    folder: Path, stuck: str, bits: int, channel: str, words: str, interrupts: bool
) -> None:
    with toy_board(Fault(stuck, 0), interrupts=interrupts) as board, opened(folder, timeout=30.0) as engine:
        submit(engine, frames(1))
        wait_until(lambda: board.dma.send.started)
        with board.compute.lock:
            (board.dma.send if stuck == "stuck_mm2s" else board.dma.receive).fail(bits)
        assert all(right([engine.collect()], frames(1)))
        fault = engine.info()["last_fault"]
        assert fault.startswith(f"The board's DMA channel {channel} failed: DMASR 0x1") and words in fault


@pytest.mark.parametrize(("channel", "lost"), [("send", 1), ("receive", 0)])
def test_the_frame_that_failed_is_the_one_that_is_lost(folder: Path, channel: str, lost: int) -> None:
    """While one frame goes in the result of the one before it is still awaited."""
    # Both are held up until the failure; sent again they have other numbers.
    with (
        toy_board(Fault("stuck_mm2s", 1), Fault("stuck_s2mm", 0)) as board,
        opened(folder, depth=4, attempts=1) as engine,
    ):
        submit(engine, frames(3))
        wait_until(lambda: board.dma.send.started == 2)
        with board.compute.lock:
            getattr(board.dma, channel).fail(0x40)
        outcomes = run_out(engine, 3)
        assert right(outcomes, frames(3)) == [number != lost for number in range(3)]
        assert isinstance(outcomes[lost], LostFrameError)
        assert str(outcomes[lost]).startswith(f"Frame {lost} was lost on the board: the board's DMA channel ")
        assert engine.info()["recoveries"] == 1


def test_a_reset_of_the_dma_by_somebody_else_between_frames_is_survived(folder: Path) -> None:
    with toy_board() as board, opened(folder) as engine:
        engine.infer(frames(3))
        with board.compute.lock:
            board.dma.reset()
        assert all(right(run(engine, frames(6)), frames(6)))
        assert engine.info()["recoveries"] == 1 and "halted" in engine.info()["last_fault"]


def test_a_reset_of_the_shell_in_mid_frame_is_survived(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with (
        toy_board(frame_seconds=60.0, interval_seconds=0.05) as board,
        opened(folder) as engine,
    ):
        submit(engine, frames(1))
        wait_until(lambda: engine.info()["shell"]["frames_in"])
        with board.compute.lock:
            board.compute.write(shell.REG_CONTROL, shell.RESET_ALL)
            board.compute.set_time(0.0, 0.0)
        clock.jump()
        assert all(right([engine.collect()], frames(1)))
        assert "S2MM (results) was stuck" in engine.info()["last_fault"]


# No faults: the thread was kept waiting after it had looked


def test_a_result_that_came_while_the_thread_was_away_is_no_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, computing = Clock(monkeypatch), threading.Event()
    infer, receive = ToyEngine.infer, BoardWorker._receive
    looked: list[BoardWorker] = []

    def late(self: ToyEngine, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        computing.wait()
        return infer(self, pictures)

    with toy_board() as board, opened(folder) as engine:

        def away(self: BoardWorker) -> bool:
            received = receive(self)
            if self._on_board and self._sending is None and not received:
                looked.append(self)
            # The first of these steps has found the frame to be in; by the third there is nothing but the deadline.
            if len(looked) == 3 and not computing.is_set():
                computing.set()
                wait_until(lambda: board.dma.receive.done)
                clock.jump()
            return received

        monkeypatch.setattr(BoardWorker, "_receive", away)
        monkeypatch.setattr(ToyEngine, "infer", late)
        submit(engine, frames(1))
        result = engine.collect()
        assert computing.is_set() and all(right([result], frames(1)))
        assert engine.info()["recoveries"] == 0, engine.info()["last_fault"]


def test_a_reset_that_ended_while_the_thread_was_away_is_no_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, hardware)
    resetting: list[int] = []
    with toy_board() as board:
        engine = opened(folder)
        read = board.dma.read

        def away(offset: int) -> Any:
            value = read(offset)
            if offset == 0 and value & 0x4:
                resetting.append(value)
                clock.jump()
            return value

        monkeypatch.setattr(board.dma, "read", away)
        engine.close()
        assert len(resetting) == 1 and engine.info()["last_fault"] == ""


# Faults that no reset cures


def test_errors_that_read_all_ones_are_a_shell_that_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the power is cut between two looks; no shell has all of them."""
    with toy_board() as board, opened(folder) as engine:
        read = board.compute.read
        monkeypatch.setattr(
            board.compute, "read", lambda offset: 0xFFFFFFFF if offset == shell.REG_ERRORS else read(offset)
        )
        with pytest.raises(BoardGoneError, match="ERRORS reads 0xffffffff, nothing answers there"):
            engine.infer(frames(2))
        assert "nothing answers there" in engine.info()["last_fault"]
        monkeypatch.undo()  # for the board to be put away


@pytest.mark.parametrize("name", ["stuck_mm2s", "stuck_s2mm", "early_done", "error_bits"])
def test_a_fault_that_stays_ends_the_engine_after_a_few_resets(folder: Path, name: str) -> None:
    with toy_board(Fault(name)), opened(folder, timeout=0.1) as engine:
        outcomes = run(engine, frames(6))
        assert isinstance(outcomes[0], LostFrameError)
        assert all(isinstance(outcome, BoardGoneError) for outcome in outcomes[1:])
        assert str(outcomes[-1]).startswith(f"{RECOVERIES} resets in a row did not help against this: the ")
        with pytest.raises(BoardGoneError, match="resets in a row"):
            engine.infer(frames(1))


def test_who_collects_after_the_end_gets_what_there_was(folder: Path) -> None:
    with toy_board(Fault("error_bits")), opened(folder) as engine:
        submit(engine, frames(3))
        engine._worker._thread.join(30)
        outcomes = run_out(engine, 4)
        assert [type(outcome) for outcome in outcomes] == [LostFrameError, *[BoardGoneError] * 3]
        assert str(outcomes[0]).startswith("Frame 0 was lost on the board: the overlay's shell reports ERROR_SHORT")


def test_results_that_had_arrived_outlive_the_board(folder: Path) -> None:
    with toy_board() as board, opened(folder, depth=4) as engine:
        submit(engine, frames(3))
        wait_until(lambda: engine.info()["results"] == 3)
        board.inject(Fault("power_cut"))
        submit(engine, frames(1))
        engine._worker._thread.join(30)
        assert board.memory.live == 0
        outcomes = run_out(engine, 5)
        assert all(right(outcomes[:3], frames(3)))
        assert [type(outcome) for outcome in outcomes[3:]] == [BoardGoneError] * 2
        assert engine.info()["lost"] == 1


@WAITING
@pytest.mark.parametrize("name", ["power_cut", "power_cut_mid_frame"])
def test_hardware_that_vanishes_is_named(folder: Path, name: str, interrupts: bool) -> None:
    with toy_board(Fault(name, 4), interrupts=interrupts), opened(folder) as engine:
        outcomes = run(engine, frames(10))
        good = right(outcomes, frames(10))
        assert good == sorted(good, reverse=True), "no result after the cut"
        assert isinstance(outcomes[-1], BoardGoneError)
        assert str(outcomes[-1]) == (
            "The accelerator vanished from the board while in use, by a power cut or another program: the hardware "
            "answers with the ID 0xffffffff, a facedet overlay has 0x46444554; load an overlay of facedet."
        )
        assert engine.info()["shell"] == {} and engine.figures() == ()


def test_after_a_power_cut_the_overlay_can_be_loaded_again(folder: Path) -> None:
    with toy_board(Fault("power_cut", 0)) as board:
        with opened(folder) as engine, pytest.raises(BoardGoneError):
            engine.infer(frames(1))
        board.faults._faults.clear()
        with opened(folder) as engine:
            np.testing.assert_array_equal(engine.infer(frames(3)), ToyEngine().infer(frames(3)))
