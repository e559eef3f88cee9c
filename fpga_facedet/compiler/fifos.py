"""What stands between the layers: width converters where streams differ, and a FIFO where a stream comes in bursts.

The pipeline is one chain without forks, so no FIFO is needed against deadlock; each is there for throughput alone.
Three things make a convolution's input uneven. A pool speaks only during every other row, and then twice as fast as
its consumer listens: half a row waits. A sliding window takes nothing of the next frame while it finishes this one:
meanwhile the layer before it goes on, for about a row. And a matrix unit takes little of the next pixel while it works
on this one, which matters where no sliding window stands before it. One FIFO in front of each convolution holds them.

How deep it has to be is a rule first, `pixels_waiting`; a simulation then says what it really holds
(`verification.fifo_sizing`).
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fpga_facedet.compiler.cost import fifo as fifo_cost
from fpga_facedet.compiler.cost_memory import BLOCK, DISTRIBUTED, mapped
from fpga_facedet.compiler.hls.styles import stands_between
from fpga_facedet.compiler.layers import infer_all
from fpga_facedet.errors import InternalError

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

    from fpga_facedet.boards import Board

REGISTERS = {DISTRIBUTED: 1, BLOCK: 2}
"""How many of a FIFO's beats lie in registers behind its memory; see `rtl/stream_fifo.sv`."""

SHALLOWEST = 3
"""The places of the smallest FIFO there is; in block RAM it has one more."""

_LARGEST_SHIFT_REGISTER, _LARGEST_LUTRAM = 33, 257


def insert_converters(model: "ModelWrapper", part: str) -> "ModelWrapper":
    """Insert a width converter wherever a layer puts out another width than the next one takes."""
    from finn.transformation.fpgadataflow.insert_dwc import InsertDWC

    return _specialised(model.transform(InsertDWC()), part)


def insert_fifos(model: "ModelWrapper", board: "Board", depths: Mapping[str, int] | None = None) -> "ModelWrapper":
    """Insert FIFOs: of these places in front of the layers of these names, or where None as `estimated_depths` says.

    Where `depths` gives a layer fewer than SHALLOWEST places there is no FIFO.
    """
    from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
    from qonnx.custom_op.registry import getCustomOp

    from fpga_facedet.compiler import stream_fifo

    depths = estimated_depths(model, board) if depths is None else depths
    nodes = list(model.graph.node)
    if unknown := set(depths) - {node.name for node in nodes[1:]}:
        raise InternalError(f"There is no layer {min(unknown)} to put a FIFO in front of.")
    for node in nodes:
        places = depths.get(node.name, 0)
        layer = getCustomOp(node)
        layer.set_nodeattr("inFIFODepths", [places if places >= SHALLOWEST else 0])
        layer.set_nodeattr("outFIFODepths", [0])
    model = _specialised(model.transform(InsertFIFO()), board.part)
    for node in model.graph.node:
        if node.op_type == "StreamingFIFO_rtl":
            node.domain = stream_fifo.DOMAIN
            layer = getCustomOp(node)
            width = layer.get_instream_width()
            layer.set_nodeattr("ram_style", cheapest_memory(layer.get_nodeattr("depth"), width, board))
    return model


def estimated_depths(model: "ModelWrapper", board: "Board") -> dict[str, int]:
    """Return the places of a FIFO in front of each convolution but the first, which the source waits for.

    By the name of the layer behind it, which is the first of the convolution or the width converter before that.
    """
    from qonnx.custom_op.registry import getCustomOp

    found = {}
    for node in list(model.graph.node)[1:]:
        if starts_convolution(model, node):
            place = _cheapest_place(model, node, board)
            width = getCustomOp(place).get_instream_width()
            found[place.name] = roomiest(depth(model, place, node), width, board)
    return found


def deep_depths(model: "ModelWrapper", board: "Board") -> dict[str, int]:
    """Return places that are never too few, to see how many are used: those estimated and two rows more."""
    from qonnx.custom_op.registry import getCustomOp

    found = {}
    for name, places in estimated_depths(model, board).items():
        node = model.get_node_from_name(name)
        _, _, width, channels = model.get_tensor_shape(node.input[0])
        found[name] = places + math.ceil(2 * width * channels / getCustomOp(node).get_folded_input_shape()[-1])
    return found


def cheapest_memory(places: int, width: int, board: "Board") -> str:
    """Return what a FIFO of so many beats of `width` bits lies in: "distributed" (LUTs) or "block".

    That of the two that takes the smaller share of the chip.
    """
    styles = (DISTRIBUTED, BLOCK) if places > SHALLOWEST else (DISTRIBUTED,)
    return min(styles, key=lambda style: fifo_cost(places, width, style).share_of(board))


def roomiest(places: int, width: int, board: "Board") -> int:
    """Return the most places, `places` or more, that a FIFO gets for what its memory takes anyway.

    Whole memories: a power of two, whose pointers are the simplest, else whole LUTs of 64 or of 32 words.
    """
    style = cheapest_memory(places, width, board)
    behind = REGISTERS[style]
    taken, words = mapped(places - behind, width, style), max(places - behind, 32)
    larger = (2 ** math.ceil(math.log2(words)), 64 * math.ceil(words / 64), 32 * math.ceil(words / 32))
    return next((behind + each for each in larger if mapped(each, width, style) == taken), places)


def ram_style(places: int) -> str:
    """Return FINN's name for the memory that Vitis HLS is told to make a stream of so many places of."""
    if places <= _LARGEST_SHIFT_REGISTER:
        return "srl"
    return "distributed" if places <= _LARGEST_LUTRAM else "block"


def starts_convolution(model: "ModelWrapper", node: "NodeProto") -> bool:
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
        places, width = depth(model, place, node), getCustomOp(place).get_instream_width()
        return fifo_cost(places, width, cheapest_memory(places, width, board)).share_of(board)

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
    """Return the graph with what was inserted made RTL and named; all other layers keep their names."""
    from finn.transformation.fpgadataflow.set_exec_mode import SetExecMode
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers

    names = [node.name for node in model.graph.node if not stands_between(node)]
    model = infer_all(model.transform(SpecializeLayers(part))).transform(SetExecMode("cppsim"))
    layers = [node for node in model.graph.node if not stands_between(node)]
    for node, name in zip(layers, names, strict=True):
        node.name = name
    return model
