"""Calibration of the cost model: single layers counted by yosys, formulas fitted to them, and how far off they are.

`calibrate` counts the layers that `cost_points.json` lists, each alone, by the code that a build makes of it; fits the
coefficients of each formula to three of four of them by non-negative least squares of relative errors; and judges the
formulas by the rest, and by all layers of accelerators that were built. It writes `costs.json`, which the compiler
reads, and the points it came from, so that the fit can be repeated without yosys (`fit`, `judge`).
"""

import json
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fpga_facedet.boards import get_board
from fpga_facedet.compiler import cost, rtl
from fpga_facedet.compiler.cost import RESOURCE_NAMES, Resources, weighted
from fpga_facedet.compiler.cost_shapes import Shape, Terms
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.files import check_writable, write_json
from fpga_facedet.manifest import Manifest
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.synthesis import counting, single_layers, yosys

POINTS_FILE = cost.COSTS_FILE.with_name("cost_points.json")
"""The layers that were counted and what they took."""

RANDOM = "random"
"""Where a point is from that belongs to no accelerator."""

SMALL_LUTS = 20
"""Below so many LUTs an error of one or two is a large share, so that such layers are judged by LUTs instead."""

_BOARD = "pynq-z2"
_HELD_OUT = 4
_FLOOR = 20
"""LUTs or flip-flops added to what a point takes before its error is made relative: small ones weigh less."""

_KNOWN = {"LUT memory", "choices", "bits forwarded"}
"""Terms that count LUTs and flip-flops themselves, as the source is written for: nothing is fitted to them."""

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in single_layers.SHAPES}

Coefficients = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Point:
    """A layer of some shape, where it is from (RANDOM or an accelerator), and what yosys counted of it."""

    shape: Shape
    source: str
    used: Resources

    @property
    def fitted(self) -> bool:
        """Whether the formulas are fitted to it: three of four random layers, by their shape, and no other."""
        return self.source == RANDOM and zlib.crc32(repr(self.shape).encode()) % _HELD_OUT > 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON keeps it."""
        return {**shape_to_dict(self.shape), "source": self.source, **self.used.to_dict()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "Point":
        """Return the point that `to_dict` described."""
        used = Resources(**{name: found[name] for name in RESOURCE_NAMES})
        return cls(shape_from_dict(found), found["source"], used)


def shape_to_dict(shape: Shape) -> dict[str, Any]:
    """Return a shape as JSON keeps it."""
    return {"layer": type(shape).__name__, "shape": asdict(shape)}


def shape_from_dict(found: Mapping[str, Any]) -> Shape:
    """Return the shape that `shape_to_dict` described."""
    shape: Shape = _KINDS[found["layer"]](**found["shape"])
    return shape


@dataclass(frozen=True)
class Judgement:
    """How far a formula is from what yosys counts of layers that it was not fitted to.

    `median` and `worst` are shares of the LUTs counted, of the `large` layers of SMALL_LUTS and more; `most_luts` is
    the worst error of smaller ones in LUTs. `wrong` counts layers of which block RAMs or DSPs differ at all.
    """

    formula: str
    layers: int
    large: int
    median: float
    worst: float
    most_luts: float
    median_ff: float
    wrong: int


@dataclass(frozen=True)
class Calibration:
    """The coefficients and what they were judged by."""

    tool: str
    coefficients: Coefficients
    points: tuple[Point, ...]
    judgements: tuple[Judgement, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what `costs.json` holds."""
        return {
            "tool": self.tool,
            "chip": "7-series",
            "fitted_to": sum(point.fitted for point in self.points),
            "coefficients": self.coefficients,
            "errors": [asdict(judgement) for judgement in self.judgements],
        }

    def describe(self) -> str:
        """Return the error table as lines for a person."""
        lines = [
            f"{self.tool}; fitted to {sum(point.fitted for point in self.points)} layers, judged by the others.",
            f"{'':28} layers  LUT: median   worst  FF: median  BRAM or DSP differ",
        ]
        for found in self.judgements:
            small = f", small ones within {found.most_luts:.0f} LUT" if found.layers > found.large else ""
            lines.append(
                f"{found.formula:28} {found.layers:6} {found.median:12.1%} {found.worst:7.1%} {found.median_ff:11.1%} "
                f"{found.wrong:8}{small}"
            )
        return "\n".join(lines)


