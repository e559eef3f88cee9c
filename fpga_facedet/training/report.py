"""The page that a training run ends with: how it went, what the detector finds, and what it was made of.

Every accuracy on it is of the quantized torch network on the validation pictures, which chose the score threshold: the
golden engine's figures on other pictures come from `facedet eval`.
"""

import html
import json
import math
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fpga_facedet import __version__, page
from fpga_facedet.detections import Detections
from fpga_facedet.errors import UserError
from fpga_facedet.evaluation.mistakes import FALSE_KINDS, FATES, count_mistakes
from fpga_facedet.evaluation.operating_point import OperatingPoint, Scored, Truth, score_detections
from fpga_facedet.evaluation.pictures import (
    COLOURS,
    GridItem,
    picture_grid,
    plot_precision_recall,
    worst_and_best,
)
from fpga_facedet.evaluation.sizes import Band
from fpga_facedet.evaluation.wider import Curve
from fpga_facedet.files import write_text
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.dataset import Dataset, Picture
from fpga_facedet.training.validate import Findings

REPORT = "report.html"

SIZES = {"small": Band(8, 20), "medium": Band(20, 60), "large": Band(60, math.inf)}
"""Faces by size in pixels of the detector's input (square root of the area); smaller ones get no curve."""

Numbers = npt.NDArray[np.float64]

_EVIDENCE = "measured by the quantized torch network"
_NOT_LOSSES = ("step", "minutes", "windows", "quantized", "rate", "steps_a_second", "windows_a_second", "loss")
_PHASES = {"calm_at": "calm windows", "frozen_at": "BatchNorm frozen", "scales_frozen_at": "scales frozen"}
_TOOLS = ("torch", "brevitas", "numpy", "opencv-python")
_PICTURES_A_SIDE = 8
_SMOOTH_OVER = 0.03
"""Share of a run over which its curves are averaged; what was logged stays visible behind."""

_INK = {"light": ("#1d2530", "#dde3e9", "#ffffff"), "dark": ("#e4e9ee", "#333d47", "#14191f")}
"""Text, lines and what lies behind a legend on light and dark pages; the plots have no ground of their own."""


@dataclass(frozen=True)
class Log:
    """The lines of a run's log that lead to its end, and the windows seen where it was resumed.

    A run that was killed goes on from its last checkpoint and repeats some steps: what it logged of them before is
    left out. `unreadable` counts torn lines.
    """

    lines: tuple[Mapping[str, Any], ...]
    resumed: tuple[int, ...] = ()
    unreadable: int = 0

    def column(self, name: str) -> Numbers:
        """Return one figure of every line, float64 (N,); NaN where a line lacks it."""
        return np.array([line.get(name, math.nan) for line in self.lines], np.float64)

    def losses(self) -> list[str]:
        """Return the names of the parts of the loss."""
        names = dict.fromkeys(name for line in self.lines for name in line)
        return [name for name in names if name not in _NOT_LOSSES and isinstance(self.lines[-1].get(name), float)]

    def windows_a_second(self) -> Numbers:
        """Return the pace since the line before, float64 (N,); the first line counts from the start."""
        seconds = 60 * np.diff(self.column("minutes"), prepend=0)
        seen = np.diff(self.column("windows"), prepend=0)
        return np.divide(seen, seconds, out=np.full(len(seen), math.nan), where=seconds > 0)


@dataclass(frozen=True)
class Counts:
    """What a split holds, for the page: counted, so that its pictures need not stay in memory."""

    pictures: int
    faces: int
    ignored_regions: int
    without_a_face: int
    skipped_files: int
    wrong_boxes: int
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, split: Dataset) -> "Counts":
        """Count the pictures of `split`, their boxes and what was wrong with them."""
        return cls(
            pictures=len(split),
            faces=split.faces,
            ignored_regions=split.ignored,
            without_a_face=split.background,
            skipped_files=len(split.broken),
            wrong_boxes=split.wrong_boxes.total,
            remarks=tuple(split.remarks),
        )


