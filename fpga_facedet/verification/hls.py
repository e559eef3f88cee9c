"""Verification of HLS layers: the C simulation against the golden model, layer by layer, value by value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.beats import unpack
from fpga_facedet.engines.csim import CsimEngine, Words
from fpga_facedet.engines.golden import OpenGolden
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import HLS, Figure, Manifest, SegmentInfo
from fpga_facedet.progress import Progress
from fpga_facedet.verification.pictures import told_frames
from fpga_facedet.verification.streams import (
    LayerComparison,
    LayerStream,
    StreamDifference,
    Values,
    compare,
    layer_streams,
)

_FIGURES = ("cycles_per_frame", "fps")
_BEATS_AT_ONCE = 1 << 14
"""Words unpacked at a time: all bits of a frame, a number each, would take gigabytes."""


@dataclass(frozen=True)
class HlsVerifyResult:
    """What a verification of HLS layers found.

    `mismatched_bytes` counts the output values that differ from the golden engine's, of `total_bytes`. `layers` holds
    every HLS layer and the output of every segment, in the order of the pipeline; `trips` are the iterations a frame of
    each HLS layer's loop. C simulation has no cycles: `figures` are what the manifest knows of cycles and frames a
    second, each with its evidence.
    """

    frames: int
    mismatched_bytes: int
    total_bytes: int
    clock_mhz: float
    layers: tuple[LayerComparison, ...]
    trips: dict[str, int]
    figures: tuple[Figure, ...]

    @property
    def equal(self) -> bool:
        """Whether not a single value differs, in any layer or in the output."""
        return not self.mismatched_bytes and not self.mismatched_values

    @property
    def values(self) -> int:
        """How many values between layers were compared."""
        return sum(layer.values for layer in self.layers)

    @property
    def mismatched_values(self) -> int:
        """How many values between layers differ."""
        return sum(layer.mismatched for layer in self.layers)

    @property
    def first_difference(self) -> StreamDifference | None:
        """The first difference of the first layer that has one; None where all is equal."""
        return next((layer.first for layer in self.layers if layer.first), None)

    def to_dict(self) -> dict[str, Any]:
        """Return what `facedet verify --json` prints: the keys of an RTL verification, and what there is of layers."""
        clock = int(self.clock_mhz) if self.clock_mhz == int(self.clock_mhz) else self.clock_mhz
        return {
            "frames": self.frames,
            "mismatched_bytes": self.mismatched_bytes,
            "cycles_per_frame": None,
            "latency_cycles": None,
            "clock_mhz": clock,
            "fps": None,
            "manifest": {figure.name: {"value": figure.value, "evidence": figure.evidence} for figure in self.figures},
            "values": self.values,
            "mismatched_values": self.mismatched_values,
            "first_difference": vars(self.first_difference) if self.first_difference else None,
            "layers": [
                {
                    "name": layer.name,
                    "op": layer.op,
                    "values": layer.values,
                    "mismatched_values": layer.mismatched,
                    "trips_per_frame": self.trips.get(layer.name),
                }
                for layer in self.layers
            ],
        }

    def describe(self) -> str:
        """Say the outcome for a person: a line for each layer, and the sums below."""
        lines = [f"{'layer':32}{'values':>14}{'differ':>12}{'trips a frame':>16}"]
        for layer in self.layers:
            trips = self.trips.get(layer.name)
            counted = "" if trips is None else f"{trips:,}"
            lines.append(f"{layer.name:32}{layer.values:>14,}{layer.mismatched:>12,}{counted:>16}".rstrip())
        lines.append(
            f"{told_frames(self.frames)}: {self.mismatched_bytes:,} of {self.total_bytes:,} bytes differ from the "
            f"golden engine, and {self.mismatched_values:,} of the {self.values:,} values above."
        )
        if self.first_difference:
            lines.append(self.first_difference.describe())
        known = ", ".join(f"{figure.value:,.10g} {figure.unit} ({figure.evidence})" for figure in self.figures)
        lines.append(f"C simulation counts no cycles; in the manifest: {known or 'not measured'}.")
        return "\n".join(lines)


@dataclass(frozen=True)
class Stalls:
    """How the streams of RTL segments are stalled: the share of paused cycles, the longest pause, and the seed."""

    pause: float = 0.0
    longest_pause: int = 256
    seed: int = 0


def verify_hls(
    folder: Path,
    golden: OpenGolden,
    inputs: npt.NDArray[np.uint8],
    wanted: npt.NDArray[np.int8],
    stalls: Stalls,
    compiling: Progress,
    running: Progress,
) -> HlsVerifyResult:
    """Run frames through an accelerator with HLS layers and compare all that its layers put out.

    Args:
        folder: the accelerator's.
        golden: its golden model, opened.
        inputs, wanted: the frames uint8 (N, H, W, 3), and the golden engine's output for them.
        stalls: of RTL segments, where there are some.
        compiling, running: told what goes on, each with a share of its own.
    """
    engine = CsimEngine(folder, compiling)
    parts = _parts(engine.manifest, golden)
    work = _Comparison(engine, golden, inputs, wanted)
    words = engine.words_in(inputs)
    for number, (segment, streams) in enumerate(parts):
        progress = _share_of(running, number, len(parts))
        if segment.style == HLS:
            words = work.of_hls(segment, streams, words, progress)
        else:
            words = work.of_rtl(segment, streams, words, stalls, progress)
    running("comparing every layer", 1.0)
    known = (engine.manifest.figure(name) for name in _FIGURES)
    return HlsVerifyResult(
        frames=len(inputs),
        mismatched_bytes=int(np.count_nonzero(engine.values_out(words) != wanted)),
        total_bytes=wanted.size,
        clock_mhz=engine.manifest.clock_mhz or 0.0,
        layers=tuple(work.found.values()),
        trips=work.trips,
        figures=tuple(figure for figure in known if figure),
    )


@dataclass
class _Comparison:
    """What has been found so far: by layer, in the pipeline's order. Only one frame's values exist at a time."""

    engine: CsimEngine
    golden: OpenGolden
    inputs: npt.NDArray[np.uint8]
    wanted: npt.NDArray[np.int8]
    found: dict[str, LayerComparison] = field(default_factory=dict)
    trips: dict[str, int] = field(default_factory=dict)

    def of_hls(self, segment: SegmentInfo, streams: list[LayerStream], words: Words, progress: Progress) -> Words:
        """Run the words of all frames through an HLS segment, compare all its streams, and return what came out."""
        outputs = []
        for frame, values in self._frames(progress):
            run = self.engine.simulation.run(segment.name, words[frame : frame + 1], record=True, first=frame)
            self.trips.update(run.trips)
            for stream in streams:
                self._add(compare(stream, stream.expected(values), run.streams[stream.name][0], frame))
            self._add(_compare_words(segment, streams[-1], values, run.words[0], frame))
            outputs.append(run.words[0])
        return np.stack(outputs)

    def of_rtl(
        self, segment: SegmentInfo, streams: list[LayerStream], words: Words, stalls: Stalls, progress: Progress
    ) -> Words:
        """Run the words of all frames through an RTL segment, compare what comes out, and return it."""
        outputs = self.engine.run(segment, words, **vars(stalls), progress=progress)
        for frame, values in self._frames(progress):
            self._add(_compare_words(segment, streams[-1], values, outputs[frame], frame))
        return outputs

    def _frames(self, progress: Progress) -> Iterator[tuple[int, list[Values]]]:
        """Yield each frame's number and its golden values."""
        for frame, pixels in enumerate(self.inputs):
            progress("comparing every layer", frame / len(self.inputs))
            values = self.golden.run(pixels)
            if not np.array_equal(values[-1], self.wanted[frame]):
                raise InternalError("The golden model gives other results when it is opened up; please report it.")
            yield frame, values

    def _add(self, compared: LayerComparison) -> None:
        known = self.found.get(compared.name)
        self.found[compared.name] = known + compared if known else compared


