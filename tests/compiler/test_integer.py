"""The golden model against QONNX's own execution of the same graph, on graphs made here, node by node."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.custom_op.general.im2col import compute_conv_output_dim
from qonnx.custom_op.general.maxpoolnhwc import compute_pool_output_dim

from fpga_facedet.compiler import integer
from fpga_facedet.errors import InternalError, UserError

Frame = npt.NDArray[np.uint8]


class Chain:
    """A streamlined graph that grows node by node; `shapes` and `types` are those of the tensors x0, x1, ..."""

    def __init__(self, height: int, width: int, channels: int = 3) -> None:
        self.shapes = [[1, height, width, channels]]
        self.types = ["UINT8"]
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, npt.NDArray[np.float32]] = {}

    def add(
        self,
        op: str,
        constant: Any = None,
        type_name: str = "INT32",
        shape: list[int] | None = None,
        domain: str = "qonnx.custom_op.general",
        **attributes: Any,
    ) -> "Chain":
        number = len(self.nodes)
        inputs = [f"x{number}"]
        if constant is not None:
            inputs.append(f"c{number}")
            self.constants[inputs[1]] = np.asarray(constant, np.float32)
        name = f"{op}_{sum(node.op_type == op for node in self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"x{number + 1}"], name, domain=domain, **attributes))
        self.shapes.append(shape or self.shapes[-1])
        self.types.append(type_name)
        return self

    def convolve(
        self, weights: Any, stride: Any = (1, 1), pads: Any = (0, 0, 0, 0), dilations: Any = (1, 1)
    ) -> "Chain":
        """Append Im2Col and MatMul for `weights` (height, width, in, out)."""
        weights = np.asarray(weights)
        kernel = list(weights.shape[:2])
        size = [
            compute_conv_output_dim(self.shapes[-1][1 + i], kernel[i], stride[i], pads[i] + pads[i + 2], dilations[i])
            for i in range(2)
        ]
        self.add(
            "Im2Col",
            type_name=self.types[-1],
            shape=[1, *size, int(np.prod(weights.shape[:3]))],
            kernel_size=kernel,
            stride=list(stride),
            pad_amount=list(pads),
            dilations=list(dilations),
            input_shape=str(tuple(self.shapes[-1])),
        )
        matrix = weights.reshape(-1, weights.shape[3])
        return self.add("MatMul", matrix, shape=[1, *size, weights.shape[3]], domain="")

    def threshold(self, thresholds: Any, scale: float = 1.0, bias: float = 0.0, type_name: str = "UINT8") -> "Chain":
        return self.add(
            "MultiThreshold",
            thresholds,
            type_name,
            out_dtype=type_name,
            out_scale=float(scale),
            out_bias=float(bias),
            data_layout="NHWC",
        )

    def pool(self, kernel: Any = (2, 2), strides: Any = (2, 2), pads: Any = (0, 0, 0, 0), ceil: int = 0) -> "Chain":
        _, *size, channels = self.shapes[-1]
        size = [compute_pool_output_dim(size[i], kernel[i], strides[i], pads[i], ceil) for i in range(2)]
        return self.add(
            "MaxPoolNHWC",
            type_name=self.types[-1],
            shape=[1, *size, channels],
            kernel_shape=list(kernel),
            strides=list(strides),
            pads=list(pads),
            ceil_mode=ceil,
        )

    def model(self) -> ModelWrapper:
        infos = [
            helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, shape) for i, shape in enumerate(self.shapes)
        ]
        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, "chain", infos[:1], infos[-1:], constants, value_info=infos[1:-1])
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)]
        model = ModelWrapper(helper.make_model(graph, opset_imports=opsets))
        for i, type_name in enumerate(self.types):
            model.set_tensor_datatype(f"x{i}", DataType[type_name])
        return model


def golden(model: ModelProto, frames: Frame, options: onnxruntime.SessionOptions | None = None) -> npt.NDArray[np.int8]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["raw"], {"frame": frames})[0])


def by_qonnx(model: ModelWrapper, frames: Frame) -> npt.NDArray[np.float32]:
    name = model.graph.input[0].name
    outputs = [next(iter(execute_onnx(model, {name: frame[None].astype(np.float32)}).values())) for frame in frames]
    return np.concatenate(outputs)


def forms(model: ModelProto) -> list[str]:
    return list(json.loads(model.metadata_props[0].value).values())


def telling_frames(rng: np.random.Generator, shape: list[int]) -> Frame:
    """All dark, all light, a checkerboard of both, and noise."""
    checkers = np.indices(shape[1:3]).sum(axis=0)[None, :, :, None] % 2 * np.full(shape, 255)
    noise = rng.integers(0, 256, (2, *shape[1:]))
    return np.concatenate([np.zeros(shape), np.full(shape, 255), checkers, noise]).astype(np.uint8)


def equal_to_qonnx(chain: Chain, rng: np.random.Generator) -> ModelProto:
    """Check the golden model of a chain against QONNX's execution, on all telling frames in one batch; return it."""
    model = chain.model()
    built = integer.build(model)
    frames = telling_frames(rng, chain.shapes[0])
    expected = by_qonnx(model, frames)
    found = golden(built, frames)
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, expected)
    return built


