"""Vitis HLS on this machine: found, and run on an accelerator's HLS layers with its progress shown."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from fpga_facedet.compiler import layout
from fpga_facedet.compiler.hls.verilog import hls_segments, verilog_files, vitis_command
from fpga_facedet.compiler.hls.vitis_tcl import OPTIONS, SCRIPT, SETTING, VERSIONS, VITIS, stages
from fpga_facedet.compiler.tcl_text import STAGE
from fpga_facedet.errors import FacedetError, UserError
from fpga_facedet.files import explain_os_error
from fpga_facedet.manifest import Manifest
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.synthesis.vendor_tool import errors, find_program, reason, run_tool

LOG = "vitis.log"
"""All that Vitis HLS said, in the folder where it works."""
TOOL = "Vitis HLS"
PROGRAMS = ("vitis-run", "vitis_hls")
"""Either runs the script; the first came with 2023.2, the second goes with it."""
_LICENCE = re.compile(r"licen[cs]e", re.IGNORECASE)


class VitisError(FacedetError):
    """Vitis HLS could not make the Verilog; the message gives its own reason and names its log."""


def find_vitis(named: str | os.PathLike[str] | None = None) -> Path | None:
    """Return Vitis HLS's program: the one that is named, or the first of PROGRAMS on the PATH, or None.

    UserError where one is named that cannot be run or is none of PROGRAMS.
    """
    found = find_program(named, PROGRAMS, TOOL)
    if found is not None and found.name not in PROGRAMS:
        raise UserError(f"{found} is not {TOOL}'s program; give the path of {' or '.join(PROGRAMS)}.")
    return found


def run_vitis(
    folder: Path,
    progress: Progress | None = None,
    *,
    program: Path | None = None,
    options: Sequence[str] | None = None,
) -> None:
    """Make the Verilog of the HLS layers of the accelerator in `folder`; the log is LOG in `hls/vitis/`.

    Args:
        program: as `find_vitis` returns it, which is asked where this is None.
        options: of `vitis_tcl.OPTIONS`: what to do besides, or not to insist on; the words of the environment's
            FACEDET_HLS where this is None.

    Ctrl-C, or whatever else ends this call, ends Vitis HLS and all the processes it started. Raises UserError where
    there are no HLS layers, no Vitis HLS, an unknown option, or sources that are not the manifest's; VitisError where
    it fails or leaves no Verilog.
    """
    if options is None:
        options = os.environ.get(SETTING, "").split()
    manifest = _check(folder, options)
    chosen = program or find_vitis()
    if chosen is None:
        raise UserError(
            f"There is no {' and no '.join(PROGRAMS)} on the PATH; install Vitis HLS {' or '.join(VERSIONS)}, or run "
            f"'{vitis_command(folder)}' on a machine that has it and bring the folder hls back."
        )
    work = (folder / layout.HLS / VITIS).absolute()
    try:
        work.mkdir(exist_ok=True)
    except OSError as error:
        raise explain_os_error(work, error) from error
    named = stages(manifest.segments, options)
    log = work / LOG
    code = run_tool(
        TOOL, _command(chosen, work.parent / SCRIPT), work, log, named, progress or unwatched,
        {SETTING: " ".join(options)},
    )  # fmt: skip
    if code:
        raise VitisError(_failure(log, named, code))
    try:
        verilog_files(folder, manifest)
    except UserError as error:
        # A script that came to its end leaves it; what did not run the script may end well too.
        raise VitisError(f"{TOOL} ended without Verilog of these sources; all it said is in {log}.") from error


def _check(folder: Path, options: Sequence[str]) -> Manifest:
    """Return the manifest of the accelerator in `folder`; UserError where there is nothing that Vitis HLS could do."""
    unknown = [option for option in options if option not in OPTIONS]
    if unknown:
        raise UserError(f"There is no option '{unknown[0]}' for {TOOL}; choose of: {', '.join(OPTIONS)}.")
    layout.refuse_overlay(folder)
    manifest = Manifest.load(folder)
    if not hls_segments(manifest):
        raise UserError(f"The accelerator in {folder} has no HLS layers; build it with --layers hls.")
    layout.check_hls(folder, manifest)
    return manifest


def _command(program: Path, script: Path) -> list[str]:
    unified = ["--mode", "hls", "--tcl"] if program.name == PROGRAMS[0] else ["-f"]
    return [str(program.absolute()), *unified, str(script)]


def _failure(log: Path, named: Sequence[str], code: int) -> str:
    """Return in a sentence why the tool failed: a licence, our script's reason, or the stage and its first error."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    licence = [line for line in errors(lines) if _LICENCE.search(line)]
    if licence:
        return f"{TOOL} has no licence (exit code {code}): {licence[0].strip().rstrip('.')}. All it said is in {log}."
    begun = [line[len(STAGE) :] for line in lines if line.startswith(STAGE) and line[len(STAGE) :] in named]
    where = f"{begun[-1]}, " if begun else ""
    return f"{TOOL} failed ({where}exit code {code}): {reason(log, named)} All it said is in {log}."
