"""The streamlined graph as standard ONNX that onnxruntime computes fast and exactly: the golden model.

Convolutions run in float32 on integers. A float32 holds every integer up to 2^24, so a sum whose partial sums all stay
below that is exact in any order, with or without fused multiply-adds; a layer whose sums may grow larger is cut into
groups of input channels that do not, added up in float64. Thresholds become a proven affine form where there is one
(see `staircase`), else a search by halving in a table of the thresholds. Max-pools move in front of the
thresholds they follow, which are monotone: a quarter of the values is left to them.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from fpga_facedet import __version__
from fpga_facedet.compiler.staircase import (
    MANTISSA,
    Affine,
    Integers,
    Staircase,
    bisection_table,
    fit,
    prove,
    prove_table,
)
from fpga_facedet.errors import InternalError, UserError

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

OPSET = 17
IR_VERSION = 8
EXACT_FLOAT32 = 1 << MANTISSA[np.dtype(np.float32)]


@dataclass(frozen=True)
class Convolution:
    """Im2Col and MatMul: `weights` float32 integers (out, in / group, height, width), ONNX attributes, and ranges.

    `sums` int64 (out, in): the largest magnitude that the products of one input channel can add to a sum.
    """

    name: str
    weights: npt.NDArray[np.float32]
    attributes: dict[str, Any]
    sums: Integers


@dataclass(frozen=True)
class Pooling:
    """MaxPoolNHWC and its ONNX attributes."""

    name: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Thresholding:
    """MultiThreshold: its staircase, and its outputs `scale * level + bias`, all integers."""

    name: str
    staircase: Staircase
    scale: int
    bias: int


Step = Convolution | Pooling | Thresholding


@dataclass(frozen=True)
class _Range:
    """What the values of each channel can be: int64 (channels,) `low` and `high`, and `bound` of every partial sum."""

    low: Integers
    high: Integers
    bound: Integers


def build(streamlined: "ModelWrapper") -> ModelProto:
    """Return the golden model of a streamlined graph.

    Input `frame` uint8 (N, height, width, channels), output `raw` int8 (N, rows, columns, channels), N free. Every
    threshold is proven over its accumulator's whole range before the model is returned.

    Raises UserError where the graph holds an operation, an attribute or a value the golden model has no exact form for
    (named, with its node), InternalError where a proof fails.
    """
    steps, output = _read(streamlined)
    _check_output(streamlined, output)
    graph = _Graph()
    value = graph.add("Cast", [graph.add("Transpose", ["frame"], perm=[0, 3, 1, 2])], to=TensorProto.FLOAT)
    forms = {}
    dtype = np.dtype(np.float32)
    remaining = list(steps)
    while remaining:
        step = remaining.pop(0)
        if isinstance(step, Convolution):
            if dtype != np.float32:
                raise UserError(
                    f"Node {step.name} (MatMul) multiplies sums beyond 2^24; put a MultiThreshold in front of it."
                )
            value, dtype = _emit_convolution(graph, value, step)
        elif isinstance(step, Pooling):
            value = graph.add("MaxPool", [value], **step.attributes)
        else:
            pools = _following_pools(step, remaining)
            value, forms[step.name] = _emit_thresholds(graph, value, dtype, step, pools)
            dtype = np.dtype(np.float32)
    graph.add("Transpose", [graph.add("Cast", [value], to=TensorProto.INT8)], output="raw", perm=[0, 2, 3, 1])
    golden = graph.model(_shape(streamlined, "input"), _shape(streamlined, "output"), forms)
    prove_thresholds(golden, streamlined)
    return golden


def prove_thresholds(golden: ModelProto, streamlined: "ModelWrapper") -> None:
    """Prove that the constants in `golden` give the thresholds of `streamlined` for every possible accumulator.

    Raises InternalError naming layer and channel (and accumulator) where they do not, or where a layer has none.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in golden.graph.initializer}
    for step in _read(streamlined)[0]:
        if not isinstance(step, Thresholding):
            continue
        if f"{step.name}.table" in constants:
            table = constants[f"{step.name}.table"]
            prove_table(step.staircase, table.reshape(len(step.staircase.steps), -1))
        elif f"{step.name}.scale" in constants:
            bias, scale = (constants[f"{step.name}.{part}"].reshape(-1) for part in ("bias", "scale"))
            prove(step.staircase, Affine(bias, scale))
        else:
            raise InternalError(f"Layer {step.name} has no thresholds in the golden model.")


# --- reading the streamlined graph ---------------------------------------------------------------------------------


