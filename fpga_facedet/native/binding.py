"""The native library from Python: where it comes from, and its two jobs with every size checked."""

import ctypes
import enum
import functools
import logging
import os
import platform
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.native.building import CannotBuildError, compiled_library

VERSION = 1
"""What `facedet_native_version` has to answer: FACEDET_NATIVE_VERSION of native/facedet.h."""

VARIABLE = "FACEDET_NATIVE"
"""`off` (in any case) for numpy and OpenCV alone, or the path of a library that is already built."""

LONGEST_SIDE = 1 << 24
"""The longest side of a picture or an input that it takes, in pixels."""

MOST_STEPS = 32767
"""The finest output scale that it takes, as one over it."""

SOURCES = ("faces.cpp", "letterbox.cpp", "rows.cpp")
HEADERS = ("facedet.h", "rows.h")
FLAGS = (
    "-std=c++17",
    "-O3",
    "-ffp-contract=off",
    "-fno-exceptions",
    "-fno-rtti",
    "-fvisibility=hidden",
    "-Wl,--as-needed",
)
_MACHINE_FLAGS = {"armv7l": ("-mcpu=cortex-a9", "-mfpu=neon"), "x86_64": ("-march=native",)}
_ERRORS = {
    -1: "a buffer is missing",
    -2: "a size does not fit the others",
    -3: "a pixel format that it does not have",
    -4: "too little scratch memory",
    -5: "a value outside its range",
}


class PixelFormat(enum.IntEnum):
    """How a frame's pixels lie in memory; the numbers are those of native/facedet.h."""

    BGR = 0
    YUYV = 1
    GREY = 2


class LetterboxFields(ctypes.Structure):
    """struct facedet_letterbox of native/facedet.h."""

    _fields_ = [
        (name, ctypes.c_int32)
        for name in (
            "frame_width", "frame_height", "input_width", "input_height", "width", "height", "left", "top",
        )
    ]  # fmt: skip


