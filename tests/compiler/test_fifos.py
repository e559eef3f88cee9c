from qonnx.custom_op.registry import getCustomOp

from fpga_facedet.compiler import fifos
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
    assert {op.split("_")[0] for op in before} <= {"FMPadding", "MVAU", "StreamingDataWidthConverter"}


def test_depths_hold_the_pixels_that_wait(built: Built) -> None:
    graph = built.graph("converters")
    convolutions = [node for node in graph.graph.node if node.op_type in ("FMPadding_rtl", "MVAU_rtl")][1:]
    waiting = {node.name: fifos.pixels_waiting(graph, node) for node in convolutions}
    # Behind the pool, 32 pixels wide: a row, half a row and two. In front of the 1x1 convolution only two.
    assert waiting["FMPadding_rtl_1"] == 32 + 16 + 2
    assert waiting["FMPadding_rtl_2"] == 16 + 2
    assert waiting["MVAU_rtl_2"] == 2
    for fifo, convolution in zip(built.manifest.fifos, ("FMPadding_rtl_1", "MVAU_rtl_2"), strict=False):
        channels = graph.get_tensor_shape(graph.get_node_from_name(convolution).input[0])[-1]
        bits = 4
        assert fifo.depth * fifo.width >= waiting[convolution] * channels * bits


def test_deep_fifos_go_into_block_ram_and_shallow_ones_do_not(built: Built) -> None:
    for node in built.graph("fifos").graph.node:
        if node.op_type == "StreamingFIFO_rtl":
            layer = getCustomOp(node)
            depth, style = layer.get_nodeattr("depth"), layer.get_nodeattr("ram_style")
            assert style == ("srl" if depth <= 33 else "distributed" if depth <= 257 else "block"), node.name
