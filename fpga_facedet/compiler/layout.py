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

HLS = "hls"
"""The folder of the C++ for Vitis HLS, where a layer is HLS."""

FILE_LIST = "files.txt"
"""Names, in RTL, the SystemVerilog sources in compile order; in HLS, every file that the build wrote."""

TOP = "facedet_core"
"""The accelerator's top module."""

TOP_FILE = "top.sv"
"""The top module's source, in RTL."""

_GOLDEN_DIGEST, _RTL_DIGEST, _HLS_DIGEST = "golden_sha256", "rtl_sha256", "hls_sha256"


def is_accelerator(folder: Path) -> bool:
    """Return whether `folder` holds an accelerator's hardware, as `facedet build` writes it; an overlay has none."""
    return (folder / RTL / FILE_LIST).is_file()


def refuse_overlay(folder: Path) -> None:
    """Raise UserError where `folder` is an overlay, which has a manifest too, but neither sources nor golden model."""
    if any(folder.glob("*.hwh")) and not is_accelerator(folder):
        raise UserError(
            f"{folder} is an overlay for a board; give the accelerator it was made of, a folder that `facedet build` "
            "wrote."
        )


def digests(folder: Path) -> dict[str, str]:
    """Return the entries of a manifest's `files` that tie it to the golden model and to the sources in `folder`."""
    found = {_GOLDEN_DIGEST: sha256_of(folder / GOLDEN), _RTL_DIGEST: _rtl_digest(folder / RTL)}
    return {**found, _HLS_DIGEST: hls_digest(folder)} if (folder / HLS).is_dir() else found


def check_golden(folder: Path, manifest: Manifest) -> None:
    """Raise UserError where the golden model in `folder` is not the one `manifest` was written with."""
    _compare(folder / GOLDEN, sha256_of(folder / GOLDEN), manifest.files.get(_GOLDEN_DIGEST))


def check_rtl(folder: Path, manifest: Manifest) -> None:
    """Raise UserError where a source or a memory in `folder` is not the one `manifest` was written with."""
    _compare(folder / RTL, _rtl_digest(folder / RTL), manifest.files.get(_RTL_DIGEST))


def check_hls(folder: Path, manifest: Manifest) -> None:
    """Raise UserError where a file of the C++ in `folder` is not the one `manifest` was written with."""
    _compare(folder / HLS, hls_digest(folder), manifest.files.get(_HLS_DIGEST))


def sources(folder: Path) -> list[Path]:
    """Return the SystemVerilog files of the accelerator in `folder`, in compile order; UserError where one is missing.

    The last one is the top.
    """
    refuse_overlay(folder)
    return _listed(folder / RTL)


def hls_sources(folder: Path) -> list[Path]:
    """Return every file of the C++ in `folder` that the build wrote, in its order; UserError where one is missing.

    What Vitis HLS leaves beside them is not among them.
    """
    refuse_overlay(folder)
    if not (folder / HLS).is_dir():
        raise UserError(
            f"The accelerator in {folder} has no HLS layers; build it with them (facedet build --layers hls)."
        )
    return _listed(folder / HLS)


def hls_digest(folder: Path) -> str:
    """Return one digest of the C++ of the accelerator in `folder`, file by file under its name."""
    digest = hashlib.sha256()
    for path in hls_sources(folder):
        digest.update(f"{path.relative_to(folder / HLS)} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _listed(folder: Path) -> list[Path]:
    """Return the files that `folder` lists; UserError where there is no list, or not all that it names."""
    listing = folder / FILE_LIST
    try:
        names = listing.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"Cannot read {listing}: {error.strerror}; build the accelerator again.") from error
    found = [folder / name.strip() for name in names if name.strip()]
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