def calibrate(
    progress: Progress | None = None, accelerators: Sequence[Path] = (), folder: Path | None = None
) -> Calibration:
    """Count the layers of POINTS_FILE anew, fit the formulas to them, and write `costs.json` and POINTS_FILE.

    Args:
        accelerators: folders of built RTL accelerators, whose layers the formulas are judged by too. Where none is
            given, the layers of those in POINTS_FILE stay, if the same yosys counted them.
        folder: where both files go, the installed package where None.

    One layer is counted at a time; what was counted before comes from the user's cache, so it goes on where it was
    stopped. Nothing is written before all is counted. Raises UserError where yosys is not installed, a folder is no
    accelerator or a file cannot be written; CountError where a layer cannot be counted.
    """
    report, place = progress or unwatched, folder or POINTS_FILE.parent
    for accelerator in accelerators:
        _folded_graph(accelerator)
    check_writable(place)
    report("yosys: starting; its first run on a machine takes a minute", 0.0)
    tool = yosys.prepare()
    known = json.loads(POINTS_FILE.read_text(encoding="utf-8"))
    before = [Point.from_dict(found) for found in known["points"]]
    layers = [point.shape for point in before if point.source == RANDOM]
    layers += [shape_from_dict(found) for found in known["uncounted"]]
    layers, points = list(dict.fromkeys(layers)), []
    for done, shape in enumerate(layers):
        report(f"yosys: {shape.formula}, layer {done + 1} of {len(layers)}", done / len(layers))
        points.append(Point(shape, RANDOM, count(shape)))
    for accelerator in accelerators:
        points += points_of(accelerator, report)
    if not accelerators and known["tool"] == tool:
        points += [point for point in before if point.source != RANDOM]
    found = fitted(tool, points)
    write(found, place, [])
    return found


def count(shape: Shape) -> Resources:
    """Return what yosys counts of one layer of this shape with random weights, as it would stand in an accelerator."""
    graph = single_layers.layer(shape)
    node = graph.graph.node[0]
    made = cost.shape_of(node, graph)
    if made != shape:
        raise InternalError(f"The layer made for {shape} is {made}.")
    with tempfile.TemporaryDirectory(prefix="facedet-calibrate-") as scratch:
        out = Path(scratch) / "rtl"
        sources = [out / name for name in rtl.generate(graph, get_board(_BOARD), out)]
        (stage,) = counting.stages(sources)
        alone = Path(scratch) / f"{stage.top}.sv"
        alone.write_text(stage.source, encoding="utf-8")
        return yosys.count([*sources, alone], stage.top, out).resources


def points_of(folder: Path, progress: Progress | None = None) -> list[Point]:
    """Return the layers of the RTL accelerator in `folder`, with its own weights, as `counting.count` counts them.

    Layers that the formulas do not count, such as graphs of adders, are left out. Raises UserError where the folder is
    no accelerator, was not built for a 7-series chip, or holds no folded graph.
    """
    from qonnx.core.modelwrapper import ModelWrapper

    manifest, saved = _folded_graph(folder)
    synthesis = counting.count(folder, progress, jobs=1)
    counted = {layer.name: layer.resources for layer in synthesis.layers}
    graph = ModelWrapper(str(saved))
    source = f"{manifest.model.name}, {folder.name}"
    return [
        Point(cost.shape_of(node, graph), source, counted[node.name])
        for node in graph.graph.node
        if node.name in counted and cost.has_formula(node)
    ]


def _folded_graph(folder: Path) -> tuple[Manifest, Path]:
    """Return the manifest of a built RTL accelerator and the file of its graph; UserError as `points_of`."""
    manifest = Manifest.load(folder)
    if not (manifest.part or "").startswith("xc7"):
        raise UserError(
            f"{folder} is built for {manifest.part}; the formulas are for 7-series chips, so choose such a one."
        )
    steps = sorted((folder / "steps").glob("*_fifos.onnx"))
    if not steps:
        raise UserError(f"{folder} has no folded graph among its steps; build the accelerator there again.")
    return manifest, steps[-1]


def fitted(tool: str, points: Iterable[Point]) -> Calibration:
    """Return the calibration that these points give; InternalError where a formula has no point to be fitted to."""
    points = tuple(points)
    coefficients = fit([point for point in points if point.fitted])
    missing = sorted({point.shape.formula for point in points} - set(coefficients))
    if missing:
        raise InternalError(f"No layer is counted that the formula of '{missing[0]}' could be fitted to.")
    return Calibration(tool, coefficients, points, tuple(judge(points, coefficients)))


