"""Where the C++ library of HLS layers lies: header files that each accelerator gets a copy of."""

from pathlib import Path

from fpga_facedet.errors import UserError

FOLDER = "facedet"
"""The library's folder, in this project and in an accelerator's sources."""


def headers() -> list[Path]:
    """Return the library's header files by name.

    They lie beside the package in a checkout (`hls/`) and inside it once installed (`_hls/`). Raises UserError where
    neither holds them.
    """
    package = Path(__file__).resolve().parents[2]
    for folder in (package.parent / "hls", package / "_hls"):
        found = sorted((folder / FOLDER).glob("*.hpp"))
        if found:
            return found
    raise UserError("This installation of fpga-facedet lacks the HLS library; install the package again.")
