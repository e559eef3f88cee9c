"""The build's report: the manifest of the accelerator, and one HTML page for a person."""

import html
import math
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpga_facedet import __version__
from fpga_facedet.boards import Board
from fpga_facedet.compiler import layout, rtl
from fpga_facedet.compiler.cost import Resources, resources
from fpga_facedet.files import write_json, write_text
from fpga_facedet.manifest import FifoInfo, Figure, LayerInfo, Manifest

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

HTML_FILE, JSON_FILE = "report.html", "report.json"

_FOLDING = ("PE", "SIMD", "parallel_window")
_TOOLS = ("finn-plus", "qonnx", "onnx", "numpy")
_RESOURCES = {"lut": "LUTs", "bram18": "18-kbit block RAMs", "dsp": "DSP48E1 slices"}

_TITLES = {
    "cycles_per_frame": "cycles a frame",
    "fps": "frames a second",
    "latency": "cycles from the first pixel to the last result",
    **_RESOURCES,
}


def describe(manifest: Manifest, graph: "ModelWrapper", board: Board) -> Manifest:
    """Add the hardware part to the manifest of a model: layers, FIFOs, streams, files and estimated figures."""
    nodes = list(graph.graph.node)
    described = tuple(_layer(graph, node) for node in nodes if node.op_type != "StreamingFIFO_rtl")
    total = Resources()
    for node in nodes:
        total += resources(node)
    cycles = max(layer.cycles for layer in described)
    figures = [
        Figure("cycles_per_frame", cycles, "cycles", "estimated"),
        Figure("fps", round(board.clock_mhz * 1e6 / cycles, 1), "frames/s", "estimated"),
        *(Figure(name, value, _RESOURCES[name], "estimated") for name, value in total.to_dict().items()),
    ]
    return replace(
        manifest,
        board=board.name,
        part=board.part,
        clock_mhz=board.clock_mhz,
        layer_style="rtl",
        stream=rtl.stream_of(graph),
        layers=described,
        fifos=tuple(_fifo(graph, node) for node in nodes if node.op_type == "StreamingFIFO_rtl"),
        figures=tuple(figures),
        files={
            "golden": layout.GOLDEN,
            "top": f"{layout.RTL}/{layout.TOP_FILE}",
            "sources": f"{layout.RTL}/{layout.FILE_LIST}",
            "report": HTML_FILE,
        },
        versions={"fpga-facedet": __version__, **{tool: metadata.version(tool) for tool in _TOOLS}},
    )


def _layer(graph: "ModelWrapper", node: "NodeProto") -> LayerInfo:
    from qonnx.custom_op.registry import getCustomOp

    layer = getCustomOp(node)
    bits = {"input": layer.get_input_datatype(0).bitwidth(), "output": layer.get_output_datatype(0).bitwidth()}
    if len(node.input) > 1:
        bits["parameters"] = graph.get_tensor_datatype(node.input[1]).bitwidth()
    return LayerInfo(
        name=node.name,
        op=node.op_type.removesuffix("_rtl"),
        folding=_folding(layer),
        bits=bits,
        # The folding knows how long a layer waits for its neighbour; a width converter came later, and never waits.
        cycles=int(layer.get_nodeattr("cycles_estimate") or _beats(layer)),
        resources=resources(node).to_dict(),
    )


def _folding(layer: Any) -> dict[str, int]:
    attributes = layer.get_nodeattr_types()
    found = {name: int(layer.get_nodeattr(name)) for name in _FOLDING if name in attributes}
    lanes = {"lanes_in": layer.get_folded_input_shape()[-1], "lanes_out": layer.get_folded_output_shape()[-1]}
    return found or {name: int(value) for name, value in lanes.items()}


def _beats(layer: Any) -> int:
    """Return the beats a frame of the narrower of a converter's two streams."""
    return max(math.prod(shape[:-1]) for shape in (layer.get_folded_input_shape(), layer.get_folded_output_shape()))


def _fifo(graph: "ModelWrapper", node: "NodeProto") -> FifoInfo:
    from qonnx.custom_op.registry import getCustomOp

    layer = getCustomOp(node)
    return FifoInfo(
        name=node.name,
        before=graph.find_consumer(node.output[0]).name,
        depth=int(layer.get_nodeattr("depth")),
        width=layer.get_instream_width(),
    )


def write(manifest: Manifest, board: Board, out: Path) -> None:
    """Write `report.json` and `report.html` into the folder `out`."""
    write_json(out / JSON_FILE, manifest.to_dict())
    write_text(out / HTML_FILE, page(manifest, board))


_STYLE = """
:root { --ink: #1d2530; --faint: #68737f; --line: #dde3e9; --paper: #ffffff; --wash: #f5f7f9;
  --bar: #3d7dca; --hot: #d9622b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ee; --faint: #95a1ad; --line: #333d47; --paper: #14191f; --wash: #1c232b;
    --bar: #5b9be6; --hot: #f08a55; }
}
body { margin: 2.5rem auto; max-width: 62rem; padding: 0 1.25rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p, .faint { color: var(--faint); } p { margin: .2rem 0 .8rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.card { background: var(--wash); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .text { text-align: left; } th { color: var(--faint); font-weight: 600; }
td.bar { width: 40%; } .track { background: var(--wash); border-radius: .2rem; height: .8rem; }
.fill { background: var(--bar); border-radius: .2rem; height: 100%; } .fill.hot { background: var(--hot); }
footer { margin-top: 2.5rem; color: var(--faint); font-size: .85rem; }
"""


