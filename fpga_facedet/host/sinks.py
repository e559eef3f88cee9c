"""Where faces go: lines in a file, annotated pictures in a folder, a TCP stream, a function."""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from fpga_facedet.errors import UserError
from fpga_facedet.files import explain_os_error
from fpga_facedet.host.annotate import annotate, save_picture
from fpga_facedet.host.jobs import Result
from fpga_facedet.host.picture import PICTURE_SUFFIXES
from fpga_facedet.host.sources import Source
from fpga_facedet.stream.protocol import faces_as_json, frame_line
from fpga_facedet.stream.server import StreamServer


class CallSink:
    """Calls `take` with every result, in the sending thread."""

    def __init__(self, take: Callable[[Result], None]) -> None:
        self._take = take

    def send(self, result: Result) -> None:
        """Call the function."""
        self._take(result)

    def close(self, complete: bool) -> None:
        """Nothing to finish."""


class JsonLinesSink:
    """One line of JSON a frame: `{"source", "width", "height", "faces": [{"box": [x1, y1, x2, y2], "score"}]}`.

    Pixels of the picture as stored. Frames of a video or camera also have `frame`, their number from 0. Lines go to
    `path` + `.part`, which takes its name at the end of the source: a whole file has the name, a run that was stopped
    leaves the `.part` with what was done. `-` and devices (`/dev/stdout`, a pipe) are written to directly; `place` says
    where the lines are. Raises UserError where the file cannot be written, another run writes it or the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str], still: bool) -> None:
        self._path = Path(path)
        self._still = still
        to_stdout = is_stdout(path)
        self._renamed = not to_stdout and (self._path.is_file() or not self._path.exists())
        part = self._path.with_name(self._path.name + ".part")
        self.place = "standard output" if to_stdout else str(part if self._renamed else path)
        try:
            if to_stdout:
                self._file: BinaryIO = os.fdopen(os.dup(1), "wb")
            elif self._renamed:
                part.parent.mkdir(parents=True, exist_ok=True)
                self._file = _open_alone(part)
            else:
                self._file = open(self._path, "wb")  # noqa: SIM115 - open until close()
        except OSError as error:
            raise explain_os_error(self._path, error) from error

    def send(self, result: Result) -> None:
        """Write one line and hand it to the system, so that a crash loses none before it."""
        line: dict[str, Any] = {"source": result.frame.name}
        if not self._still:
            line["frame"] = result.frame.seq
        line.update(width=result.width, height=result.height, faces=faces_as_json(result.faces))
        try:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise explain_os_error(self._path, error) from error

    def close(self, complete: bool) -> None:
        """Give the file its name where the run is complete."""
        try:
            with self._file:
                if self._renamed and complete:
                    os.fsync(self._file.fileno())
                    # Before the lock goes with the file: nobody else may open a .part that is about to be renamed.
                    Path(self.place).replace(self._path)
        except OSError as error:
            if complete:
                raise explain_os_error(self._path, error) from error


class AnnotatedSink:
    """Pictures with boxes and scores in `folder`, named as in the source; of a video, `name-000000.jpg` and so on."""

    def __init__(self, folder: str | os.PathLike[str], still: bool) -> None:
        self._folder = Path(folder)
        self._still = still

    def send(self, result: Result) -> None:
        """Draw and save one picture, whole or not at all."""
        save_picture(self.path_of(result), annotate(result.frame.image, result.faces))

    def path_of(self, result: Result) -> Path:
        """Return where the picture of `result` goes."""
        name = Path(result.frame.name)
        if self._still:
            return self._folder / (name if name.suffix.lower() in PICTURE_SUFFIXES else f"{name}.png")
        plain = "".join(c if c.isalnum() or c in "-_" else "-" for c in name.stem)
        return self._folder / f"{plain}-{result.frame.seq:06d}.jpg"

    def close(self, complete: bool) -> None:
        """Every picture is whole already."""


class StreamSink:
    """Every result as a line of the stream; the server belongs to who made it and is not closed here."""

    def __init__(self, server: StreamServer) -> None:
        self._server = server

    def send(self, result: Result) -> None:
        """Publish one frame."""
        frame = result.frame
        line = frame_line(frame.seq, frame.captured_at, frame.name, result.width, result.height, result.faces)
        self._server.publish(line)

    def close(self, complete: bool) -> None:
        """The command says the end, since it knows why."""


def is_stdout(path: str | os.PathLike[str]) -> bool:
    """Return whether lines for `path` go to standard output: `-`, `/dev/stdout`, or the file that it leads to."""
    if str(path) == "-":
        return True
    try:
        return os.path.samestat(Path(path).stat(), os.fstat(1))
    except OSError:
        return False


def _open_alone(path: Path) -> BinaryIO:
    """Open `path` empty, for this run alone; UserError where another run writes it."""
    while True:
        # Not "wb", which would empty the file of another run before the lock is asked for.
        file: BinaryIO = open(path, "ab")  # noqa: SIM115 - the caller closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise UserError(f"Another run is writing {path}; wait for its end, or choose another file.") from None
        except OSError:
            pass  # A file system without locks: two runs are not told apart there.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                file.truncate(0)
                return file
        # The run before us renamed it between our opening and our lock: the next one is a new file.
        file.close()


def check_annotated_folder(folder: str | os.PathLike[str], source_text: str, source: Source) -> None:
    """Raise UserError where annotated pictures would fall among, or over, the pictures of the source."""
    origin = Path(source_text)
    if not source.still or not origin.exists():
        return
    target = Path(folder).resolve()
    mixed = target.is_relative_to(origin.resolve()) if origin.is_dir() else target == origin.resolve().parent
    if mixed:
        raise UserError(f"Annotated pictures in {folder} would mix with those of the source; choose another folder.")
