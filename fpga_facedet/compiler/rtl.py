"""SystemVerilog of a folded graph: every layer's own code, weight memories, and one top that joins them.

All files go flat into one folder, in which `files.txt` names the sources in the order to compile them. Memories are
read from it by relative names ("./x.dat"), so a simulator or synthesizer runs with that folder as its working
directory.

Where some layers are HLS, each segment of the pipeline is a module of its own, and the top joins the segments. Those of
HLS are not among the sources: Vitis HLS makes their modules from the C++.
"""

import copy
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpga_facedet.compiler import rtllib
from fpga_facedet.compiler.finn_session import finn_session, place_without_room
from fpga_facedet.compiler.hls import styles
from fpga_facedet.compiler.hls.styles import Segment
from fpga_facedet.compiler.layout import FILE_LIST, TOP, TOP_FILE
from fpga_facedet.compiler.matrix_units import streams_weights
from fpga_facedet.errors import InternalError
from fpga_facedet.files import explain_os_error, saving_folder
from fpga_facedet.manifest import HLS, RTL, StreamInfo

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

    from fpga_facedet.boards import Board

_UNUSED_SOURCES = {"fifo_gauge.sv"}
"""A simulation-only FIFO model of FINN's."""

_MEMORY_SOURCES = ("memstream/hdl/memstream.sv",)

_NO_CONFIGURATION = """\
		.s_axilite_AWVALID(1'b0), .s_axilite_AWADDR('0), .s_axilite_WVALID(1'b0), .s_axilite_WDATA('0),
		.s_axilite_WSTRB('0), .s_axilite_BREADY(1'b0), .s_axilite_ARVALID(1'b0), .s_axilite_ARADDR('0),
		.s_axilite_RREADY(1'b0), .s_axilite_AWREADY(), .s_axilite_WREADY(), .s_axilite_BVALID(),
		.s_axilite_BRESP(), .s_axilite_ARREADY(), .s_axilite_RVALID(), .s_axilite_RDATA(), .s_axilite_RRESP(),
"""

_WHOLE = "The whole network as one pipeline: pixels in, the last layer's values out. Written by facedet build."
_WHOLE_ORDER = (
    "A pixel a beat, row by row; the first channel in the lowest bits.",
    "Cell by cell, row by row; the lowest channel first, and in the lowest bits.",
)
_PORTS = {
    RTL: [[f"{end}_{signal}" for signal in ("tdata", "tvalid", "tready")] for end in ("s_axis", "m_axis")],
    HLS: [[f"{end}_{signal}" for signal in ("TDATA", "TVALID", "TREADY")] for end in ("in0_V", "out0_V")],
}
"""The stream ports of a segment in its style."""

_PART = "A part of the pipeline, {first} to {last}. Written by facedet build."
_PART_ORDER = (
    "As the first layer takes them; the lowest value in the lowest bits.",
    "As the last layer puts them out; the lowest value in the lowest bits.",
)


@dataclass(frozen=True)
class _Stage:
    """One layer of the pipeline as the top sees it."""

    node: "NodeProto"
    layer: Any
    folder: Path

    @property
    def module(self) -> str:
        return str(self.layer.get_nodeattr("gen_top_module") or self.node.name)


def generate(
    model: "ModelWrapper",
    board: "Board",
    out: Path,
    segments: Sequence[Segment] | None = None,
    hls_digest: str | None = None,
) -> list[str]:
    """Write the SystemVerilog of a folded graph with converters and FIFOs into the folder `out`.

    Args:
        segments: how the pipeline is divided between the styles; one of RTL alone where None.
        hls_digest: the digest of the C++ of HLS segments, which the top notes: whoever knows the SystemVerilog by its
            digest then knows the C++ too.

    Returns the sources in compile order, relative to `out`; the last one is the top, `facedet_core`. What stood in
    `out` before is replaced.
    """
    if segments is None:
        segments = styles.segments(model, styles.Styles.rtl().of_graph(model))
    try:
        with saving_folder(out) as folder:
            names = _generate_all(model, board, folder.parent / "rtllib", folder, segments, hls_digest)
    except OSError as error:
        raise explain_os_error(place_without_room(out), error) from error
    return names


def _generate_all(
    model: "ModelWrapper",
    board: "Board",
    library: Path,
    out: Path,
    segments: Sequence[Segment],
    hls_digest: str | None,
) -> list[str]:
    rtllib.prepare(library)
    with finn_session(rtllib=library) as session:
        # Code generation notes temporary folders in the nodes; the caller's graph stays free of them.
        stages = {
            segment.name: [_generate_layer(copy.deepcopy(node), model, board, session) for node in segment.nodes]
            for segment in segments
            if segment.style == RTL
        }
        names = _collect([stage for part in stages.values() for stage in part], library, out)
        modules = _modules(segments, stages, hls_digest)
    for name, text in modules.items():
        (out / name).write_text(text)
    names += modules
    (out / FILE_LIST).write_text("\n".join(names) + "\n")
    return names


