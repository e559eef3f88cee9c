"""The board's Python 3.10 with a real pynq on this machine, for the tests that hand a program over to it."""

from pathlib import Path

import pytest

from .conftest import REPOSITORY

PYNQS = ("3.0.1", "3.1.2")
"""The versions of pynq that the PYNQ images have."""


def find_board_python(version: str) -> Path | None:
    """Return the interpreter of the environment with pynq `version`, or None where it is missing, or half made."""
    environment = REPOSITORY / f".venv-board-{version}"
    return environment / "bin" / "python" if (environment / ".ready").exists() else None


def board_python(version: str) -> Path:
    """Return the interpreter of the environment with pynq `version`; skip where there is none."""
    python = find_board_python(version)
    if python is None:
        pytest.skip(f"needs Python 3.10 with pynq {version} in .venv-board-{version} (make boards)")
    return python
