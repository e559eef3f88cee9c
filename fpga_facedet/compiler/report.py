"""The build's report: the manifest of the accelerator, and one HTML page for a person."""

from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpga_facedet import __version__
from fpga_facedet.boards import Board
from fpga_facedet.compiler import layout, matrix_units, power, report_findings, rtl
from fpga_facedet.compiler.choices import cycles_by_layer
from fpga_facedet.compiler.cost import UNITS, Resources
from fpga_facedet.compiler.hls.cost import by_node
from fpga_facedet.compiler.hls.styles import Segment
from fpga_facedet.compiler.report_layers import ADDER_GRAPH, LUT_MULTIPLIERS
from fpga_facedet.compiler.report_page import page
from fpga_facedet.files import write_json, write_text
from fpga_facedet.manifest import MIXED, RTL, FifoInfo, Figure, LayerInfo, Manifest, SegmentInfo

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

HTML_FILE, JSON_FILE = "report.html", "report.json"

_FOLDING = ("PE", "SIMD", "parallel_window")
_TOOLS = ("finn-plus", "qonnx", "onnx", "numpy")
_MULTIPLIERS = {matrix_units.ADDERS: ADDER_GRAPH, matrix_units.LUT: LUT_MULTIPLIERS}


def describe(manifest: Manifest, graph: "ModelWrapper", board: Board, segments: Sequence[Segment]) -> Manifest:
    """Add the hardware part to the manifest of a model: layers, FIFOs, streams, files and estimated figures.

    `segments` are the pieces of the folded `graph` by their style.
    """
    nodes = list(graph.graph.node)
    used, cycles = by_node(graph, segments, board), _cycles(segments)
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
        versions={"fpga-facedet": __version__, **{tool: metadata.version(tool) for tool in _tools(layers)}},
    )


def _tools(layers: Sequence[LayerInfo]) -> tuple[str, ...]:
    return (*_TOOLS, "da4ml") if any(ADDER_GRAPH in layer.folding for layer in layers) else _TOOLS


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
    fps = board.clock_mhz * 1e6 / cycles
    drawn = power.estimate(total, board, board.clock_mhz, fps)
    return (
        Figure("cycles_per_frame", cycles, "cycles", "estimated"),
        Figure("fps", round(fps, 1), "frames/s", "estimated"),
        *(Figure(name, value, UNITS[name], "estimated") for name, value in total.to_dict().items()),
        Figure("power", round(drawn.total_w, 2), "W", "estimated"),
        Figure("energy", round(drawn.energy_mj, 2), "mJ/frame", "estimated"),
    )


def _cycles(segments: Sequence[Segment]) -> dict[str, int]:
    """Return the cycles a frame of each layer by its name, waiting for its neighbour included, each in its style."""
    return cycles_by_layer((node, segment.style) for segment in segments for node in segment.nodes)


def _layer(graph: "ModelWrapper", node: "NodeProto", style: str, cycles: int, used: Resources) -> LayerInfo:
    from qonnx.custom_op.registry import getCustomOp

    layer = getCustomOp(node)
    bits = {"input": layer.get_input_datatype(0).bitwidth(), "output": layer.get_output_datatype(0).bitwidth()}
    if len(node.input) > 1:
        bits["parameters"] = graph.get_tensor_datatype(node.input[1]).bitwidth()
    return LayerInfo(
        name=node.name,
        op=matrix_units.kind_of(node),
        folding=_folding(node, layer),
        bits=bits,
        cycles=cycles,
        resources=used.to_dict(),
        style=style,
    )


def _folding(node: "NodeProto", layer: Any) -> dict[str, int]:
    attributes = layer.get_nodeattr_types()
    found = {name: int(layer.get_nodeattr(name)) for name in _FOLDING if name in attributes}
    if matrix_units.is_matrix_unit(node):
        found |= {name: 1 for kind, name in _MULTIPLIERS.items() if matrix_units.multiplier_of(node) == kind}
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


def write(manifest: Manifest, board: Board, folder: Path) -> None:
    """Write `report.json`, which is the manifest, and the page `report.html` into `folder`, each whole or not at all.

    The page shows what lies in the folder besides: `search.json`, `fifos.json`, `synthesis.json`. Call it again where
    one of them or the manifest has changed. Raises UserError where a file cannot be written.
    """
    write_json(folder / JSON_FILE, manifest.to_dict())
    write_text(folder / HTML_FILE, page(manifest, board, report_findings.read(folder, manifest)))
