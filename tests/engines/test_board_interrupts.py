"""The board engine and the DMA's interrupts; runs where pynq is (tests/board/test_under_pynq.py)."""

import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pynq", reason="needs pynq: runs in the board's environment")

from fpga_facedet.engines import dma_wait
from fpga_facedet.engines.dma_wait import Waiter
from fpga_facedet.software_board import Fault

from .on_board import opened, right, submit, toy_board, wait_until
from .toy import ToyEngine, frames


def test_a_missing_interrupt_costs_time_and_nothing_else(folder: Path) -> None:
    with toy_board(Fault("missing_interrupt", 1)), opened(folder) as engine:
        for seed in range(3):
            np.testing.assert_array_equal(engine.infer(frames(1, seed)), ToyEngine().infer(frames(1, seed)))
        assert engine.info()["recoveries"] == 0


def test_interrupts_that_never_come_are_given_up(folder: Path) -> None:
    with toy_board(frame_seconds=0.01, interval_seconds=0.005) as board, opened(folder) as engine:
        with board.compute.lock:
            board.controller.set_inputs = lambda levels: None
        # A pause that lets the engine find a result before its clock told it to look begins the count anew.
        for seed in range(50):
            np.testing.assert_array_equal(engine.infer(frames(1, seed)), ToyEngine().infer(frames(1, seed)))
            if engine.info()["waiting"] != "interrupts":
                break
        assert engine.info()["waiting"] == "polling (3 transfers in a row ended without their interrupt)"


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_interrupts_work_for_engine_after_engine(folder: Path, seconds: float) -> None:
    """pynq keeps its interrupt files for ever, bound to the loop of the first engine."""
    with toy_board(frame_seconds=seconds, interval_seconds=seconds / 2):
        for seed in range(4):
            with opened(folder) as engine:
                for _ in range(4):
                    engine.infer(frames(1, seed))
                assert engine.info()["waiting"] == "interrupts"


def test_the_thread_sleeps_between_interrupts_and_for_ever_without_frames(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is not taken down would wake it again and again."""
    sleeps: list[float | None] = []
    sleep = Waiter.sleep

    async def counted(self: Waiter, remaining: float | None, deadline: float | None) -> None:
        sleeps.append(remaining)
        await sleep(self, remaining, deadline)

    monkeypatch.setattr(Waiter, "sleep", counted)
    monkeypatch.setattr(dma_wait, "SAFETY_SECONDS", 20.0)
    with toy_board(frame_seconds=0.03, interval_seconds=0.03), opened(folder) as engine:
        for seed in range(10):
            engine.infer(frames(1, seed))
        assert len(sleeps) <= 100, "a poke and two interrupts are three a frame"
        wait_until(lambda: sleeps[-1] is None)
        asleep = len(sleeps)
        threading.Event().wait(0.2)
        assert len(sleeps) <= asleep + 2, "what the last frame left to do"
        assert sleeps[-1] is None and engine.info()["waiting"] == "interrupts"


@pytest.mark.parametrize("channel", ["send", "receive"])
def test_a_failure_of_the_dma_wakes_the_thread(folder: Path, monkeypatch: pytest.MonkeyPatch, channel: str) -> None:
    """By its interrupt, not by the clock."""
    ticks: list[Waiter] = []
    monkeypatch.setattr(dma_wait, "SAFETY_SECONDS", 60.0)
    tick = Waiter._tick

    def counted(self: Waiter) -> None:
        ticks.append(self)
        tick(self)

    monkeypatch.setattr(Waiter, "_tick", counted)
    with (
        toy_board(Fault("stuck_mm2s" if channel == "send" else "stuck_s2mm", 0)) as board,
        opened(folder, timeout=60.0) as engine,
    ):
        submit(engine, frames(1))
        wait_until(lambda: board.dma.send.started)
        with board.compute.lock:
            getattr(board.dma, channel).fail(0x40)
        assert all(right([engine.collect()], frames(1)))
        assert engine.info()["recoveries"] == 1 and "DMADecErr" in engine.info()["last_fault"]
        assert not ticks
