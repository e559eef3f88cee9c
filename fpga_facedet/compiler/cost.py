"""What a hardware layer costs on a 7-series chip, before any synthesis: LUTs, 18-kbit block RAMs, DSPs.

FINN's own estimates say 0 LUT for matrix units and padding and four lanes a DSP whatever the bits; the formulas here
were fitted to yosys counts of LPYOLO's SystemVerilog instead, layer by layer. All that comes out is `estimated`.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fpga_facedet.errors import InternalError

if TYPE_CHECKING:
    from onnx import NodeProto

    from fpga_facedet.boards import Board

LUTRAM_DEPTH = 64
"""Memories up to this depth go into LUTs, deeper ones into block RAM."""

_BRAM18_SHAPES = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))


@dataclass(frozen=True)
class Resources:
    """LUTs, 18-kbit block RAMs and DSP48E1 slices."""

    lut: float = 0.0
    bram18: float = 0.0
    dsp: float = 0.0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(self.lut + other.lut, self.bram18 + other.bram18, self.dsp + other.dsp)

    def share_of(self, board: "Board") -> float:
        """Return the sum of the shares of the chip's LUTs, block RAMs and DSPs: one number to minimise."""
        return self.lut / board.lut + self.bram18 / board.bram18 + self.dsp / board.dsp

    def fits(self, board: "Board") -> bool:
        """Return whether the chip holds it."""
        return self.lut <= board.lut and self.bram18 <= board.bram18 and self.dsp <= board.dsp

    def to_dict(self) -> dict[str, float]:
        """Return the three counts under the names of the manifest."""
        return {"lut": round(self.lut), "bram18": round(self.bram18), "dsp": round(self.dsp)}


def memory(depth: int, width: int) -> Resources:
    """Return what a memory of `depth` words of `width` bits costs, in LUTs if it is shallow."""
    if depth <= LUTRAM_DEPTH:
        return Resources(lut=width * math.ceil(depth / 32) / 2)
    blocks = next((math.ceil(width / bits) for words, bits in _BRAM18_SHAPES if depth <= words), None)
    return Resources(bram18=blocks if blocks is not None else width * math.ceil(depth / 16384))


def dsp48e1_lanes(weight_bits: int, activation_bits: int) -> int:
    """Return the products that one DSP48E1 makes a cycle with narrow-range weights (NUM_LANES of finn's mvu.sv)."""
    return 1 + (25 - weight_bits) // (weight_bits + activation_bits - 1)


def converter(bits_in: int, bits_out: int) -> Resources | None:
    """Return what it costs to change the width of a stream: nothing where both ends agree.

    None where neither width divides the other: such a converter costs thousands of LUTs, and takes a third longer.
    """
    wide, narrow = max(bits_in, bits_out), min(bits_in, bits_out)
    if wide % narrow:
        return None
    if wide == narrow:
        return Resources()
    # To narrow: a shift register that loads in parallel. To widen: one that fills, almost all flip-flops.
    return Resources(lut=10 + wide + narrow if bits_in > bits_out else 10 + 0.7 * narrow)


def resources(node: "NodeProto") -> Resources:
    """Return the estimate for one hardware layer as it is folded now."""
    from qonnx.custom_op.registry import getCustomOp

    return _ESTIMATES[node.op_type.removesuffix("_rtl")](getCustomOp(node))


def _matrix_unit(layer: Any) -> Resources:
    pe, simd = layer.get_nodeattr("PE"), layer.get_nodeattr("SIMD")
    weight_bits, activation_bits = (layer.get_input_datatype(index).bitwidth() for index in (1, 0))
    lanes = dsp48e1_lanes(weight_bits, activation_bits)
    # Fitted to ten layers of LPYOLO within 10 %: adders behind the lanes, an accumulator each PE, control.
    compute = Resources(lut=50 + 60 * pe + (17 if lanes > 2 else 25) * pe * simd, dsp=math.ceil(pe / lanes) * simd)
    return compute + memory(weight_depth(layer), pe * simd * weight_bits) + Resources(lut=60)


def weight_depth(layer: Any) -> int:
    """Return the words of a matrix unit's weight memory."""
    weights = layer.get_nodeattr("MW") * layer.get_nodeattr("MH")
    return weights // (layer.get_nodeattr("PE") * layer.get_nodeattr("SIMD"))


def _thresholds(layer: Any) -> Resources:
    pe, stages = layer.get_nodeattr("PE"), layer.get_output_datatype().bitwidth()
    folds = layer.get_nodeattr("NumChannels") // pe
    bits = layer.get_input_datatype(1).bitwidth()
    # Binary search: stage s holds 2^s thresholds a channel, and compares once.
    tables = sum(bits * max(1.0, folds * 2**stage / 32) / 2 for stage in range(stages))
    return Resources(lut=65 + pe * (tables + 0.7 * bits * stages))


def _sliding_window(layer: Any) -> Resources:
    bits, simd = layer.get_input_datatype().bitwidth(), layer.get_nodeattr("SIMD")
    lines = memory(window_depth(layer), simd * bits)
    if layer.select_impl_style() == "default":
        return Resources(lut=215) + lines
    total = Resources(lut=150)
    for _ in range(layer.get_nodeattr("ConvKernelDim")[0] - 1):
        total += lines
    return total


def window_depth(layer: Any) -> int:
    """Return the words of a sliding window's memory: of all of it, or of each line where the window is parallel."""
    if layer.select_impl_style() == "default":
        return int(layer.get_buffer_depth())
    return max(1, layer.get_nodeattr("IFMDim")[1] - layer.get_nodeattr("ConvKernelDim")[1])


def _padding(layer: Any) -> Resources:
    return Resources(lut=75 + 0.8 * layer.get_instream_width())


def _pool(layer: Any) -> Resources:
    return Resources(lut=layer.lut_estimation(""), bram18=layer.bram_estimation(""))


def _converter(layer: Any) -> Resources:
    cost = converter(layer.get_instream_width(), layer.get_outstream_width())
    if cost is None:
        raise InternalError(f"The width converter {layer.onnx_node.name} has a ratio that no folding should leave.")
    return cost


def _fifo(layer: Any) -> Resources:
    return fifo(layer.get_nodeattr("depth"), layer.get_instream_width_padded())


def fifo(depth: int, width: int) -> Resources:
    """Return what a FIFO of `depth` beats of `width` bits costs: shift registers, LUT memory or block RAM by depth."""
    if depth <= 33:
        return Resources(lut=20 + width)
    if depth <= 257:
        return Resources(lut=35 + width * math.ceil(depth / 64) * 4 / 3)
    return Resources(lut=90) + memory(depth, width)


_ESTIMATES = {
    "MVAU": _matrix_unit,
    "Thresholding": _thresholds,
    "ConvolutionInputGenerator": _sliding_window,
    "FMPadding": _padding,
    "StreamingMaxPool": _pool,
    "StreamingDataWidthConverter": _converter,
    "StreamingFIFO": _fifo,
}