def read_log(path: Path) -> Log:
    """Read `log.jsonl` of a run; an absent file is an empty log. UserError where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return Log(())
    except OSError as error:
        raise UserError(f"Cannot read the training log {path}: {error.strerror}; check its permissions.") from error
    lines: list[Mapping[str, Any]] = []
    resumed: list[int] = []
    unreadable = 0
    for row in filter(None, map(str.strip, text.splitlines())):
        try:
            line = json.loads(row)
            step = int(line["step"])
        except (ValueError, TypeError, KeyError):
            unreadable += 1
            continue
        if lines and step <= lines[-1]["step"]:
            while lines and step <= lines[-1]["step"]:
                lines.pop()
            resumed.append(int(lines[-1]["windows"]) if lines else 0)
        lines.append(line)
    return Log(tuple(lines), tuple(resumed), unreadable)


def phases(log: Log, config: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Return where the run changed its ways, as (windows seen, what began), in order.

    Quantization is where the log says; the rest is computed from the last `config` (TrainingConfig as a dictionary),
    and so approximate where a resumed run was made longer.
    """
    windows, quantized = log.column("windows"), log.column("quantized") > 0
    found = [(float(at), "resumed") for at in log.resumed]
    changes = np.flatnonzero(quantized[1:] & ~quantized[:-1])
    found += [(float(windows[i : i + 2].mean()), "quantized") for i in changes]
    column, length = ("step", config["steps"]) if config.get("steps") else ("minutes", config.get("minutes"))
    done = log.column(column) / (length or math.nan)
    for key, text in _PHASES.items():
        share = config.get(key)
        if share is not None and len(done) and done[0] < share < done[-1]:
            found.append((float(np.interp(share, done, windows)), text))
    return sorted(found)


def write_report(
    out: Path,
    log: Path,
    checkpoint: Mapping[str, Any],
    data: Mapping[str, Counts],
    pictures: Sequence[Picture],
    findings: Findings,
    point: OperatingPoint,
    chosen_by: str,
    official: Mapping[str, Curve] | None = None,
    progress: Progress = unwatched,
) -> Path:
    """Write the page of a training run to the folder `out` and return its path (`report.html`).

    `log` is the run's log.jsonl, `checkpoint` its state (spec, config, step, minutes, windows, quantized), `data`
    counts the splits, `pictures` are the validation pictures and `findings` what the network found in them; `point` is
    the default threshold, `chosen_by` a sentence on how it was chosen. `official` are the curves by WIDER's
    difficulties, where the pictures have them; curves by the size of the faces are there either way. UserError where
    the disk is full or the log cannot be read.
    """
    progress("writing the report", 0.0)
    history = read_log(log)
    spec = DetectorSpec.from_dict(dict(checkpoint["spec"]), "checkpoint")
    config: Mapping[str, Any] = checkpoint.get("config") or {}
    sections = [
        _headline(checkpoint, findings, point),
        page.section("The run", _run_remark(history), _run_curves(history, config)),
        _accuracy(findings, point, official),
        _mistakes(findings, point),
        *_grids(spec, pictures, findings, point),
        page.section("Score threshold", html.escape(chosen_by), _threshold_table(point)),
        _pictures_used(data),
        page.section("Settings", "As saved with the checkpoint, the seed included.", _settings(config)),
        page.section("Detector", _spec_remark(spec), _layer_table(spec)),
        page.section("Command", "As last started.", f"<code>{html.escape(_command())}</code>"),
    ]
    remark = f"{html.escape(spec.description)}: the training run and what came of it"
    path = out / REPORT
    write_text(path, page.page(f"Training of {html.escape(spec.name)}", remark, sections, _small_print()))
    progress("writing the report", 1.0)
    return path


def _command() -> str:
    name = Path(sys.argv[0]).name
    return shlex.join(["facedet" if name == "__main__.py" else name, *sys.argv[1:]])


