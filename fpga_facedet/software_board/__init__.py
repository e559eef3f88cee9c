"""A board in software, behind the real pynq: for tests, and for the notebooks on a PC without a board.

    from fpga_facedet.software_board import SoftwareBoard, golden_compute, prepare_overlay

    bit = prepare_overlay(accelerator, folder)
    with SoftwareBoard(engine.manifest, golden_compute(engine)) as board:
        overlay = pynq.Overlay(str(bit))

`SoftwareBoard` needs pynq 3.0.1 or 3.1.2 (Python 3.10); the rest does not.
"""

from typing import TYPE_CHECKING, Any

from fpga_facedet.errors import UserError
from fpga_facedet.software_board.dma import Misuse
from fpga_facedet.software_board.faults import FAULTS, SILENT, Fault
from fpga_facedet.software_board.golden import golden_compute
from fpga_facedet.software_board.overlay import prepare_overlay
from fpga_facedet.software_board.simulated import shell_compute

if TYPE_CHECKING:
    from fpga_facedet.software_board.device import SoftwareBoard

__all__ = ["FAULTS", "SILENT", "Fault", "Misuse", "SoftwareBoard", "golden_compute", "prepare_overlay", "shell_compute"]


def __getattr__(name: str) -> Any:
    """Import the device only where it is asked for: it is the part that needs pynq."""
    if name != "SoftwareBoard":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    try:
        from fpga_facedet.software_board.device import SoftwareBoard
    except ModuleNotFoundError as error:
        raise UserError(
            f"The software board needs the package {error.name}, which is not installed; "
            "make the board's Python environment with requirements/board.sh 3.1.2."
        ) from error
    return SoftwareBoard
