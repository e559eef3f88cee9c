"""From an engine's name to the engine; each is imported only when it is asked for."""

from pathlib import Path

from fpga_facedet.engines.protocol import Engine
from fpga_facedet.errors import UserError
from fpga_facedet.progress import Progress

NAMES = ("golden", "rtl", "csim", "board")


def open_engine(name: str, model: Path, accelerator: Path | None = None, progress: Progress | None = None) -> Engine:
    """Open engine `name`: `golden` runs `model`, or what `accelerator` was built from.

    `rtl` and `csim` simulate `accelerator`, whose layers are RTL for the one, HLS (or both) for the other. `board`
    loads the overlay whose folder `accelerator` is. `progress` is told what goes on, and its share (0..1), while a
    simulator is compiled. Raises UserError for an unknown name, for all but `golden` without a folder, or where a
    package is missing that `golden` needs.
    """
    if name == "golden":
        return _golden(accelerator or model)
    if name in ("rtl", "csim"):
        if accelerator is None:
            raise UserError(f"The engine {name} simulates an accelerator; give its folder with --accelerator DIR.")
        if name == "csim":
            from fpga_facedet.engines.csim import CsimEngine

            return CsimEngine(accelerator, progress)
        from fpga_facedet.engines.rtl import RtlEngine

        return RtlEngine(accelerator, progress)
    if name == "board":
        if accelerator is None:
            raise UserError("The engine board drives an overlay; give its folder with --accelerator DIR.")
        from fpga_facedet.engines.board import open_board_engine

        return open_board_engine(accelerator)
    raise UserError(f"Unknown engine '{name}'; choose one of: {', '.join(NAMES)}.")


def _golden(path: Path) -> Engine:
    """Open the golden engine, whose packages a board does not have."""
    try:
        from fpga_facedet.engines.golden import GoldenEngine

        return GoldenEngine(path)
    except ModuleNotFoundError as error:
        raise UserError(
            f"The engine golden needs the package {error.name}, which is not installed; "
            "on a board give --engine board, on a PC install fpga-facedet[golden]."
        ) from error
