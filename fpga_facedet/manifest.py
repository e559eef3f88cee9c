"""The manifest: what every engine and host needs to know of a detector, as plain JSON.

`accelerator.json` beside a compiled accelerator holds one; a model file yields one without hardware figures. No shape,
scale, anchor or threshold stands anywhere else.
"""

import json
import os
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fpga_facedet.errors import UserError
from fpga_facedet.files import write_json

FORMAT = "facedet-accelerator/1"
FILE_NAME = "accelerator.json"
RTL, HLS, MIXED = "rtl", "hls", "mixed"
"""Styles of layers: SystemVerilog, C++ for Vitis HLS; an accelerator may be of both."""
EVIDENCE = ("estimated", "simulated", "synthesized", "routed", "measured")
VALUES_PER_ANCHOR = 6
"""Channels of one anchor in the head's output, in this order: x, y, w, h, objectness, face."""


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included: what a field annotated with it may hold in a file."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"


Count = Annotated[int, Range(1, 1e9)]
Whole = Annotated[int, Range(0, 1e15)]
Share = Annotated[float, Range(0, 1)]
Size = Annotated[float, Range(1e-6, 1e9)]


@dataclass(frozen=True)
class ModelInfo:
    """The model: its name, the SHA-256 of its QONNX file, its spec, how it was trained and what it scores.

    `spec` is the whole spec as a dictionary; `training` and `ap` are as the model's metadata gives them, `ap` None
    where nobody has measured it.
    """

    name: str
    sha256: str
    spec: dict[str, Any]
    training: dict[str, Any] | None = None
    ap: dict[str, Any] | None = None


@dataclass(frozen=True)
class InputInfo:
    """The detector's input: RGB uint8 (height, width, channels), letterboxed with grey `fill`."""

    height: Count
    width: Count
    channels: Annotated[int, Range(3, 3)]
    fill: Annotated[int, Range(0, 255)]


@dataclass(frozen=True)
class HeadInfo:
    """The detector's output and how it is read.

    int8 (grid_height, grid_width, channels), each value times `output_scale` in -1..1; `stride` pixels of the input a
    cell; `anchors` as (width, height) in input pixels. `score_threshold` (0..1) and `nms_iou` (0..1) are the defaults.
    """

    grid_height: Count
    grid_width: Count
    channels: Count
    stride: Count
    anchors: tuple[tuple[Size, Size], ...]
    output_scale: Annotated[float, Range(1e-6, 1)]
    score_threshold: Share
    nms_iou: Share


@dataclass(frozen=True)
class StreamInfo:
    """The accelerator's AXI-streams.

    `beats_in` and `beats_out` a frame; `lanes_in` and `lanes_out` values a beat, the first value in the lowest bits,
    each `bits_in` and `bits_out` wide.
    """

    beats_in: Count
    lanes_in: Count
    bits_in: Count
    beats_out: Count
    lanes_out: Count
    bits_out: Count


@dataclass(frozen=True)
class Figure:
    """One figure and how it was obtained: `evidence` is one of EVIDENCE."""

    name: str
    value: float
    unit: str
    evidence: str

    def __post_init__(self) -> None:
        if self.evidence not in EVIDENCE:
            raise UserError(f"Figure '{self.name}' has evidence '{self.evidence}'; use one of {', '.join(EVIDENCE)}.")


@dataclass(frozen=True)
class LayerInfo:
    """One hardware layer: its folding, its cycles a frame and its resources, both with their evidence.

    `style` is RTL or HLS.
    """

    name: str
    op: str
    folding: dict[str, int]
    bits: dict[str, int]
    cycles: Whole
    resources: dict[str, float]
    evidence: str = "estimated"
    style: str = RTL

    @property
    def plain_name(self) -> str:
        """The name without FINN's mark of RTL: what the layer is called in C++ and in a file of styles."""
        return plain(self.name)

    @property
    def name_in_sources(self) -> str:
        """What the layer is called in the sources of its style."""
        return name_in_sources(self.name, self.style)


def name_in_sources(name: str, style: str) -> str:
    """Return what the layer `name` of a build's graph is called in the sources of its style, RTL or HLS."""
    return plain(name) if style == HLS else name


def plain(name: str) -> str:
    """Return the name of a layer without FINN's mark of RTL: `MVAU_0` for `MVAU_rtl_0`."""
    return name.replace("_rtl", "")


@dataclass(frozen=True)
class FifoInfo:
    """One FIFO: `depth` places of `width` bits, in front of the layer called `before`."""

    name: str
    before: str
    depth: Whole
    width: Count


@dataclass(frozen=True)
class SegmentInfo:
    """Consecutive layers of one `style`, RTL or HLS, that are one module called `name`, and its two streams."""

    name: str
    style: str
    stream: StreamInfo