def _small_print() -> str:
    versions = [("fpga-facedet", __version__), *((tool, metadata.version(tool)) for tool in _TOOLS)]
    named = ", ".join(f"{tool} {html.escape(version)}" for tool, version in versions)
    return f"Trained and measured with {named}, Python {platform.python_version()} on {platform.machine()}."


def _headline(checkpoint: Mapping[str, Any], findings: Findings, point: OperatingPoint) -> str:
    scored = findings.score()
    evidence = f"{_EVIDENCE}, {len(findings.truth):,} validation pictures"
    figures = [
        (f"{scored.average_precision:.3f}", "AP@0.5, faces of every size", evidence),
        (f"{point.score_threshold:.3f}", "score threshold", "chosen on the same pictures"),
        (f"{checkpoint.get('windows', 0):,}", "training windows", f"{checkpoint.get('step', 0):,} steps"),
        (_duration(checkpoint.get("minutes", 0.0)), "training time", "interruptions not counted"),
    ]
    note = (
        "<p>The validation pictures also chose the threshold, so figures at it flatter a little. The golden engine's "
        "figures, and those on other pictures, are in <code>facedet eval</code>.</p>"
    )
    if not checkpoint.get("quantized", True):
        note += "<p>The run ended before quantization-aware training began: the network was quantized afterwards.</p>"
    return page.cards(figures) + note


