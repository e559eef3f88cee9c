"""The stand-in for Vivado, and a small accelerator to build overlays of."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fpga_facedet.boards import get_board
from fpga_facedet.compiler import layout
from fpga_facedet.synthesis.design import Design, board_design

from ..verification import tiny

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def stand_in() -> Path:
    """The program that stands in for Vivado; it needs a Tcl interpreter."""
    if shutil.which("tclsh") is None:
        pytest.skip("needs tclsh (Debian: apt-get install tcl)")
    return HERE / "vivado"


@pytest.fixture
def design() -> Design:
    return board_design(tiny.MANIFEST, get_board("pynq-z2"))


@pytest.fixture
def accelerator(tmp_path: Path) -> Path:
    """The tiny accelerator, with the digests that a build notes."""
    folder = tiny.write(tmp_path / "accelerator", share_simulators=False)
    (folder / layout.GOLDEN).write_bytes(b"a golden model")
    replace(tiny.MANIFEST, part="xc7z020clg400-1", files=layout.digests(folder)).save(folder / "accelerator.json")
    return folder
