"""Which hardware, overlay and options the board engine takes; runs where pynq is (tests/board/test_under_pynq.py)."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynq", reason="needs pynq: runs in the board's environment")

import pynq

from fpga_facedet.engines.board import BoardEngine, open_board_engine
from fpga_facedet.errors import UserError
from fpga_facedet.software_board import Fault

from .on_board import damaged, opened, right, toy_board
from .toy import MANIFEST, frames


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wrong_id", "answers with the ID 0x00000000, a facedet overlay has 0x46444554; load an overlay of facedet"),
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


def test_options_out_of_range_are_refused_while_another_engine_runs(folder: Path) -> None:
    with toy_board(), opened(folder) as engine:
        with pytest.raises(UserError, match="depth 1"):
            opened(folder, depth=1)
        assert all(right(list(engine.infer(frames(2))), frames(2)))


def test_a_damaged_description_is_named(folder: Path, tmp_path: Path) -> None:
    copy = damaged(folder, tmp_path)
    with toy_board(), pytest.raises(UserError, match=r"cannot read .* its .hwh \(syntax error.*copy the whole folder"):
        opened(copy)


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
    sentence = r"pynq finds no board here; .*sudo -i.*the engine golden"
    with warnings.catch_warnings(), pytest.raises(UserError, match=sentence):
        warnings.simplefilter("ignore")
        open_board_engine(folder)


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError("Root permissions required.")])
def test_without_root_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    with toy_board():
        monkeypatch.setattr(pynq, "MMIO", refuse)
        with pytest.raises(UserError, match=r"for root alone; use a root shell \(sudo -i\)"):
            opened(folder)
