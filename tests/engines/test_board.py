"""The board engine through the real pynq on a software board; runs where pynq is (tests/board/test_under_pynq.py)."""

import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pynq", reason="needs pynq: runs in the board's environment")

import pynq

from fpga_facedet import shell
from fpga_facedet.engines import hardware
from fpga_facedet.engines.board import BoardEngine, BoardGoneError, open_board_engine
from fpga_facedet.engines.board_worker import RECOVERIES, BoardWorker
from fpga_facedet.engines.protocol import EngineStopped, LostFrameError
from fpga_facedet.errors import UserError
from fpga_facedet.software_board import Fault

from .on_board import TIMEOUT, right, run, toy_board, toy_overlay
from .toy import MANIFEST, ToyEngine, frames

WAITING = pytest.mark.parametrize("interrupts", [True, False], ids=["interrupts", "polling"])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_overlay(tmp_path_factory.mktemp("toy"))


def opened(folder: Path, **options: Any) -> BoardEngine:
    return open_board_engine(folder, **{"timeout": TIMEOUT, **options})


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
        for picture in frames(4):
            slot = engine.acquire()
            slot.pixels[..., :3] = picture
            engine.submit(slot)
        while engine.info()["results"] < 4:
            threading.Event().wait(0.001)
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


# Faults that a reset cures


@WAITING
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stuck_mm2s", "MM2S (frame to accelerator) was stuck for 0.5 s: "),
        ("stuck_s2mm", "S2MM (results) was stuck for 0.5 s: "),
        ("early_done", "S2MM (results) was done after 8 of the result's 40 bytes: "),
        ("error_bits", "reports ERROR_SHORT_FRAME (a packet ended before its frame was full)"),
        ("slow", "S2MM (results) was stuck"),
    ],
)
def test_a_fault_of_one_frame_is_survived_and_named(folder: Path, name: str, words: str, interrupts: bool) -> None:
    with toy_board(Fault(name, 3), interrupts=interrupts), opened(folder) as engine:
        assert all(right(run(engine, frames(12)), frames(12)))
        info = engine.info()
        assert (info["recoveries"], info["lost"]) == (1, 0)
        assert words in info["last_fault"]


@pytest.mark.parametrize("name", ["stuck_mm2s", "stuck_s2mm", "early_done", "error_bits"])
def test_with_one_attempt_the_frame_is_lost_and_the_others_are_right(folder: Path, name: str) -> None:
    with toy_board(Fault(name, 3)), opened(folder, attempts=1) as engine:
        outcomes = run(engine, frames(12))
        good = right(outcomes, frames(12))
        lost = good.index(False)
        assert good.count(True) == 11 and isinstance(outcomes[lost], LostFrameError)
        assert str(outcomes[lost]).startswith(f"Frame {lost} was lost on the board. The ")
        assert all(right(run(engine, frames(5, seed=9)), frames(5, seed=9)))


def test_a_lost_frame_does_not_leave_results_behind_for_the_next_infer(folder: Path) -> None:
    with toy_board(Fault("stuck_s2mm", 1)), opened(folder, attempts=1) as engine:
        with pytest.raises(LostFrameError, match=r"S2MM \(results\)"):
            engine.infer(frames(8))
        np.testing.assert_array_equal(engine.infer(frames(8, seed=5)), ToyEngine().infer(frames(8, seed=5)))


@pytest.mark.parametrize(
    ("stuck", "bits", "channel", "words"),
    [
        ("stuck_mm2s", 0x10, "MM2S (frame to accelerator)", "halted, DMAIntErr (a length of 0"),
        ("stuck_mm2s", 0x40, "MM2S (frame to accelerator)", "halted, DMADecErr (no memory"),
        ("stuck_s2mm", 0x20, "S2MM (results)", "halted, DMASlvErr (memory answered"),
        ("stuck_s2mm", 0x50, "S2MM (results)", "halted, DMAIntErr (a length of 0, or a packet"),
    ],
)
@WAITING
def test_error_bits_of_the_dma_are_spelled_out(
    folder: Path, stuck: str, bits: int, channel: str, words: str, interrupts: bool
) -> None:
    with toy_board(Fault(stuck, 0), interrupts=interrupts) as board, opened(folder, timeout=30.0) as engine:
        slot = engine.acquire()
        slot.pixels[..., :3] = frames(1)[0]
        engine.submit(slot)
        while not board.dma.send.started:
            threading.Event().wait(0.001)
        with board.compute.lock:
            (board.dma.send if stuck == "stuck_mm2s" else board.dma.receive).fail(bits)
        assert all(right([engine.collect()], frames(1)))
        fault = engine.info()["last_fault"]
        assert fault.startswith(f"The board's DMA channel {channel} failed: DMASR 0x1") and words in fault


