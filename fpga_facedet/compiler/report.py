"""The build's report: the manifest of the accelerator, and one HTML page for a person."""

import html
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpga_facedet import __version__
from fpga_facedet import page as web
from fpga_facedet.boards import Board
from fpga_facedet.compiler import layout, rtl
from fpga_facedet.compiler.cost import Resources
from fpga_facedet.compiler.folding import folding_of
from fpga_facedet.compiler.hls.cost import by_node
from fpga_facedet.compiler.hls.cycles import trips
from fpga_facedet.compiler.hls.styles import Segment, stands_between
from fpga_facedet.files import write_json, write_text
from fpga_facedet.manifest import EVIDENCE, HLS, MIXED, RTL, FifoInfo, Figure, LayerInfo, Manifest, SegmentInfo

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

HTML_FILE, JSON_FILE = "report.html", "report.json"

_FOLDING = ("PE", "SIMD", "parallel_window")
_TOOLS = ("finn-plus", "qonnx", "onnx", "numpy")
_RESOURCES = {"lut": "LUTs", "bram18": "18-kbit block RAMs", "dsp": "DSP48E1 slices"}

_REMARKS = {
    RTL: "all layers in SystemVerilog",
    HLS: "all layers in C++ for Vitis HLS",
    MIXED: "some layers in SystemVerilog, some in C++ for Vitis HLS",
}
_ABOUT_HLS_LAYERS = (
    " An estimate of an HLS layer is with the stream in front of it; a report of Vitis HLS takes its place once there "
    "is one (facedet hls report)."
)

_TITLES = {
    "cycles_per_frame": "cycles a frame",
    "fps": "frames a second",
    "latency": "cycles from the first pixel to the last result",
    **_RESOURCES,
}


def describe(manifest: Manifest, graph: "ModelWrapper", board: Board, segments: Sequence[Segment]) -> Manifest:
    """Add the hardware part to the manifest of a model: layers, FIFOs, streams, files and estimated figures.

    `segments` are the pieces of the folded `graph` by their style.
    """
    nodes = list(graph.graph.node)
    used, cycles = by_node(graph, segments), _cycles(segments)
    layers = tuple(
        _layer(graph, node, segment.style, cycles[node.name], used[node.name])
        for segment in segments
        for node in segment.nodes
        if node.op_type != "StreamingFIFO_rtl"
    )
    return replace(
        manifest,
        board=board.name,
        part=board.part,
        clock_mhz=board.clock_mhz,
        layer_style=_style(segments),
        stream=rtl.stream_of(nodes),
        layers=layers,
        fifos=tuple(_fifo(graph, node) for node in nodes if node.op_type == "StreamingFIFO_rtl"),
        segments=_segments(segments),
        figures=_figures(max(layer.cycles for layer in layers), sum(used.values(), Resources()), board),
        files=_files(segments),
        versions={"fpga-facedet": __version__, **{tool: metadata.version(tool) for tool in _TOOLS}},
    )


def _style(segments: Sequence[Segment]) -> str:
    return segments[0].style if len(segments) == 1 else MIXED


def _segments(segments: Sequence[Segment]) -> tuple[SegmentInfo, ...]:
    if _style(segments) == RTL:
        return ()
    return tuple(SegmentInfo(part.name, part.style, rtl.stream_of(part.nodes)) for part in segments)


def _files(segments: Sequence[Segment]) -> dict[str, str]:
    files = {
        "golden": layout.GOLDEN,
        "top": f"{layout.RTL}/{layout.TOP_FILE}",
        "sources": f"{layout.RTL}/{layout.FILE_LIST}",
        "report": HTML_FILE,
    }
    return files if _style(segments) == RTL else files | {"hls_sources": f"{layout.HLS}/{layout.FILE_LIST}"}


def _figures(cycles: int, total: Resources, board: Board) -> tuple[Figure, ...]:
    return (
        Figure("cycles_per_frame", cycles, "cycles", "estimated"),
        Figure("fps", round(board.clock_mhz * 1e6 / cycles, 1), "frames/s", "estimated"),
        *(Figure(name, value, _RESOURCES[name], "estimated") for name, value in total.to_dict().items()),
    )


def _cycles(segments: Sequence[Segment]) -> dict[str, int]:
    """Return the cycles a frame of each layer by its name, waiting for its neighbour included, each in its style."""
    from qonnx.custom_op.registry import getCustomOp

    cycles, source = {}, None
    for segment in segments:
        for node in segment.nodes:
            if stands_between(node):
                # It came after the folding, and never waits.
                cycles[node.name] = trips(node)
                continue
            folding = folding_of(node)
            known = int(getCustomOp(node).get_nodeattr("cycles_estimate"))
            cycles[node.name] = folding.hls_cycles_behind(source) if segment.style == HLS else known
            source = folding
    return cycles


