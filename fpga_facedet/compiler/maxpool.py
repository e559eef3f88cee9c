"""Our max-pool as a FINN operation: 2x2, stride 2, with one line buffer, in SystemVerilog (`rtl/maxpool_2x2.sv`).

FINN has no max-pool in RTL; it would build one from a depthwise sliding window and an HLS reducer. Fused, the window
never exists: each beat of the input is merged into a buffer of half a row, so a pool costs a small memory and one cycle
a beat.

The module path is the ONNX domain of the operation: QONNX finds `StreamingMaxPool_rtl` here by itself.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from finn.custom_op.fpgadataflow.rtlbackend import RTLBackend
from onnx import helper
from qonnx.core.datatype import BaseDataType, DataType
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation

from fpga_facedet.compiler import own_modules, rtllib
from fpga_facedet.compiler.cost import LUTRAM_DEPTH, Resources, memory
from fpga_facedet.errors import UserError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

DOMAIN = __name__
SOURCE = "maxpool_2x2.sv"

_WRAPPER = """\
// {name}: {height} x {width} x {channels} -> {out_height} x {out_width} x {channels}, {pe} channels a beat.
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

	maxpool_2x2 #(
		.BITS({bits}), .CHANNELS({channels}), .PE({pe}), .WIDTH({width}), .RAM_STYLE("{ram_style}")
	) impl (
		.ap_clk(ap_clk), .ap_rst_n(ap_rst_n),
		.idat(in0_V_TDATA[{data}-1:0]), .ivld(in0_V_TVALID), .irdy(in0_V_TREADY),
		.odat(odat), .ovld(out0_V_TVALID), .ordy(out0_V_TREADY)
	);
