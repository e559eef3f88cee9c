"""What Vitis HLS's reports say of an accelerator's HLS layers, as figures with the evidence `synthesized` or `routed`.

C synthesis leaves `csynth.xml` of the segment and `<module>_csynth.xml` of each module; where Vivado ran on the segment
alone, `export_syn.xml` or `export_impl.xml`. Each layer is a function of its own in C++, and so a module of its name.
"""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fpga_facedet.boards import get_board
from fpga_facedet.compiler import layout
from fpga_facedet.compiler.cost import UNITS
from fpga_facedet.compiler.hls.verilog import changed_source, hls_segments, vitis_command
from fpga_facedet.compiler.hls.vitis_tcl import MADE_FROM, VITIS
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import EVIDENCE, FILE_NAME, HLS, Figure, LayerInfo, Manifest

SYNTHESIZED, ROUTED = "synthesized", "routed"
VERSION_KEY = "vitis-hls"
"""In the manifest's versions: which Vitis HLS the figures are from."""
_AGGREGATE, _MODULE = "csynth.xml", "_csynth.xml"
# Our name, its name in C synthesis's report, its name in that of Vivado's run, our unit.
_RESOURCES = (
    ("lut", "LUT", "LUT", UNITS["lut"]),
    ("ff", "FF", "FF", UNITS["ff"]),
    ("bram18", "BRAM_18K", "BRAM", UNITS["bram18"]),
    ("dsp", "DSP", "DSP", UNITS["dsp"]),
)
_VIVADO_RUNS = (("export_impl.xml", ROUTED), ("export_syn.xml", SYNTHESIZED))


@dataclass(frozen=True)
class Loop:
    """A pipelined loop: `interval` cycles from one iteration to the next, `trips` iterations, None where unknown.

    `layer` is the layer it belongs to, or None where its module is none's.
    """

    name: str
    module: str
    layer: str | None
    interval: int | None
    trips: int | None


@dataclass(frozen=True)
class LayerReport:
    """One layer: cycles from frame to frame, and resources; `evidence` as in the manifest.

    `name` is that in C++ where `style` is hls, that in the manifest where it is rtl.
    """

    name: str
    style: str
    cycles: int
    resources: dict[str, float]
    evidence: str


@dataclass(frozen=True)
class SegmentReport:
    """One HLS segment: which Vitis HLS, the clock asked for and reached (ns), and resources with their evidence."""

    name: str
    version: str
    target_ns: float
    clock_ns: float
    resources: dict[str, float]
    available: dict[str, float]
    evidence: str


@dataclass(frozen=True)
class HlsReport:
    """What is known of an accelerator's layers.

    `layers` are all of it along the pipeline, estimated where there is no report; `loops` those of the reports;
    `figures` of the whole accelerator, none where a part of it has no report; `command` what to run for the reports
    that are missing, None where none is; `notes` are sentences for the person.
    """

    layers: tuple[LayerReport, ...]
    segments: tuple[SegmentReport, ...] = ()
    loops: tuple[Loop, ...] = ()
    figures: tuple[Figure, ...] = ()
    command: str | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-ready dictionaries and lists."""
        return asdict(self)

    def describe(self) -> str:
        """Return it as lines for a person: a table of the layers, the segments, the figures and the notes."""
        header = ("layer", "style", "cycles a frame", "LUT", "BRAM18", "DSP", "evidence")
        rows = [
            (layer.name, layer.style, f"{layer.cycles:,}",
             *(f"{layer.resources.get(name, 0):,g}" for name in ("lut", "bram18", "dsp")), layer.evidence)
            for layer in self.layers
        ]  # fmt: skip
        lines = _aligned([header, *rows])
        for segment in self.segments:
            used = ", ".join(
                f"{segment.resources[name]:,g} of {segment.available[name]:,g} {unit}"
                for name, _, _, unit in _RESOURCES
            )
            lines.append(
                f"{segment.name}: {used}; clock {segment.clock_ns:g} ns of {segment.target_ns:g} ns "
                f"({segment.evidence}, Vitis HLS {segment.version})"
            )
        lines += [f"{figure.name}: {figure.value:,.10g} {figure.unit} ({figure.evidence})" for figure in self.figures]
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True)
class _Module:
    """One module of a report: its name without the segment's, its cycles from frame to frame, its loops."""

    name: str
    interval: int | None
    resources: dict[str, float]
    loops: tuple[tuple[str, int | None, int | None], ...] = field(default=())