def _layer(graph: "ModelWrapper", node: "NodeProto", style: str, cycles: int, used: Resources) -> LayerInfo:
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
        cycles=cycles,
        resources=used.to_dict(),
        style=style,
    )


def _folding(layer: Any) -> dict[str, int]:
    attributes = layer.get_nodeattr_types()
    found = {name: int(layer.get_nodeattr(name)) for name in _FOLDING if name in attributes}
    lanes = {"lanes_in": layer.get_folded_input_shape()[-1], "lanes_out": layer.get_folded_output_shape()[-1]}
    return found or {name: int(value) for name, value in lanes.items()}


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


def page(manifest: Manifest, board: Board) -> str:
    """Return the report as one self-contained HTML page."""
    title = html.escape(f"{manifest.model.name} on {board.title}")
    sections = (
        _headline(manifest),
        web.section(
            "Cycles a frame",
            f"Waiting for the neighbour included; the slowest layer sets the pace. {_evidence(manifest)}",
            _cycle_table(manifest),
        ),
        web.section("Use of the chip", f"Against all of {html.escape(board.part)}.", _chip_table(manifest, board)),
        web.section("Layers", _about_layers(manifest), _layer_table(manifest)),
        web.section("FIFOs", "Places in beats of the stream.", _fifo_table(manifest)),
        web.section("Network", _network(manifest), ""),
    )
    versions = ", ".join(f"{html.escape(tool)} {html.escape(version)}" for tool, version in manifest.versions.items())
    remark = f"{html.escape(board.part)} at {board.clock_mhz:g} MHz, {_REMARKS[manifest.layer_style or RTL]}"
    return web.page(title, remark, sections, f"Built with {versions}. Model {manifest.model.sha256[:16]}.")


def _evidence(manifest: Manifest) -> str:
    """Return how the layers' figures were obtained: 'Estimated.', or 'Synthesized or estimated.' and so on."""
    found = {layer.evidence for layer in manifest.layers}
    return " or ".join(sorted(found, key=EVIDENCE.index, reverse=True)).capitalize() + "."


def _about_layers(manifest: Manifest) -> str:
    text = f"Folding, bits and resources of each layer. {_evidence(manifest)}"
    return text if manifest.layer_style == RTL else text + _ABOUT_HLS_LAYERS


def _headline(manifest: Manifest) -> str:
    names = dict.fromkeys(figure.name for figure in manifest.figures)
    best = [figure for name in names if (figure := manifest.figure(name))]
    return web.cards((f"{figure.value:,.10g}", html.escape(_readable(figure.name)), figure.evidence) for figure in best)


def _readable(name: str) -> str:
    return _TITLES.get(name, name)


def _cycle_table(manifest: Manifest) -> str:
    most = max((layer.cycles for layer in manifest.layers), default=1)
    shown = [layer for layer in manifest.layers if layer.op != "StreamingDataWidthConverter"]
    rows = [(layer.name, f"{layer.cycles:,}", web.bar(layer.cycles / most, layer.cycles == most)) for layer in shown]
    return web.table(("layer", "cycles", ""), rows)


def _chip_table(manifest: Manifest, board: Board) -> str:
    rows = []
    for name, title in _RESOURCES.items():
        figure = manifest.figure(name)
        if figure is not None:
            whole = getattr(board, name)
            share = figure.value / whole
            bar = web.bar(share, share > 0.9)
            rows.append((title, f"{figure.value:,g}", f"{whole:,}", f"{share:.0%}", bar, figure.evidence))
    return web.table(("resource", "used", "of", "share", "", "evidence"), rows)


def _layer_table(manifest: Manifest) -> str:
    rows = []
    for layer in manifest.layers:
        used: dict[str, Any] = layer.resources
        widths = f"{layer.bits['input']} &rarr; {layer.bits['output']}"
        if "parameters" in layer.bits:
            widths += f" ({layer.bits['parameters']})"
        folding = ", ".join(f"{name} {value}" for name, value in layer.folding.items())
        rows.append(
            (
                *(layer.name, f'<td class="text">{folding}</td>', widths),
                *(f"{used[name]:,g}" for name in _RESOURCES),
                layer.evidence,
            )
        )
    return web.table(("layer", "folding", "bits in &rarr; out (parameters)", "LUT", "BRAM18", "DSP", "evidence"), rows)


def _fifo_table(manifest: Manifest) -> str:
    rows = [
        (fifo.name, f'<td class="text">{fifo.before}</td>', f"{fifo.depth:,}", str(fifo.width))
        for fifo in manifest.fifos
    ]
    return web.table(("FIFO", "in front of", "depth", "bits"), rows)


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