class HeadFields(ctypes.Structure):
    """struct facedet_head of native/facedet.h."""

    _fields_ = [
        *(
            (name, ctypes.c_int32)
            for name in ("grid_width", "grid_height", "anchors", "stride", "steps", "least")
        ),
        *(
            (name, ctypes.c_float)
            for name in ("iou", "scale_x", "scale_y", "left", "top", "frame_width", "frame_height")
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class Head:
    """What `faces` needs to know: the fields of struct facedet_head, and the anchors' sizes.

    `grid` is (height, width) in cells; `anchors` float32 (A, 2), input pixels; `least` the score threshold times
    (2 * steps)^2, rounded up; `scale`, `offset` and `size` are x and y of the letterbox and the picture.
    """

    grid: tuple[int, int]
    anchors: npt.NDArray[np.float32]
    stride: int
    steps: int
    least: int
    iou: float
    scale: tuple[float, float]
    offset: tuple[int, int]
    size: tuple[int, int]


class NativeLibrary:
    """A loaded library; any number of threads may use it at once.

    Raises UserError where `loaded`, from `path`, is not this program's.
    """

    def __init__(self, loaded: ctypes.CDLL, path: str) -> None:
        try:
            self._version, self._letterbox = loaded.facedet_native_version, loaded.facedet_letterbox_apply
            self._letterbox_scratch, self._faces = loaded.facedet_letterbox_scratch, loaded.facedet_faces
            self._faces_scratch = loaded.facedet_faces_scratch
        except AttributeError:
            raise UserError(
                f"{path} is not the native library of fpga-facedet; build it again, or unset {VARIABLE}."
            ) from None
        self.path = path
        self._memory = threading.local()
        pointer, number, length = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
        self._version.argtypes, self._version.restype = [], number
        self._letterbox_scratch.argtypes = [pointer, number]
        self._faces_scratch.argtypes = [pointer]
        self._letterbox_scratch.restype = self._faces_scratch.restype = length
        self._letterbox.argtypes = [pointer, number, number, pointer, length, pointer, length, pointer, length]
        self._faces.argtypes = [pointer, pointer, pointer, length, pointer, pointer, length, pointer, length]
        self._letterbox.restype = self._faces.restype = number
        if (version := self._version()) != VERSION:
            raise UserError(
                f"{path} is version {version} of the native library, this program needs {VERSION}; "
                f"build it again, or unset {VARIABLE}."
            )

    def letterbox(
        self,
        box: tuple[int, ...],
        pixels: PixelFormat,
        fill: int,
        frame: npt.NDArray[np.uint8],
        out: npt.NDArray[np.uint8],
    ) -> None:
        """Write `frame` (contiguous, as `pixels` says) letterboxed into `out`, contiguous uint8 (H, W, 4), RGBX.

        `box` holds the fields of struct facedet_letterbox in their order. InternalError where a size does not fit.
        """
        fields = LetterboxFields(*box)
        reference = ctypes.byref(fields)
        scratch, bytes_ = self._scratch(self._letterbox_scratch(reference, pixels))
        frame_at, out_at = _address(frame), _address(out)
        _check(self._letterbox(reference, pixels, fill, frame_at, frame.nbytes, out_at, out.nbytes, scratch, bytes_))

    def faces(
        self, head: Head, output: npt.NDArray[np.int8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return boxes (N, 4) in the picture's pixels and scores (N,) of the head's int8 `output`, best first."""
        output = np.ascontiguousarray(output)
        sizes = np.ascontiguousarray(head.anchors, np.float32)
        capacity = head.grid[0] * head.grid[1] * len(sizes)
        fields = HeadFields(
            head.grid[1], head.grid[0], len(sizes), head.stride, head.steps, head.least,
            head.iou, *head.scale, *head.offset, *head.size,
        )  # fmt: skip
        reference = ctypes.byref(fields)
        scratch, bytes_ = self._scratch(self._faces_scratch(reference))
        boxes, scores = np.empty((capacity, 4), np.float32), np.empty(capacity, np.float32)
        count = self._faces(
            reference, _address(sizes), _address(output), output.nbytes, _address(boxes), _address(scores),
            capacity, scratch, bytes_,
        )  # fmt: skip
        _check(min(count, 0))
        return boxes[:count].copy(), scores[:count].copy()

    def _scratch(self, needed: int) -> tuple[int, int]:
        """Return address and length of at least `needed` bytes, this thread's own, which grow and are kept."""
        _check(min(needed, 0))
        memory = getattr(self._memory, "words", None)
        if memory is None or memory.nbytes < needed:
            memory = self._memory.words = np.empty(needed // 8 + 1, np.uint64)
        return _address(memory), memory.nbytes


def _address(array: npt.NDArray[np.generic]) -> int:
    return int(array.__array_interface__["data"][0])


def _check(code: int) -> None:
    if code < 0:
        reason = _ERRORS.get(code, f"code {code}")
        raise InternalError(f"The native library refused its arguments ({reason}); set {VARIABLE}=off to do without.")


def library() -> NativeLibrary | None:
    """Return the native library, compiled at the first call if need be; None where numpy and OpenCV do its work.

    The variable FACEDET_NATIVE names a built library to use instead (UserError where it is none), or says `off`. Where
    the library cannot be built, the log says once why, and all results stay the same.
    """
    return _find(os.environ.get(VARIABLE, ""))


_finding = threading.Lock()


def _find(wanted: str) -> NativeLibrary | None:
    with _finding:
        return _found(wanted)


@functools.cache
def _found(wanted: str) -> NativeLibrary | None:
    if wanted.lower() == "off":
        return None
    if wanted:
        return _given(wanted)
    folder = source_folder()
    flags = (*FLAGS, *_MACHINE_FLAGS.get(platform.machine(), ()))
    try:
        if folder is None:
            raise CannotBuildError("this installation lacks its sources")
        loaded = compiled_library("native", [folder / n for n in SOURCES], [folder / n for n in HEADERS], flags)
        return NativeLibrary(loaded, loaded._name)
    except CannotBuildError as reason:
        logging.getLogger(__name__).warning(
            "Letterbox and postprocessing run in Python, slower with the same results: %s.", reason
        )
        return None


def _given(path: str) -> NativeLibrary:
    try:
        # Without a slash the loader would search the system's folders.
        return NativeLibrary(ctypes.CDLL(str(Path(path).absolute())), path)
    except OSError as error:
        raise UserError(
            f"{VARIABLE} names {path}, which cannot be loaded ({error}); give the path of a built library, or off."
        ) from error


def source_folder() -> Path | None:
    """Return where the C++ sources are: `native/` beside the package in a checkout, `_native/` inside it installed."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / "native", package / "_native"):
        if (folder / "facedet.h").is_file():
            return folder
    return None
