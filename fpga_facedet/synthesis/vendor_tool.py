"""AMD's tools as processes: found, run with their progress shown, and stopped with all they started."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from fpga_facedet.compiler.tcl_text import STAGE
from fpga_facedet.errors import UserError
from fpga_facedet.files import explain_os_error
from fpga_facedet.progress import Progress

_STOP_SECONDS = 10.0


def find_program(named: str | os.PathLike[str] | None, names: Sequence[str], tool: str) -> Path | None:
    """Return the program that is `named`, or the first of `names` that is on the PATH, or None.

    UserError where one is named and cannot be run; `tool` is how a person calls it.
    """
    if named is None:
        found = next(filter(None, map(shutil.which, names)), None)
        return Path(found) if found else None
    found = shutil.which(named)
    if found is None:
        programs = " or ".join(f"'{name}'" for name in names)
        raise UserError(f"There is no program {named} to run; give the path of {tool}'s program {programs}.")
    return Path(found)


def run_tool(
    tool: str,
    command: Sequence[str],
    folder: Path,
    log: Path,
    stages: Sequence[str],
    report: Progress,
    settings: Mapping[str, str] | None = None,
) -> int:
    """Run `command` in `folder`, keep all its words in `log`, report its `stages`; return its exit code.

    A stage begins where the script prints STAGE and its name. `settings` are added to the environment. Ctrl-C, or
    whatever else ends this call, ends the tool and all the processes it started. UserError where it cannot be started
    or the log cannot be written.
    """
    try:
        with open(log, "w", encoding="utf-8") as kept:
            return _watch(tool, command, folder, kept.write, stages, report, settings or {})
    except OSError as error:
        raise explain_os_error(log, error) from error


def reason(log: Path, stages: Sequence[str]) -> str:
    """Return the line of the log that says why the tool failed, as a sentence: our script's own, else its first error.

    `stages` are what the script prints that is no reason.
    """
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    ours = [line for line in lines if line.startswith(STAGE) and line[len(STAGE) :] not in (*stages, "done")]
    found = (ours or errors(lines) or [line for line in lines if line.strip()] or ["it said nothing"])[0]
    return found.removeprefix(STAGE).strip().rstrip(".") + "."


def errors(lines: Sequence[str]) -> list[str]:
    """Return the lines in which the tool reports an error."""
    return [line for line in lines if line.startswith("ERROR")]


def _watch(
    tool: str,
    command: Sequence[str],
    folder: Path,
    keep: Callable[[str], object],
    stages: Sequence[str],
    report: Progress,
    settings: Mapping[str, str],
) -> int:
    marks = [STAGE + stage for stage in stages]
    # The tools run synthesis and routing as processes of their own: a group lets us end them all. A Ctrl-C just now
    # would leave it running with nobody who knows it.
    release = _hold_interrupt()
    try:
        child = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **settings}, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        release()
        raise UserError(f"Cannot run {command[0]}: {error.strerror}; check that it is {tool}'s program.") from error
    try:
        release()
        assert child.stdout
        for line in child.stdout:
            keep(line)
            if line.rstrip() in marks:
                stage = marks.index(line.rstrip())
                report(f"{tool}: {stages[stage]}", stage / len(stages))
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
    """End `child` and its group, kindly first: the tool then removes its temporary files."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_STOP_SECONDS)
    if child.stdout:
        child.stdout.close()