def weights_of(rng: np.random.Generator, bits: int, *shape: int) -> npt.NDArray[np.int64]:
    top = 2 ** (bits - 1)
    return rng.integers(-top, top, shape)


def trained_thresholds(rng: np.random.Generator, channels: int, levels: int, reach: float) -> npt.NDArray[np.float32]:
    """Equally spaced thresholds of random start and step within about -reach .. reach."""
    step = rng.uniform(0.2, 2, (channels, 1)) * reach / levels
    return (rng.uniform(-reach, reach, (channels, 1)) + step * np.arange(levels)).astype(np.float32)


# --- equality with QONNX -------------------------------------------------------------------------------------------


POOLS = [  # kernel, strides, pads, ceil_mode
    ((2, 2), (2, 2), (0, 0, 0, 0), 0),
    ((2, 2), (1, 1), (1, 1, 1, 1), 0),
    ((3, 2), (2, 1), (0, 0, 0, 0), 1),
]


@st.composite
def chains(draw: st.DrawFn) -> tuple[Chain, np.random.Generator]:
    """Small networks of every kind: sizes, kernels, strides, pads, bits, signs, pools, thresholds of any shape."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chain = Chain(draw(st.integers(5, 12)), draw(st.integers(5, 12)), draw(st.integers(1, 3)))
    largest = 255
    count = draw(st.integers(1, 3))
    for _ in range(count):
        kernels = [(1, 1), (3, 3), (1, 3), (2, 2)] if min(chain.shapes[-1][1:3]) > 2 else [(1, 1)]
        kernel = draw(st.sampled_from(kernels))
        pads = [draw(st.integers(0, 1)) if size > 1 else 0 for size in kernel * 2]
        weights = weights_of(
            rng, draw(st.sampled_from([2, 3, 4, 6, 8])), *kernel, chain.shapes[-1][3], rng.integers(1, 6)
        )
        chain.convolve(weights, draw(st.sampled_from([(1, 1), (2, 1), (2, 2)])), pads)
        where = draw(st.sampled_from(["nowhere", "before", "after"])) if min(chain.shapes[-1][1:3]) > 2 else "nowhere"
        pool = draw(st.sampled_from(POOLS))
        if where == "before":
            chain.pool(*pool)
        largest = threshold_somehow(draw, rng, chain, np.abs(weights).sum(axis=(0, 1, 2)).max() * largest + 1)
        if where == "after":
            chain.pool(*pool)
    return chain, rng


def threshold_somehow(draw: st.DrawFn, rng: np.random.Generator, chain: Chain, reach: float) -> int:
    """Append thresholds for sums up to `reach`, even or not, few or many; return the largest output's magnitude."""
    channels = chain.shapes[-1][3]
    levels = 2 ** draw(st.sampled_from([1, 2, 3, 4, 5, 8])) - 1
    reach = float(reach) / draw(st.sampled_from([1, 4, 30]))
    if draw(st.booleans()):
        thresholds = trained_thresholds(rng, channels, levels, reach)
    else:
        thresholds = rng.uniform(-reach, reach, (draw(st.sampled_from([1, channels])), levels))
    bias = -128 if levels == 255 else draw(st.sampled_from([0, -3]))
    chain.threshold(thresholds, 1.0, bias, "INT8")
    return max(abs(bias), levels + bias)


