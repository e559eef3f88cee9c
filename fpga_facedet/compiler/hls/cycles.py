"""Cycles of the HLS layers: each is one pipelined loop that starts an iteration every cycle, of a fixed trip count.

The trip counts are exact: the C simulation counts the same. What a pipeline takes besides, to fill at the beginning of
a frame and to empty at its end, depends on how Vitis HLS schedules the operations of an iteration, and is estimated.
"""

import math
from typing import TYPE_CHECKING, Any

from fpga_facedet.compiler.matrix_units import kind_of

if TYPE_CHECKING:
    from onnx import NodeProto

_ENDS = 4
"""Cycles for the function's start and end, for reading a stream and for writing one."""


def trips(node: "NodeProto") -> int:
    """Return the iterations a frame of a folded layer's loop; 0 for a FIFO, which is no loop but a stream's depth."""
    from qonnx.custom_op.registry import getCustomOp

    return _TRIPS[kind_of(node)](getCustomOp(node))


def interval(node: "NodeProto") -> int:
    """Return the cycles from the start of one frame in a layer to the start of the next, with all its input waiting."""
    from qonnx.custom_op.registry import getCustomOp

    return trips(node) + pipeline_depth(kind_of(node), getCustomOp(node))


def pipeline_depth(op: str, layer: Any) -> int:
    """Return the estimated cycles that one iteration takes from its first operation to its last."""
    if op == "MVAU":
        # The word of weights and the vector's buffer are read, multiplied, added in a tree, and accumulated.
        return _ENDS + 4 + math.ceil(math.log2(layer.get_nodeattr("SIMD")))
    if op == "Thresholding":
        # One stage of the search a bit of the result: a threshold is read and compared.
        return _ENDS + 2 * int(layer.get_output_datatype().bitwidth())
    return _ENDS + (2 if op in ("ConvolutionInputGenerator", "StreamingMaxPool") else 0)


def _beats_in(layer: Any) -> int:
    return math.prod(layer.get_folded_input_shape()[:-1])


def _beats_out(layer: Any) -> int:
    return math.prod(layer.get_folded_output_shape()[:-1])


def _matrix_vector(layer: Any) -> int:
    words = layer.get_nodeattr("MW") // layer.get_nodeattr("SIMD")
    passes = layer.get_nodeattr("MH") // layer.get_nodeattr("PE")
    return math.prod(layer.get_nodeattr("numInputVectors")) * passes * words


def _sliding_window(layer: Any) -> int:
    pixels = math.prod(layer.get_nodeattr("IFMDim"))
    if layer.get_nodeattr("parallel_window"):
        return pixels
    windows = math.prod(layer.get_nodeattr("OFMDim"))
    folds = layer.get_nodeattr("IFMChannels") // layer.get_nodeattr("SIMD")
    # A step for each pixel, in which the pixel before it may have completed a window; the last pixel's takes one more.
    steps = pixels + _last_pixel_completes(layer)
    return (windows * math.prod(layer.get_nodeattr("ConvKernelDim")) + steps - windows) * folds


def _last_pixel_completes(layer: Any) -> int:
    sides = zip(*(layer.get_nodeattr(name) for name in ("IFMDim", "ConvKernelDim", "Stride")), strict=True)
    return int(all((size - kernel) % stride == 0 for size, kernel, stride in sides))


_TRIPS = {
    "FMPadding": _beats_out,
    "ConvolutionInputGenerator": _sliding_window,
    "MVAU": _matrix_vector,
    "Thresholding": _beats_in,
    "StreamingMaxPool": _beats_in,
    "StreamingDataWidthConverter": lambda layer: max(_beats_in(layer), _beats_out(layer)),
    "StreamingFIFO": lambda layer: 0,
}
