"""The C simulation: an accelerator's HLS layers, compiled by a plain C++ compiler and run on whole frames.

The sources are those that Vitis HLS gets, and the headers of its integers and streams (ap_types) come with the package
hls4ml. The layers run one after another on a frame, so nothing here is timed; what is counted are the trips of their
loops. A layer that reads from an empty stream, which in hardware would wait for ever, ends the run.
"""

import ctypes
import importlib.util
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.compiler import layout
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.native.building import CannotBuildError, compiled_library
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.simulation.verilator import SimulationError

SOURCE = "csim.cpp"
"""In an accelerator's folder of C++: the functions by which a program runs its segments."""

FLAGS = ("-std=c++17", "-O2", "-Wno-unknown-pragmas", "-Wno-unused-label", "-fvisibility=hidden")
"""Hidden symbols also keep the loader from making one variable of two accelerators' of the same name."""

_MESSAGE_BYTES = 4096
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class CSegment:
    """The streams of one segment: beats a frame and bytes a beat."""

    index: int
    beats_in: int
    bytes_in: int
    beats_out: int
    bytes_out: int


@dataclass(frozen=True)
class CRun:
    """What came out of a segment.

    `words` are uint8 (frames, beats, bytes a beat), little-endian, unused high bits zero. `streams` are what each layer
    wrote, where that was recorded: int32 (frames, beats, lanes) by the layer's name, and the segment's input as `in0`.
    `trips` are the iterations of each layer's loop, all frames together.
    """

    words: npt.NDArray[np.uint8]
    streams: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    trips: Mapping[str, int] = field(default_factory=dict)


def ap_types() -> Path:
    """Return the folder of the headers ap_int.h and hls_stream.h, without importing the package that carries them.

    Raises UserError where that is not installed.
    """
    found = importlib.util.find_spec("hls4ml")
    folder = Path(found.origin).parent / "templates" / "vivado" / "ap_types" if found and found.origin else None
    if folder is None or not (folder / "hls_stream.h").is_file():
        raise UserError(
            "The C simulation needs the package hls4ml, for its headers (ap_types); install fpga-facedet with the "
            "extra 'build'."
        )
    return folder