@settings(max_examples=60)
@given(chains())
def test_equals_qonnx_for_any_small_network(case: tuple[Chain, np.random.Generator]) -> None:
    equal_to_qonnx(*case)


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(2, 4), (3, 5), (4, 2), (4, 4), (6, 4), (8, 3)])
def test_the_bits_of_the_literature_need_no_table(
    weight_bits: int, activation_bits: int, rng: np.random.Generator
) -> None:
    levels = 2**activation_bits - 1
    chain = Chain(12, 8)
    chain.convolve(weights_of(rng, 8, 3, 3, 3, 6), pads=(1, 1, 1, 1))
    chain.threshold(trained_thresholds(rng, 6, levels, 60000)).pool()
    chain.convolve(weights_of(rng, weight_bits, 3, 3, 6, 40), (2, 2), (1, 1, 1, 1))
    chain.threshold(trained_thresholds(rng, 40, levels, 40.0 * levels))
    chain.convolve(weights_of(rng, 8, 1, 1, 40, 6))
    chain.threshold(np.ceil(trained_thresholds(rng, 6, 255, 4000)), 1.0, -128, "INT8")
    assert "search" not in forms(equal_to_qonnx(chain, rng))


def test_a_depthwise_convolution_stays_depthwise(rng: np.random.Generator) -> None:
    weights = weights_of(rng, 4, 3, 3, 3, 1) * np.eye(3, dtype=np.int64)
    chain = Chain(6, 7).convolve(weights, pads=(1, 0, 1, 2)).threshold(trained_thresholds(rng, 3, 7, 3000))
    built = equal_to_qonnx(chain, rng)
    groups = [attribute.i for node in built.graph.node for attribute in node.attribute if attribute.name == "group"]
    assert groups == [3]


def test_a_dilated_convolution(rng: np.random.Generator) -> None:
    chain = Chain(9, 8).convolve(weights_of(rng, 4, 3, 3, 3, 4), pads=(2, 2, 2, 2), dilations=(2, 2))
    equal_to_qonnx(chain.threshold(trained_thresholds(rng, 4, 15, 3000)), rng)


def test_a_pool_does_not_move_before_levels_that_fall(rng: np.random.Generator) -> None:
    chain = Chain(8, 8).convolve(weights_of(rng, 4, 3, 3, 3, 4))
    equal_to_qonnx(chain.threshold(trained_thresholds(rng, 4, 15, 3000), -2.0, 3.0, "INT8").pool(), rng)


def test_irregular_thresholds_are_searched_in_a_table(rng: np.random.Generator) -> None:
    chain = Chain(6, 6).convolve(weights_of(rng, 4, 3, 3, 3, 4))
    built = equal_to_qonnx(chain.threshold(rng.uniform(-3000, 3000, (4, 15))), rng)
    assert forms(built) == ["search"]


@pytest.mark.parametrize("even", [True, False])
def test_sums_beyond_2_to_the_24_are_added_in_float64(even: bool, rng: np.random.Generator) -> None:
    # 600 channels of up to 255, times 127, go beyond 2^24; QONNX itself rounds there, so integers are the reference.
    expand, gather = weights_of(rng, 4, 3, 600), np.full((600, 2), 127)
    gather[::7, 1] = -126
    first, last = np.array([[-200, 0, 900]]), np.linspace(-3e6, 19e6, 255)[None].round() + np.array([[0], [11]])
    if not even:
        last = rng.integers(-3_000_000, 19_000_000, (2, 255))
    last = last.astype(np.float32)
    chain = Chain(9, 9).convolve(expand[None, None]).threshold(first, 85.0).convolve(gather[None, None])
    built = integer.build(chain.pool((1, 1), (1, 1)).threshold(last, 1.0, -128, "INT8").model())
    assert forms(built)[1] == ("float64" if even else "search")
    frames = telling_frames(rng, chain.shapes[0])
    hidden = 85 * np.count_nonzero((frames.astype(np.int64) @ expand)[..., None] >= first, axis=-1)
    expected = np.count_nonzero((hidden @ gather)[..., None] >= last.astype(np.float64), axis=-1) - 128
    np.testing.assert_array_equal(golden(built, frames), expected)