def read(folder: Path) -> HlsReport:
    """Return what the reports in the accelerator's folder `folder` say, and the manifest's estimates for the rest.

    Raises UserError where it has no HLS layers, and where a report is damaged or was made from other sources.
    """
    layout.refuse_overlay(folder)
    manifest = Manifest.load(folder)
    names = hls_segments(manifest)
    if not names:
        raise UserError(f"The accelerator in {folder} has no HLS layers; build it with --layers hls.")
    layout.check_hls(folder, manifest)
    places = {name: found for name in names if (found := _reports(folder, name)) is not None}
    if places:
        _check_sources(folder)
    segments: list[SegmentReport] = []
    modules: dict[str, _Module] = {}
    loops: list[Loop] = []
    for name, place in places.items():
        segments.append(_segment(name, place))
        own = _modules(name, place)
        owner = _owners(name, place, [layer.plain_name for layer in manifest.layers], own)
        modules |= {module.name: module for module in own if owner.get(module.name) == module.name}
        loops += [
            Loop(loop, module.name, owner.get(module.name), interval, trips)
            for module in own
            for loop, interval, trips in module.loops
        ]
    layers = tuple(_layer(layer, modules.get(layer.plain_name)) for layer in manifest.layers)
    missing = [name for name in names if name not in places]
    return HlsReport(
        layers=layers,
        segments=tuple(segments),
        loops=tuple(loops),
        figures=_figures(manifest, layers, segments),
        command=vitis_command(folder) if missing else None,
        notes=tuple(_notes(folder, layers, segments, loops, missing)),
    )


def record(folder: Path, report: HlsReport) -> Manifest:
    """Put what `report` has from Vitis HLS into the manifest and the report page in `folder`; return that manifest.

    Each layer that has a report gets its cycles, resources and evidence; figures of an earlier report are replaced,
    estimates of the whole stay beside them. Each file is written whole or not at all, the manifest last. UserError
    where there is nothing to record or a file cannot be written.
    """
    from fpga_facedet.compiler import report as pages

    if not report.segments:
        raise UserError(f"There is no report of Vitis HLS in {folder} to record; run '{report.command}'.")
    manifest = Manifest.load(folder)
    found = {layer.name: layer for layer in report.layers if layer.style == HLS and layer.evidence != EVIDENCE[0]}
    layers = tuple(
        replace(layer, cycles=own.cycles, resources=own.resources, evidence=own.evidence)
        if (own := found.get(layer.plain_name)) is not None
        else layer
        for layer in manifest.layers
    )
    kept = tuple(figure for figure in manifest.figures if figure.evidence not in (SYNTHESIZED, ROUTED))
    versions = manifest.versions | {VERSION_KEY: ", ".join(sorted({segment.version for segment in report.segments}))}
    manifest = replace(manifest, layers=layers, figures=kept + report.figures, versions=versions)
    pages.write(manifest, get_board(manifest.board or ""), folder)
    manifest.save(folder / FILE_NAME)
    return manifest


def _reports(folder: Path, segment: str) -> Path | None:
    """Return the folder of C synthesis's reports of a segment: the script's, or the unified flow's."""
    work = folder / layout.HLS / VITIS / segment
    return next((path.parent for path in sorted(work.glob(f"*/syn/report/{_AGGREGATE}"))), None)


def _check_sources(folder: Path) -> None:
    kept = folder / layout.HLS / VITIS / MADE_FROM
    changed = changed_source(folder, kept)
    if changed is not None:
        what = f"{changed} differs" if kept.is_dir() else f"there is no {kept} that says which"
        raise UserError(
            f"The reports in {kept.parent} are of other sources than the accelerator's ({what}); run "
            f"'{vitis_command(folder)}' again."
        )


def _segment(name: str, place: Path) -> SegmentReport:
    path = place / _AGGREGATE
    root = _parse(path)
    top = _text(root, "UserAssignments/TopModelName", path)
    if top != name:
        raise UserError(f"{path} is a report of {top}, not of {name}; run Vitis HLS again.")
    target = _number(root, "UserAssignments/TargetClockPeriod", path)
    clock = _number(root, "PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod", path)
    used, available = (
        {ours: _number(root, f"AreaEstimates/{kind}/{theirs}", path) for ours, theirs, _, _ in _RESOURCES}
        for kind in ("Resources", "AvailableResources")
    )
    evidence = SYNTHESIZED
    for file_name, kind in _VIVADO_RUNS:
        run = place.parents[1] / "impl" / "report" / "verilog" / file_name
        if run.is_file():
            tree = _parse(run)
            used = {ours: _number(tree, f"AreaReport/Resources/{theirs}", run) for ours, _, theirs, _ in _RESOURCES}
            clock, evidence = _number(tree, "TimingReport/AchievedClockPeriod", run), kind
            break
    return SegmentReport(name, _text(root, "ReportVersion/Version", path), target, clock, used, available, evidence)


def _modules(segment: str, place: Path) -> list[_Module]:
    """Return the modules of a segment, each from its own report; the segment itself is one of them."""
    found = []
    for path in sorted(place.glob(f"*{_MODULE}")):
        name = path.name[: -len(_MODULE)]
        root = _parse(path)
        area = {ours: _number(root, f"AreaEstimates/Resources/{theirs}", path) for ours, theirs, _, _ in _RESOURCES}
        interval = _whole(_text(root, "PerformanceEstimates/SummaryOfOverallLatency/Interval-max", path))
        found.append(_Module(name.removeprefix(f"{segment}_"), interval, area, tuple(_loops(root))))
    return found


