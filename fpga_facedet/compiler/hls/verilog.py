"""The Verilog that Vitis HLS made of an accelerator's HLS layers, and whether it was made of these sources."""

import shlex
from pathlib import Path

from fpga_facedet.compiler import layout
from fpga_facedet.compiler.hls.vitis_tcl import MADE_FROM, SCRIPT, TEST_DATA, VERILOG, VERSIONS, hls_names
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import Manifest


def hls_segments(manifest: Manifest) -> list[str]:
    """Return the names of the HLS segments, along the pipeline; none for an accelerator of SystemVerilog alone."""
    return hls_names(manifest.segments)


def vitis_command(folder: Path) -> str:
    """Return the shell's line that makes the Verilog of the accelerator in `folder`."""
    return f"cd {shlex.quote(str(folder / layout.HLS))} && vitis_hls -f {SCRIPT}"


def changed_source(folder: Path, kept: Path) -> str | None:
    """Return the first HLS source of the accelerator in `folder` that differs in the copy `kept`, or None.

    What only the test bench reads makes no Verilog, and is not compared.
    """
    hls = folder / layout.HLS
    for path in layout.hls_sources(folder):
        name = path.relative_to(hls)
        if name.parts[0] == TEST_DATA:
            continue
        copy = kept / name
        if not copy.is_file() or copy.read_bytes() != path.read_bytes():
            return str(name)
    return None


def verilog_files(folder: Path, manifest: Manifest) -> list[Path]:
    """Return the Verilog (*.v) and the memories (*.dat) of all HLS segments of the accelerator in `folder`.

    Empty where it has none. UserError, with the command to run, where Vitis HLS has not made them or has made them of
    other sources.
    """
    names = hls_segments(manifest)
    if not names:
        return []
    layout.check_hls(folder, manifest)
    made = folder / layout.HLS / VERILOG
    versions = " or ".join(VERSIONS)
    missing = [name for name in names if not (made / name / f"{name}.v").is_file()]
    if missing:
        raise UserError(
            f"There is no Verilog of the HLS layers in {made / missing[0]}; run '{vitis_command(folder)}' with Vitis "
            f"HLS {versions}, here or on another machine, and this again."
        )
    changed = changed_source(folder, made / MADE_FROM)
    if changed is not None:
        raise UserError(
            f"The Verilog of the HLS layers in {made} is of other sources ({changed} differs); run "
            f"'{vitis_command(folder)}' with Vitis HLS {versions} again."
        )
    return [path for name in names for kind in ("*.v", "*.dat") for path in sorted((made / name).glob(kind))]
