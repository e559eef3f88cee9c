"""Our FIFO as a FINN operation: exactly as deep as it says, in LUT memory or block RAM (`rtl/stream_fifo.sv`).

FINN's own rounds its depth up, keeps a count of its beats, and has a memory in two parts where its depth is no power of
two: 119 LUTs and a block RAM for 628 beats of 16 bits, where this one takes 42, or 20 for the 1,026 that fit.

The module path is the ONNX domain of the operation: QONNX finds `StreamingFIFO_rtl` here by itself. All attributes are
FINN's, so that whatever knows its FIFOs knows these.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from finn.custom_op.fpgadataflow.rtl import streamingfifo_rtl

from fpga_facedet.compiler import own_modules, rtllib

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

DOMAIN = __name__
SOURCE = "stream_fifo.sv"

_WRAPPER = """\
// {name}: {depth} beats of {bus} bits.
module {name} (
	input	ap_clk,
	input	ap_rst_n,
	input	[{bus}-1:0]  in0_V_TDATA,
	input	in0_V_TVALID,
	output	in0_V_TREADY,
	output	[{bus}-1:0]  out0_V_TDATA,
	output	out0_V_TVALID,
	input	out0_V_TREADY
);
	wire [{data}-1:0]  odat;
	assign	out0_V_TDATA = odat;  // padded with zeros to whole bytes

	stream_fifo #(.DEPTH({depth}), .WIDTH({data}), .RAM_STYLE("{ram_style}")) impl (
		.ap_clk(ap_clk), .ap_rst_n(ap_rst_n),
		.idat(in0_V_TDATA[{data}-1:0]), .ivld(in0_V_TVALID), .irdy(in0_V_TREADY),
		.odat(odat), .ovld(out0_V_TVALID), .ordy(out0_V_TREADY)
	);
endmodule
"""


class StreamingFIFO_rtl(streamingfifo_rtl.StreamingFIFO_rtl):  # noqa: N801 - FINN's names end in their backend
    """A queue of `depth` beats, 3 or more; `ram_style` is "distributed" (LUT memory) or "block" (block RAM, 4 or more).

    A beat is as wide as its values: the zeros that pad a stream to whole bytes are not stored.
    """

    def get_rtl_file_list(self, abspath: bool = False) -> list[str]:
        """Return the sources: `stream_fifo.sv` and the wrapper that `generate_hdl` wrote."""
        wrapper = self.get_nodeattr("gen_top_module") + ".v"
        if not abspath:
            return [SOURCE, wrapper]
        return [str(rtllib.own_source(SOURCE)), str(Path(self.get_nodeattr("code_gen_dir_ipgen")) / wrapper)]

    def generate_hdl(self, model: "ModelWrapper", fpgapart: str, clk: float) -> None:
        """Write the wrapper with FINN's port names into `code_gen_dir_ipgen`."""
        folder, name = self.get_nodeattr("code_gen_dir_ipgen"), self.get_verilog_top_module_name()
        text = _WRAPPER.format(
            name=name,
            depth=self.get_nodeattr("depth"),
            data=self.get_instream_width(),
            bus=self.get_instream_width_padded(),
            ram_style=self.get_nodeattr("ram_style"),
        )
        (Path(folder) / f"{name}.v").write_text(text)
        own_modules.note_generated(self, name, folder)
