"""What a run leaves to look at: one line of JSON every few seconds, and the same numbers for TensorBoard."""

import json
import os
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from fpga_facedet.files import explain_os_error, write_text

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"


class Record:
    """The log of a run in `folder`, from step `first` on; lines of a broken run after that step are dropped.

    UserError where the disk is full or the folder cannot be written; the lines before stay whole.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self.log = folder / LOG
        if self.log.exists():
            _keep_until(self.log, first)
        self.board: SummaryWriter | None = self._open(first + 1 if first else None)

    def write(self, line: dict[str, Any]) -> None:
        """Append one line: `step`, and numbers by name."""
        append_line(self.log, json.dumps(line))
        if self.board is None:
            self.board = self._open(None)
        try:
            for name, value in line.items():
                if name != "step":
                    self.board.add_scalar(name, float(value), line["step"])  # type: ignore[no-untyped-call]
            self.board.flush()  # type: ignore[no-untyped-call]
        except OSError as error:
            # Its thread is gone and never writes again: the next line begins another file.
            self.board = None
            raise explain_os_error(self.log.parent / TENSORBOARD, error) from error

    def _open(self, purge: int | None) -> SummaryWriter:
        """Begin a file for TensorBoard, which drops what older files say of step `purge` and later."""
        try:
            return SummaryWriter(str(self.log.parent / TENSORBOARD), purge_step=purge)  # type: ignore[no-untyped-call]
        except OSError as error:
            raise explain_os_error(self.log.parent / TENSORBOARD, error) from error

    def close(self) -> None:
        """Write what waits to be written."""
        if self.board is None:
            return
        try:
            self.board.close()  # type: ignore[no-untyped-call]
        except OSError as error:
            raise explain_os_error(self.log.parent / TENSORBOARD, error) from error


def append_line(path: Path, line: str) -> None:
    """Append `line` to a text file, whole or not at all; UserError where it does not fit."""
    handle = -1
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        end = os.lseek(handle, 0, os.SEEK_END)
        data = line.encode() + b"\n"
        try:
            while data:
                data = data[os.write(handle, data) :]
        except OSError:
            os.ftruncate(handle, end)
            raise
    except OSError as error:
        raise explain_os_error(path, error) from error
    finally:
        if handle >= 0:
            os.close(handle)


def _keep_until(path: Path, step: int) -> None:
    """Drop the lines of `path` after `step`: a resumed run makes them again."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise explain_os_error(path, error) from error
    kept = [line for line in lines if _step_of(line) <= step]
    if len(kept) < len(lines):
        write_text(path, "".join(kept))


def _step_of(line: str) -> float:
    """Return the step of a line of the log; of a torn one, infinity."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