def test_a_reset_of_the_dma_by_somebody_else_between_frames_is_survived(folder: Path) -> None:
    with toy_board() as board, opened(folder) as engine:
        engine.infer(frames(3))
        with board.compute.lock:
            board.dma.reset()
        assert all(right(run(engine, frames(6)), frames(6)))
        assert engine.info()["recoveries"] == 1 and "halted" in engine.info()["last_fault"]


def test_a_reset_of_the_shell_in_mid_frame_is_survived(folder: Path) -> None:
    with (
        toy_board(frame_seconds=0.1, interval_seconds=0.05) as board,
        opened(folder) as engine,
    ):
        slot = engine.acquire()
        slot.pixels[..., :3] = frames(1)[0]
        engine.submit(slot)
        while not engine.info()["shell"]["frames_in"]:
            threading.Event().wait(0.001)
        with board.compute.lock:
            board.compute.write(shell.REG_CONTROL, shell.RESET_ALL)
        assert all(right([engine.collect()], frames(1)))
        assert "S2MM (results) was stuck" in engine.info()["last_fault"]


# Faults that no reset cures


@pytest.mark.parametrize("name", ["stuck_mm2s", "stuck_s2mm", "early_done", "error_bits"])
def test_a_fault_that_stays_ends_the_engine_after_a_few_resets(folder: Path, name: str) -> None:
    with toy_board(Fault(name)), opened(folder, timeout=0.1) as engine:
        outcomes = run(engine, frames(6))
        assert isinstance(outcomes[0], LostFrameError)
        assert all(isinstance(outcome, BoardGoneError) for outcome in outcomes[1:])
        assert f"{RECOVERIES} resets in a row did not help. The " in str(outcomes[-1])
        with pytest.raises(BoardGoneError, match="resets in a row"):
            engine.infer(frames(1))


@WAITING
@pytest.mark.parametrize("name", ["power_cut", "power_cut_mid_frame"])
def test_hardware_that_vanishes_is_named(folder: Path, name: str, interrupts: bool) -> None:
    with toy_board(Fault(name, 4), interrupts=interrupts), opened(folder) as engine:
        outcomes = run(engine, frames(10))
        good = right(outcomes, frames(10))
        assert good == sorted(good, reverse=True), "no result after the cut"
        assert isinstance(outcomes[-1], BoardGoneError)
        assert "vanished from the board while in use" in str(outcomes[-1])
        assert "0xffffffff" in str(outcomes[-1]) and "0x46444554" in str(outcomes[-1])
        assert engine.info()["shell"] == {} and engine.figures() == ()


def test_after_a_power_cut_the_overlay_can_be_loaded_again(folder: Path) -> None:
    with toy_board(Fault("power_cut", 0)) as board:
        with opened(folder) as engine, pytest.raises(BoardGoneError):
            engine.infer(frames(1))
        board.faults._faults.clear()
        with opened(folder) as engine:
            np.testing.assert_array_equal(engine.infer(frames(3)), ToyEngine().infer(frames(3)))


# Interrupts that fail


def test_a_missing_interrupt_costs_time_and_nothing_else(folder: Path) -> None:
    with toy_board(Fault("missing_interrupt", 1)), opened(folder) as engine:
        for seed in range(3):
            np.testing.assert_array_equal(engine.infer(frames(1, seed)), ToyEngine().infer(frames(1, seed)))
        assert engine.info()["recoveries"] == 0


def test_interrupts_that_never_come_are_given_up(folder: Path) -> None:
    with toy_board(frame_seconds=0.01, interval_seconds=0.005) as board, opened(folder) as engine:
        with board.compute.lock:
            board.controller.set_inputs = lambda levels: None
        for seed in range(5):
            np.testing.assert_array_equal(engine.infer(frames(1, seed)), ToyEngine().infer(frames(1, seed)))
        assert engine.info()["waiting"] == "polling (3 transfers in a row ended without their interrupt)"