def fit(points: Sequence[Point]) -> Coefficients:
    """Return what each term of each formula takes, at least 0: the least squares of the relative errors."""
    found: Coefficients = {}
    for formula in sorted({point.shape.formula for point in points}):
        own = [point for point in points if point.shape.formula == formula]
        found[formula] = {
            "lut": _solve([point.shape.lut_terms() for point in own], [point.used.lut for point in own]),
            "ff": _solve([point.shape.ff_terms() for point in own], [point.used.ff for point in own]),
        }
    return found


def _solve(terms: Sequence[Terms], counted: Sequence[float]) -> dict[str, float]:
    from scipy.optimize import nnls

    names = list(terms[0])
    amounts = np.array([[row[name] for name in names] for row in terms], dtype=float)
    used = np.array(counted, dtype=float)
    weights = 1 / (used + _FLOOR)
    known = np.array([name in _KNOWN for name in names])
    rest = np.maximum(used - amounts[:, known].sum(axis=1), 0)
    each = np.ones(len(names))
    each[~known], _ = nnls(amounts[:, ~known] * weights[:, None], rest * weights)
    return {name: round(float(value), 4) for name, value in zip(names, each, strict=True)}


def judge(points: Sequence[Point], coefficients: Coefficients) -> list[Judgement]:
    """Return the errors on the points that nothing was fitted to: all random ones, each accelerator, each formula."""
    held = [point for point in points if not point.fitted]
    groups = {f"all {RANDOM} layers": [point for point in held if point.source == RANDOM]}
    groups |= {
        source: [point for point in held if point.source == source]
        for source in dict.fromkeys(point.source for point in held if point.source != RANDOM)
    }
    groups |= {
        formula: [point for point in held if point.shape.formula == formula]
        for formula in sorted({point.shape.formula for point in held})
    }
    return [_judgement(name, own, coefficients) for name, own in groups.items() if own]


def _judgement(name: str, points: Sequence[Point], coefficients: Coefficients) -> Judgement:
    estimates = [(point, estimate(point.shape, coefficients)) for point in points]
    small = [abs(found.lut - point.used.lut) for point, found in estimates if point.used.lut < SMALL_LUTS]
    large = [abs(found.lut / point.used.lut - 1) for point, found in estimates if point.used.lut >= SMALL_LUTS]
    flops = [abs(found.ff / point.used.ff - 1) for point, found in estimates if point.used.ff]
    wrong = [point for point, found in estimates if (found.bram18, found.dsp) != (point.used.bram18, point.used.dsp)]
    return Judgement(
        formula=name,
        layers=len(points),
        large=len(large),
        median=round(float(np.median(large)), 4) if large else 0.0,
        worst=round(max(large, default=0.0), 4),
        most_luts=round(max(small, default=0.0), 1),
        median_ff=round(float(np.median(flops)), 4) if flops else 0.0,
        wrong=len(wrong),
    )


def estimate(shape: Shape, coefficients: Coefficients) -> Resources:
    """Return what a layer takes by these coefficients."""
    each = coefficients[shape.formula]
    lut, ff = weighted(shape.lut_terms(), each["lut"]), weighted(shape.ff_terms(), each["ff"])
    return Resources(lut=lut, ff=ff, bram18=shape.bram18, dsp=shape.dsp)


def load() -> Calibration:
    """Return the calibration that the installed package has, from its two files."""
    known = json.loads(POINTS_FILE.read_text(encoding="utf-8"))
    costs = json.loads(cost.COSTS_FILE.read_text(encoding="utf-8"))
    points = tuple(Point.from_dict(found) for found in known["points"])
    judgements = tuple(Judgement(**found) for found in costs["errors"])
    return Calibration(known["tool"], costs["coefficients"], points, judgements)


def write(found: Calibration, folder: Path, uncounted: Sequence[Shape]) -> None:
    """Write `costs.json` and the points into `folder`, each whole or not at all; UserError where that fails.

    `uncounted` are layers for the next calibration to count.
    """
    rows, waiting = [point.to_dict() for point in found.points], [shape_to_dict(shape) for shape in uncounted]
    write_json(folder / POINTS_FILE.name, {"tool": found.tool, "points": rows, "uncounted": waiting})
    write_json(folder / cost.COSTS_FILE.name, found.to_dict())
    cost.costs.cache_clear()
