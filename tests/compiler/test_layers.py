from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from fpga_facedet.boards import Board
from fpga_facedet.compiler import layers
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.matrix_units import kind_of
from fpga_facedet.compiler.streamline import streamline
from fpga_facedet.errors import InternalError, UserError
from tests.compiler.conftest import Built


def test_every_layer_is_rtl(built: Built) -> None:
    graph = built.graph("fifos")
    assert all(node.op_type.endswith("_rtl") for node in graph.graph.node)
    assert {kind_of(node) for node in graph.graph.node} >= {
        "MVAU",
        "Thresholding",
        "StreamingMaxPool",
        "ConvolutionInputGenerator",
        "FMPadding",
    }


def test_minimised_types_hold_every_value(built: Built) -> None:
    graph = built.graph("minimise")
    for node in layers.matrix_units(graph):
        weights = graph.get_initializer(node.input[1])
        kind = graph.get_tensor_datatype(node.input[1])
        # Narrow range: a DSP48E1 packs several products only without the least value.
        assert kind.min() < weights.min() and weights.max() <= kind.max()
        least, most = layers.sum_range(graph, node)
        sums = graph.get_tensor_datatype(node.output[0])
        assert sums.min() <= least and most <= sums.max()
    layers.check_sums_fit(graph)


def test_sum_range_is_what_exhaustion_finds(built: Built) -> None:
    graph = built.graph("minimise")
    node = layers.matrix_units(graph)[-1]
    weights = np.array([[1, -2], [3, 0], [-1, 2]])
    graph.set_initializer(node.input[1], weights.astype(np.float32))
    graph.set_tensor_datatype(node.input[0], DataType["UINT2"])
    sums = [np.array(x) @ weights for x in product(range(4), repeat=3)]
    assert layers.sum_range(graph, node) == (np.min(sums), np.max(sums))


def test_a_sum_that_leaves_its_accumulator_is_found(built: Built) -> None:
    graph = built.graph("minimise")
    node = layers.matrix_units(graph)[1]
    getCustomOp(node).set_nodeattr("outputDataType", "INT4")
    with pytest.raises(InternalError, match=rf"Sums of layer {node.name} reach -?\d+ to \d+, which INT4 cannot hold"):
        layers.check_sums_fit(graph)


@pytest.mark.parametrize("beyond", ["above", "at the least value of a narrower type"])
def test_a_threshold_that_leaves_its_type_is_found(built: Built, beyond: str) -> None:
    graph = built.graph("minimise")
    node = next(node for node in graph.graph.node if node.op_type == "Thresholding")
    thresholds = graph.get_initializer(node.input[1])
    graph.set_tensor_datatype(node.input[1], DataType["INT8"])
    thresholds = np.clip(thresholds, -127, 127)
    thresholds[0] = 128 if beyond == "above" else -128
    graph.set_initializer(node.input[1], thresholds)
    with pytest.raises(InternalError, match=f"thresholds of layer {node.name} do not fit their type INT8"):
        layers.check_sums_fit(graph)


def test_weights_that_use_their_whole_type_get_one_bit_more(built: Built) -> None:
    graph = built.graph("hardware")
    node = layers.matrix_units(graph)[1]
    weights = np.clip(graph.get_initializer(node.input[1]), -4, 3)
    weights[0, 0] = -4
    graph.set_initializer(node.input[1], weights)
    with finn_session():
        graph = layers.minimise(graph)
    assert graph.get_tensor_datatype(layers.matrix_units(graph)[1].input[1]).name == "INT4"


def test_weights_without_a_negative_one_stay_signed(built: Built) -> None:
    graph = built.graph("hardware")
    node = layers.matrix_units(graph)[1]
    graph.set_initializer(node.input[1], np.abs(graph.get_initializer(node.input[1])))
    with finn_session():
        graph = layers.minimise(graph)
    assert graph.get_tensor_datatype(layers.matrix_units(graph)[1].input[1]).signed()


def test_a_layer_without_an_rtl_variant_is_named(built: Built, board: Board) -> None:
    graph = built.graph("minimise")
    node = layers.matrix_units(graph)[2]
    getCustomOp(node).set_nodeattr("inputDataType", "BINARY")
    with (
        finn_session(),
        pytest.raises(UserError, match="Layer MVAU_hls_0 has .* which no RTL layer takes on xc7z020"),
    ):
        layers.specialise(graph, board.part)


def test_activations_of_one_bit_are_refused(model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    [node for node in proto.graph.node if node.op_type == "Quant"][-1].op_type = "BipolarQuant"
    onnx.save(proto, tmp_path / "binary.onnx")
    with pytest.raises(UserError, match="operation BipolarQuant of layer"):
        streamline(tmp_path / "binary.onnx")


def test_an_operation_without_hardware_is_named(model: Path) -> None:
    graph: ModelWrapper = streamline(model)
    graph.graph.node[-1].op_type, graph.graph.node[-1].domain = "Relu", ""
    del graph.graph.node[-1].input[1:]
    del graph.graph.node[-1].attribute[:]
    with (
        finn_session(),
        pytest.raises(UserError, match="operation Relu of layer MultiThreshold_4 has no hardware layer"),
    ):
        layers.to_hardware(graph)
