import math
from dataclasses import replace

import pytest
from qonnx.custom_op.registry import getCustomOp

from fpga_facedet.boards import Board
from fpga_facedet.compiler import fifos
from fpga_facedet.compiler.cost_memory import mapped
from fpga_facedet.compiler.stream_fifo import StreamingFIFO_rtl
from fpga_facedet.errors import InternalError
from tests.compiler.conftest import Built


def test_widths_agree_everywhere_behind_the_converters(built: Built) -> None:
    graph = built.graph("fifos")
    for node in graph.graph.node:
        following = graph.find_consumer(node.output[0])
        if following is not None:
            assert getCustomOp(node).get_outstream_width() == getCustomOp(following).get_instream_width(), node.name


def test_converters_have_whole_ratios(built: Built) -> None:
    converters = [node for node in built.graph("fifos").graph.node if node.op_type.startswith("StreamingDataWidth")]
    assert converters
    for node in converters:
        widths = sorted([getCustomOp(node).get_instream_width(), getCustomOp(node).get_outstream_width()])
        assert widths[1] % widths[0] == 0


def test_one_fifo_in_front_of_each_convolution_but_the_first(built: Built) -> None:
    graph = built.graph("fifos")
    found = [node for node in graph.graph.node if node.op_type == "StreamingFIFO_rtl"]
    assert len(found) == 4
    before = [graph.find_consumer(node.output[0]).op_type for node in found]
    assert all(op.startswith(("FMPadding", "MVAU", "StreamingDataWidthConverter")) for op in before)


def test_layers_keep_their_names_whatever_multiplies_in_them(built: Built) -> None:
    named = {step: [node.name for node in built.graph(step).graph.node] for step in ("specialise", "fifos")}
    assert [name for name in named["fifos"] if not name.startswith("Streaming") or "Pool" in name] == named[
        "specialise"
    ]
    assert "MVAU_rtl_2" in named["fifos"]


def test_depths_hold_the_pixels_that_wait(built: Built) -> None:
    graph = built.graph("converters")
    convolutions = [node for node in graph.graph.node if node.op_type.startswith(("FMPadding", "MVAU"))][1:]
    waiting = {node.name: fifos.pixels_waiting(graph, node) for node in convolutions}
    # Behind the pool, 32 pixels wide: a row, half a row and two. In front of the 1x1 convolution only two.
    assert waiting["FMPadding_rtl_1"] == 32 + 16 + 2
    assert waiting["FMPadding_rtl_2"] == 16 + 2
    assert waiting["MVAU_rtl_2"] == 2
    for fifo, convolution in zip(built.manifest.fifos, ("FMPadding_rtl_1", "MVAU_rtl_2"), strict=False):
        channels = graph.get_tensor_shape(graph.get_node_from_name(convolution).input[0])[-1]
        bits = 4
        assert fifo.depth * fifo.width >= waiting[convolution] * channels * bits


def test_fifos_lie_in_the_memory_that_takes_the_smaller_share(built: Built, board: Board) -> None:
    for node in built.graph("fifos").graph.node:
        if node.op_type == "StreamingFIFO_rtl":
            layer = getCustomOp(node)
            assert isinstance(layer, StreamingFIFO_rtl)
            depth, style = layer.get_nodeattr("depth"), layer.get_nodeattr("ram_style")
            assert style == fifos.cheapest_memory(depth, layer.get_instream_width(), board)
    # Four LUTs hold 32 words of 6 bits or 64 of 3; this chip has 190 LUTs for each 18-kbit block RAM.
    assert [fifos.cheapest_memory(depth, 16, board) for depth in (3, 33, 321, 514, 2000)] == [
        *["distributed"] * 3,
        *["block"] * 2,
    ]
    spare = replace(board, bram18=100_000)
    assert [fifos.cheapest_memory(depth, 16, spare) for depth in (3, 4)] == ["distributed", "block"]


@pytest.mark.parametrize(
    ("places", "width", "roomiest"),
    [
        (3, 4, 33),  # 32 words and the register behind them
        (33, 4, 33),
        (34, 16, 65),
        (70, 16, 97),
        (130, 8, 193),
        (250, 8, 257),
        (628, 16, 1026),  # a block RAM of 1024 x 18, and the two registers behind it
        (1282, 32, 1282),  # three block RAMs; 2048 words would be four
    ],
)
def test_places_that_cost_nothing(places: int, width: int, roomiest: int, board: Board) -> None:
    assert fifos.roomiest(places, width, board) == roomiest
    style = fifos.cheapest_memory(places, width, board)
    words = [mapped(depth - fifos.REGISTERS[style], width, style) for depth in (places, roomiest)]
    assert (words[0].lut, words[0].bram18) == (words[1].lut, words[1].bram18)


def test_given_depths_are_built_and_shallow_ones_are_not(built: Built, board: Board) -> None:
    graph = built.graph("converters")
    layers = list(fifos.estimated_depths(graph, board))
    made = fifos.insert_fifos(graph, board, dict(zip(layers, (2, 3, 100), strict=False)))
    found = {
        made.find_consumer(node.output[0]).name: node for node in made.graph.node if node.op_type == "StreamingFIFO_rtl"
    }
    assert list(found) == layers[1:3]
    assert [getCustomOp(node).get_nodeattr("depth") for node in found.values()] == [3, 100]
    with pytest.raises(InternalError, match="no layer MVAU_rtl_99"):
        fifos.insert_fifos(graph, board, {"MVAU_rtl_99": 8})


def test_deep_fifos_have_two_rows_more(built: Built, board: Board) -> None:
    graph = built.graph("converters")
    estimated, deep = fifos.estimated_depths(graph, board), fifos.deep_depths(graph, board)
    assert list(estimated) == list(deep)
    for name, places in estimated.items():
        node = graph.get_node_from_name(name)
        _, height, _, _ = graph.get_tensor_shape(node.input[0])
        beats = math.prod(getCustomOp(node).get_folded_input_shape()[:-1])
        assert (deep[name] - places) * height == 2 * beats