endmodule
"""


class StreamingMaxPool_rtl(RTLBackend):  # noqa: N801 - FINN's names end in their backend
    """2x2 max-pool with stride 2 of a stream of pixels, NHWC (1, H, W, Channels), unsigned integers, H and W even.

    PE channels cross a beat. It takes every beat of its input in one cycle and holds W / 2 * Channels values.
    """

    def get_nodeattr_types(self) -> dict[str, Any]:
        """Return FINN's attributes and ours: Channels, PE, ImgDim (H, W) and inputDataType."""
        return {
            **super().get_nodeattr_types(),
            "Channels": ("i", True, 0),
            "PE": ("i", True, 1),
            "ImgDim": ("ints", True, []),
            "inputDataType": ("s", True, ""),
        }

    def get_input_datatype(self, ind: int = 0) -> BaseDataType:
        """Return the type of a value; input and output agree."""
        return DataType[self.get_nodeattr("inputDataType")]

    def get_output_datatype(self, ind: int = 0) -> BaseDataType:
        """Return the type of a value; input and output agree."""
        return self.get_input_datatype()

    def get_normal_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """Return (1, H, W, Channels)."""
        height, width = self.get_nodeattr("ImgDim")
        return (1, int(height), int(width), self.get_nodeattr("Channels"))

    def get_normal_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        """Return (1, H / 2, W / 2, Channels)."""
        _, height, width, channels = self.get_normal_input_shape()
        return (1, height // 2, width // 2, channels)

    def get_folded_input_shape(self, ind: int = 0) -> tuple[int, ...]:
        """Return (1, H, W, Channels / PE, PE)."""
        return self._folded(self.get_normal_input_shape())

    def get_folded_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        """Return (1, H / 2, W / 2, Channels / PE, PE)."""
        return self._folded(self.get_normal_output_shape())

    def _folded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        pe = self.get_nodeattr("PE")
        return (*shape[:-1], shape[-1] // pe, pe)

    def get_instream_width(self, ind: int = 0) -> int:
        """Return the bits of an input beat, without padding to bytes."""
        return self.get_nodeattr("PE") * self.get_input_datatype().bitwidth()

    def get_outstream_width(self, ind: int = 0) -> int:
        """Return the bits of an output beat, without padding to bytes."""
        return self.get_instream_width()

    def infer_node_datatype(self, model: "ModelWrapper") -> None:
        """Take the type of the input over and give it to the output."""
        found = model.get_tensor_datatype(self.onnx_node.input[0])
        self.set_nodeattr("inputDataType", found.name)
        model.set_tensor_datatype(self.onnx_node.output[0], found)

    def verify_node(self) -> list[str]:
        """Return nothing to complain about: `InferMaxPool` makes only pools that the hardware can do."""
        return []

    def execute_node(self, context: dict[str, np.ndarray], graph: "GraphProto") -> None:
        """Compute the pool exactly, with NumPy."""
        _, height, width, channels = self.get_normal_input_shape()
        windows = context[self.onnx_node.input[0]].reshape(1, height // 2, 2, width // 2, 2, channels)
        context[self.onnx_node.output[0]] = windows.max(axis=(2, 4))

    def get_exp_cycles(self) -> int:
        """Return the cycles a frame: one for each beat of the input."""
        return int(np.prod(self.get_folded_input_shape()[:-1]))

    def get_buffer_depth(self) -> int:
        """Return the words of the line buffer, one for each window of a row and each fold of the channels."""
        _, _, width, folds, _ = self.get_folded_input_shape()
        return width // 2 * folds

    def lut_estimation(self, fpgapart: str) -> int:
        """Estimate LUTs: comparators, counters and handshake, and the line buffer if it is shallow."""
        return round(26 + 3 * self.get_instream_width() + self._buffer().lut)

    def bram_estimation(self, fpgapart: str) -> int:
        """Estimate 18-kbit block RAMs: the line buffer if it is deep."""
        return round(self._buffer().bram18)

    def _buffer(self) -> Resources:
        return memory(self.get_buffer_depth(), self.get_instream_width())

    def code_generation_ipi(self) -> list[str]:
        """Return the commands that put this module into a Vivado block design."""
        return own_modules.block_design_commands(self)

    def get_rtl_file_list(self, abspath: bool = False) -> list[str]:
        """Return the sources: `maxpool_2x2.sv` and the wrapper that `generate_hdl` wrote."""
        wrapper = self.get_nodeattr("gen_top_module") + ".v"
        if not abspath:
            return [SOURCE, wrapper]
        return [str(rtllib.own_source(SOURCE)), str(Path(self.get_nodeattr("code_gen_dir_ipgen")) / wrapper)]

    def generate_hdl(self, model: "ModelWrapper", fpgapart: str, clk: float) -> None:
        """Write the wrapper with FINN's port names into `code_gen_dir_ipgen`."""
        folder, name = self.get_nodeattr("code_gen_dir_ipgen"), self.get_verilog_top_module_name()
        _, height, width, channels = self.get_normal_input_shape()
        text = _WRAPPER.format(
            name=name,
            height=height,
            width=width,
            out_height=height // 2,
            out_width=width // 2,
            channels=channels,
            pe=self.get_nodeattr("PE"),
            bits=self.get_input_datatype().bitwidth(),
            data=self.get_instream_width(),
            bus=self.get_instream_width_padded(),
            ram_style="distributed" if self.get_buffer_depth() <= LUTRAM_DEPTH else "block",
        )
        (Path(folder) / f"{name}.v").write_text(text)
        own_modules.note_generated(self, name, folder)


class InferMaxPool(Transformation):
    """Turn each MaxPoolNHWC into a StreamingMaxPool_rtl; UserError for any but 2x2 with stride 2 on an even map."""

    def apply(self, model: "ModelWrapper") -> tuple["ModelWrapper", bool]:
        """Replace all pools in one pass."""
        for index, node in enumerate(model.graph.node):
            if node.op_type != "MaxPoolNHWC":
                continue
            _check(model, node)
            _, height, width, channels = model.get_tensor_shape(node.input[0])
            pool = helper.make_node(
                "StreamingMaxPool_rtl",
                list(node.input),
                list(node.output),
                domain=DOMAIN,
                backend="fpgadataflow",
                name=node.name,
                Channels=channels,
                PE=1,
                ImgDim=[height, width],
                inputDataType=model.get_tensor_datatype(node.input[0]).name,
            )
            model.graph.node.remove(node)
            model.graph.node.insert(index, pool)
        return model, False


def _check(model: "ModelWrapper", node: "NodeProto") -> None:
    pool = getCustomOp(node)
    shape = model.get_tensor_shape(node.input[0])
    kernel, strides = list(pool.get_nodeattr("kernel_shape")), list(pool.get_nodeattr("strides"))
    if kernel != [2, 2] or strides != [2, 2] or any(pool.get_nodeattr("pads")):
        raise UserError(
            f"The max-pool {node.name} has kernel {kernel} and strides {strides}; "
            "the hardware has 2x2 with stride 2 and no padding."
        )
    if shape[1] % 2 or shape[2] % 2 or model.get_tensor_datatype(node.input[0]).signed():
        raise UserError(
            f"The max-pool {node.name} works on {shape[1]} x {shape[2]} values of type "
            f"{model.get_tensor_datatype(node.input[0])}; it needs even sizes and unsigned values."
        )
