"""What a finished build leaves besides its steps, and how it takes the place of an earlier build's."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

from fpga_facedet.compiler import layout, report
from fpga_facedet.compiler.folding import SEARCH_FILE
from fpga_facedet.compiler.hls.vitis_tcl import VERILOG, VITIS
from fpga_facedet.compiler.report_findings import FIFOS_FILE, SOURCES_KEY, SYNTHESIS_FILE
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import EVIDENCE, FILE_NAME, RTL, Manifest

_FOUND_OUT = (FIFOS_FILE, SYNTHESIS_FILE)
"""What simulation and yosys said of a finished build since."""
_RESULTS = (
    *(layout.RTL, layout.HLS, layout.GOLDEN, SEARCH_FILE, *_FOUND_OUT),
    *(report.JSON_FILE, report.HTML_FILE, FILE_NAME),
)
"""What a finished build leaves, the manifest last; the C++ only where a layer is HLS."""


def with_what_still_holds(manifest: Manifest, out: Path, fresh: Path) -> Manifest:
    """Return `manifest` with what was simulated or counted of the build in `out`, where that is the same hardware.

    Its files are copied to the new ones in `fresh`. Of other SystemVerilog what was found out says nothing.
    """
    try:
        earlier = Manifest.load(out)
    except UserError:
        return manifest
    ours, theirs = ((made.files.get(SOURCES_KEY), made.board, made.clock_mhz) for made in (manifest, earlier))
    if manifest.layer_style != RTL or ours != theirs:
        return manifest
    for name in _FOUND_OUT:
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(out / name, fresh / name)
    figures = tuple(figure for figure in earlier.figures if figure.evidence != EVIDENCE[0])
    return replace(manifest, figures=manifest.figures + figures, versions=earlier.versions | manifest.versions)


def put_in_place(fresh: Path, out: Path) -> None:
    """Put the results in `fresh`, all whole, in the place of those in `out`; `fresh` is gone then.

    It lies in `out`: nothing is done but renaming, and meanwhile no manifest vouches for what is there.
    """
    (out / FILE_NAME).unlink(missing_ok=True)
    _keep_what_vitis_made(fresh, out)
    for name in _RESULTS:
        earlier, made = out / name, fresh / name
        if earlier.is_dir():
            earlier.rename(fresh / f"{name}.replaced")
        if made.exists():
            made.replace(earlier)
        else:
            earlier.unlink(missing_ok=True)
    shutil.rmtree(fresh)


def _keep_what_vitis_made(fresh: Path, out: Path) -> None:
    """Move an earlier build's results of Vitis HLS, which know by themselves what they were made of, to the new C++."""
    for name in (VITIS, VERILOG):
        made, place = (folder / layout.HLS / name for folder in (out, fresh))
        if made.is_dir() and place.parent.is_dir():
            made.rename(place)