def _duration(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _run_remark(log: Log) -> str:
    if not log.lines:
        return "No log was found beside the checkpoint: there are no curves."
    parts = ["Logged values in pale, their running mean in full; across: windows seen."]
    if log.resumed:
        parts.append("Resumed from an earlier step where marked; the steps it repeated are shown once.")
    if log.unreadable:
        parts.append(f"Lines of the log that could not be read: {log.unreadable}.")
    return " ".join(parts)


def _run_curves(log: Log, config: Mapping[str, Any]) -> str:
    if len(log.lines) < 2:
        return ""
    marks = phases(log, config)
    windows = log.column("windows")
    plots: dict[str, dict[str, Numbers]] = {
        "loss": {"loss": log.column("loss")},
        "parts of the loss": {name: log.column(name) for name in log.losses()},
        "learning rate": {"rate": log.column("rate")},
        "windows a second": {"pace": log.windows_a_second()},
    }
    return page.figures(
        _both_inks(partial(_plot_run, windows, curves, marks, title), f"{title} over windows seen")
        for title, every in plots.items()
        if (curves := {name: values for name, values in every.items() if np.isfinite(values).any()})
    )


def smoothed(values: Numbers) -> Numbers:
    """Return the centred running mean of `values` (N,) over a small share of them; NaN counts for nothing."""
    reach = round(len(values) * _SMOOTH_OVER / 2)
    near = [values[max(0, i - reach) : i + reach + 1] for i in range(len(values))]
    return np.array([float(np.nanmean(part)) if np.isfinite(part).any() else math.nan for part in near])


def _plot_run(
    windows: Numbers, curves: Mapping[str, Numbers], marks: Sequence[tuple[float, str]], title: str, path: Path
) -> None:
    """Draw curves over windows seen, with the changes of the run as lines, to the SVG `path`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    thousands = windows / 1000
    means = {name: smoothed(values) for name, values in curves.items()}
    for colour, (name, values) in zip(_colours(len(curves)), curves.items(), strict=True):
        axes.plot(thousands, values, color=colour, alpha=0.4, linewidth=0.8)
        axes.plot(thousands, means[name], color=colour, label=name, linewidth=2)
    for at, text in _merged(marks, 0.04 * windows[-1]):
        axes.axvline(at / 1000, linestyle=":", color="0.55")
        axes.text(at / 1000, 0.98, f" {text}", transform=axes.get_xaxis_transform(), rotation=90, va="top", size=10)
    axes.set(title=title, xlabel="thousand windows", xlim=(0, thousands[-1]))
    # The means set the scale: one strange line of the log must not flatten the rest. Only the loss has no natural zero.
    drawn = np.concatenate(list(means.values()))
    low, high = (np.nanmin(drawn) if title == "loss" else 0.0), np.nanmax(drawn)
    margin = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - margin if low else 0.0, high + margin)
    axes.grid()
    if len(curves) > 1:
        # Beside the curves, where it hides none.
        figure.legend(loc="outside lower center", ncols=min(len(curves), 4))
    figure.savefig(path, metadata={"Date": None})


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _merged(marks: Sequence[tuple[float, str]], distance: float) -> list[tuple[float, str]]:
    """Return the marks with those closer than `distance` windows to the one before written as one."""
    merged: list[tuple[float, str]] = []
    for at, text in marks:
        if merged and at - merged[-1][0] < distance:
            before, texts = merged[-1]
            merged[-1] = before, texts if text in texts.split(", ") else f"{texts}, {text}"
        else:
            merged.append((at, text))
    return merged


def _both_inks(draw: Callable[[Path], None], alt: str) -> str:
    """Return a figure drawn twice, for light and for dark pages; `draw` writes the SVG it is given."""
    import matplotlib

    uris = {}
    for name, (ink, line, paper) in _INK.items():
        style = {
            **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), ink),
            **dict.fromkeys(("axes.edgecolor", "grid.color"), line),
            **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
            "legend.edgecolor": line,
            "legend.facecolor": paper,
            "legend.framealpha": 0.6,
            "font.size": 13,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.unicode_minus": False,
            "svg.hashsalt": "facedet",
        }
        with tempfile.TemporaryDirectory() as folder, matplotlib.rc_context(style):
            draw(Path(folder) / "plot.svg")
            uris[name] = page.data_uri((Path(folder) / "plot.svg").read_bytes(), "image/svg+xml")
    return page.figure(uris["light"], html.escape(alt), uris["dark"])


def _by_size(findings: Findings) -> dict[str, Scored]:
    """Match findings and labels for every band of SIZES that has faces, and for all."""
    scored = {
        f"{name} ({band.name} px)": score_detections(findings.found, findings.truth, band.least, band.limit)
        for name, band in SIZES.items()
    }
    return {name: one for name, one in scored.items() if one.faces} | {"every size": findings.score()}


def _accuracy(findings: Findings, point: OperatingPoint, official: Mapping[str, Curve] | None) -> str:
    scored = _by_size(findings)
    sizes = {name: Curve(one.precision, one.recall, one.average_precision) for name, one in scored.items()}
    plots = {"Precision and recall by size of the faces": sizes}
    remark = f"Validation pictures, {_EVIDENCE}. Sizes in pixels of the detector's input."
    if official:
        plots = {"Precision and recall by WIDER's difficulty": dict(official), **plots}
        remark += " Difficulties by WIDER's protocol."
    drawn = page.figures(_both_inks(partial(plot_precision_recall, curves), title) for title, curves in plots.items())
    rows = [
        (name, f"{one.faces:,}", f"{one.average_precision:.3f}", *_at_threshold(one, point.score_threshold))
        for name, one in scored.items()
    ]
    heads = ("faces", "number", "AP@0.5", f"precision at {point.score_threshold:.3f}", "recall")
    return page.section(" and ".join(plots), remark, drawn + page.table(heads, rows))


def _at_threshold(scored: Scored, threshold: float) -> tuple[str, str]:
    shown = int(np.count_nonzero(scored.scores >= threshold))
    if not shown:
        return "&ndash;", "0.000"
    return f"{scored.precision[shown - 1]:.3f}", f"{scored.recall[shown - 1]:.3f}"


def _mistakes(findings: Findings, point: OperatingPoint) -> str:
    mistakes = count_mistakes(findings.found, findings.truth, point.score_threshold)
    rows = [
        (band.name, *(f"{count:,}" for count in row), f"{row[0] / row.sum():.0%}")
        for band, row in zip(mistakes.bands, mistakes.fates, strict=True)
        if row.sum()
    ]
    false = ", ".join(f"{count:,} {kind}" for kind, count in zip(FALSE_KINDS, mistakes.false_boxes, strict=True))
    remark = f"At the score threshold: what became of each face, by its size in pixels. Wrong boxes: {false}."
    return page.section("Mistakes", remark, page.table(("pixels", *FATES, "share found"), rows))


def _threshold_table(point: OperatingPoint) -> str:
    names = ("score threshold", "precision", "recall")
    figures = (point.score_threshold, point.precision, point.recall)
    return page.pairs((name, f"{value:.4f}") for name, value in zip(names, figures, strict=True))


def _grids(spec: DetectorSpec, pictures: Sequence[Picture], findings: Findings, point: OperatingPoint) -> Iterator[str]:
    """Yield the sections of the worst and the best pictures."""
    ranking = worst_and_best(findings.found, findings.truth)
    best = ranking[::-1][: min(_PICTURES_A_SIDE, (len(ranking) + 1) // 2)]
    worst = ranking[: min(_PICTURES_A_SIDE, len(ranking) - len(best))]
    remark = (
        "Labelled faces in green, those found at the score threshold in orange; ranked by each picture's own AP, to "
        "which fainter boxes add."
    )
    for title, chosen in (("Worst pictures", worst), ("Best pictures", best)):
        if len(chosen):
            each = (_picture(spec, pictures[i], findings.found[i], findings.truth[i], point) for i in chosen)
            yield page.section(title, remark, page.figures(each, small=True))


def _picture(spec: DetectorSpec, picture: Picture, found: Detections, truth: Truth, point: OperatingPoint) -> str:
    """Return one validation picture as a figure, as it is (not as letterboxed)."""
    height, width = picture.pixels.shape[:2]
    box = Letterbox.fit(width, height, spec.input.width, spec.input.height)
    shown = found[found.scores >= point.score_threshold]
    scored = score_detections([shown], [truth])
    right = int(scored.right.sum())
    caption = f"{right} of {scored.faces} found, {len(scored.right) - right} wrong"
    item = GridItem(picture.pixels, picture.faces, Detections(box.to_frame(shown.boxes), shown.scores), caption)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        picture_grid([item], path, columns=1)
        drawn = np.asarray(cv2.imread(str(path)), np.uint8)
    encoded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    name = html.escape(picture.name)
    return page.figure(page.data_uri(encoded.tobytes(), "image/jpeg"), name, caption=name)


def _pictures_used(data: Mapping[str, Counts]) -> str:
    numbers = [field.name for field in fields(Counts) if field.name != "remarks"]
    rows = [(name, *(f"{getattr(counts, number):,}" for number in numbers)) for name, counts in data.items()]
    remarks = dict.fromkeys(remark for counts in data.values() for remark in counts.remarks)
    heads = ("split", *(number.replace("_", " ") for number in numbers))
    return page.section("Pictures", html.escape(" ".join(remarks)), page.table(heads, rows))


def _settings(config: Mapping[str, Any]) -> str:
    if not config:
        return "<p>The checkpoint does not say.</p>"
    return page.pairs((html.escape(key), html.escape(str(value))) for key, value in config.items())


def _spec_remark(spec: DetectorSpec) -> str:
    anchors = ", ".join(f"{width:g} &times; {height:g}" for width, height in spec.head.anchors)
    size = spec.input
    return f"Input {size.width} &times; {size.height} &times; {size.channels}; anchors {anchors} pixels."


def _layer_table(spec: DetectorSpec) -> str:
    rows = [
        (
            str(index),
            f"{layer.kernel} &times; {layer.kernel}",
            str(layer.channels),
            str(layer.pool),
            str(layer.weight_bits),
            str(layer.activation_bits),
        )
        for index, layer in enumerate(spec.layers)
    ]
    head = spec.head
    values = f"{len(head.anchors)} anchors"
    rows.append(
        ("head", f"{head.kernel} &times; {head.kernel}", values, "", str(head.weight_bits), str(head.output_bits))
    )
    return page.table(("layer", "kernel", "channels", "pool", "weight bits", "output bits"), rows)
