"""Resources of a whole accelerator by yosys: layer by layer, each as it stands in the top, and their sum.

A layer is counted with all that the top gives it: its weight memory, its configuration ports tied off. Between the
layers the top has wires alone, so the sum leaves nothing out. At once yosys counts a little less, for it finds what two
neighbours have in common: in a small accelerator of 34 layers and FIFOs 1.0 % of the LUTs and 0.3 % of the flip-flops,
no block RAM and no DSP. Where one layer cannot be counted there is no sum.
"""

import re
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fpga_facedet.boards import Board, get_board
from fpga_facedet.compiler import layout
from fpga_facedet.compiler.cost import UNITS, Resources
from fpga_facedet.compiler.hls.verilog import hls_segments
from fpga_facedet.compiler.report_findings import SOURCES_KEY, SYNTHESIS_FILE
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.files import write_json
from fpga_facedet.manifest import FILE_NAME, HLS, RTL, Figure, Manifest
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.synthesis import yosys

SYNTHESIZED = "synthesized"
VERSION_KEY = "yosys"
"""In the manifest's versions: which yosys the figures are from."""

_JOINING = re.compile(
    r"^module (\w+) \(.*?input\t\[(\d+):0\]  s_axis_tdata.*?^\);\n(.*?)^\tassign\tm_axis_tdata", re.M | re.S
)
"""A module that joins layers, as compiler/rtl.py writes it: its name, its input's highest bit, its layers."""
_STREAM = re.compile(r"^\twire \[(\d+):0\]  d(\d+);\n\twire v\2, r\2;\n", re.M)
"""The stream behind a layer, with which its text begins."""
_Stream = tuple[int, tuple[str, ...]]
"""A stream's highest bit and its signals: data, valid, ready."""
_INSTANCE = re.compile(r"^\t(\w+) (\w+) \(\n", re.M)


@dataclass(frozen=True)
class Stage:
    """A layer or FIFO as it stands in the top: its name, its module's, and a module `top` of it alone as source."""

    name: str
    module: str
    top: str
    source: str


@dataclass(frozen=True)
class CountedLayer:
    """What one layer, converter or FIFO takes, its weight memory included."""

    name: str
    module: str
    resources: Resources


