from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper

from fpga_facedet.compiler.equivalence import execute, integers
from fpga_facedet.compiler.streamline import STREAMLINED, load, streamline, take_pixels
from fpga_facedet.errors import UserError
from tests.compiler import nets


@pytest.fixture(scope="module")
def pair(model: Path) -> tuple[ModelWrapper, ModelWrapper]:
    """The exported graph that takes pixels, and the streamlined one."""
    return take_pixels(load(model), 255.0), streamline(model)


def test_leaves_only_integers(pair: tuple[ModelWrapper, ModelWrapper]) -> None:
    _, graph = pair
    assert {node.op_type for node in graph.graph.node} <= STREAMLINED
    for node in graph.graph.node:
        assert graph.get_tensor_datatype(node.output[0]).is_integer(), node.name
        for name in node.input:
            constant = graph.get_initializer(name)
            assert constant is None or np.array_equal(constant, np.rint(constant)), name


def test_takes_uint8_pixels_and_gives_int8_cells(pair: tuple[ModelWrapper, ModelWrapper]) -> None:
    _, graph = pair
    first, last = graph.graph.input[0].name, graph.graph.output[0].name
    assert (graph.get_tensor_shape(first), graph.get_tensor_datatype(first).name) == ([1, 32, 64, 3], "UINT8")
    assert (graph.get_tensor_shape(last), graph.get_tensor_datatype(last).name) == ([1, 4, 8, 12], "INT8")


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), low=st.integers(0, 255), span=st.integers(1, 256))
def test_equals_the_export_on_any_picture(
    pair: tuple[ModelWrapper, ModelWrapper], seed: int, low: int, span: int
) -> None:
    exported, graph = pair
    picture = np.random.default_rng(seed).integers(low, min(256, low + span), (32, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(integers(graph, picture, 1 / 128), integers(exported, picture, 1 / 128))


@pytest.mark.parametrize("value", [0, 255])
def test_equals_the_export_on_flat_pictures(pair: tuple[ModelWrapper, ModelWrapper], value: int) -> None:
    exported, graph = pair
    picture = np.full((32, 64, 3), value, np.uint8)
    np.testing.assert_array_equal(integers(graph, picture, 1 / 128), integers(exported, picture, 1 / 128))


def test_says_what_is_missing_or_broken(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model at .*nowhere"):
        streamline(tmp_path / "nowhere.onnx")
    for name, content in (("cut", model.read_bytes()[:4000]), ("empty", b""), ("text", b"not a model at all")):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.onnx is damaged"):
            streamline(path)


def test_the_model_says_what_its_pixels_are_divided_by(model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    next(item for item in proto.metadata_props if item.key == "facedet.normalisation").value = "128.0"
    onnx.save(proto, tmp_path / "brighter.onnx")
    picture = np.random.default_rng(5).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    wanted = np.rint(execute(load(model), picture.transpose(2, 0, 1)[None] / np.float32(128)) * 128)
    found = integers(streamline(tmp_path / "brighter.onnx"), picture, 1 / 128)
    np.testing.assert_array_equal(found, wanted[0].transpose(1, 2, 0))
    assert (found != integers(streamline(model), picture, 1 / 128)).any()


def altered(model: Path, path: Path, alter) -> Path:  # type: ignore[no-untyped-def]
    """Write a changed copy of a model."""
    proto = onnx.load(model)
    alter(proto.graph)
    onnx.save(proto, path)
    return path


def test_names_an_unsupported_operation_and_its_layer(model: Path, tmp_path: Path) -> None:
    def use_softplus(graph: onnx.GraphProto) -> None:
        relu = next(node for node in graph.node if node.op_type == "Relu")
        relu.op_type, relu.name = "Softplus", "smooth_2"

    with pytest.raises(UserError, match="operation Softplus of layer smooth_2 is not supported; build the model from"):
        streamline(altered(model, tmp_path / "softplus.onnx", use_softplus))


def test_names_an_operation_that_streamlining_cannot_remove(model: Path, tmp_path: Path) -> None:
    def divide_the_output(graph: onnx.GraphProto) -> None:
        constant = onnx.numpy_helper.from_array(np.linspace(1, 2, 12, dtype=np.float32).reshape(1, 12, 1, 1), "spread")
        graph.initializer.append(constant)
        last = graph.output[0].name
        next(node for node in graph.node if last in node.output).output[0] = "inner"
        graph.node.append(helper.make_node("Mul", ["inner", "spread"], [last], "Mul_spread"))

    with pytest.raises(UserError, match="operation Mul of layer .* is not supported"):
        streamline(altered(model, tmp_path / "mul.onnx", divide_the_output))


def test_refuses_a_model_that_is_no_detector(model: Path, tmp_path: Path) -> None:
    def take_a_second_picture(graph: onnx.GraphProto) -> None:
        graph.input.append(helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, (1, 3, 32, 64)))

    with pytest.raises(UserError, match="a detector has one of each"):
        streamline(altered(model, tmp_path / "two.onnx", take_a_second_picture))


def test_refuses_a_map_of_one_column(tmp_path: Path) -> None:
    narrow = nets.spec(width=32, height=64).to_dict()
    narrow["layers"][2]["pool"] = narrow["layers"][3]["stride"] = 2
    path = nets.export(nets.DetectorSpec.from_dict(narrow), tmp_path / "narrow.onnx")
    with pytest.raises(UserError, match="only one pixel wide or high"):
        streamline(path)


def test_refuses_outputs_between_the_integers(pair: tuple[ModelWrapper, ModelWrapper]) -> None:
    exported, _ = pair
    picture = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    assert execute(exported, picture.transpose(2, 0, 1)[None]).shape == (1, 12, 4, 8)
    with pytest.raises(UserError, match="no multiples of 0.01"):
        integers(exported, picture, 0.01)
