"""What runs on the board, tested by each of the board's Python environments that is on this machine."""

import subprocess
from pathlib import Path

import pytest

from ..board_python import PYNQS, board_python
from ..conftest import REPOSITORY

BOARD_TESTS = {
    "engine": (
        "tests/engines/test_board.py",
        "tests/engines/test_board_faults.py",
        "tests/engines/test_board_interrupts.py",
        "tests/engines/test_board_opening.py",
        "tests/engines/test_slots.py",
        "tests/engines/test_ring.py",
        "tests/engines/test_overlay_folder.py",
        "tests/synthesis/test_hwh.py",
    ),
    "detector": ("tests/board",),
    "software-board": ("tests/software_board",),
    # What needs no pynq, but Python 3.10 and the board's OpenCV: once is enough.
    "host": (
        "tests/host",
        "tests/stream",
        "tests/native/test_binding.py",
        "tests/test_letterbox.py",
        "tests/test_detections.py",
        "tests/test_manifest.py",
        "tests/test_boards.py",
        "-m",
        "not slow",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("room", "version"),
    [(room, version) for version in PYNQS for room in BOARD_TESTS if room != "host" or version == PYNQS[-1]],
)
def test_the_board_tests_hold_under_pynq(room: str, version: str, tmp_path: Path) -> None:
    tests = BOARD_TESTS[room]
    command = [board_python(version), "-m", "pytest", "-q", *tests, "--ignore", __file__]
    command += ["-p", "no:cacheprovider", "--basetemp", tmp_path / "inner"]
    result = subprocess.run([str(part) for part in command], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, f"under pynq {version}:\n{result.stdout}\n{result.stderr}"
    last = result.stdout.strip().splitlines()[-1]
    assert " passed" in last, f"nothing ran under pynq {version}: {last}"