def test_float32_would_be_wrong_where_float64_is_used() -> None:
    """A sum of 16,867,451 misses the threshold one above it, although float32 rounds the sum to it."""
    chain = Chain(1, 2, 1).convolve(np.ones((1, 1, 1, 700))).threshold(np.arange(1, 256)[None])
    weights = np.full((1, 1, 700, 1), 96)
    weights[0, 0, 0, 0] = 97
    missed, reached = (pixel * (700 * 96 + 1) for pixel in (251, 252))
    threshold = missed + 1
    assert np.float32(missed) == np.float32(threshold) == threshold < reached
    model = chain.convolve(weights).threshold([[threshold]], type_name="BINARY").model()
    frame = np.array([251, 252], np.uint8).reshape(1, 1, 2, 1)
    assert golden(integer.build(model), frame).tolist() == [[[[0], [1]]]]


@pytest.mark.parametrize("levels", [1, 3, 15, 31, 255])
@pytest.mark.parametrize("even", [True, False])
def test_onnxruntime_is_right_for_every_accumulator(even: bool, levels: int, rng: np.random.Generator) -> None:
    """Two pixels make every integer of 16 bits, so onnxruntime's own arithmetic is tried on all of them."""
    weights = np.tile([[1], [256]], 6) * [1, 1, 1, -1, -1, -1]
    thresholds = trained_thresholds(rng, 6, levels, 40000) if even else rng.uniform(-70000, 70000, (6, levels))
    thresholds = np.float32(thresholds)
    chain = Chain(256, 256, 2).convolve(weights[None, None]).threshold(thresholds, 1.0, -128, "INT8")
    built = integer.build(chain.model())
    if even:
        assert forms(built) != ["search"]
    frame = np.indices((256, 256)).transpose(1, 2, 0)[None]
    reached = (frame @ weights)[..., None] >= thresholds.astype(np.float64)
    np.testing.assert_array_equal(golden(built, frame.astype(np.uint8)), np.count_nonzero(reached, axis=-1) - 128)


def test_no_optimisation_of_onnxruntime_changes_a_value(rng: np.random.Generator) -> None:
    # Wide enough for its blocked layouts; pools behind some layers and not behind others, where it could fuse a scale.
    chain = Chain(16, 16).convolve(weights_of(rng, 8, 3, 3, 3, 32), pads=(1, 1, 1, 1))
    chain.threshold(trained_thresholds(rng, 32, 15, 60000)).pool()
    for _ in range(2):
        chain.convolve(weights_of(rng, 4, 3, 3, 32, 32), pads=(1, 1, 1, 1))
        chain.threshold(trained_thresholds(rng, 32, 15, 4000))
    built = equal_to_qonnx(chain, rng)
    frames = telling_frames(rng, chain.shapes[0])
    expected = golden(built, frames)
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        np.testing.assert_array_equal(golden(built, frames, options), expected)


# --- the proof -----------------------------------------------------------------------------------------------------


def trained_chain(rng: np.random.Generator) -> Chain:
    chain = Chain(8, 8).convolve(weights_of(rng, 4, 3, 3, 3, 5)).threshold(trained_thresholds(rng, 5, 15, 2000)).pool()
    return chain.convolve(weights_of(rng, 4, 1, 1, 5, 2)).threshold(rng.uniform(-200, 200, (2, 7)))


def test_the_proof_fails_when_a_threshold_of_the_graph_is_tampered_with(rng: np.random.Generator) -> None:
    model = trained_chain(rng).model()
    built = integer.build(model)
    integer.prove_thresholds(built, model)
    name = model.get_nodes_by_op_type("MultiThreshold")[0].input[1]
    thresholds = model.get_initializer(name).copy()
    thresholds[3, 7] += 1
    model.set_initializer(name, thresholds)
    with pytest.raises(InternalError, match="MultiThreshold_0, channel 3"):
        integer.prove_thresholds(built, model)