def _generate_layer(node: "NodeProto", model: "ModelWrapper", board: "Board", session: Path) -> _Stage:
    from qonnx.custom_op.registry import getCustomOp

    folder = session / node.name
    folder.mkdir()
    layer = getCustomOp(node)
    layer.set_nodeattr("code_gen_dir_ipgen", str(folder))
    layer.code_generation_ipgen(model, board.part, 1000.0 / board.clock_mhz)
    return _Stage(node, layer, folder)


def _collect(stages: list[_Stage], library: Path, out: Path) -> list[str]:
    """Copy sources and memory contents into `out`; return the sources, packages first."""
    found: dict[str, Path] = {}
    for stage in stages:
        for path in (Path(file) for file in stage.layer.get_rtl_file_list(abspath=True)):
            if path.name not in _UNUSED_SOURCES:
                _add(found, path)
        for path in sorted(stage.folder.glob("*.dat")):
            shutil.copyfile(path, out / (_weights_file(stage) if path.name == "memblock.dat" else path.name))
    if any(streams_weights(stage.layer) for stage in stages):
        for name in _MEMORY_SOURCES:
            _add(found, library / name)
    for name, path in found.items():
        shutil.copyfile(path, out / name)
    return sorted(found, key=lambda name: not name.endswith("_pkg.sv"))


def _add(found: dict[str, Path], path: Path) -> None:
    known = found.setdefault(path.name, path)
    if known != path and known.read_bytes() != path.read_bytes():
        raise InternalError(f"Two different sources are called {path.name}: {known} and {path}.")


def _weights_file(stage: _Stage) -> str:
    return f"{stage.node.name}_weights.dat"


def stream_of(nodes: Sequence["NodeProto"]) -> StreamInfo:
    """Describe the two streams of consecutive layers, the one into the first and the one out of the last."""
    from qonnx.custom_op.registry import getCustomOp

    first, last = getCustomOp(nodes[0]), getCustomOp(nodes[-1])
    *beats_in, lanes_in = first.get_folded_input_shape()
    *beats_out, lanes_out = last.get_folded_output_shape()
    return StreamInfo(
        beats_in=int(math.prod(beats_in)),
        lanes_in=int(lanes_in),
        bits_in=first.get_input_datatype().bitwidth(),
        beats_out=int(math.prod(beats_out)),
        lanes_out=int(lanes_out),
        bits_out=last.get_output_datatype().bitwidth(),
    )


def _modules(segments: Sequence[Segment], stages: dict[str, list[_Stage]], hls_digest: str | None) -> dict[str, str]:
    """Return the sources of all modules above the layers by file name, the top last."""
    if [segment.style for segment in segments] == [RTL]:
        return {TOP_FILE: _layers_joined(TOP, _WHOLE, stages[segments[0].name])}
    parts = {
        f"{name}.sv": _layers_joined(name, _PART.format(first=part[0].node.name, last=part[-1].node.name), part)
        for name, part in stages.items()
    }
    return parts | {TOP_FILE: _segments_joined(segments, hls_digest)}


def _layers_joined(name: str, about: str, stages: list[_Stage]) -> str:
    """Return the source of a module of layers in a row, each with a stream `d`, `v`, `r` behind it."""
    body = "\n".join(_instance(index, stage) for index, stage in enumerate(stages))
    widths = (stages[0].layer.get_instream_width_padded(), stages[-1].layer.get_outstream_width_padded())
    return _module(name, about, widths, body, len(stages) - 1)


def _segments_joined(segments: Sequence[Segment], hls_digest: str | None) -> str:
    """Return the source of the top that joins segments, each with a stream `d`, `v`, `r` behind it."""
    widths = [_widths(segment) for segment in segments]
    body = "\n".join(_segment_instance(index, segment, widths[index][1]) for index, segment in enumerate(segments))
    about = f"{_WHOLE}\n// The C++ of its HLS segments has the SHA-256 digest {hls_digest}." if hls_digest else _WHOLE
    return _module(TOP, about, (widths[0][0], widths[-1][1]), body, len(segments) - 1)


def _widths(segment: Segment) -> tuple[int, int]:
    """Return the bits of a segment's words in and out, padded to bytes."""
    from qonnx.custom_op.registry import getCustomOp

    first, last = getCustomOp(segment.nodes[0]), getCustomOp(segment.nodes[-1])
    return first.get_instream_width_padded(), last.get_outstream_width_padded()


