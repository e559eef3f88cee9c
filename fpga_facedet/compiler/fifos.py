"""What stands between the layers: width converters where streams differ, and a FIFO where a stream comes in bursts.

The pipeline is one chain without forks, so no FIFO is needed against deadlock; each is there for throughput alone.
Three things make a convolution's input uneven. A pool speaks only during every other row, and then twice as fast as
its consumer listens: half a row waits. A sliding window takes nothing of the next frame while it finishes this one:
meanwhile the layer before it goes on, for about a row. And a matrix unit takes little of the next pixel while it works
on this one, which matters where no sliding window stands before it. One FIFO in front of each convolution holds them.
"""

import math
from typing import TYPE_CHECKING

from fpga_facedet.compiler.cost import fifo as fifo_cost
from fpga_facedet.compiler.layers import infer_all

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

    from fpga_facedet.boards import Board

_LARGEST_SHIFT_REGISTER, _LARGEST_LUTRAM = 33, 257


def insert_converters(model: "ModelWrapper", part: str) -> "ModelWrapper":
    """Insert a width converter wherever a layer puts out another width than the next one takes."""
    from finn.transformation.fpgadataflow.insert_dwc import InsertDWC

    return _specialised(model.transform(InsertDWC()), part)


def insert_fifos(model: "ModelWrapper", board: "Board") -> "ModelWrapper":
    """Insert one FIFO in front of each convolution but the first, which the source waits for; see `pixels_waiting`."""
    from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
    from qonnx.custom_op.registry import getCustomOp

    for node in model.graph.node:
        layer = getCustomOp(node)
        layer.set_nodeattr("inFIFODepths", [0])
        layer.set_nodeattr("outFIFODepths", [0])
    for node in list(model.graph.node)[1:]:
        if _starts_convolution(model, node):
            place = _cheapest_place(model, node, board)
            getCustomOp(place).set_nodeattr("inFIFODepths", [depth(model, place, node)])
    model = _specialised(model.transform(InsertFIFO()), board.part)
    for node in model.graph.node:
        if node.op_type == "StreamingFIFO_rtl":
            layer = getCustomOp(node)
            layer.set_nodeattr("ram_style", ram_style(layer.get_nodeattr("depth")))
    return model


def ram_style(places: int) -> str:
    """Return FINN's name for the memory of a FIFO of so many places: srl, distributed or block."""
    if places <= _LARGEST_SHIFT_REGISTER:
        return "srl"
    return "distributed" if places <= _LARGEST_LUTRAM else "block"


def _starts_convolution(model: "ModelWrapper", node: "NodeProto") -> bool:
    """Return whether this layer is the first of a convolution: of padding, sliding window and matrix unit."""
    parts = ("FMPadding", "ConvolutionInputGenerator", "MVAU")
    return node.op_type.startswith(parts) and not _layer_before(model, node).op_type.startswith(parts)


def _layer_before(model: "ModelWrapper", node: "NodeProto") -> "NodeProto":
    """Return the layer that feeds this one, looking past width converters."""
    before = model.find_producer(node.input[0])
    while before.op_type.startswith("StreamingDataWidthConverter"):
        before = model.find_producer(before.input[0])
    return before


def _cheapest_place(model: "ModelWrapper", node: "NodeProto", board: "Board") -> "NodeProto":
    """Return the layer to put the FIFO in front of: this one, or the width converter before it if that is cheaper."""
    from qonnx.custom_op.registry import getCustomOp

    places = [node]
    before = model.find_producer(node.input[0])
    if before.op_type.startswith("StreamingDataWidthConverter"):
        places.append(before)

    def share(place: "NodeProto") -> float:
        width = getCustomOp(place).get_instream_width_padded()
        return fifo_cost(depth(model, place, node), width).share_of(board)

    return min(places, key=share)


def depth(model: "ModelWrapper", place: "NodeProto", convolution: "NodeProto") -> int:
    """Return the places, in beats of the input stream of `place`, that `pixels_waiting` take."""
    from qonnx.custom_op.registry import getCustomOp

    channels = model.get_tensor_shape(convolution.input[0])[-1]
    lanes = getCustomOp(place).get_folded_input_shape()[-1]
    return math.ceil(pixels_waiting(model, convolution) * channels / lanes)


def pixels_waiting(model: "ModelWrapper", convolution: "NodeProto") -> int:
    """Return how many pixels wait at most in front of a convolution, given the first of its layers.

    Two at any time, a row more in front of a sliding window, half a row more behind a pool.
    """
    _, _, width, _ = model.get_tensor_shape(convolution.input[0])
    row = 0 if convolution.op_type.startswith("MVAU") else width
    pooled = _layer_before(model, convolution).op_type.startswith("StreamingMaxPool")
    return 2 + row + (math.ceil(width / 2) if pooled else 0)


def _specialised(model: "ModelWrapper", part: str) -> "ModelWrapper":
    from finn.transformation.fpgadataflow.set_exec_mode import SetExecMode
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers

    return infer_all(model.transform(SpecializeLayers(part))).transform(SetExecMode("cppsim"))
