"""The overlays that are shipped are what the code writes today, and the script that makes them does."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from fpga_facedet.boards import get_board
from fpga_facedet.files import sha256_of
from fpga_facedet.manifest import FILE_NAME, Manifest
from fpga_facedet.synthesis.design import board_design
from fpga_facedet.synthesis.hwh import hwh
from fpga_facedet.synthesis.package import readme

from ..conftest import REPOSITORY

BITSTREAMS = REPOSITORY / "bitstreams"
SHIPPED = sorted(path.parent for path in BITSTREAMS.glob(f"*/*/{FILE_NAME}"))


def test_each_board_has_the_default_model() -> None:
    assert {f"{folder.parent.name}/{folder.name}" for folder in SHIPPED} >= {
        "pynq-z1/lpyolo-4w4a", "pynq-z2/lpyolo-4w4a",
    }  # fmt: skip


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_shipped_folder_is_what_the_code_writes(folder: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(folder)
    board = get_board(folder.parent.name)
    assert (manifest.board, manifest.part, manifest.model.name) == (board.name, board.part, folder.name)
    manifest.save(tmp_path / FILE_NAME)
    assert (tmp_path / FILE_NAME).read_bytes() == (folder / FILE_NAME).read_bytes()

    bit, description = folder / f"{folder.name}.bit", folder / f"{folder.name}.hwh"
    design = board_design(manifest, board)
    assert (folder / "README.md").read_text() == readme(manifest, design, bit.exists())
    if not bit.exists():
        assert description.read_text() == hwh(design)
    recorded = {key: value for key, value in manifest.files.items() if key in ("bit_sha256", "hwh_sha256")}
    found = {f"{path.suffix[1:]}_sha256": sha256_of(path) for path in (bit, description) if path.exists()}
    assert recorded == found
    assert (folder / manifest.files["report"]).is_file()


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_figure_is_routed_only_where_there_is_a_bitstream(folder: Path) -> None:
    manifest = Manifest.load(folder)
    routed = any(figure.evidence == "routed" for figure in manifest.figures)
    assert routed == (folder / f"{folder.name}.bit").exists()
    listed = (BITSTREAMS / "README.md").read_text()
    state = "made" if routed else "not made yet"
    assert f"| {folder.parent.name} | {folder.name} | {state} |" in listed


@pytest.fixture
def facedet(tmp_path: Path) -> Path:
    """A program in the place of facedet that notes how it is called."""
    program = tmp_path / "facedet"
    program.write_text('#!/bin/sh\necho "$@" >>"$CALLS"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.mark.parametrize("called", ["/absolute", "./relative", "../elsewhere"])
def test_the_script_builds_the_accelerator_anew(facedet: Path, tmp_path: Path, called: str) -> None:
    """In a copy of the folder, so that nothing of the checkout is touched; an old accelerator is not believed."""
    script = tmp_path / "checkout" / "bitstreams" / "build.sh"
    script.parent.mkdir(parents=True)
    script.write_bytes((BITSTREAMS / "build.sh").read_bytes())
    old = tmp_path / "checkout" / "build" / "lpyolo-4w4a-pynq-z2" / FILE_NAME
    old.parent.mkdir(parents=True)
    old.write_text("of an older model")
    calls, here = tmp_path / "calls", tmp_path
    named = {"/absolute": str(facedet), "./relative": "./facedet", "../elsewhere": "../facedet"}[called]
    if called == "../elsewhere":
        here = tmp_path / "else where"
        here.mkdir()
    environment = os.environ | {"FACEDET": named, "CALLS": str(calls)}
    subprocess.run(["sh", str(script), "pynq-z2", "lpyolo-4w4a"], cwd=here, env=environment, check=True)
    build = "build --model lpyolo-4w4a --board pynq-z2 --out build/lpyolo-4w4a-pynq-z2"
    overlay = "overlay build build/lpyolo-4w4a-pynq-z2 --board pynq-z2 --out bitstreams/pynq-z2/lpyolo-4w4a"
    assert calls.read_text().splitlines() == [build, overlay]


def test_the_script_finds_the_program_of_the_checkout(facedet: Path, tmp_path: Path) -> None:
    script, program = tmp_path / "checkout/bitstreams/build.sh", tmp_path / "checkout/.venv/bin/facedet"
    for path, source in ((script, BITSTREAMS / "build.sh"), (program, facedet)):
        path.parent.mkdir(parents=True)
        path.write_bytes(source.read_bytes())
        path.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key != "FACEDET"}
    calls = tmp_path / "calls"
    subprocess.run([script, "pynq-z1", "m"], cwd=tmp_path, env=environment | {"CALLS": str(calls)}, check=True)
    assert len(calls.read_text().splitlines()) == 2


def test_the_script_says_how_it_is_used() -> None:
    said = subprocess.run(["sh", str(BITSTREAMS / "build.sh")], capture_output=True, text=True, check=False)
    assert said.returncode == 2 and said.stderr.startswith("usage: bitstreams/build.sh BOARD MODEL")


def test_the_script_can_be_run() -> None:
    assert os.access(BITSTREAMS / "build.sh", os.X_OK)