@dataclass(frozen=True)
class Synthesis:
    """What yosys counts of an accelerator.

    `used` is the sum, None where a layer could not be counted: `not_counted` has its name and why. `available` is what
    the chip `part` holds; `rtl_sha256` says of which sources.
    """

    part: str
    tool: str
    available: Resources
    layers: tuple[CountedLayer, ...]
    not_counted: tuple[tuple[str, str], ...]
    rtl_sha256: str

    @property
    def used(self) -> Resources | None:
        """The resources of the whole accelerator, or None where a layer of it could not be counted."""
        return None if self.not_counted else sum((layer.resources for layer in self.layers), Resources())

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready dictionaries: `lut`, `ff`, `bram18`, `dsp` with `used` and `available`, or null."""
        used, available = self.used, self.available.to_dict()
        total = used.to_dict() if used else None
        return {
            **{name: {"used": total[name], "available": available[name]} if total else None for name in UNITS},
            "evidence": SYNTHESIZED,
            "part": self.part,
            "tool": self.tool,
            "layers": [
                {"name": layer.name, "module": layer.module, **layer.resources.to_dict()} for layer in self.layers
            ],
            "not_counted": [name for name, _ in self.not_counted],
            "reasons": dict(self.not_counted),
            SOURCES_KEY: self.rtl_sha256,
        }

    def describe(self) -> str:
        """Return it as lines for a person: each resource, or what is missing."""
        used, available = self.used, self.available.to_dict()
        if used is None:
            lines = [f"{name}: not counted. {why}" for name, why in self.not_counted]
            return "\n".join(
                [*lines, f"LUTs, flip-flops, block RAMs and DSPs of the whole: not measured ({self.tool})."]
            )
        return "\n".join(
            f"{UNITS[name]}: {value:,g} of {available[name]:,g}, {value / available[name]:.0%} "
            f"({SYNTHESIZED}, {self.tool})"
            for name, value in used.to_dict().items()
        )


def synthesize(folder: Path, progress: Progress | None = None, jobs: int = 2) -> Synthesis:
    """Count the accelerator in `folder` and record it there: `synthesis.json`, its manifest and its report.

    Ctrl-C ends it; nothing is written then, and what is counted so far is kept in the cache. Raises UserError as
    `count` does, for an overlay's folder, and where a file cannot be written.
    """
    layout.refuse_overlay(folder)
    result = count(folder, progress, jobs)
    manifest = Manifest.load(folder)
    record(folder, manifest, get_board(manifest.board or ""), result)
    return result


def count(folder: Path, progress: Progress | None = None, jobs: int = 2) -> Synthesis:
    """Count the accelerator in `folder`, which stays as it is.

    Args:
        jobs: how many layers are counted at once, each by a process of its own.

    Layers that were counted before come from the user's cache. Raises UserError where `folder` is no accelerator, its
    sources are not the manifest's, or yosys is not installed.
    """
    manifest = Manifest.load(folder)
    sources = layout.sources(folder)
    layout.check_rtl(folder, manifest)
    board = get_board(manifest.board or "")
    found = _to_count(folder, manifest, sources)
    report = progress or unwatched
    if jobs < 1:
        raise UserError(f"Layers cannot be counted {jobs} at once; give a number of jobs from 1.")
    report("yosys: starting; its first run on a machine takes a minute", 0.0)
    tool = yosys.prepare()
    counted, failed = _count(found, sources, folder / layout.RTL, yosys.family_of(board.part), report, jobs)
    return Synthesis(
        part=board.part,
        tool=tool,
        available=_available(board),
        layers=tuple(
            CountedLayer(stage.name, stage.module, counted[stage.name]) for stage in found if stage.name in counted
        ),
        not_counted=(*failed.items(), *_left_out(manifest, found)),
        rtl_sha256=layout.digests(folder)[SOURCES_KEY],
    )


def _to_count(folder: Path, manifest: Manifest, sources: Sequence[Path]) -> list[Stage]:
    """Return the stages that are SystemVerilog; UserError where there is no layer to sum at all."""
    segments = hls_segments(manifest)
    found = [stage for stage in stages(sources) if stage.module not in segments]
    if not found and segments:
        raise UserError(
            f"The accelerator in {folder} has no layer of SystemVerilog for yosys to count; see facedet hls report "
            f"{folder}."
        )
    if not found:
        raise UserError(
            f"The top in {folder / layout.RTL} joins no layers; build the accelerator again (facedet build)."
        )
    return found


def stages(sources: Sequence[Path]) -> list[Stage]:
    """Return the layers and FIFOs that `sources`, of an accelerator, join, along the pipeline in each.

    Segments of several layers are not among them: what they join is.
    """
    joining = [found for path in sources for found in _JOINING.findall(path.read_text(encoding="utf-8"))]
    segments = {name for name, _, _ in joining}
    return [
        stage for name, bits, body in joining for stage in _split(name, int(bits), body) if stage.module not in segments
    ]


def record(folder: Path, manifest: Manifest, board: Board, synthesis: Synthesis) -> Manifest:
    """Write `synthesis.json`, put the sums into the manifest and the report in `folder`, and return that manifest.

    Sums of an earlier count are replaced, also by none; estimates stay beside them. Each file is written whole or not
    at all, the manifest last. UserError where one cannot be written.
    """
    from fpga_facedet.compiler import report as pages

    # Where layers are HLS there is no earlier sum of ours, but there may be one by Vitis HLS.
    ours = () if hls_segments(manifest) else UNITS
    kept = tuple(figure for figure in manifest.figures if figure.evidence != SYNTHESIZED or figure.name not in ours)
    total = synthesis.used.to_dict() if synthesis.used else {}
    figures = tuple(Figure(name, value, UNITS[name], SYNTHESIZED) for name, value in total.items())
    versions = manifest.versions | {VERSION_KEY: synthesis.tool}
    manifest = replace(manifest, figures=kept + figures, versions=versions)
    write_json(folder / SYNTHESIS_FILE, synthesis.to_dict())
    pages.write(manifest, board, folder)
    manifest.save(folder / FILE_NAME)
    return manifest


def _available(board: Board) -> Resources:
    return Resources(lut=board.lut, ff=board.ff, bram18=board.bram18, dsp=board.dsp)


def _left_out(manifest: Manifest, found: Sequence[Stage]) -> list[tuple[str, str]]:
    """Return the manifest's layers and FIFOs that are no stage, and why."""
    names = {stage.name for stage in found}
    fifos = [fifo.name for fifo in manifest.fifos] if manifest.layer_style == RTL else []
    missing = [(layer.name, layer.style) for layer in manifest.layers] + [(name, RTL) for name in fifos]
    return [
        (name, "It is C++ for Vitis HLS." if style == HLS else "The top has no such layer.")
        for name, style in missing
        if name not in names
    ]


