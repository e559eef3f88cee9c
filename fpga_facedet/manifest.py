"""The manifest: what every engine and host needs to know of a detector, as plain JSON.

`accelerator.json` beside a compiled accelerator holds one; a model file yields one without hardware figures. No shape,
scale, anchor or threshold stands anywhere else.
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fpga_facedet.errors import UserError
from fpga_facedet.files import write_json

FORMAT = "facedet-accelerator/1"
FILE_NAME = "accelerator.json"
EVIDENCE = ("estimated", "simulated", "synthesized", "routed", "measured")


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

    height: int
    width: int
    channels: int
    fill: int


@dataclass(frozen=True)
class HeadInfo:
    """The detector's output and how it is read.

    int8 (grid_height, grid_width, channels), each value times `output_scale` in -1..1; `stride` pixels of the input a
    cell; `anchors` as (width, height) in input pixels. `score_threshold` (0..1) and `nms_iou` (0..1) are the defaults.
    """

    grid_height: int
    grid_width: int
    channels: int
    stride: int
    anchors: tuple[tuple[float, float], ...]
    output_scale: float
    score_threshold: float
    nms_iou: float


@dataclass(frozen=True)
class StreamInfo:
    """The accelerator's AXI-streams.

    `beats_in` and `beats_out` a frame; `lanes_in` and `lanes_out` values a beat, the first value in the lowest bits,
    each `bits_in` and `bits_out` wide.
    """

    beats_in: int
    lanes_in: int
    bits_in: int
    beats_out: int
    lanes_out: int
    bits_out: int


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
    """One hardware layer: its folding, its cycles a frame and its resources, both with their evidence."""

    name: str
    op: str
    folding: dict[str, int]
    bits: dict[str, int]
    cycles: int
    resources: dict[str, float]
    evidence: str = "estimated"


@dataclass(frozen=True)
class FifoInfo:
    """One FIFO: `depth` places of `width` bits, in front of the layer called `before`."""

    name: str
    before: str
    depth: int
    width: int


@dataclass(frozen=True)
class Manifest:
    """Everything about one detector; the hardware part is empty (None or ()) for a model that was not compiled."""

    model: ModelInfo
    input: InputInfo
    head: HeadInfo
    board: str | None = None
    part: str | None = None
    clock_mhz: float | None = None
    layer_style: str | None = None
    stream: StreamInfo | None = None
    layers: tuple[LayerInfo, ...] = ()
    fifos: tuple[FifoInfo, ...] = ()
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
        except ValueError as error:
            raise UserError(f"The manifest {path} is not valid JSON ({error}); build the accelerator again.") from error
        return cls.from_dict(data, str(path))

    @classmethod
    def from_dict(cls, data: Any, source: str = "manifest") -> "Manifest":
        """Make a manifest of a dictionary as `to_dict` gives it; UserError that names `source` and what is wrong."""
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise UserError(
                f"{source} has format {found!r}, this program reads '{FORMAT}'; build the accelerator again."
            )
        try:
            head = dict(data["head"], anchors=tuple((float(w), float(h)) for w, h in data["head"]["anchors"]))
            return cls(
                model=_make(ModelInfo, data["model"]),
                input=_make(InputInfo, data["input"]),
                head=_make(HeadInfo, head),
                board=data.get("board"),
                part=data.get("part"),
                clock_mhz=data.get("clock_mhz"),
                layer_style=data.get("layer_style"),
                stream=_make(StreamInfo, data["stream"]) if data.get("stream") else None,
                layers=tuple(_make(LayerInfo, layer) for layer in data.get("layers", ())),
                fifos=tuple(_make(FifoInfo, fifo) for fifo in data.get("fifos", ())),
                figures=tuple(_make(Figure, figure) for figure in data.get("figures", ())),
                files=dict(data.get("files", {})),
                versions=dict(data.get("versions", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{source} lacks or garbles {error}; build the accelerator again.") from error

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


def _make(kind: Any, values: dict[str, Any]) -> Any:
    """Build the dataclass `kind`, ignoring keys of newer minor versions."""
    known = {f.name for f in fields(kind)}
    return kind(**{key: value for key, value in values.items() if key in known})
