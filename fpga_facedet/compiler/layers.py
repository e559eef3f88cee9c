"""From the streamlined graph to hardware layers in RTL, with types no wider than the numbers need."""

from typing import TYPE_CHECKING

import numpy as np

from fpga_facedet.compiler.matrix_units import is_matrix_unit, name_nodes
from fpga_facedet.errors import InternalError, UserError

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper


def to_hardware(model: "ModelWrapper") -> "ModelWrapper":
    """Replace each node of a streamlined graph by FINN's hardware layers, and each pool by our own."""
    from finn.transformation.fpgadataflow.convert_to_hw.conv_inp_gen import InferConvInpGen
    from finn.transformation.fpgadataflow.convert_to_hw.quantized_matrix_vector_activation import (
        InferQuantizedMatrixVectorActivation,
    )
    from finn.transformation.fpgadataflow.convert_to_hw.thresholding import InferThresholdingLayer
    from finn.util.fpgadataflow import is_fpgadataflow_node

    from fpga_facedet.compiler.maxpool import InferMaxPool

    for transformation in (
        # Thresholds stay layers of their own: the RTL matrix unit has none inside.
        InferThresholdingLayer(),
        InferQuantizedMatrixVectorActivation(),
        InferMaxPool(),
        InferConvInpGen(),
    ):
        model = model.transform(transformation)
    for node in model.graph.node:
        if not is_fpgadataflow_node(node):
            raise UserError(f"The operation {node.op_type} of layer {node.name} has no hardware layer; leave it out.")
    return infer_all(model)


def infer_all(model: "ModelWrapper") -> "ModelWrapper":
    """Name nodes and tensors afresh, and derive every shape, type and layout again."""
    from qonnx.transformation.general import GiveReadableTensorNames
    from qonnx.transformation.infer_data_layouts import InferDataLayouts
    from qonnx.transformation.infer_datatypes import InferDataTypes
    from qonnx.transformation.infer_shapes import InferShapes

    model = name_nodes(model)
    for transformation in (
        GiveReadableTensorNames(),
        InferShapes(),
        InferDataTypes(),
        InferDataLayouts(),
    ):
        model = model.transform(transformation)
    return model


def minimise(model: "ModelWrapper") -> "ModelWrapper":
    """Narrow weights, accumulators and thresholds to what their values need, and check that all sums still fit."""
    from finn.transformation.fpgadataflow.minimize_accumulator_width import MinimizeAccumulatorWidth
    from finn.transformation.fpgadataflow.minimize_weight_bit_width import MinimizeWeightBitWidth
    from finn.transformation.streamline.round_thresholds import RoundAndClipThresholds
    from qonnx.transformation.infer_datatypes import InferDataTypes

    for transformation in (
        MinimizeWeightBitWidth(),
        MinimizeAccumulatorWidth(),
        InferDataTypes(),
        RoundAndClipThresholds(),
        InferDataTypes(),
        MinimizeWeightBitWidth(),
        InferDataTypes(),
    ):
        model = model.transform(transformation)
    _keep_weights_narrow(model)
    check_sums_fit(model)
    return infer_all(model)


def _keep_weights_narrow(model: "ModelWrapper") -> None:
    """Give weights that reach the least value of their type one bit more: a DSP48E1 packs narrow-range weights only."""
    from qonnx.core.datatype import DataType
    from qonnx.custom_op.registry import getCustomOp

    for node in matrix_units(model):
        layer = getCustomOp(node)
        kind = layer.get_input_datatype(1)
        bits = kind.bitwidth()
        if not kind.signed() or model.get_initializer(node.input[1]).min() == kind.min() or bits < 2:
            # Weights without a negative one would be unsigned, which the matrix unit does not take.
            wider = DataType[f"INT{max(2, bits + 1)}"]
            layer.set_nodeattr("weightDataType", wider.name)
            model.set_tensor_datatype(node.input[1], wider)


def matrix_units(model: "ModelWrapper") -> list["NodeProto"]:
    """Return the matrix-vector units of a graph, in order."""
    return [node for node in model.graph.node if is_matrix_unit(node)]


def check_sums_fit(model: "ModelWrapper") -> None:
    """Prove that no sum leaves its accumulator, and that each threshold layer can tell every sum that reaches it.

    The range of a sum follows from the weights and the range of its inputs. Thresholds saturate their input to their
    own type, which is right only if the type holds every threshold and, where sums can be lower, a value below all.
    """
    from qonnx.custom_op.registry import getCustomOp

    for node in matrix_units(model):
        least, most = sum_range(model, node)
        kind = getCustomOp(node).get_output_datatype()
        if least < kind.min() or most > kind.max():
            raise InternalError(f"Sums of layer {node.name} reach {least} to {most}, which {kind.name} cannot hold.")
    for node in model.graph.node:
        if not node.op_type.startswith("Thresholding"):
            continue
        incoming, own = model.get_tensor_datatype(node.input[0]), model.get_tensor_datatype(node.input[1])
        thresholds = model.get_initializer(node.input[1])
        fits = own.min() <= thresholds.min() and thresholds.max() <= own.max()
        if own.bitwidth() < incoming.bitwidth():
            fits = fits and own.min() <= max(thresholds.min() - 1, incoming.min())
        if not fits:
            raise InternalError(f"The thresholds of layer {node.name} do not fit their type {own.name}.")


def sum_range(model: "ModelWrapper", node: "NodeProto") -> tuple[int, int]:
    """Return the least and the largest sum that a matrix unit can produce over all possible inputs."""
    weights = model.get_initializer(node.input[1]).astype(np.int64)
    kind = model.get_tensor_datatype(node.input[0])
    # Integers of a few bits: float64 could hold them, int64 makes it plain.
    low, high = np.int64(kind.min()), np.int64(kind.max())
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    least = (positive * low + negative * high).sum(axis=0).min()
    most = (positive * high + negative * low).sum(axis=0).max()
    return int(least), int(most)


def specialise(model: "ModelWrapper", part: str) -> "ModelWrapper":
    """Choose the RTL variant of each layer for the chip `part`; UserError, naming it, for a layer that has none."""
    from finn.transformation.fpgadataflow.set_exec_mode import SetExecMode
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
    from qonnx.custom_op.registry import getCustomOp

    for node in model.graph.node:
        getCustomOp(node).set_nodeattr("preferred_impl_style", "rtl")
    model = infer_all(model.transform(SpecializeLayers(part)))
    for node in model.graph.node:
        if not node.op_type.endswith("_rtl"):
            layer = getCustomOp(node)
            raise UserError(
                f"Layer {node.name} has {layer.get_input_datatype(0).name} inputs and "
                f"{layer.get_input_datatype(1).name} weights, which no RTL layer takes on {part}; "
                "use activations and weights of 2 to 8 bits."
            )
    # FINN's name for "execute the Python model of the layer".
    return model.transform(SetExecMode("cppsim"))