def _loops(root: ElementTree.Element) -> Iterator[tuple[str, int | None, int | None]]:
    """Yield name, interval and trip count of each pipelined loop; they may lie in one another."""
    for summary in root.iterfind("PerformanceEstimates/SummaryOfLoopLatency"):
        for loop in summary.iter():
            interval = loop.findtext("PipelineII")
            if interval is not None:
                trips = loop.findtext("TripCount") or loop.findtext("TripCount/range/max")
                yield (loop.findtext("Name") or loop.tag, _whole(interval), _whole(trips))


def _owners(segment: str, place: Path, layers: Iterable[str], modules: Iterable[_Module]) -> dict[str, str]:
    """Return the layer that each module is or is a part of, by the module's name.

    A layer's module has its name; what lies below it in the hierarchy, or bears its name with the suffix that Vitis HLS
    gives a loop it makes a module of, is a part of it.
    """
    known = {module.name for module in modules}
    owner: dict[str, str] = {}
    named = [layer for layer in layers if layer in known]
    for layer in named:
        owner |= {name: layer for name in known if name == layer or name.startswith(f"{layer}_Pipeline_")}
    for instance in _parse(place / _AGGREGATE).iterfind("RTLDesignHierarchy/TopModule/InstancesList/Instance"):
        layer = (instance.findtext("ModuleName") or "").strip().removeprefix(f"{segment}_")
        if layer in named:
            below = (part.text or "" for part in instance.iterfind("InstancesList//ModuleName"))
            owner |= {name.strip().removeprefix(f"{segment}_"): layer for name in below}
    return owner


def _layer(layer: LayerInfo, module: _Module | None) -> LayerReport:
    if layer.style != HLS or module is None or module.interval is None:
        return LayerReport(layer.name_in_sources, layer.style, layer.cycles, layer.resources, layer.evidence)
    return LayerReport(module.name, layer.style, module.interval, module.resources, SYNTHESIZED)


def _figures(manifest: Manifest, layers: Iterable[LayerReport], segments: list[SegmentReport]) -> tuple[Figure, ...]:
    """Return the figures of the whole accelerator that its reports give: none of what a part has no report of."""
    found = []
    if all(layer.evidence == SYNTHESIZED for layer in layers):
        cycles = max(layer.cycles for layer in layers)
        found.append(Figure("cycles_per_frame", cycles, "cycles", SYNTHESIZED))
        if manifest.clock_mhz is not None:
            found.append(Figure("fps", round(manifest.clock_mhz * 1e6 / cycles, 1), "frames/s", SYNTHESIZED))
    if len(manifest.segments) == len(segments) == 1:
        for name, _, _, unit in _RESOURCES:
            found.append(Figure(name, segments[0].resources[name], unit, segments[0].evidence))
        found.append(Figure("clock_period", segments[0].clock_ns, "ns", segments[0].evidence))
    return tuple(found)


def _notes(
    folder: Path,
    layers: Iterable[LayerReport],
    segments: Iterable[SegmentReport],
    loops: Iterable[Loop],
    missing: list[str],
) -> Iterator[str]:
    if missing:
        yield (
            f"There is no report of Vitis HLS for {', '.join(missing)} yet. Their layers' cycles are estimated "
            "from trip counts, pipeline depth and what a matrix unit waits for its first window; resources are with "
            f"the FIFO in front of each. Run '{vitis_command(folder)}' where Vitis HLS is."
        )
    for loop in loops:
        if loop.interval != 1:
            whose = f"layer {loop.layer}" if loop.layer else f"module {loop.module}"
            every = f"every {loop.interval} cycles" if loop.interval else "at no fixed interval"
            yield f"The loop {loop.name} of {whose} begins an iteration {every}, not every cycle."
    for segment in segments:
        if segment.clock_ns > segment.target_ns:
            yield (
                f"{segment.name} needs a clock of {segment.clock_ns:g} ns ({segment.evidence}), slower than the "
                f"{segment.target_ns:g} ns it is built for."
            )
    unmatched = [] if missing else [item.name for item in layers if item.style == HLS and item.evidence == EVIDENCE[0]]
    if unmatched:
        yield f"The reports have no module with a fixed interval for {', '.join(unmatched)}: estimated."


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except OSError as error:
        raise UserError(f"Cannot read Vitis HLS's report {path}: {error.strerror}; run Vitis HLS again.") from error
    except ElementTree.ParseError as error:
        raise UserError(f"Vitis HLS's report {path} is damaged ({error}); run Vitis HLS again.") from error


def _text(root: ElementTree.Element, place: str, path: Path) -> str:
    found = (root.findtext(place) or "").strip()
    if not found:
        raise UserError(
            f"Vitis HLS's report {path} has no {place}; it is damaged or of a version that is not known here."
        )
    return found


def _number(root: ElementTree.Element, place: str, path: Path) -> float:
    text = _text(root, place, path)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise UserError(f"Vitis HLS's report {path} has '{text}' as {place} where a number should be.")
    return number


def _whole(text: str | None) -> int | None:
    """Return a count of cycles or iterations; Vitis HLS writes 'undef' or a range for one that is not fixed."""
    return int(text) if text is not None and text.strip().isdecimal() else None


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Return the rows as lines with their columns one below the other, words to the left and numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    words = (0, 1, len(widths) - 1)
    return [
        "  ".join(
            cell.ljust(width) if column in words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
