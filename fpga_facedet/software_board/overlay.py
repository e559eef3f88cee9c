"""An overlay folder for the software board: everything that pynq and the board engine look for, without a bitstream."""

import os
from dataclasses import replace
from pathlib import Path

from fpga_facedet.boards import get_board
from fpga_facedet.files import sha256_of, write_bytes
from fpga_facedet.manifest import FILE_NAME, Manifest

PLACEHOLDER = (
    b"This is no bitstream: it stands in the place of one for fpga_facedet.software_board, and no FPGA takes it.\n"
    b"facedet overlay build makes a real one where Vivado is.\n"
)
DEFAULT_BOARD = "pynq-z2"


def prepare_overlay(accelerator: Manifest | str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Write the overlay of an accelerator (its folder, or its manifest) for the software board into `folder`.

    The .hwh is the one that belongs to the project of `facedet overlay build`; the .bit is a placeholder that says so.
    Returns the .bit's path, which pynq.Overlay takes. UserError where the folder cannot be written.
    """
    from fpga_facedet.synthesis.design import board_design
    from fpga_facedet.synthesis.hwh import write_hwh

    manifest = accelerator if isinstance(accelerator, Manifest) else Manifest.load(accelerator)
    bit = Path(folder) / f"{manifest.model.name}.bit"
    hwh = bit.with_suffix(".hwh")
    write_bytes(bit, PLACEHOLDER)
    write_hwh(board_design(manifest, get_board(manifest.board or DEFAULT_BOARD)), hwh)
    files = manifest.files | {"bit_sha256": sha256_of(bit), "hwh_sha256": sha256_of(hwh)}
    replace(manifest, files=files).save(bit.with_name(FILE_NAME))
    return bit
