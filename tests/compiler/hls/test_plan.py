import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from fpga_facedet.compiler import layers
from fpga_facedet.compiler.hls import calls, library
from fpga_facedet.compiler.hls.calls import (
    Comparison,
    HlsLayer,
    MatrixVector,
    Search,
    Stream,
    Table,
    Tanh,
    Values,
    variable,
)
from fpga_facedet.compiler.hls.plan import MOST_BEAT_BITS, MOST_BITS, MOST_SUM_BITS, check_supported, plan
from fpga_facedet.compiler.hls.styles import Styles
from fpga_facedet.compiler.staircase import Staircase
from fpga_facedet.errors import UserError
from tests.compiler.conftest import Built


@pytest.fixture(scope="module")
def folded(built_hls: Built) -> ModelWrapper:
    return built_hls.graph("fifos")


@pytest.fixture(scope="module")
def planned(folded: ModelWrapper) -> list[HlsLayer]:
    return plan(folded, folded.graph.node)


def test_every_layer_has_a_call_and_reads_what_the_one_before_it_wrote(
    folded: ModelWrapper, planned: list[HlsLayer]
) -> None:
    working = [node.name.replace("_rtl", "") for node in folded.graph.node if "FIFO" not in node.op_type]
    assert [layer.name for layer in planned] == working
    assert planned[0].source.name == "in0"
    for before, layer in pairwise(planned):
        assert layer.source is before.result and before.result.name == before.name
    functions = {layer.function for layer in planned}
    assert {"pad", "matrix_vector", "max_pool_2x2", "thresholds_by_search", "hard_tanh"} <= functions
    assert {"sliding_window", "parallel_window", "convert_width"} & functions


def test_streams_are_finns(folded: ModelWrapper, planned: list[HlsLayer]) -> None:
    nodes = {node.name.replace("_rtl", ""): getCustomOp(node) for node in folded.graph.node}
    for layer in planned:
        node = nodes[layer.name]
        assert layer.result.word_bits == node.get_outstream_width_padded()
        assert layer.source.word_bits == node.get_instream_width_padded()
        assert layer.result.beats * layer.result.lanes == np.prod(node.get_normal_output_shape())
        assert layer.source.values.cpp.startswith("Signed" if node.get_input_datatype().signed() else "Unsigned")


def test_fifos_and_vectors_make_streams_deep(folded: ModelWrapper, planned: list[HlsLayer]) -> None:
    fifos = [node for node in folded.graph.node if node.op_type == "StreamingFIFO_rtl"]
    assert fifos
    streams = {layer.source.name: layer.source for layer in planned}
    for node in fifos:
        before = folded.find_producer(node.input[0]).name.replace("_rtl", "")
        assert streams[before].depth >= getCustomOp(node).get_nodeattr("depth") > 2
    for layer in planned:
        if isinstance(layer, MatrixVector):
            assert layer.source.depth >= layer.weights.shape[1]
    assert {stream.depth for stream in streams.values()} > {2}


@pytest.mark.parametrize(("depth", "memory"), [(3, "srl"), (33, "srl"), (34, "lutram"), (257, "lutram"), (258, "bram")])
def test_the_memory_of_a_fifo_follows_its_depth(built_hls: Built, depth: int, memory: str) -> None:
    graph = built_hls.graph("fifos")
    fifo = next(node for node in graph.graph.node if node.op_type == "StreamingFIFO_rtl")
    getCustomOp(fifo).set_nodeattr("depth", depth)
    source = plan(graph, [fifo, next(iter(graph.find_direct_successors(fifo)))])[0].source
    assert (source.name, source.depth, source.memory) == ("in0", depth, memory)