def _read(model: "ModelWrapper") -> tuple[list[Step], _Range]:
    """Return the steps of a streamlined graph in order, and the range of its output."""
    tensor = model.graph.input[0].name
    channels = _shape(model, "input")[3]
    if str(model.get_tensor_datatype(tensor).name) != "UINT8":
        raise UserError(f"The input {tensor} holds {model.get_tensor_datatype(tensor)}; a detector takes UINT8 pixels.")
    values = _Range(*(np.full(channels, value, np.int64) for value in (0, 255, 255)))
    steps: list[Step] = []
    window: NodeProto | None = None
    for node in model.graph.node:
        if not node.input or node.input[0] != tensor:
            raise UserError(f"Node {node.name} ({node.op_type}) does not follow the one before it; remove the branch.")
        tensor = node.output[0]
        if window is not None and node.op_type != "MatMul":
            raise UserError(f"Node {window.name} (Im2Col) is not followed by a MatMul; export the model again.")
        if node.op_type == "Im2Col":
            window = node
        elif node.op_type == "MatMul":
            convolution, values = _convolution(node, window, _constant(model, node), values)
            steps.append(convolution)
            window = None
        elif node.op_type == "MaxPoolNHWC":
            steps.append(_pooling(node))
        elif node.op_type == "MultiThreshold":
            thresholding, values = _thresholding(node, _constant(model, node), values)
            steps.append(thresholding)
        else:
            raise UserError(
                f"Node {node.name} has the operation {node.op_type}, which the golden engine does not know; "
                "it knows Im2Col, MatMul, MultiThreshold and MaxPoolNHWC."
            )
    if window is not None or tensor != model.graph.output[0].name:
        raise UserError(f"The graph does not end at {model.graph.output[0].name}; export the model again.")
    return steps, values


def _shape(model: "ModelWrapper", side: str) -> list[int]:
    """Return the shape (1, height, width, channels) of the graph's input or output."""
    tensor = getattr(model.graph, side)[0].name
    shape = model.get_tensor_shape(tensor)
    if shape is None or len(shape) != 4:
        raise UserError(f"The {side} {tensor} has the shape {shape}; a detector has (1, height, width, channels).")
    return list(shape)


def _constant(model: "ModelWrapper", node: NodeProto) -> npt.NDArray[np.float32]:
    """Return the weights or thresholds of a node."""
    value = model.get_initializer(node.input[1]) if len(node.input) == 2 else None
    if value is None:
        raise UserError(
            f"Node {node.name} ({node.op_type}) has no constant as its second input; export the model again."
        )
    return np.asarray(value)


def _attributes(node: NodeProto, defaults: dict[str, Any], only: dict[str, list[Any]]) -> dict[str, Any]:
    """Return a node's attributes over `defaults`; refuse those in `only` with a value that is not listed there."""
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    given = defaults | {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
    for name, allowed in only.items():
        if given[name] not in allowed:
            raise UserError(
                f"Node {node.name} ({node.op_type}) has {name} {given[name]!r}, "
                f"for which the golden engine has no exact form; it knows {allowed[0]!r}."
            )
    return given


def _convolution(
    node: NodeProto, window: NodeProto | None, matrix: npt.NDArray[np.float32], x: _Range
) -> tuple[Convolution, _Range]:
    """Join a MatMul and the Im2Col before it (None for a 1x1 kernel) to a convolution; return its sums' range too."""
    given: dict[str, Any] = {
        "kernel_size": [1, 1],
        "stride": [1, 1],
        "pad_amount": [0] * 4,
        "dilations": [1, 1],
        "pad_value": 0,
    }
    if window is not None:
        given = _attributes(window, given, {"pad_value": [0]})
    height, width = given["kernel_size"]
    if matrix.ndim != 2 or matrix.shape[0] != height * width * len(x.low):
        raise UserError(
            f"Node {node.name} (MatMul) has weights of shape {matrix.shape} "
            f"for {height}x{width} windows of {len(x.low)} channels; export the model again."
        )
    fraction = matrix != np.rint(matrix)
    if fraction.any():
        raise UserError(
            f"Node {node.name} (MatMul) has the weight {matrix[fraction][0]} in channel {np.argwhere(fraction)[0][1]}, "
            "which is not an integer; streamline the model first."
        )
    weights = matrix.reshape(height, width, len(x.low), -1).transpose(3, 2, 0, 1)
    # Padding adds zeros to what the window can hold.
    padded = any(given["pad_amount"])
    low, high = (np.minimum(x.low, 0), np.maximum(x.high, 0)) if padded else (x.low, x.high)
    positive = np.maximum(weights, 0).sum((2, 3)).astype(np.int64)
    negative = np.minimum(weights, 0).sum((2, 3)).astype(np.int64)
    sums = (positive - negative) * np.maximum(np.abs(low), np.abs(high))
    attributes: dict[str, Any] = {
        "kernel_shape": [height, width],
        "strides": list(given["stride"]),
        "pads": list(given["pad_amount"]),
        "dilations": list(given["dilations"]),
    }
    if _is_depthwise(weights):
        weights = np.einsum("iihw->ihw", weights)[:, None]
        attributes["group"] = len(weights)
    values = _Range(positive @ low + negative @ high, positive @ high + negative @ low, sums.sum(1))
    return Convolution(node.name, np.ascontiguousarray(weights, np.float32), attributes, sums), values


def _is_depthwise(weights: npt.NDArray[np.float32]) -> bool:
    """Tell whether each output sees its own input channel only, as FINN writes a depthwise convolution."""
    outputs, inputs = weights.shape[:2]
    return outputs == inputs > 1 and not weights[~np.eye(outputs, dtype=bool)].any()


def _pooling(node: NodeProto) -> Pooling:
    used: dict[str, Any] = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "ceil_mode": 0}
    unused: dict[str, Any] = {"dilations": [1, 1], "auto_pad": "NOTSET", "storage_order": 0}
    only: dict[str, list[Any]] = {name: [value] for name, value in unused.items()}
    given = _attributes(node, used | unused, only)
    return Pooling(node.name, {name: given[name] for name in used})


