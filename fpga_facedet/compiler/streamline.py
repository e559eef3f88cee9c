"""QONNX to the streamlined graph: integers only, NHWC, no scale and no transpose at the ends."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.errors import UserError
from fpga_facedet.network.metadata import normalisation_of_model

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

SUPPORTED = frozenset({"Conv", "BatchNormalization", "Relu", "MaxPool", "Quant", "Div", "Mul", "Add", "Sub"})
"""QONNX operations a model may contain."""

STREAMLINED = frozenset({"Im2Col", "MatMul", "MultiThreshold", "MaxPoolNHWC"})
"""All that remains after streamlining."""


def streamline(qonnx_path: str | os.PathLike[str]) -> "ModelWrapper":
    """Return the streamlined graph of a QONNX detector.

    The graph takes uint8 pixels, NHWC (1, H, W, 3), in a float32 container, and gives the integers of the last
    quantizer, NHWC (1, H / stride, W / stride, channels), int8 for an 8-bit head, in float32 too. Its nodes are
    Im2Col, MatMul, MultiThreshold (integer thresholds) and MaxPoolNHWC; scales, BatchNorms and biases live in the
    thresholds, the division of the pixels included.

    Raises UserError where the file is missing or no ONNX, where the model's ends are not one picture in and one grid
    out, and where an operation is not supported (named, with its layer).
    """
    with finn_session():
        return lower(tidy(take_pixels(load(qonnx_path), normalisation_of_model(qonnx_path))))


def load(path: str | os.PathLike[str]) -> "ModelWrapper":
    """Read a QONNX file and check that the compiler knows each of its operations; see `streamline` for the errors."""
    import onnx
    from qonnx.core.modelwrapper import ModelWrapper

    if not Path(path).is_file():
        raise UserError(f"There is no model at {path}; give an exported QONNX file or the name of a zoo model.")
    try:
        proto = onnx.load(str(path))
    except Exception as error:  # protobuf and onnx raise half a dozen unrelated types for a broken file
        raise UserError(f"The model {path} is damaged or no ONNX file; export or copy it again.") from error
    if not proto.graph.node:
        raise UserError(f"The model {path} is damaged or holds no layers; export or copy it again.")
    model = ModelWrapper(proto)
    for node in model.graph.node:
        if node.op_type not in SUPPORTED | {"Constant", "Identity"}:
            raise _unsupported(node)
    _check_ends(model, Path(path))
    return model


def _unsupported(node: "NodeProto") -> UserError:
    known = ", ".join(sorted(SUPPORTED))
    return UserError(
        f"The operation {node.op_type} of layer {node.name or node.output[0]} is not supported; "
        f"build the model from {known}."
    )


def _check_ends(model: "ModelWrapper", path: Path) -> None:
    """Refuse models that are not one RGB picture in and one grid out."""
    inputs = [tensor.name for tensor in model.graph.input if model.get_initializer(tensor.name) is None]
    outputs = [tensor.name for tensor in model.graph.output]
    shapes = [model.get_tensor_shape(name) for name in inputs + outputs]
    one_each = len(inputs) == len(outputs) == 1
    if not one_each or any(shape is None or len(shape) != 4 or shape[0] != 1 for shape in shapes):
        raise UserError(
            f"{path} has inputs and outputs of shapes {shapes}; "
            "a detector has one of each, (1, 3, height, width) and (1, channels, rows, columns)."
        )


def take_pixels(model: "ModelWrapper", normalisation: float) -> "ModelWrapper":
    """Replace the input by uint8 pixels and their division by `normalisation`, which ends up in thresholds."""
    from onnx import TensorProto, helper
    from qonnx.core.datatype import DataType

    inner = model.graph.input[0]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, model.get_tensor_shape(inner.name))
    model.graph.input.remove(inner)
    model.graph.input.insert(0, pixels)
    model.graph.value_info.append(inner)
    model.set_initializer("white", np.asarray(normalisation, dtype=np.float32))
    model.graph.node.insert(0, helper.make_node("Div", ["pixels", "white"], [inner.name]))
    model.set_tensor_datatype("pixels", DataType["UINT8"])
    return model


def tidy(model: "ModelWrapper") -> "ModelWrapper":
    """Turn the quantizers of a model that takes pixels into integer weights and thresholds."""
    from finn.transformation.qonnx.convert_qonnx_to_finn import ConvertQONNXtoFINN
    from finn.transformation.qonnx.quant_act_to_multithreshold import default_filter_function_generator
    from qonnx.transformation.extract_conv_bias import ExtractBiasFromConv
    from qonnx.transformation.fold_constants import FoldConstants
    from qonnx.transformation.infer_datatypes import InferDataTypes
    from qonnx.transformation.infer_shapes import InferShapes
    from qonnx.util.cleanup import cleanup_model

    model = cleanup_model(model)
    # FINN wants the bias of a convolution as an addition of its own, which the thresholds then absorb.
    model = model.transform(ExtractBiasFromConv())
    model = model.transform(
        ConvertQONNXtoFINN(filter_function=default_filter_function_generator(max_multithreshold_bit_width=8))
    )
    for transformation in (InferShapes(), FoldConstants(), InferDataTypes()):
        model = model.transform(transformation)
    return _named(model)


def lower(model: "ModelWrapper") -> "ModelWrapper":
    """Streamline a tidied model, lower its convolutions to matrix products, and cut the host's part off its ends."""
    from finn.transformation.streamline import Streamline, absorb, reorder
    from finn.transformation.streamline.round_thresholds import RoundAndClipThresholds
    from qonnx.transformation.general import RemoveUnusedTensors
    from qonnx.transformation.infer_data_layouts import InferDataLayouts
    from qonnx.transformation.infer_datatypes import InferDataTypes
    from qonnx.transformation.infer_shapes import InferShapes
    from qonnx.transformation.lower_convs_to_matmul import LowerConvsToMatMul

    for transformation in (
        absorb.AbsorbScalarBiasIntoMultiThreshold(),
        Streamline(),
        LowerConvsToMatMul(),
        reorder.MakeMaxPoolNHWC(),
        absorb.AbsorbTransposeIntoMultiThreshold(),
        reorder.MakeMaxPoolNHWC(),
        absorb.AbsorbConsecutiveTransposes(),
        Streamline(),
        RemoveUnusedTensors(),
    ):
        model = model.transform(transformation)
    model = _cut_ends(model)
    for inference in (InferShapes(), InferDataTypes(), RoundAndClipThresholds(), InferDataTypes(), InferDataLayouts()):
        model = model.transform(inference)
    for node in model.graph.node:
        if node.op_type not in STREAMLINED:
            raise _unsupported(node)
        if node.op_type == "Im2Col" and 1 in model.get_tensor_shape(node.input[0])[1:3]:
            raise UserError(
                f"The map in front of layer {node.name} is only one pixel wide or high, which FINN takes for a "
                "one-dimensional convolution; use a larger input."
            )
    return _named(model)