def test_weights_have_the_order_of_finns_rtl(folded: ModelWrapper, planned: list[HlsLayer]) -> None:
    nodes = {node.name.replace("_rtl", ""): node for node in folded.graph.node}
    units = [layer for layer in planned if isinstance(layer, MatrixVector)]
    assert any(unit.weights.shape[0] > 1 and unit.weights.shape[2] > 1 for unit in units)
    for unit in units:
        node = nodes[unit.name]
        matrix = folded.get_initializer(node.input[1])
        stored = getCustomOp(node).get_hw_compatible_weight_tensor(matrix)[0, :, :, ::-1]
        passes, words, pe, simd = unit.weights.shape
        np.testing.assert_array_equal(unit.weights.transpose(2, 0, 1, 3).reshape(pe, passes * words, simd), stored)
        row, column = matrix.shape[1] - 1, matrix.shape[0] // 2
        word = unit.weights[row // pe, column // simd, row % pe, column % simd]
        assert word == matrix[column, row]


def climb(tables: tuple[Table, ...], values: np.ndarray) -> np.ndarray:
    """What the library's search computes: for each channel (folds * PE) the level of each of `values`."""
    stages = [table.values.reshape(-1, table.values.shape[-1]) for table in tables]
    index = np.zeros((len(stages[0]), len(values)), np.int64)
    for stage in stages:
        index = 2 * index + (values >= np.take_along_axis(stage, index, axis=1))
    return index


@pytest.mark.parametrize("levels", [4, 7, 8, 15, 100])
def test_a_search_finds_every_level(levels: int) -> None:
    low, high = -60, 70
    thresholds = np.random.default_rng(levels).uniform(low - 20, high + 20, (6, levels))
    ends = np.full(6, low), np.full(6, high)
    stairs = Staircase.of("x", thresholds, *ends, np.full(6, high))
    source, result = Stream("in0", Values(8, True), 2, 3), Stream("x", Values(7, False), 2, 3)
    layer = Search("x", source, result, 3, 1, 0, stairs)
    assert [table.values.shape for table in layer.tables] == [(3, 2, 2**stage) for stage in range(levels.bit_length())]
    values = np.arange(low, high + 1)
    np.testing.assert_array_equal(climb(layer.tables, values), (values >= thresholds[:, :, None]).sum(axis=1))


def test_thresholds_are_limited_to_the_sums_that_occur(folded: ModelWrapper, planned: list[HlsLayer]) -> None:
    units = [node for node in folded.graph.node if node.op_type == "MVAU_rtl"]
    found = [layer.staircase for layer in planned if isinstance(layer, Search | Tanh)]
    for unit, stairs in zip(units, found, strict=True):
        least, most = layers.sum_range(folded, unit)
        assert set(stairs.low) == {least} and set(stairs.high) == {most}
        assert stairs.steps.min() >= least and stairs.steps.max() <= most + 1


def test_the_head_is_a_hard_tanh_or_a_search(built_hls: Built, planned: list[HlsLayer]) -> None:
    assert isinstance(planned[-1], Tanh) and planned[-1].least == -128
    assert not any(isinstance(layer, Tanh) for layer in planned[:-1])
    graph = built_hls.graph("fifos")
    name = graph.graph.node[-1].input[1]
    graph.set_initializer(name, graph.get_initializer(name) + np.float32(40) * np.arange(255) ** 2)
    assert isinstance(plan(graph, [graph.graph.node[-1]])[0], Search)


def test_hard_tanhs_integers_must_suit_the_library(built_hls: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = built_hls.graph("fifos")
    (head,) = plan(graph, [graph.graph.node[-1]])
    for limit, table in zip(("TANH_SCALE_BITS", "TANH_OFFSET_BITS"), head.tables, strict=True):
        with monkeypatch.context() as patched:
            patched.setattr(calls, limit, table.bits)
            assert isinstance(plan(graph, [graph.graph.node[-1]])[0], Tanh)
            patched.setattr(calls, limit, table.bits - 1)
            assert isinstance(plan(graph, [graph.graph.node[-1]])[0], Search)


def test_limits_are_the_librarys() -> None:
    text = {path.name: path.read_text() for path in library.headers()}
    for name, bits in (("SCALE_BITS", calls.TANH_SCALE_BITS), ("OFFSET_BITS", calls.TANH_OFFSET_BITS)):
        assert f'hard_tanh: {name} must be from 1 to {bits}"' in text["hard_tanh.hpp"]
    for name, bits in (("VALUE_BITS", MOST_BITS), ("SUM_BITS", MOST_SUM_BITS)):
        assert f"constexpr int {name} = {bits};" in text["integers.hpp"]
    # A step that no unsigned sum reaches is one above them all.
    widest = Table.of("x", np.array([2**MOST_SUM_BITS])).bits
    assert widest == MOST_SUM_BITS + 2 and "constexpr int THRESHOLD_BITS = SUM_BITS + 2;" in text["integers.hpp"]
    assert f"constexpr int STREAM_BITS = {MOST_BEAT_BITS};" in text["stream.hpp"]


@pytest.mark.parametrize(("levels", "form"), [(1, Comparison), (3, Comparison), (4, Search), (7, Search)])
def test_few_thresholds_are_compared(built_hls: Built, levels: int, form: type) -> None:
    graph = built_hls.graph("fifos")
    node = next(node for node in graph.graph.node if node.op_type == "Thresholding_rtl")
    graph.set_initializer(node.input[1], graph.get_initializer(node.input[1])[:, :levels])
    (layer,) = plan(graph, [node])
    assert isinstance(layer, form)
    if form is Comparison:
        assert layer.tables[0].values.shape[2] == levels == layer.template[-1]
        assert layer.template[-2] == layer.tables[0].bits


@pytest.mark.parametrize(
    ("weight_bits", "value_bits", "multiplier"), [(4, 4, "fabric"), (2, 8, "fabric"), (3, 8, "dsp"), (8, 8, "dsp")]
)
def test_small_products_stay_off_the_dsps(weight_bits: int, value_bits: int, multiplier: str) -> None:
    source, result = Stream("in0", Values(value_bits, False), 1, 1), Stream("x", Values(20, True), 1, 1)
    unit = MatrixVector("x", source, result, 1, 1, weight_bits, np.ones((1, 1, 1, 1), np.int64), "block")
    assert f"Multiplier::{multiplier}" in unit.template


def test_deep_weights_go_to_block_ram(built_hls: Built) -> None:
    graph = built_hls.graph("fifos")
    node = next(node for node in graph.graph.node if node.op_type == "MVAU_rtl")
    layer = getCustomOp(node)
    for simd, memory in ((27, "lutram"), (9, "lutram"), (1, "block")):
        layer.set_nodeattr("SIMD", simd)
        layer.set_nodeattr("PE", 1)
        (unit,) = plan(graph, [node])
        assert isinstance(unit, MatrixVector)
        assert (unit.weights.shape[0] * unit.weights.shape[1] <= 64) == (memory == "lutram")
        assert unit.template[-1] == f"Memory::{memory}"


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([0], 1),
        ([-1], 1),
        ([1], 2),
        ([-2, 1], 2),
        ([-3], 3),
        ([127], 8),
        ([-128], 8),
        ([128], 9),
        ([-129, 1], 9),
        ([2**32], 34),
    ],
)
def test_tables_are_as_narrow_as_their_values(values: list[int], bits: int) -> None:
    assert Table.of("x", np.array(values)).bits == bits


