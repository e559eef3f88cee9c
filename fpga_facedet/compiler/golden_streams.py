"""The golden model opened up: the same constants, with the values between its steps as outputs.

The golden model pools before it climbs the staircase of thresholds, which saves three quarters of the climbing;
hardware pools afterwards. Opened up, pools stand behind the thresholds they were moved in front of. The arithmetic in
between is elementwise and proven for every sum there can be, so it also gives the levels of the sums that a pool in
front of it would have dropped.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import onnx
from onnx import NodeProto, TensorProto, helper


@dataclass(frozen=True)
class GoldenStep:
    """One step: its kind, the tensor it puts out, and how its window moves, each (height, width).

    `pads` are (top, left, bottom, right). Thresholds look at one value at a time.
    """

    kind: Literal["convolution", "thresholds", "pool"]
    output: str
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)


def open_up(golden: bytes) -> tuple[bytes, tuple[GoldenStep, ...]]:
    """Return a golden model, as `integer.build` makes it, with its pools behind their thresholds, and its steps.

    The steps are its convolutions, thresholds and pools, in the order of the streamlined graph and of the hardware.
    Each one's tensor, float (N, channels, height, width) of integers, is an output of the model besides `raw`.
    """
    model = onnx.load_from_string(golden)
    # Pixels become floats, NCHW, in front; integers, NHWC, behind.
    first, last = list(model.graph.node[:2]), list(model.graph.node[-2:])
    body = list(model.graph.node[2:-2])
    nodes, steps, value = first, [], first[-1].output[0]
    parts = {name for node in body if node.op_type == "Sum" for name in node.input}
    for is_convolution, group in groupby(body, lambda node: _belongs_to_convolution(node, parts)):
        made, found = (_convolution if is_convolution else _thresholds_and_pools)(list(group), value)
        nodes += made
        steps += found
        value = steps[-1].output
    last[0].input[0] = value
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *last])
    double = {node.output[0] for node in nodes if node.op_type == "Sum"}
    for step in steps:
        kind = TensorProto.DOUBLE if step.output in double else TensorProto.FLOAT
        model.graph.output.append(helper.make_tensor_value_info(step.output, kind, None))
    return model.SerializeToString(), tuple(steps)


def _belongs_to_convolution(node: NodeProto, parts: set[str]) -> bool:
    """Tell nodes of a convolution, which may be a float64 sum of `parts`, from thresholds and pools."""
    return node.op_type in ("Conv", "Sum") or node.output[0] in parts


def _convolution(nodes: list[NodeProto], value: str) -> tuple[list[NodeProto], list[GoldenStep]]:
    """Let a convolution start from the tensor `value`."""
    for node in nodes:
        if node.op_type == "Conv":
            node.input[0] = value
    return nodes, [_step("convolution", nodes[-1], nodes[0])]


def _thresholds_and_pools(nodes: list[NodeProto], value: str) -> tuple[list[NodeProto], list[GoldenStep]]:
    """Take the pools out from among the arithmetic of thresholds and put them behind it."""
    pools = [node for node in nodes if node.op_type == "MaxPool"]
    arithmetic = [node for node in nodes if node.op_type != "MaxPool"]
    unpooled: dict[str, str] = {}
    for pool in pools:
        unpooled[pool.output[0]] = unpooled.get(pool.input[0], pool.input[0])
    steps = []
    if arithmetic:
        for node in arithmetic:
            for index, name in enumerate(node.input):
                node.input[index] = unpooled.get(name, name)
        steps.append(_step("thresholds", arithmetic[-1]))
    for pool in pools:
        pool.input[0] = steps[-1].output if steps else value
        steps.append(_step("pool", pool, pool))
    return arithmetic + pools, steps


def _step(
    kind: Literal["convolution", "thresholds", "pool"], last: NodeProto, window: NodeProto | None = None
) -> GoldenStep:
    """Describe the step whose last node is `last`, and whose window, where it has one, is that of the node `window`."""
    if window is None:
        return GoldenStep(kind, last.output[0])
    found: dict[str, Any] = {
        item.name: tuple(helper.get_attribute_value(item)) for item in window.attribute if item.ints
    }
    return GoldenStep(kind, last.output[0], found["kernel_shape"], found["strides"], found["pads"])