def _thresholding(node: NodeProto, thresholds: npt.NDArray[np.float32], x: _Range) -> tuple[Thresholding, _Range]:
    # Without a layout, QONNX takes the second dimension for the channels.
    defaults = {"out_scale": 1.0, "out_bias": 0.0, "data_layout": "NCHW"}
    given = _attributes(node, defaults, {"data_layout": ["NHWC"]})
    scale, bias = given["out_scale"], given["out_bias"]
    if scale != int(scale) or bias != int(bias):
        raise UserError(
            f"Node {node.name} (MultiThreshold) gives {scale} * level + {bias}, which is not an integer; "
            "streamline the model first."
        )
    staircase = Staircase.of(node.name, thresholds, x.low, x.high, x.bound)
    ends = np.stack([staircase.count(end[:, None])[:, 0] for end in (x.low, x.high)]) * int(scale) + int(bias)
    values = _Range(ends.min(axis=0), ends.max(axis=0), np.abs(ends).max(axis=0))
    return Thresholding(node.name, staircase, int(scale), int(bias)), values


def _check_output(model: "ModelWrapper", output: _Range) -> None:
    """Refuse a graph whose output is not int8."""
    if output.low.min() < -128 or output.high.max() > 127:
        raise UserError(
            f"The output {model.graph.output[0].name} takes values from {output.low.min()} to {output.high.max()}; "
            "a detector's head is quantized to 8 signed bits."
        )


# --- writing the golden model --------------------------------------------------------------------------------------