def test_names_in_cpp() -> None:
    names = ("FMPadding_0", "MVAU_11", "ConvolutionInputGenerator_2", "StreamingMaxPool_3", "in0")
    found = ["fm_padding_0", "mvau_11", "convolution_input_generator_2", "streaming_max_pool_3", "in0"]
    assert [variable(name) for name in names] == found


def attribute(name: str, value: Any) -> Callable[[ModelWrapper, Any], None]:
    return lambda graph, node: getCustomOp(node).set_nodeattr(name, value)


def another_operation(graph: ModelWrapper, node: Any) -> None:
    node.op_type = "VVAU_rtl"


def weights_from_outside(graph: ModelWrapper, node: Any) -> None:
    node.input[1] = graph.graph.input[0].name


def a_threshold_less(graph: ModelWrapper, node: Any) -> None:
    getCustomOp(node).set_nodeattr("ActVal", -1)
    getCustomOp(node).set_nodeattr("outputDataType", "INT5")
    graph.set_initializer(node.input[1], graph.get_initializer(node.input[1]).repeat(2, axis=1)[:, :16])


def wide_pixels(graph: ModelWrapper, node: Any) -> None:
    for name, value in (("parallel_window", 1), ("IFMChannels", 64), ("SIMD", 64), ("inputDataType", "UINT8")):
        getCustomOp(node).set_nodeattr(name, value)


