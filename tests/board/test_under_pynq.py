"""The tests that need pynq, run by each of the board's Python environments that is on this machine."""

import subprocess
from pathlib import Path

import pytest

from ..conftest import REPOSITORY

BOARD_TESTS = ("tests/engines/test_board.py", "tests/board", "tests/software_board")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.0.1", "3.1.2"])
@pytest.mark.parametrize("tests", BOARD_TESTS)
def test_the_board_tests_hold_under_pynq(version: str, tests: str, tmp_path: Path) -> None:
    environment = REPOSITORY / f".venv-board-{version}"
    if not (environment / ".ready").exists():
        pytest.skip(f"needs {environment.name}; make setup makes it where Python 3.10 is")
    command = [environment / "bin" / "python", "-m", "pytest", "-q", tests, "--ignore", __file__]
    command += ["-p", "no:cacheprovider", "--basetemp", tmp_path / "inner"]
    result = subprocess.run([str(part) for part in command], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, f"under pynq {version}:\n{result.stdout}\n{result.stderr}"
    last = result.stdout.strip().splitlines()[-1]
    assert " passed" in last, f"nothing ran under pynq {version}: {last}"
