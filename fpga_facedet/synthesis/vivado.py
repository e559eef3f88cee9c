"""Vivado on this machine: found, and run on a project with its progress shown."""

import os
from pathlib import Path

from fpga_facedet.errors import FacedetError
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.synthesis.tcl import SCRIPT, STAGES
from fpga_facedet.synthesis.vendor_tool import find_program, reason, run_tool

LOG = "vivado.log"
"""All that Vivado said, in the folder of the script."""


class VivadoError(FacedetError):
    """Vivado could not make the bitstream; the message gives its own reason and names its log."""


def find_vivado(named: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the program `vivado`: the one that is named, or the one on the PATH, or None.

    UserError where one is named and cannot be run.
    """
    return find_program(named, ("vivado",), "Vivado")


def run_vivado(vivado: Path, project: Path, progress: Progress | None = None) -> None:
    """Run the script in the folder `project`; its log is LOG there.

    Ctrl-C, or whatever else ends this call, ends Vivado and all the processes it started. VivadoError where it fails,
    UserError where it cannot be started.
    """
    command = [str(vivado.absolute()), "-mode", "batch", "-nojournal", "-nolog", "-notrace", "-source", SCRIPT]
    log = project / LOG
    code = run_tool("Vivado", command, project, log, STAGES, progress or unwatched)
    if code:
        why = reason(log, STAGES)
        raise VivadoError(f"Vivado made no bitstream (exit code {code}): {why} All it said is in {log}.")
