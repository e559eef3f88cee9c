import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from fpga_facedet.compiler import matrix_units
from fpga_facedet.compiler.matrix_units import (
    ADDERS,
    DSP,
    MULTIPLIERS,
    is_matrix_unit,
    kind_of,
    multiplier_of,
    set_multiplier,
    streams_weights,
)
from fpga_facedet.errors import InternalError


def unit(name: str = "MVAU_rtl_0") -> NodeProto:
    return helper.make_node(
        "MVAU_rtl", ["x", "w"], ["y"], name=name, domain="finn.custom_op.fpgadataflow.rtl", backend="fpgadataflow",
        MW=4, MH=2, PE=2, SIMD=4, inputDataType="UINT8", weightDataType="INT4", outputDataType="INT13",
        accDataType="INT13", noActivation=1, numInputVectors=[1, 3, 3],
    )  # fmt: skip


def padding() -> NodeProto:
    return helper.make_node("FMPadding_rtl", ["x"], ["y"], name="FMPadding_rtl_0")


@pytest.mark.parametrize("kind", MULTIPLIERS)
def test_a_multiplier_changes_nothing_else(kind: matrix_units.Multiplier) -> None:
    node, before = unit(), unit()
    set_multiplier(node, kind)
    assert multiplier_of(node) == kind and is_matrix_unit(node) and kind_of(node) == "MVAU"
    assert (node.op_type == before.op_type) == (kind == DSP)
    layer, plain = getCustomOp(node), getCustomOp(before)
    assert type(layer).__name__ == node.op_type
    for name in plain.get_nodeattr_types():
        assert layer.get_nodeattr(name) == plain.get_nodeattr(name), name
    assert layer.get_exp_cycles() == 9 and layer.get_folded_output_shape() == plain.get_folded_output_shape()
    assert layer.get_instream_width() == 32 and layer.get_outstream_width() == 26
    set_multiplier(node, DSP)
    assert node == before


def test_only_matrix_units_have_multipliers() -> None:
    assert not is_matrix_unit(padding()) and kind_of(padding()) == "FMPadding"
    for use in (multiplier_of, lambda node: set_multiplier(node, ADDERS)):
        with pytest.raises(InternalError, match="FMPadding_rtl_0 is a FMPadding_rtl, which has no multipliers"):
            use(padding())


def test_no_other_multiplier() -> None:
    with pytest.raises(InternalError, match="MVAU_rtl_0 cannot multiply with 'abacus'; there are dsp, lut, adders"):
        set_multiplier(unit(), "abacus")  # type: ignore[arg-type]


def test_who_streams_weights() -> None:
    node = unit()
    assert streams_weights(getCustomOp(node))
    set_multiplier(node, ADDERS)
    assert not streams_weights(getCustomOp(node))
    pool = helper.make_node("StreamingMaxPool_rtl", ["x"], ["y"], domain="fpga_facedet.compiler.maxpool")
    assert not streams_weights(getCustomOp(pool))


def test_names_go_by_the_kind_of_a_layer() -> None:
    nodes = [unit("a"), padding(), unit("b"), unit("c")]
    set_multiplier(nodes[0], ADDERS)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = ModelWrapper(helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:])))
    graph = matrix_units.name_nodes(graph)
    names = [node.name for node in graph.graph.node]
    assert names == ["MVAU_rtl_0", "FMPadding_rtl_0", "MVAU_rtl_1", "MVAU_rtl_2"]
    assert graph.graph.node[0].op_type == "MVAUAdders_rtl" and np.unique(names).size == 4