@dataclass(frozen=True)
class Manifest:
    """Everything about one detector; the hardware part is empty (None or ()) for a model that was not compiled.

    `layer_style` is RTL, HLS or MIXED; `segments` are named along the pipeline where it is not RTL.
    """

    model: ModelInfo
    input: InputInfo
    head: HeadInfo
    board: str | None = None
    part: str | None = None
    clock_mhz: Size | None = None
    layer_style: str | None = None
    stream: StreamInfo | None = None
    layers: tuple[LayerInfo, ...] = ()
    fifos: tuple[FifoInfo, ...] = ()
    segments: tuple[SegmentInfo, ...] = ()
    figures: tuple[Figure, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Manifest":
        """Read `path`, a manifest or the folder that holds `accelerator.json`; UserError where it is not one."""
        path = Path(path)
        if path.is_dir():
            path = path / FILE_NAME
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"There is no manifest {path}; build the accelerator first (facedet build).") from None
        except OSError as error:
            raise UserError(f"Cannot read the manifest {path}: {error.strerror}; check the path.") from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"The manifest {path} is not valid JSON ({error}); build the accelerator again.") from error
        return cls.from_dict(data, str(path))

    @classmethod
    def from_dict(cls, data: Any, source: str = "manifest") -> "Manifest":
        """Make a manifest of a dictionary as `to_dict` gives it, ignoring keys of newer minor versions.

        Every value is checked against its field's type and range, and the head against itself and the input. Raises
        UserError that names `source`, the key and its value.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise UserError(
                f"{source} has format {found!r}, this program reads '{FORMAT}'; build the accelerator again."
            )
        try:
            manifest: Manifest = _read(cls, data, "")
            _check_head(manifest)
        except (_WrongValueError, UserError) as error:
            raise UserError(f"{source}: {str(error).rstrip('.')}; build the accelerator again.") from None
        return manifest

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON-ready dictionaries and lists."""
        return {"format": FORMAT, **asdict(self)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the manifest to `path` (a file) as one atomic step."""
        write_json(path, self.to_dict())

    def figure(self, name: str) -> Figure | None:
        """Return the figure called `name` with the best evidence there is, or None where nobody has obtained it."""
        found = [figure for figure in self.figures if figure.name == name]
        return max(found, key=lambda figure: EVIDENCE.index(figure.evidence), default=None)


class _WrongValueError(Exception):
    """A value of a manifest is not what its field takes; the message names both."""


def _read(kind: Any, value: Any, place: str) -> Any:
    """Return `value`, as JSON gave it, as the annotated type `kind`; `place` is its key, `head.anchors.0` and so on."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        checked = _read(arguments[0], value, place)
        return checked if checked in arguments[1] else _refuse(value, place, str(arguments[1]))
    if type(None) in arguments:
        return None if value is None else _read(arguments[0], value, place)
    if origin is tuple:
        return _read_list(arguments, value, place)
    if origin is dict:
        values = value if isinstance(value, dict) else _refuse(value, place, "an object")
        return {key: _read(arguments[1], item, f"{place}.{key}") for key, item in values.items()}
    if is_dataclass(kind):
        return _read_object(kind, value, place)
    if kind is float:
        # NaN and the infinities, which Python's JSON takes, are never in a range.
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300
        return value if is_number else _refuse(value, place, "a number")
    right = isinstance(value, kind) and not isinstance(value, bool)
    return value if right else _refuse(value, place, "a whole number" if kind is int else "a text")


def _read_list(kinds: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    """Read a list as a tuple of `kinds`, whose last may be `...`: any number of the first."""
    values = value if isinstance(value, list | tuple) else _refuse(value, place, "a list")
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(values)
    if len(kinds) != len(values):
        _refuse(value, place, f"a list of {len(kinds)}")
    pairs = zip(kinds, values, strict=True)
    return tuple(_read(kind, item, f"{place}.{index}") for index, (kind, item) in enumerate(pairs))


def _read_object(kind: Any, value: Any, place: str) -> Any:
    """Read an object as the dataclass `kind`; a field without a default must be there."""
    values = value if isinstance(value, dict) else _refuse(value, place, "an object")
    hints = get_type_hints(kind, include_extras=True)
    read = {}
    for item in fields(kind):
        key = f"{place}.{item.name}".lstrip(".")
        if item.name in values:
            read[item.name] = _read(hints[item.name], values[item.name], key)
        elif item.default is MISSING and item.default_factory is MISSING:
            raise _WrongValueError(f"{key} is missing")
    return kind(**read)


def _refuse(value: Any, place: str, wanted: str) -> Any:
    shown = json.dumps(value)
    raise _WrongValueError(
        f"{place} is {shown if len(shown) <= 60 else shown[:57] + '...'} where it should be {wanted}"
    )


def _check_head(manifest: Manifest) -> None:
    """Raise where the head contradicts itself or the input: its grid, its channels, its anchors."""
    head = manifest.head
    if head.channels != VALUES_PER_ANCHOR * len(head.anchors):
        raise _WrongValueError(
            f"head.channels is {head.channels} where {len(head.anchors)} anchors take "
            f"{VALUES_PER_ANCHOR * len(head.anchors)}"
        )
    for side, cells in (("height", head.grid_height), ("width", head.grid_width)):
        if cells * head.stride != getattr(manifest.input, side):
            raise _WrongValueError(
                f"head.grid_{side} is {cells}, which with head.stride {head.stride} is not input.{side} "
                f"{getattr(manifest.input, side)}"
            )