def _count(
    found: Sequence[Stage], sources: Sequence[Path], memories: Path, family: str, report: Progress, jobs: int
) -> tuple[dict[str, Resources], dict[str, str]]:
    """Return the resources of the stages that could be counted by name, and why the others could not."""
    counted: dict[str, Resources] = {}
    failed: dict[str, str] = {}
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="facedet-count-") as scratch, ThreadPoolExecutor(jobs) as pool:
        running = {
            pool.submit(_count_stage, stage, sources, memories, Path(scratch), family, stop): stage for stage in found
        }
        try:
            for done, future in enumerate(as_completed(running), start=1):
                _take(future, running[future], counted, failed)
                report(f"yosys: {done} of {len(found)} layers counted", done / len(found))
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    order = [stage.name for stage in found]
    return counted, {name: failed[name] for name in order if name in failed}


def _take(future: "Future[Resources]", stage: Stage, counted: dict[str, Resources], failed: dict[str, str]) -> None:
    try:
        counted[stage.name] = future.result()
    except yosys.CountError as error:
        failed[stage.name] = str(error)


def _count_stage(
    stage: Stage, sources: Sequence[Path], memories: Path, scratch: Path, family: str, stop: threading.Event
) -> Resources:
    path = scratch / f"{stage.top}.sv"
    path.write_text(stage.source, encoding="utf-8")
    names = (stage.top, stage.name, stage.module)
    return yosys.count([*sources, path], stage.top, memories, family=family, names=names, stop=stop).resources


def _split(joined: str, bits_in: int, body: str) -> list[Stage]:
    """Return the stages of the text between the ports of the module `joined` and its last lines."""
    streams = list(_STREAM.finditer(body))
    if not streams or body[: streams[0].start()].strip():
        raise InternalError(f"The module {joined} joins layers in a way that cannot be told apart.")
    ends = [*(match.start() for match in streams[1:]), len(body)]
    found = []
    before: _Stream = (bits_in, ("s_axis_tdata", "s_axis_tvalid", "s_axis_tready"))
    for stream, end in zip(streams, ends, strict=True):
        text = body[stream.end() : end]
        instances = _INSTANCE.findall(text)
        if not instances:
            raise InternalError(f"The module {joined} has a stream d{stream[2]} that no layer drives.")
        module, name = instances[-1]
        after = (int(stream[1]), tuple(f"{signal}{stream[2]}" for signal in "dvr"))
        found.append(Stage(name, module, f"facedet_count_{name}", _alone(f"facedet_count_{name}", before, after, text)))
        before = after
    return found


def _alone(top: str, before: _Stream, after: _Stream, text: str) -> str:
    """Return the source of a module `top` of one stage, whose streams are its ports.

    They are called the same in each, so that two stages of one kind and size are one text but for their names.
    """
    for end, (_, signals) in (("in", before), ("out", after)):
        for signal, port in zip(signals, ("data", "valid", "ready"), strict=True):
            text = re.sub(rf"(?<!')\b{signal}\b", f"{end}_{port}", text)
    return f"""\
module {top} (
	input	ap_clk, ap_rst_n,
	input	[{before[0]}:0]  in_data,
	input	in_valid,
	output	in_ready,
	output	[{after[0]}:0]  out_data,
	output	out_valid,
	input	out_ready
);
{text.strip(chr(10))}
endmodule
"""
