"""What every layer must put out, from the golden model alone, value by value in the order of its stream.

A map goes row by row, pixel by pixel, channel by channel. In front of a matrix unit stand windows, of each output pixel
the rows, columns and channels that its kernel covers. How many values make a beat is a matter of folding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from fpga_facedet.compiler.golden_streams import GoldenStep
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import LayerInfo

Values = npt.NDArray[np.int32]

_KINDS = {"MVAU": "convolution", "Thresholding": "thresholds", "StreamingMaxPool": "pool"}
"""The step of the golden model that a layer finishes."""


@dataclass(frozen=True)
class LayerStream:
    """One layer's stream: `expected` makes it, int32 (rows, columns, ..., channels), of what `OpenGolden.run` returns.

    `name` is the layer's in C++; `lanes` values make a beat, the first in the lowest bits.
    """

    name: str
    layer: LayerInfo
    lanes: int
    expected: Callable[[Sequence[Values]], Values]


@dataclass(frozen=True)
class StreamDifference:
    """The first value of a layer that is not the golden one, and where it is; all counts from 0.

    `row` and `column` are those of the pixel; `tap` is the place (row, column) in its window, None where it has none.
    """

    layer: str
    frame: int
    beat: int
    lane: int
    row: int
    column: int
    tap: tuple[int, int] | None
    channel: int
    golden: int
    found: int

    def describe(self) -> str:
        """Say it in one sentence."""
        tap = f"row {self.tap[0]} and column {self.tap[1]} of its window, " if self.tap else ""
        return (
            f"The first layer that differs is {self.layer}: frame {self.frame}, beat {self.beat}, lane {self.lane} "
            f"(pixel in row {self.row}, column {self.column}, {tap}channel {self.channel}): golden {self.golden}, "
            f"hardware {self.found}."
        )


@dataclass(frozen=True)
class LayerComparison:
    """How many values of a layer were compared and how many of them differ, over all frames."""

    name: str
    op: str
    values: int = 0
    mismatched: int = 0
    first: StreamDifference | None = None

    def __add__(self, other: "LayerComparison") -> "LayerComparison":
        """Join what later frames of the same layer gave."""
        values, mismatched = self.values + other.values, self.mismatched + other.mismatched
        return LayerComparison(self.name, self.op, values, mismatched, self.first or other.first)


def layer_streams(layers: Sequence[LayerInfo], steps: Sequence[GoldenStep]) -> list[LayerStream]:
    """Return the stream of each of a manifest's layers, in their order.

    `steps` are those of the golden model. Raises UserError where the layers do not do these steps.
    """
    streams: list[LayerStream] = []
    done = 0
    for layer in layers:
        step = steps[done] if done < len(steps) else None
        if layer.op == "StreamingDataWidthConverter":
            expected = streams[-1].expected if streams else itemgetter(0)
        elif layer.op in ("FMPadding", "ConvolutionInputGenerator") and step and step.kind == "convolution":
            expected = _Windows(done, step) if layer.op == "ConvolutionInputGenerator" else _Padded(done, step)
        elif step and step.kind == _KINDS.get(layer.op):
            done += 1
            expected = itemgetter(done)
        else:
            raise _other_model(f"layer {layer.name} ({layer.op}) stands where the golden model has {_told(step)}")
        streams.append(LayerStream(layer.plain_name, layer, _lanes(layer, step), expected))
    if done < len(steps):
        raise _other_model(f"no layer does the golden model's step {done} ({steps[done].kind})")
    return streams


def compare(stream: LayerStream, golden: Values, found: Values, frame: int) -> LayerComparison:
    """Compare the values that a layer put out with the right ones.

    Args:
        stream: the layer's.
        golden: what it must put out for this frame, from `stream.expected`.
        found: what it did put out, int32 (beats, lanes).
        frame: the frame's number, for the report.

    Raises InternalError where there are more or fewer beats or lanes.
    """
    wanted = (golden.size // stream.lanes, stream.lanes)
    if found.shape != wanted:
        raise InternalError(
            f"Layer {stream.name} put out {found.shape[0]} beats of {found.shape[1]} values for frame {frame}, not "
            f"{wanted[0]} of {wanted[1]} as its folding in the manifest says."
        )
    differs = found.reshape(-1) != golden.reshape(-1)
    mismatched = int(np.count_nonzero(differs))
    first = _difference(stream, golden, found, frame, int(differs.argmax())) if mismatched else None
    return LayerComparison(stream.name, stream.layer.op, golden.size, mismatched, first)


def _difference(stream: LayerStream, golden: Values, found: Values, frame: int, place: int) -> StreamDifference:
    row, column, *tap, channel = (int(index) for index in np.unravel_index(place, golden.shape))
    beat, lane = divmod(place, stream.lanes)
    return StreamDifference(
        layer=stream.name,
        frame=frame,
        beat=beat,
        lane=lane,
        row=row,
        column=column,
        tap=(tap[0], tap[1]) if tap else None,
        channel=channel,
        golden=int(golden[(row, column, *tap, channel)]),
        found=int(found[beat, lane]),
    )


@dataclass(frozen=True)
class _Padded:
    """Makes the map in front of a convolution, with the convolution's zeros around it: (rows, columns, channels)."""

    source: int
    step: GoldenStep

    def __call__(self, golden: Sequence[Values]) -> Values:
        top, left, bottom, right = self.step.pads
        return np.pad(golden[self.source], ((top, bottom), (left, right), (0, 0)))


@dataclass(frozen=True)
class _Windows(_Padded):
    """Makes the windows of a convolution: (rows, columns, kernel rows, kernel columns, channels)."""

    def __call__(self, golden: Sequence[Values]) -> Values:
        windows = np.lib.stride_tricks.sliding_window_view(super().__call__(golden), self.step.kernel, axis=(0, 1))
        down, right = self.step.strides
        return np.ascontiguousarray(windows[::down, ::right].transpose(0, 1, 3, 4, 2))


def _lanes(layer: LayerInfo, step: GoldenStep | None) -> int:
    """Return how many values of a layer's output make a beat."""
    folding = layer.folding
    if folding.get("parallel_window") and step:
        return step.kernel[0] * step.kernel[1] * folding["SIMD"]
    if layer.op == "MVAU":
        return folding["PE"]
    return next(folding[name] for name in ("lanes_out", "PE", "SIMD") if name in folding)


def _told(step: GoldenStep | None) -> str:
    return f"a step of kind '{step.kind}'" if step else "no step left"


def _other_model(why: str) -> UserError:
    return UserError(
        f"The manifest's layers are not those of the golden model beside it: {why}; build the accelerator again "
        "(facedet build)."
    )