@pytest.mark.parametrize(("constant", "place"), [("MultiThreshold_0.bias", 2), ("MultiThreshold_1.table", 9)])
def test_the_proof_fails_when_a_constant_of_the_golden_model_is_tampered_with(
    constant: str, place: int, rng: np.random.Generator
) -> None:
    model = trained_chain(rng).model()
    built = integer.build(model)
    tensor = next(tensor for tensor in built.graph.initializer if tensor.name == constant)
    value = numpy_helper.to_array(tensor).copy()
    value.reshape(-1)[place] += 1
    tensor.CopyFrom(numpy_helper.from_array(value, constant))
    layer, channel = ("MultiThreshold_0", 2) if place == 2 else ("MultiThreshold_1", 1)
    with pytest.raises(InternalError, match=f"{layer}, channel {channel}"):
        integer.prove_thresholds(built, model)


def test_the_proof_fails_when_a_layer_is_missing(rng: np.random.Generator) -> None:
    model = trained_chain(rng).model()
    built = integer.build(model)
    del built.graph.initializer[:]
    with pytest.raises(InternalError, match="MultiThreshold_0 has no thresholds"):
        integer.prove_thresholds(built, model)


# --- what is refused -----------------------------------------------------------------------------------------------


def test_an_unknown_operation_is_named_with_its_node(rng: np.random.Generator) -> None:
    chain = trained_chain(rng).add("Sigmoid", domain="")
    with pytest.raises(UserError, match="Node Sigmoid_0 has the operation Sigmoid"):
        integer.build(chain.model())


def test_weights_that_are_not_integers_are_refused() -> None:
    chain = Chain(4, 4).convolve(np.full((1, 1, 3, 2), 0.5)).threshold([[1, 2, 3]])
    with pytest.raises(UserError, match=r"MatMul_0 .* has the weight 0\.5 in channel 0"):
        integer.build(chain.model())


def test_outputs_that_are_not_integers_are_refused() -> None:
    chain = Chain(4, 4).convolve(np.ones((1, 1, 3, 2))).threshold([[1, 2, 3]], 0.25)
    with pytest.raises(UserError, match=r"MultiThreshold_0 .* gives 0\.25 \* level"):
        integer.build(chain.model())


def test_outputs_beyond_int8_are_refused() -> None:
    chain = Chain(4, 4).convolve(np.ones((1, 1, 3, 2))).threshold(np.arange(1, 256)[None])
    with pytest.raises(UserError, match="takes values from 0 to 255"):
        integer.build(chain.model())


def test_an_input_that_is_not_uint8_is_refused() -> None:
    chain = Chain(4, 4).convolve(np.ones((1, 1, 3, 2))).threshold([[1, 2, 3]])
    chain.types[0] = "INT8"
    with pytest.raises(UserError, match="x0 holds INT8; a detector takes UINT8"):
        integer.build(chain.model())


def test_thresholds_along_another_dimension_are_refused() -> None:
    chain = Chain(4, 4, 4).add("MultiThreshold", [[1, 2, 3]], "UINT2", out_dtype="UINT2", data_layout="NCHW")
    with pytest.raises(UserError, match="MultiThreshold_0 .* has data_layout 'NCHW'"):
        integer.build(chain.model())


def test_a_branch_is_refused(rng: np.random.Generator) -> None:
    model = trained_chain(rng).model()
    model.graph.node[-1].input[0] = model.graph.node[0].output[0]
    with pytest.raises(UserError, match="MultiThreshold_1 .* does not follow the one before it"):
        integer.build(model)


def test_a_product_of_sums_beyond_2_to_the_24_is_refused() -> None:
    chain = Chain(1, 1, 1).convolve(np.ones((1, 1, 1, 700))).threshold(np.arange(1, 256)[None])
    chain.convolve(np.full((1, 1, 700, 1), 127)).convolve(np.ones((1, 1, 1, 1))).threshold([[1]])
    with pytest.raises(UserError, match=r"MatMul_2 \(MatMul\) multiplies sums beyond 2\^24"):
        integer.build(chain.model())


def test_a_window_without_its_product_is_refused() -> None:
    chain = Chain(4, 4).add("Im2Col", kernel_size=[2, 2], stride=[1, 1], input_shape="(1,4,4,3)").pool()
    with pytest.raises(UserError, match=r"Im2Col_0 \(Im2Col\) is not followed by a MatMul"):
        integer.build(chain.model())