class _Graph:
    """An ONNX graph that grows node by node."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, op: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        output = output or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Append a constant and return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def scalar(self, value: float, dtype: npt.DTypeLike) -> str:
        """Append a constant without dimensions and return its name."""
        return self.constant(f"scalar_{len(self.constants)}", np.asarray(value, dtype))

    def model(self, frame: list[int], raw: list[int], forms: dict[str, str]) -> ModelProto:
        """Return the checked model; `forms` says how each layer's thresholds are computed, kept as metadata."""
        graph = helper.make_graph(
            self.nodes,
            "golden",
            [helper.make_tensor_value_info("frame", TensorProto.UINT8, ["N", *frame[1:]])],
            [helper.make_tensor_value_info("raw", TensorProto.INT8, ["N", *raw[1:]])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        model.producer_name, model.producer_version = "fpga-facedet", __version__
        helper.set_model_props(model, {"facedet.thresholds": json.dumps(forms)})
        checker.check_model(model, full_check=True)
        return model


def _emit_convolution(graph: _Graph, value: str, step: Convolution) -> tuple[str, np.dtype[Any]]:
    """Append a convolution with exact sums; return its output and type, float32, or float64 for sums beyond 2^24."""
    groups = _channel_groups(step)
    if len(groups) == 1:
        weights = graph.constant(f"{step.name}.weights", step.weights)
        return graph.add("Conv", [value, weights], **step.attributes), np.dtype(np.float32)
    parts = []
    for number, channels in enumerate(groups):
        mask = np.isin(np.arange(step.weights.shape[1]), channels)[None, :, None, None]
        weights = graph.constant(f"{step.name}.weights.{number}", step.weights * mask)
        part = graph.add("Conv", [value, weights], **step.attributes)
        parts.append(graph.add("Cast", [part], to=TensorProto.DOUBLE))
    return graph.add("Sum", parts), np.dtype(np.float64)


def _channel_groups(step: Convolution) -> list[list[int]]:
    """Return the input channels in groups, each with sums below 2^24: one group for all but very large layers."""
    if (step.sums.sum(1) < EXACT_FLOAT32).all():
        return [list(range(step.sums.shape[1]))]
    if "group" in step.attributes or (step.sums >= EXACT_FLOAT32).any():
        raise UserError(
            f"Node {step.name} (MatMul) sums up to {step.sums.max()} from a single channel, beyond the 2^24 "
            "that are exact; use a smaller kernel or fewer bits."
        )
    groups: list[list[int]] = [[]]
    total = np.zeros(len(step.sums), np.int64)
    for channel, addition in enumerate(step.sums.T):
        if (total + addition >= EXACT_FLOAT32).any():
            groups.append([])
            total = np.zeros_like(total)
        groups[-1].append(channel)
        total = total + addition
    return groups


def _following_pools(step: Thresholding, remaining: list[Step]) -> list[Pooling]:
    """Take off `remaining` the pools that may run before `step` does: its levels must not fall."""
    pools: list[Pooling] = []
    while step.scale >= 0 and remaining and isinstance(remaining[0], Pooling):
        pools.append(remaining[0])
        del remaining[0]
    return pools


def _emit_thresholds(
    graph: _Graph, value: str, dtype: np.dtype[Any], step: Thresholding, pools: list[Pooling]
) -> tuple[str, str]:
    """Append pools and thresholds; return the output, float32, and how the levels are computed."""
    affine = fit(step.staircase, dtype) or fit(step.staircase, np.float64)
    if affine is None:
        value = _emit_bisection(graph, _emit_pools(graph, value, pools), dtype, step)
        form = "search"
    elif affine.bias.dtype == dtype == np.float32:
        value = _emit_affine(graph, value, step, affine, pools)
        form = "float32"
    else:
        value = _emit_pools(graph, value, pools)
        if dtype == np.float32:
            value = graph.add("Cast", [value], to=TensorProto.DOUBLE)
        value = graph.add("Cast", [_emit_affine(graph, value, step, affine, [])], to=TensorProto.FLOAT)
        form = "float64"
    if step.scale != 1:
        value = graph.add("Mul", [value, graph.scalar(step.scale, np.float32)])
    if step.bias != 0:
        value = graph.add("Add", [value, graph.scalar(step.bias, np.float32)])
    return value, form


def _emit_pools(graph: _Graph, value: str, pools: list[Pooling]) -> str:
    for pool in pools:
        value = graph.add("MaxPool", [value], **pool.attributes)
    return value


def _emit_affine(graph: _Graph, value: str, step: Thresholding, affine: Affine, pools: list[Pooling]) -> str:
    """Append min(floor(max(x + bias, 0) * scale), levels).

    onnxruntime joins the sum and the maximum (Relu) to the convolution before them, and the maximum keeps it from
    multiplying the scale into the weights, which would no longer be exact.
    """
    bias = graph.constant(f"{step.name}.bias", affine.bias[None, :, None, None])
    scale = graph.constant(f"{step.name}.scale", affine.scale[None, :, None, None])
    value = graph.add("Relu", [graph.add("Add", [value, bias])])
    value = graph.add("Mul", [_emit_pools(graph, value, pools), scale])
    top = [graph.scalar(limit, affine.bias.dtype) for limit in (0, step.staircase.levels)]
    return graph.add("Clip", [graph.add("Floor", [value]), *top])


def _emit_bisection(graph: _Graph, value: str, dtype: np.dtype[Any], step: Thresholding) -> str:
    """Append a search by halving for the level: the largest i for which the i-th threshold is reached."""
    table = bisection_table(step.staircase, dtype)
    rows = np.arange(len(table), dtype=np.int32)[None, :, None, None] * np.int32(table.shape[1])
    flat = graph.constant(f"{step.name}.table", table.reshape(-1))
    start = graph.constant(f"{step.name}.rows", rows)
    place = start
    half = table.shape[1] // 2
    while half:
        probe = graph.add("Add", [place, graph.scalar(half - 1, np.int32)])
        reached = graph.add("GreaterOrEqual", [value, graph.add("Gather", [flat, probe])])
        stride = graph.add("Mul", [graph.add("Cast", [reached], to=TensorProto.INT32), graph.scalar(half, np.int32)])
        place = graph.add("Add", [place, stride])
        half //= 2
    return graph.add("Cast", [graph.add("Sub", [place, start])], to=TensorProto.FLOAT)