REFUSED = [
    ("MVAU", attribute("weightDataType", "INT17"), "weights of type INT17; HLS layers take integers of up to 16 bits"),
    ("MVAU", attribute("weightDataType", "BIPOLAR"), "weights of type BIPOLAR"),
    ("MVAU", attribute("inputDataType", "UINT17"), "inputs of type UINT17"),
    ("MVAU", attribute("inputDataType", "FIXED<8,4>"), "inputs of type FIXED<8,4>"),
    ("MVAU", attribute("outputDataType", "INT33"), "outputs of type INT33; HLS layers take integers of up to 32 bits"),
    ("MVAU", attribute("SIMD", 5), "has SIMD 5, which does not divide its MW 27; fold it with a divisor"),
    ("MVAU", attribute("PE", 3), "has PE 3, which does not divide its MH 4; fold it with a divisor"),
    ("MVAU", attribute("PE", 0), "has PE 0, which does not divide its MH 4"),
    ("MVAU", attribute("noActivation", 0), "thresholds inside"),
    ("MVAU", attribute("binaryXnorMode", 1), "binary products"),
    ("MVAU", attribute("TH", 2), "tiles"),
    ("MVAU", attribute("runtime_writeable_weights", 1), "takes its weights at run time"),
    ("MVAU", weights_from_outside, "takes its weights at run time"),
    ("MVAU", another_operation, "is a VVAU_rtl, which has no HLS form"),
    ("Thresholding", attribute("PE", 3), "has PE 3, which does not divide its NumChannels 4"),
    ("Thresholding", attribute("outputDataType", "UINT17"), "outputs of type UINT17"),
    ("Thresholding", attribute("inputDataType", "INT33"), "inputs of type INT33"),
    ("Thresholding", attribute("runtime_writeable_weights", 1), "takes its thresholds at run time"),
    ("Thresholding", weights_from_outside, "takes its thresholds at run time"),
    ("Thresholding", a_threshold_less, r"has 16 thresholds; an HLS search takes 2\^n - 1"),
    ("ConvolutionInputGenerator", attribute("Dilation", [2, 2]), r"has dilation \[2, 2\]"),
    ("ConvolutionInputGenerator", attribute("depthwise", 1), "depthwise"),
    ("ConvolutionInputGenerator", attribute("dynamic_mode", 1), "changes its sizes at run time"),
    ("ConvolutionInputGenerator", attribute("is1D", 1), "slides along one dimension"),
    ("ConvolutionInputGenerator", attribute("SIMD", 2), "has SIMD 2, which does not divide its IFMChannels 3"),
    ("FMPadding", attribute("SIMD", 2), "has SIMD 2, which does not divide its NumChannels 3"),
    ("FMPadding", attribute("dynamic_mode", 1), "changes its sizes at run time"),
    ("FMPadding", attribute("inputDataType", "UINT32"), "inputs of type UINT32"),
    ("StreamingMaxPool", attribute("ImgDim", [31, 64]), "pools 31 x 64 pixels"),
    ("StreamingMaxPool", attribute("PE", 3), "has PE 3, which does not divide its Channels 4"),
    ("StreamingDataWidthConverter", attribute("outWidth", 7), "into 7 bits"),
    ("ConvolutionInputGenerator", wide_pixels, "has a stream of 4608 bits a beat; HLS streams take 4096; fold it"),
    ("StreamingFIFO", attribute("dataType", "UINT33"), "inputs of type UINT33"),
]


@pytest.mark.parametrize(("kind", "change", "reason"), REFUSED)
def test_refuses_by_name_what_has_no_hls_form(folded: ModelWrapper, kind: str, change: Any, reason: str) -> None:
    graph = copy.deepcopy(folded)
    node = next(node for node in graph.graph.node if node.op_type == f"{kind}_rtl")
    hls, rtl = Styles.hls().of_graph(graph), Styles.rtl().of_graph(graph)
    check_supported(graph, hls)
    change(graph, node)
    with pytest.raises(UserError, match=f"^Layer {kind}_0 .*{reason}"):
        check_supported(graph, hls)
    check_supported(graph, rtl)
    check_supported(graph, {**hls, node.name: "rtl"})


def test_a_whole_window_needs_all_channels_of_a_pixel(built_hls: Built) -> None:
    graph = built_hls.graph("fifos")
    windows = [node for node in graph.graph.node if node.op_type.startswith("ConvolutionInputGenerator")]
    layer = getCustomOp(windows[-1])
    layer.set_nodeattr("parallel_window", 1)
    layer.set_nodeattr("SIMD", 1)
    with pytest.raises(UserError, match=f"^Layer ConvolutionInputGenerator_{len(windows) - 1} puts out whole windows"):
        check_supported(graph, Styles.hls().of_graph(graph))


def test_sums_may_have_32_bits_on_their_way_through_converters(built_hls: Built) -> None:
    graph = built_hls.graph("fifos")
    unit = next(node for node in graph.graph.node if node.op_type == "MVAU_rtl")
    for node in (unit, *graph.find_direct_successors(unit)):
        end = "outputDataType" if node is unit else "inputDataType"
        assert getCustomOp(node).get_nodeattr(end)
        getCustomOp(node).set_nodeattr(end, DataType["INT32"].name)
    check_supported(graph, Styles.hls().of_graph(graph))
