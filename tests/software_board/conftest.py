"""The real pynq on the software board, with the tiny accelerator's overlay."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fpga_facedet.software_board import golden_compute, prepare_overlay

from ..verification import tiny

if TYPE_CHECKING:
    from fpga_facedet.software_board import SoftwareBoard


@pytest.fixture(scope="session")
def bit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The placeholder .bit of the tiny accelerator's overlay."""
    return prepare_overlay(tiny.MANIFEST, tmp_path_factory.mktemp("overlay"))


@pytest.fixture
def board() -> Iterator[Callable[..., "SoftwareBoard"]]:
    """Make an installed software board, which ends with the test; takes the arguments of SoftwareBoard."""
    pytest.importorskip("pynq", reason="the software board needs pynq (requirements/board.sh)")
    from fpga_facedet.software_board import SoftwareBoard

    with ExitStack() as boards:

        def make(*faults: Any, **options: Any) -> SoftwareBoard:
            compute = golden_compute(tiny.TinyGolden())
            return boards.enter_context(SoftwareBoard(tiny.MANIFEST, compute, faults=faults, **options))

        yield make
