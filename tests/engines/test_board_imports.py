"""What a machine without pynq sees of the board engine."""

import subprocess
import sys
from pathlib import Path

import pytest

from fpga_facedet.files import sha256_of

from .test_overlay_folder import write

BLOCKED = "import sys; sys.modules.update(dict.fromkeys(['pynq', 'cv2']))"


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", f"{BLOCKED}\n{code}"], capture_output=True, text=True)


@pytest.mark.parametrize("module", ["engines.board", "engines.ring", "engines.overlay_folder", "board"])
def test_it_imports_without_pynq_and_without_opencv(module: str) -> None:
    result = python(f"import fpga_facedet.{module}")
    assert result.returncode == 0, result.stderr


def test_without_pynq_opening_says_so_in_one_sentence(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert sha256_of(folder / "toy.bit")
    for code in (
        f"from fpga_facedet.engines.board import open_board_engine as run; argument = {str(folder)!r}",
        "import fpga_facedet.board; run = getattr; argument = fpga_facedet.board, 'FaceDetector'",
    ):
        result = python(
            f"{code}\n"
            "from fpga_facedet.errors import UserError\n"
            "try: run(*argument) if isinstance(argument, tuple) else run(argument)\n"
            "except UserError as error: print(error)"
        )
        assert result.stdout == (
            "The engine board needs a PYNQ board: there is no package pynq here; on a board use its image's Python "
            "(sudo -i), on a PC the engine golden.\n"
        ), result.stderr