def test_interrupts_work_for_engine_after_engine(folder: Path) -> None:
    """pynq keeps its interrupt files for ever, bound to the loop of the first engine."""
    with toy_board():
        for seed in range(4):
            with opened(folder) as engine:
                for _ in range(4):
                    engine.infer(frames(1, seed))
                assert engine.info()["waiting"] == "interrupts"


# Opening


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wrong_id", "answers with the ID 0x00000000, the manifest wants 0x46444554; load an overlay of facedet"),
        ("wrong_version", "has version 2.0, this program drives 1.x"),
        ("wrong_model_hash", f"from the model {'54' * 16}, the manifest of toy is for {'ab' * 16}"),
        ("wrong_rtl_hash", f"from the RTL {'32' * 16}, the manifest of toy is for {'cd' * 16}"),
    ],
)
def test_other_hardware_is_refused(folder: Path, name: str, words: str) -> None:
    with toy_board(Fault(name)), pytest.raises(UserError) as caught:
        opened(folder)
    assert words in str(caught.value)


def other(**changes: Any) -> Any:
    return replace(MANIFEST, **changes)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (other(input=replace(MANIFEST.input, height=64)), "pixels: 1536, the manifest wants 3072"),
        (other(head=replace(MANIFEST.head, grid_width=2)), "bytes: 36, the manifest wants 24"),
        (other(model=replace(MANIFEST.model, sha256="ef" * 32)), f"from the model {'ab' * 16}"),
    ],
)
def test_a_manifest_of_other_hardware_is_refused(folder: Path, manifest: Any, words: str) -> None:
    with toy_board():
        overlay = pynq.Overlay(str(folder / "toy.bit"))
        with pytest.raises(UserError) as caught:
            BoardEngine(overlay, manifest)
    assert words in str(caught.value)


def test_an_overlay_without_our_cells_is_refused(folder: Path) -> None:
    with toy_board():
        overlay = pynq.Overlay(str(folder / "toy.bit"))
        del overlay.ip_dict["detector"]
        with pytest.raises(UserError, match="has no cell 'detector' .its cells: dma"):
            BoardEngine(overlay, MANIFEST)


def test_a_dma_too_narrow_for_a_frame_is_refused(folder: Path) -> None:
    with toy_board():
        overlay = pynq.Overlay(str(folder / "toy.bit"))
        # pynq's own dictionary gives copies.
        parameters = dict.__getitem__(overlay.ip_dict, "dma")["parameters"]
        parameters["c_sg_length_width"] = "12"
        with pytest.raises(UserError, match="at most 4,095 bytes at a time, a frame of toy has 6,144"):
            BoardEngine(overlay, MANIFEST)
        parameters["c_include_sg"] = "1"
        with pytest.raises(UserError, match="c_include_sg = 1"):
            BoardEngine(overlay, MANIFEST)


@pytest.mark.parametrize("options", [{"depth": 1}, {"attempts": 0}, {"timeout": 0.0}])
def test_options_out_of_range_are_refused(folder: Path, options: dict[str, Any]) -> None:
    with toy_board(), pytest.raises(UserError, match="give a depth of 2 or more"):
        opened(folder, **options)


def test_memory_that_ends_is_said_and_given_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with toy_board() as board:
        allocate, calls = board.allocate, []

        def scarce(*arguments: Any, **options: Any) -> Any:
            calls.append(arguments)
            if len(calls) > 2:
                raise RuntimeError("Allocate failed: -12")
            return allocate(*arguments, **options)

        monkeypatch.setattr(board, "allocate", scarce)
        with pytest.raises(UserError, match=r"no 6,144 bytes of contiguous memory left .*Allocate failed"):
            opened(folder)
        assert board.memory.live == 0


def test_without_a_device_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynq.Device, "_devices", [], raising=False)
    monkeypatch.delattr(pynq.Device, "_active_device", raising=False)
    with warnings.catch_warnings(), pytest.raises(UserError, match=r"pynq finds no board here; .* --engine golden"):
        warnings.simplefilter("ignore")
        open_board_engine(folder)


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError("Root permissions required.")])
def test_without_root_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    with toy_board():
        monkeypatch.setattr(pynq, "MMIO", refuse)
        with pytest.raises(UserError, match="for root alone; run it with sudo -E"):
            opened(folder)


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
        for picture in frames(3):
            slot = engine.acquire()
            slot.pixels[..., :3] = picture
            engine.submit(slot)


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
