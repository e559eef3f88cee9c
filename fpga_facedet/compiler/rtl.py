"""SystemVerilog of a folded graph: every layer's own code, weight memories, and one top that joins them.

All files go flat into one folder, in which `files.txt` names the sources in the order to compile them. Memories are
read from it by relative names ("./x.dat"), so a simulator or synthesizer runs with that folder as its working
directory.
"""

import copy
import math
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpga_facedet.compiler import rtllib
from fpga_facedet.compiler.finn_session import finn_session, place_without_room
from fpga_facedet.compiler.layout import FILE_LIST, TOP, TOP_FILE
from fpga_facedet.errors import InternalError
from fpga_facedet.files import explain_os_error
from fpga_facedet.manifest import StreamInfo

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


@dataclass(frozen=True)
class _Stage:
    """One layer of the pipeline as the top sees it."""

    node: "NodeProto"
    layer: Any
    folder: Path

    @property
    def module(self) -> str:
        return str(self.layer.get_nodeattr("gen_top_module") or self.node.name)


def generate(model: "ModelWrapper", board: "Board", out: Path) -> list[str]:
    """Write the SystemVerilog of a folded graph with converters and FIFOs into the folder `out`.

    Returns the sources in compile order, relative to `out`; the last one is the top, `facedet_core`. What stood in
    `out` before is replaced.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            folder = Path(scratch) / out.name
            folder.mkdir()
            names = _generate_all(model, board, Path(scratch) / "rtllib", folder)
            if out.exists():
                shutil.rmtree(out)
            folder.rename(out)
    except OSError as error:
        raise explain_os_error(place_without_room(out), error) from error
    return names


def _generate_all(model: "ModelWrapper", board: "Board", library: Path, out: Path) -> list[str]:
    rtllib.prepare(library)
    with finn_session(rtllib=library) as session:
        # Code generation notes temporary folders in the nodes; the caller's graph stays free of them.
        nodes = copy.deepcopy(model.model.graph).node
        stages = [_generate_layer(node, model, board, session) for node in nodes]
        names = [*_collect(stages, library, out), TOP_FILE]
        (out / TOP_FILE).write_text(_top(stages))
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


def stream_of(model: "ModelWrapper") -> StreamInfo:
    """Describe the two streams of the top: beats a frame, values a beat, bits a value."""
    from qonnx.custom_op.registry import getCustomOp

    first, last = getCustomOp(model.graph.node[0]), getCustomOp(model.graph.node[-1])
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


def _top(stages: list[_Stage]) -> str:
    """Return the source of the top: the layers in a row, each with a stream `d`, `v`, `r` behind it."""
    bits_in = stages[0].layer.get_instream_width_padded()
    bits_out = stages[-1].layer.get_outstream_width_padded()
    last = len(stages) - 1
    body = "\n".join(_instance(index, stage) for index, stage in enumerate(stages))
    return f"""\
// The whole network as one pipeline: pixels in, the last layer's values out. Written by facedet build.
module {TOP} (
	input	ap_clk,
	input	ap_rst_n,	// synchronous, active low

	// A pixel a beat, row by row; the first channel in the lowest bits.
	input	[{bits_in - 1}:0]  s_axis_tdata,
	input	s_axis_tvalid,
	output	s_axis_tready,

	// Cell by cell, row by row; the lowest channel first, and in the lowest bits.
	output	[{bits_out - 1}:0]  m_axis_tdata,
	output	m_axis_tvalid,
	input	m_axis_tready
);

{body}
	assign	m_axis_tdata = d{last};
	assign	m_axis_tvalid = v{last};
	assign	r{last} = m_axis_tready;

endmodule : {TOP}
"""


def _instance(index: int, stage: _Stage) -> str:
    data, valid, ready = (
        (f"d{index - 1}", f"v{index - 1}", f"r{index - 1}")
        if index
        else ("s_axis_tdata", "s_axis_tvalid", "s_axis_tready")
    )
    wires = f"\twire [{stage.layer.get_outstream_width_padded() - 1}:0]  d{index};\n\twire v{index}, r{index};\n"
    return f"""{wires}{_weights(stage)}\t{stage.module} {stage.node.name} (
		.ap_clk(ap_clk), .ap_rst_n(ap_rst_n),
{_extra_ports(stage)}		.in0_V_TDATA({data}), .in0_V_TVALID({valid}), .in0_V_TREADY({ready}),
		.out0_V_TDATA(d{index}), .out0_V_TVALID(v{index}), .out0_V_TREADY(r{index})
	);
"""


def _extra_ports(stage: _Stage) -> str:
    """Return the connections that only some layers have: weights in, and configuration ports tied off."""
    if stage.node.op_type == "MVAU_rtl":
        name = stage.node.name
        return (
            f"\t\t.ap_clk2x(ap_clk),\n\t\t.in1_V_TDATA({name}_w), .in1_V_TVALID({name}_wv), .in1_V_TREADY({name}_wr),\n"
        )
    if stage.node.op_type == "Thresholding_rtl":
        return _NO_CONFIGURATION + "\t\t.in1_V_TVALID(1'b0), .in1_V_TDATA('0), .in1_V_TREADY(),\n"
    return _NO_CONFIGURATION if stage.node.op_type == "FMPadding_rtl" else ""


def _weights(stage: _Stage) -> str:
    """Return the memory that streams a matrix unit's weights round and round, nothing for other layers."""
    if stage.node.op_type != "MVAU_rtl":
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
