"""Vivado on this machine: found, run with its progress shown, and stopped with all it started."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from fpga_facedet.errors import FacedetError, UserError
from fpga_facedet.files import explain_os_error
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.synthesis.tcl import SCRIPT, STAGE, STAGES

LOG = "vivado.log"
"""All that Vivado said, in the folder of the script."""
_STOP_SECONDS = 10.0


class VivadoError(FacedetError):
    """Vivado could not make the bitstream; the message gives its own reason and names its log."""


def find_vivado(named: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the program `vivado`: the one that is named, or the one on the PATH, or None.

    UserError where one is named and cannot be run.
    """
    if named is None:
        found = shutil.which("vivado")
        return Path(found) if found else None
    found = shutil.which(named)
    if found is None:
        raise UserError(f"There is no program {named} to run; give the path of Vivado's program 'vivado'.")
    return Path(found)


def run_vivado(vivado: Path, project: Path, progress: Progress | None = None) -> None:
    """Run the script in the folder `project`; its log is LOG there.

    Ctrl-C, or whatever else ends this call, ends Vivado and all the processes it started. VivadoError where it fails,
    UserError where it cannot be started.
    """
    command = [str(vivado.absolute()), "-mode", "batch", "-nojournal", "-nolog", "-notrace", "-source", SCRIPT]
    report = progress or unwatched
    log = project / LOG
    try:
        with open(log, "w", encoding="utf-8") as kept:
            code = _watch(command, project, kept.write, report)
    except OSError as error:
        raise explain_os_error(log, error) from error
    if code:
        raise VivadoError(f"Vivado made no bitstream (exit code {code}): {_reason(log)} All it said is in {log}.")


def _watch(command: list[str], folder: Path, keep: Callable[[str], object], report: Progress) -> int:
    """Run `command`, keep all its words, report its stages; return its exit code."""
    stages = [STAGE + stage for stage in STAGES]
    # Vivado runs synthesis and routing as processes of their own: a group lets us end them all. A Ctrl-C just now would
    # leave it running with nobody who knows it.
    release = _hold_interrupt()
    try:
        child = subprocess.Popen(
            command, cwd=folder, text=True, errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        release()
        raise UserError(f"Cannot run {command[0]}: {error.strerror}; check that it is Vivado's program.") from error
    try:
        release()
        assert child.stdout
        for line in child.stdout:
            keep(line)
            if line.rstrip() in stages:
                stage = stages.index(line.rstrip())
                report(f"Vivado: {STAGES[stage]}", stage / len(stages))
        return child.wait()
    finally:
        _end_group(child)


def _hold_interrupt() -> Callable[[], None]:
    """Hold Ctrl-C back until the function that this returns is called; where one came, that raises it."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        # Nothing is raised here then.
        return lambda: None
    handle = before
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))

    def release() -> None:
        signal.signal(signal.SIGINT, handle)
        if came:
            handle(*came[0])

    return release


def _end_group(child: "subprocess.Popen[str]") -> None:
    """End `child` and its group, kindly first: Vivado then removes its temporary files."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_STOP_SECONDS)
    if child.stdout:
        child.stdout.close()


def _reason(log: Path) -> str:
    """Return the line of the log that says why, as a sentence."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    ours = [line for line in lines if line.startswith(STAGE) and line[len(STAGE) :] not in (*STAGES, "done")]
    errors = [line for line in lines if line.startswith("ERROR")]
    found = (ours or errors or [line for line in lines if line.strip()] or ["it said nothing"])[0]
    return found.removeprefix(STAGE).strip().rstrip(".") + "."
