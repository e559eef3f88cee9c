"""What lies where in the folder of an accelerator, and whether it is still what the build left there.

Every engine reads these names; nothing here needs a compiler's package.
"""

import hashlib
from pathlib import Path

from fpga_facedet.errors import UserError
from fpga_facedet.files import sha256_of
from fpga_facedet.manifest import Manifest

GOLDEN = "golden.onnx"
"""The golden model."""

RTL = "rtl"
"""The folder of the SystemVerilog and of the memory contents it reads."""

FILE_LIST = "files.txt"
"""Names, in RTL, the SystemVerilog sources in compile order."""

TOP = "facedet_core"
"""The accelerator's top module."""

TOP_FILE = "top.sv"
"""The top module's source, in RTL."""

_GOLDEN_DIGEST, _RTL_DIGEST = "golden_sha256", "rtl_sha256"


def digests(folder: Path) -> dict[str, str]:
    """Return the entries of a manifest's `files` that tie it to the golden model and to the RTL in `folder`."""
    return {_GOLDEN_DIGEST: sha256_of(folder / GOLDEN), _RTL_DIGEST: _rtl_digest(folder / RTL)}


def check_golden(folder: Path, manifest: Manifest) -> None:
    """Raise UserError where the golden model in `folder` is not the one `manifest` was written with."""
    _compare(folder / GOLDEN, sha256_of(folder / GOLDEN), manifest.files.get(_GOLDEN_DIGEST))


def check_rtl(folder: Path, manifest: Manifest) -> None:
    """Raise UserError where a source or a memory in `folder` is not the one `manifest` was written with."""
    _compare(folder / RTL, _rtl_digest(folder / RTL), manifest.files.get(_RTL_DIGEST))


def sources(folder: Path) -> list[Path]:
    """Return the SystemVerilog files of the accelerator in `folder`, in compile order; UserError where one is missing.

    The last one is the top.
    """
    listing = folder / RTL / FILE_LIST
    try:
        names = listing.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"Cannot read {listing}: {error.strerror}; build the accelerator again.") from error
    found = [folder / RTL / name.strip() for name in names if name.strip()]
    missing = [source for source in found if not source.is_file()]
    if missing or not found:
        lacks = missing[0] if missing else "any source"
        raise UserError(f"The accelerator lacks {lacks}, listed in {listing}; build the accelerator again.")
    return found


def _rtl_digest(rtl: Path) -> str:
    """Return one digest of the sources, in their order, and of the memories."""
    digest = hashlib.sha256()
    for path in (*sources(rtl.parent), *sorted(rtl.glob("*.dat"))):
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _compare(path: Path, found: str, recorded: str | None) -> None:
    """Refuse what differs; a manifest written by hand records nothing, and then nothing is compared."""
    if recorded is not None and found != recorded:
        raise UserError(
            f"{path} does not belong to the manifest beside it or was changed since; build the accelerator again "
            "(facedet build)."
        )