class CSimulation:
    """The HLS segments of the accelerator in `folder`, compiled at first use, which takes a minute or two.

    The library is kept in the user's cache. `segments` are the streams of each, by its name; `progress` is told of the
    compiling. Raises UserError where the folder has no HLS layers, where a compiler or hls4ml is missing, or where the
    sources do not compile.
    """

    def __init__(self, folder: Path, progress: Progress = unwatched) -> None:
        self._library = _library(folder, progress)
        self.segments: dict[str, CSegment] = {}
        for index in range(self._library.facedet_segments()):
            sizes = (ctypes.c_uint64 * 4)()
            name = self._library.facedet_segment(index, sizes).decode()
            beats_in, bytes_in, beats_out, bytes_out = sizes
            self.segments[name] = CSegment(index, beats_in, bytes_in // beats_in, beats_out, bytes_out // beats_out)

    def run(
        self,
        segment: str,
        frames: npt.NDArray[np.uint8],
        *,
        record: bool = False,
        first: int = 0,
        progress: Progress = unwatched,
    ) -> CRun:
        """Run frames uint8 (N, beats, bytes a beat) through a segment, one after another.

        Args:
            record: keep what every layer writes; for a frame of 416x416 that is about 100 MB.
            first: the number of the first frame, for error messages.

        Raises SimulationError where a layer reads from an empty stream or leaves beats behind, with layer, stream,
        beat and frame.
        """
        sizes = self.segments.get(segment)
        if sizes is None:
            raise InternalError(f"The C simulation has no segment {segment}; it has {', '.join(self.segments)}.")
        wanted = (sizes.beats_in, sizes.bytes_in)
        if frames.dtype != np.uint8 or frames.ndim != 3 or frames.shape[1:] != wanted:
            raise InternalError(f"The C simulation got words {frames.dtype} {frames.shape}, not uint8 (N, *{wanted}).")
        words = np.empty((len(frames), sizes.beats_out, sizes.bytes_out), np.uint8)
        streams: dict[str, list[npt.NDArray[np.int32]]] = {}
        trips: dict[str, int] = {}
        for number, frame in enumerate(frames):
            progress("simulating", number / len(frames))
            # Python hears of a Ctrl-C when the library returns; and what a run recorded lasts until the next one.
            with _one_at_a_time:
                self._run_frame(sizes.index, first + number, np.ascontiguousarray(frame), words[number], record)
                for name, count in self._trips():
                    trips[name] = trips.get(name, 0) + count
                for name, values in self._streams() if record else ():
                    streams.setdefault(name, []).append(values)
        return CRun(words, {name: np.stack(values) for name, values in streams.items()}, trips)

    def _run_frame(
        self, index: int, number: int, words: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8], record: bool
    ) -> None:
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        if self._library.facedet_run(index, 1, words.ctypes, out.ctypes, record, message, _MESSAGE_BYTES):
            # The library counts the frames of one call.
            said = message.value.decode(errors="replace").rstrip(".").replace("frame 0", f"frame {number}")
            raise SimulationError(f"The C simulation failed: {said}.")

    def _streams(self) -> list[tuple[str, npt.NDArray[np.int32]]]:
        """Return what the last run recorded: names, and values int32 (beats, lanes)."""
        found = []
        for index in range(self._library.facedet_streams()):
            beats, lanes, values = ctypes.c_uint64(), ctypes.c_int(), ctypes.POINTER(ctypes.c_int32)()
            name = self._library.facedet_stream(index, beats, lanes, values).decode()
            shape = (beats.value, lanes.value)
            found.append(
                (name, np.ctypeslib.as_array(values, shape).copy() if all(shape) else np.empty(shape, np.int32))
            )
        return found

    def _trips(self) -> list[tuple[str, int]]:
        found = []
        for index in range(self._library.facedet_layers()):
            trips = ctypes.c_uint64()
            found.append((self._library.facedet_layer(index, trips).decode(), trips.value))
        return found


def _library(folder: Path, progress: Progress) -> Any:
    """Compile the C simulation in `folder`, or find it compiled, load it and declare its functions."""
    files = [path for path in layout.hls_sources(folder) if path.suffix in (".cpp", ".hpp")]
    types = ap_types()
    headers = [*files, *sorted(path for path in types.rglob("*") if path.is_file())]
    source = folder / layout.HLS / SOURCE
    flags = (*FLAGS, "-isystem", str(types))
    try:
        library = compiled_library(
            "csim", [source], headers, flags, lambda: progress("Compiling the C simulation", 0.0)
        )
        return _declared(library)
    except CannotBuildError as error:
        raise UserError(
            f"The C simulation of {folder / layout.HLS} cannot be compiled: {error}; it takes g++ or clang++ (CXX) "
            "with C++17, and the headers as `facedet build` copied them."
        ) from error
    except AttributeError as error:
        raise UserError(
            f"The C simulation of {folder} lacks a function ({error}); build the accelerator again (facedet build)."
        ) from error


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Give the functions of the library their types; AttributeError where one is not there."""
    whole, number, text = ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p
    values = ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))
    count = ctypes.POINTER(whole)
    data = ctypes.c_void_p
    functions: list[tuple[Any, Any, list[Any]]] = [
        (library.facedet_segments, number, []),
        (library.facedet_segment, text, [number, count]),
        (library.facedet_run, number, [number, whole, data, data, number, text, whole]),
        (library.facedet_streams, number, []),
        (library.facedet_stream, text, [number, count, ctypes.POINTER(number), values]),
        (library.facedet_layers, number, []),
        (library.facedet_layer, text, [number, count]),
    ]
    for function, result, arguments in functions:
        function.restype, function.argtypes = result, arguments
    return library
