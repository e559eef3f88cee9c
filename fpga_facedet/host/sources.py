"""Where pictures come from: files, folders, videos, cameras, network streams, well-known photographs."""

import contextlib
import errno
import importlib.util
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import UserError
from fpga_facedet.host.picture import PICTURE_SUFFIXES, DamagedPictureError, looks_like_picture, read_picture

if TYPE_CHECKING:
    import cv2

# FFmpeg inside OpenCV reads this when it first opens something; its lines on stderr are ours to say, in one sentence.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

PHOTOGRAPHS = {
    "astronaut": ("skimage", "scikit-image", "data/astronaut.png"),
    "chelsea": ("skimage", "scikit-image", "data/chelsea.png"),
    "coffee": ("skimage", "scikit-image", "data/coffee.png"),
    "page": ("skimage", "scikit-image", "data/page.png"),
    "grace_hopper": ("matplotlib", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}
"""Photographs that ship inside packages: name -> (import name, name to install, file in the package)."""

SYSTEM_DATA = Path("/usr/share")

OPEN_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 10_000
"""How long a network stream may take to answer and to deliver its next frame."""

Warn = Callable[[str], None]
"""Takes one sentence about something that was left out."""

log_warning: Warn = logging.getLogger(__name__).warning


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    `seq` counts the source's frames from 0; `captured_at` is when it was read, in seconds since the Unix epoch;
    `image` is BGR uint8 (h, w, 3), the pixels as stored; `name` is the picture's path relative to its folder, or the
    source's own name.
    """

    seq: int
    captured_at: float
    image: npt.NDArray[np.uint8]
    name: str


class Source(Protocol):
    """An iterator of frames, to be gone through once.

    `name` is fit for showing (no password in it). `live`: it goes on whether we read or not (camera, network stream),
    so a slow reader should drop frames. `still`: it is made of pictures, each with its own name. `rate` is its own
    frames a second where it has one; `total` its number of frames where that is known. `skipped` counts pictures left
    out because they could not be read, and folders.
    """

    name: str
    live: bool
    still: bool
    rate: float | None
    total: int | None
    skipped: int

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; raises UserError where the source fails or has none at all."""
        ...

    def close(self) -> None:
        """Give back files and devices; a second time is harmless."""
        ...


def open_source(text: str, *, loop: bool = False, warn: Warn = log_warning) -> Source:
    """Open what `text` names and return it as a source of frames.

    - a camera: its index, `0`, or `camera:0`;
    - a network stream that OpenCV reads: `rtsp://...`, `http://...`;
    - a folder: all its pictures, those of folders inside too, sorted by path; hidden ones are left out;
    - a picture file, or a video file;
    - a photograph of an installed package: one of PHOTOGRAPHS, where no file has that name.

    `loop` starts a finite source again at its end, for ever; `seq` goes on counting. `warn` takes one sentence for
    each thing that is left out. Raises UserError in one sentence where there is nothing to read.
    """
    if not text:
        raise UserError("The source is empty; give a picture, folder, video, camera index or address.")
    _silence_opencv()
    camera = text.removeprefix("camera:")
    if camera.isdecimal():
        return VideoSource(int(camera), f"camera:{int(camera)}", loop, warn)
    if "://" in text:
        return VideoSource(text, _without_password(text), loop, warn)
    path = Path(text)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise UserError(f"Cannot read the source {text[:200]}: {reason}; check the path.") from error
    if is_folder:
        files, skipped = _pictures_in(path, warn)
        return PictureSource(files, path.name or str(path), loop, warn, skipped=skipped)
    if is_file:
        if path.suffix.lower() in PICTURE_SUFFIXES or looks_like_picture(path):
            return PictureSource([(path, path.name)], path.name, loop, warn, single=True)
        return VideoSource(str(path), path.name, loop, warn)
    if text in PHOTOGRAPHS:
        return PictureSource([(_photograph(text), text)], text, loop, warn, single=True)
    raise UserError(
        f"There is no source '{text}'; give a picture, folder or video that exists, a camera index, "
        f"an rtsp:// or http:// address, or one of {', '.join(PHOTOGRAPHS)}."
    )


class PictureSource:
    """Pictures of files, one frame each; a damaged one is left out with one warning, or fails where it is `single`."""

    live = False
    still = True
    rate: float | None = None
    total: int | None

    def __init__(
        self,
        files: list[tuple[Path, str]],
        name: str,
        loop: bool,
        warn: Warn,
        *,
        single: bool = False,
        skipped: int = 0,
    ) -> None:
        self.name = name
        self.total = None if loop else len(files)
        self.skipped = skipped
        self._files, self._loop, self._warn, self._single = files, loop, warn, single

    def __iter__(self) -> Iterator[Frame]:
        """Yield a frame for each readable picture; UserError where none is."""
        seq = 0
        good = self._files
        while True:
            damaged = set()
            for path, name in good:
                try:
                    image = read_picture(path)
                except DamagedPictureError as damage:
                    if self._single:
                        raise
                    damaged.add(path)
                    self.skipped += 1
                    self._warn(f"Left out {name}: {damage.reason}.")
                    continue
                yield Frame(seq, time.time(), image, name)
                seq += 1
            good = [entry for entry in good if entry[0] not in damaged]
            if not good:
                raise UserError(f"No picture of {self.name} can be read ({self.skipped} left out); give intact ones.")
            if not self._loop:
                return

    def close(self) -> None:
        """Nothing is held between frames."""


class VideoSource:
    """A video file, a camera or a network stream through OpenCV."""

    still = False

    def __init__(self, target: str | int, name: str, loop: bool, warn: Warn) -> None:
        import cv2

        self.name = name
        self.skipped = 0
        self._target, self._loop, self._warn = target, loop, warn
        self._capture = self._open()
        frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.live = isinstance(target, int) or ("://" in target and frames <= 0)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < 1000 else None
        self._frames = frames if frames > 0 and not self.live else None
        self.total = None if loop else self._frames
        # Whatever opens but gives nothing (a camera in use, a damaged file) fails here, before anyone waits for it.
        self._first: npt.NDArray[np.uint8] | None = self._read()
        if self._first is None:
            self.close()
            raise UserError(self._no_frames())

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames as they come; UserError where a camera or stream stops delivering."""
        seq = 0
        image = self._first
        self._first = None
        while True:
            count = 0
            while image is not None:
                yield Frame(seq, time.time(), image, self.name)
                seq += 1
                count += 1
                image = self._read()
            if self.live:
                raise UserError(f"{self.name} stopped delivering after {seq} frames; check the device or the network.")
            if self._frames and count < self._frames:
                self._warn(f"{self.name} ended after {count} of its {self._frames} frames; the file may be damaged.")
                self._frames = None
            if not self._loop:
                return
            # Seeking is inexact in many containers; opening again always starts at the first frame.
            self._capture.release()
            self._capture = self._open()
            image = self._read()
            if image is None:
                raise UserError(self._no_frames())

    def close(self) -> None:
        """Release the file or device."""
        self._capture.release()

    def _open(self) -> "cv2.VideoCapture":
        import cv2

        try:
            if isinstance(self._target, str) and "://" in self._target:
                timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS]
                timeouts += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
                capture = cv2.VideoCapture(self._target, cv2.CAP_FFMPEG, timeouts)
            else:
                capture = cv2.VideoCapture(self._target)  # type: ignore[call-overload]
        except cv2.error:
            raise UserError(self._no_frames()) from None
        if not capture.isOpened():
            raise UserError(self._no_frames())
        return capture

    def _read(self) -> npt.NDArray[np.uint8] | None:
        import cv2

        try:
            done, image = self._capture.read()
        except cv2.error:
            return None
        return image if done and image is not None and image.size else None  # type: ignore[return-value]

    def _no_frames(self) -> str:
        if isinstance(self._target, int):
            return f"There is no camera {self._target} that gives pictures; plug it in, or choose another index."
        if "://" in self._target:
            return f"No video comes from {self.name}; check that the address is right and its server runs."
        return f"{self.name} is neither a picture nor a video that OpenCV can read; give an intact file."


def _pictures_in(folder: Path, warn: Warn) -> tuple[list[tuple[Path, str]], int]:
    """Return (path, path relative to `folder`) of the pictures of a folder and those inside it, sorted.

    The number is that of folders inside which cannot be read; `warn` names each.
    """
    found = []
    unreadable = []

    def leave_out(error: OSError) -> None:
        reason = os.strerror(error.errno or errno.EIO).lower()
        place = Path(error.filename)
        if place == folder:
            raise UserError(f"Cannot read the folder {folder}: {reason}; change its permissions.") from error
        unreadable.append(place)
        warn(f"Left out the folder {place.relative_to(folder).as_posix()}: {reason}.")

    for parent, folders, files in os.walk(folder, onerror=leave_out):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            if path.suffix.lower() in PICTURE_SUFFIXES and not name.startswith("."):
                found.append((path, path.relative_to(folder).as_posix()))
    if not found:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise UserError(f"The folder {folder} holds no pictures ({kinds}); choose one that does.")
    return sorted(found, key=lambda entry: entry[1]), len(unreadable)


def _photograph(name: str) -> Path:
    """Return the file of a photograph that ships inside a package, without importing the package."""
    module, install, file = PHOTOGRAPHS[name]
    spec = importlib.util.find_spec(module)
    places = [Path(spec.origin).parent] if spec and spec.origin else []
    # Debian and Ubuntu, and so the boards' images, keep a package's data there.
    path = next((place / file for place in [*places, SYSTEM_DATA / module] if (place / file).is_file()), None)
    if path is None:
        raise UserError(f"The photograph '{name}' comes with {install}; install it (pip install {install}).")
    return path


def _without_password(url: str) -> str:
    """Return `url` with user and password left out, fit for messages and streams."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return url


def _silence_opencv() -> None:
    """Keep OpenCV's own lines off stderr; what matters of them we say ourselves."""
    import cv2

    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)
    else:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