def _cut_ends(model: "ModelWrapper") -> "ModelWrapper":
    """Remove the transposes to and from NCHW and the scale of the output: what is left is pixels in, integers out."""
    from qonnx.core.datatype import DataType
    from qonnx.transformation.general import RemoveUnusedTensors

    graph = model.graph
    first, last = graph.node[0], [node for node in graph.node if node.op_type == "MultiThreshold"][-1]
    tail = list(graph.node)[list(graph.node).index(last) + 1 :]
    for node in [first, *tail]:
        scalar = node.op_type == "Mul" and model.get_initializer(node.input[1]).size == 1
        if node.op_type != "Transpose" and not scalar:
            raise _unsupported(node)
    ends = [first.output[0], last.output[0]]
    infos = [model.get_tensor_valueinfo(name) for name in ends]
    for node in [first, *tail]:
        graph.node.remove(node)
    for side, info in zip((graph.input, graph.output), infos, strict=True):
        del side[:]
        side.append(info)
        graph.value_info.remove(info)
    model = model.transform(RemoveUnusedTensors())
    model.set_tensor_datatype(graph.input[0].name, DataType["UINT8"])
    return model


def _named(model: "ModelWrapper") -> "ModelWrapper":
    from qonnx.transformation.general import GiveReadableTensorNames, GiveUniqueNodeNames, RemoveStaticGraphInputs

    for transformation in (GiveUniqueNodeNames(), GiveReadableTensorNames(), RemoveStaticGraphInputs()):
        model = model.transform(transformation)
    return model