def _share_of(progress: Progress, number: int, parts: int) -> Progress:
    """Return the progress of part `number` of `parts`."""
    return lambda what, share: progress(what, (number + share) / parts)


def _parts(manifest: Manifest, golden: OpenGolden) -> list[tuple[SegmentInfo, list[LayerStream]]]:
    """Return each segment with the streams of its layers."""
    streams = layer_streams(manifest.layers, golden.steps)
    runs = [list(run) for _, run in groupby(streams, key=lambda stream: stream.layer.style)]
    if [run[0].layer.style for run in runs] != [segment.style for segment in manifest.segments]:
        raise UserError(
            "The manifest's segments are not those of its layers; build the accelerator again (facedet build)."
        )
    return list(zip(manifest.segments, runs, strict=True))


def _compare_words(
    segment: SegmentInfo, last: LayerStream, values: Sequence[Values], words: Words, frame: int
) -> LayerComparison:
    """Compare the words that a segment gives, uint8 (beats, bytes a beat), with what its last layer must put out."""
    golden = last.expected(values)
    # Where the right values are all positive, a sign makes no difference to whether the bits are equal.
    signed = bool(golden.min() < 0)
    pieces = (words[start : start + _BEATS_AT_ONCE] for start in range(0, len(words), _BEATS_AT_ONCE))
    found = [unpack(piece, segment.stream.lanes_out, segment.stream.bits_out, signed) for piece in pieces]
    output = replace(last, name=segment.name, layer=replace(last.layer, op="segment"))
    return compare(output, golden, np.concatenate(found), frame)
