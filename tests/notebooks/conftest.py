"""Notebooks executed once for all tests: the fifth on the PC's commands, and on its accelerator the others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fpga_facedet.engines.golden import GoldenEngine

from ..board_python import board_python
from . import overlays
from .workshop import PC_BOOK, Executed, Workshop


@pytest.fixture(scope="session")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    """Notebook 5, executed; its folder has the accelerator that the others run."""
    pytest.importorskip("finn", reason="needs the PC's environment (make setup)")
    place = tmp_path_factory.mktemp("pc")
    return Workshop(place, board_python("3.1.2"), place / "none").execute(PC_BOOK)


@pytest.fixture(scope="session")
def accelerators(regenerated: Executed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both accelerators: notebook 5's, and the one with other bits."""
    folder = tmp_path_factory.mktemp("accelerators")
    (folder / overlays.MODEL).symlink_to(regenerated.folder / f"build/{overlays.MODEL}-{overlays.BOARD}")
    overlays.build(folder)
    return folder


@pytest.fixture(scope="session")
def golden(accelerators: Path) -> Callable[[str], GoldenEngine]:
    """Return the golden engine of a model."""
    engines = {name: GoldenEngine(accelerators / name) for name in overlays.MODELS}
    return engines.__getitem__


@pytest.fixture
def workshop(accelerators: Path, tmp_path: Path) -> Callable[[str], Workshop]:
    """Make a workshop with a version of pynq; skips where that is not installed."""
    return lambda version: Workshop(tmp_path, board_python(version), accelerators)