def _module(name: str, about: str, widths: tuple[int, int], body: str, last: int) -> str:
    """Return the source of a module with the streams `s_axis` and `m_axis`; stream number `last` leaves it."""
    bits_in, bits_out = widths
    order_in, order_out = _WHOLE_ORDER if name == TOP else _PART_ORDER
    return f"""\
// {about}
module {name} (
	input	ap_clk,
	input	ap_rst_n,	// synchronous, active low

	// {order_in}
	input	[{bits_in - 1}:0]  s_axis_tdata,
	input	s_axis_tvalid,
	output	s_axis_tready,

	// {order_out}
	output	[{bits_out - 1}:0]  m_axis_tdata,
	output	m_axis_tvalid,
	input	m_axis_tready
);

{body}
	assign	m_axis_tdata = d{last};
	assign	m_axis_tvalid = v{last};
	assign	r{last} = m_axis_tready;

endmodule : {name}
"""


def _instance(index: int, stage: _Stage) -> str:
    data, valid, ready = _stream_before(index)
    return f"""{_stream_behind(index, stage.layer.get_outstream_width_padded())}{_weights(stage)}\
	{stage.module} {stage.node.name} (
		.ap_clk(ap_clk), .ap_rst_n(ap_rst_n),
{_extra_ports(stage)}		.in0_V_TDATA({data}), .in0_V_TVALID({valid}), .in0_V_TREADY({ready}),
		.out0_V_TDATA(d{index}), .out0_V_TVALID(v{index}), .out0_V_TREADY(r{index})
	);
"""


def _segment_instance(index: int, segment: Segment, width: int) -> str:
    data, valid, ready = _stream_before(index)
    # Vitis HLS names the ports after the arguments of the C++ function.
    (data_in, valid_in, ready_in), (data_out, valid_out, ready_out) = _PORTS[segment.style]
    return f"""{_stream_behind(index, width)}\
	{segment.name} {segment.name} (
		.ap_clk(ap_clk), .ap_rst_n(ap_rst_n),
		.{data_in}({data}), .{valid_in}({valid}), .{ready_in}({ready}),
		.{data_out}(d{index}), .{valid_out}(v{index}), .{ready_out}(r{index})
	);
"""


def _stream_before(index: int) -> tuple[str, str, str]:
    """Return the data, valid and ready signals of the stream into stage `index` of a module."""
    names = (f"d{index - 1}", f"v{index - 1}", f"r{index - 1}")
    return names if index else ("s_axis_tdata", "s_axis_tvalid", "s_axis_tready")


def _stream_behind(index: int, width: int) -> str:
    """Return the declaration of the stream out of stage `index`."""
    return f"\twire [{width - 1}:0]  d{index};\n\twire v{index}, r{index};\n"


def _extra_ports(stage: _Stage) -> str:
    """Return the connections that only some layers have: weights in, and configuration ports tied off."""
    if streams_weights(stage.layer):
        name = stage.node.name
        return (
            f"\t\t.ap_clk2x(ap_clk),\n\t\t.in1_V_TDATA({name}_w), .in1_V_TVALID({name}_wv), .in1_V_TREADY({name}_wr),\n"
        )
    if stage.node.op_type == "Thresholding_rtl":
        return _NO_CONFIGURATION + "\t\t.in1_V_TVALID(1'b0), .in1_V_TDATA('0), .in1_V_TREADY(),\n"
    return _NO_CONFIGURATION if stage.node.op_type == "FMPadding_rtl" else ""


def _weights(stage: _Stage) -> str:
    """Return the memory that streams a matrix unit's weights round and round, nothing for other layers."""
    if not streams_weights(stage.layer):
        return ""
    name, width = stage.node.name, stage.layer.get_instream_width_padded(1)
    return f"""\
	wire [{width - 1}:0]  {name}_w;
	wire {name}_wv, {name}_wr;
	memstream #(
		.SETS(1), .DEPTH({stage.layer.calc_wmem()}), .WIDTH({width}),
		.INIT_FILE("./{_weights_file(stage)}"), .RAM_STYLE("{stage.layer.get_nodeattr("ram_style")}")
	) {name}_weights (
		.clk(ap_clk), .rst(!ap_rst_n),
		.config_ce(1'b0), .config_we(1'b0), .config_address('0), .config_d0('0), .config_rack(), .config_q0(),
		.sidx('0), .svld(1'b0), .srdy(),
		.ordy({name}_wr), .ovld({name}_wv), .odat({name}_w)
	);
"""