def page(manifest: Manifest, board: Board) -> str:
    """Return the report as one self-contained HTML page."""
    title = html.escape(f"{manifest.model.name} on {board.title}")
    sections = (
        _headline(manifest),
        _section(
            "Cycles a frame",
            "Waiting for the neighbour included; the slowest layer sets the pace. Estimated.",
            _cycle_table(manifest),
        ),
        _section("Use of the chip", f"Against all of {html.escape(board.part)}.", _chip_table(manifest, board)),
        _section("Layers", "Folding, bits and resources of each layer. Estimated.", _layer_table(manifest)),
        _section("FIFOs", "Places in beats of the stream.", _fifo_table(manifest)),
        _section("Network", _network(manifest), ""),
    )
    versions = ", ".join(f"{html.escape(tool)} {html.escape(version)}" for tool, version in manifest.versions.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{_STYLE}</style></head><body>
<h1>{title}</h1><p>{html.escape(board.part)} at {board.clock_mhz:g} MHz, all layers in SystemVerilog</p>
{"".join(sections)}
<footer>Built with {versions}. Model {manifest.model.sha256[:16]}.</footer>
</body></html>
"""


def _section(title: str, remark: str, body: str) -> str:
    return f'<h2>{title}</h2><p>{remark}</p><div class="scroll">{body}</div>'


def _headline(manifest: Manifest) -> str:
    names = dict.fromkeys(figure.name for figure in manifest.figures)
    best = [figure for name in names if (figure := manifest.figure(name))]
    cards = (
        f'<div class="card"><b>{figure.value:,.10g}</b>{html.escape(_readable(figure.name))}'
        f'<br><span class="faint">{figure.evidence}</span></div>'
        for figure in best
    )
    return f'<div class="cards">{"".join(cards)}</div>'


def _readable(name: str) -> str:
    return _TITLES.get(name, name)


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table; a cell may bring its own tag."""
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(_cell(text) for text in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(text: str) -> str:
    return text if text.startswith("<td") else f"<td>{text}</td>"


def _bar(share: float, hot: bool = False) -> str:
    width = 100 * min(1.0, share)
    fill = f'<div class="fill{" hot" * hot}" style="width:{width:.1f}%"></div>'
    return f'<td class="bar"><div class="track">{fill}</div></td>'


def _cycle_table(manifest: Manifest) -> str:
    most = max((layer.cycles for layer in manifest.layers), default=1)
    shown = [layer for layer in manifest.layers if layer.op != "StreamingDataWidthConverter"]
    rows = [(layer.name, f"{layer.cycles:,}", _bar(layer.cycles / most, layer.cycles == most)) for layer in shown]
    return _table(("layer", "cycles", ""), rows)


def _chip_table(manifest: Manifest, board: Board) -> str:
    rows = []
    for name, title in _RESOURCES.items():
        figure = manifest.figure(name)
        if figure is not None:
            whole = getattr(board, name)
            share = figure.value / whole
            bar = _bar(share, share > 0.9)
            rows.append((title, f"{figure.value:,g}", f"{whole:,}", f"{share:.0%}", bar, figure.evidence))
    return _table(("resource", "used", "of", "share", "", "evidence"), rows)


def _layer_table(manifest: Manifest) -> str:
    rows = []
    for layer in manifest.layers:
        used: dict[str, Any] = layer.resources
        widths = f"{layer.bits['input']} &rarr; {layer.bits['output']}"
        if "parameters" in layer.bits:
            widths += f" ({layer.bits['parameters']})"
        folding = ", ".join(f"{name} {value}" for name, value in layer.folding.items())
        rows.append(
            (layer.name, f'<td class="text">{folding}</td>', widths, *(f"{used[name]:,g}" for name in _RESOURCES))
        )
    return _table(("layer", "folding", "bits in &rarr; out (parameters)", "LUT", "BRAM18", "DSP"), rows)


def _fifo_table(manifest: Manifest) -> str:
    rows = [
        (fifo.name, f'<td class="text">{fifo.before}</td>', f"{fifo.depth:,}", str(fifo.width))
        for fifo in manifest.fifos
    ]
    return _table(("FIFO", "in front of", "depth", "bits"), rows)


def _network(manifest: Manifest) -> str:
    inside, head = manifest.input, manifest.head
    text = (
        f"Input {inside.width} &times; {inside.height} &times; {inside.channels}, grid {head.grid_width} &times; "
        f"{head.grid_height} of {head.channels} values at stride {head.stride}, {len(head.anchors)} anchors."
    )
    for index, layer in enumerate(manifest.model.spec.get("layers", ())):
        pool = ", pool" if layer.get("pool", 1) == 2 else ""
        text += (
            f"<br>{index}: {layer['kernel']} &times; {layer['kernel']} convolution, {layer['channels']} channels, "
            f"{layer['weight_bits']}-bit weights, {layer['activation_bits']}-bit activations{pool}"
        )
    return text
