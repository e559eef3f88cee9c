from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.basic import qonnx_make_model

from fpga_facedet.compiler.equivalence import execute
from fpga_facedet.compiler.maxpool import DOMAIN, InferMaxPool, StreamingMaxPool_rtl
from fpga_facedet.errors import UserError


def graph_of(
    shape: tuple[int, int, int] = (6, 8, 12), kind: str = "UINT4", kernel: int = 2, stride: int = 2, pad: int = 0
) -> ModelWrapper:
    """A streamlined max-pool alone."""
    height, width, channels = shape
    out = [1, (height + 2 * pad - kernel) // stride + 1, (width + 2 * pad - kernel) // stride + 1, channels]
    node = helper.make_node(
        "MaxPoolNHWC",
        ["x"],
        ["y"],
        domain="qonnx.custom_op.general",
        name="MaxPoolNHWC_3",
        kernel_shape=[kernel, kernel],
        strides=[stride, stride],
        pads=[pad] * 4,
    )
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", [1, *shape]), ("y", out))
    ]
    model = ModelWrapper(qonnx_make_model(helper.make_graph([node], "pool", ends[:1], ends[1:])))
    model.set_tensor_datatype("x", DataType[kind])
    return model


def test_equals_qonnx_exactly(rng: np.random.Generator) -> None:
    graph = graph_of()
    pooled = graph.transform(InferMaxPool()).transform(InferShapes()).transform(InferDataTypes())
    assert (pooled.graph.node[0].op_type, pooled.graph.node[0].domain) == ("StreamingMaxPool_rtl", DOMAIN)
    assert pooled.get_tensor_datatype("y").name == "UINT4"
    for _ in range(5):
        values = rng.integers(0, 16, (1, 6, 8, 12), dtype=np.uint8)
        np.testing.assert_array_equal(execute(pooled, values), execute(graph, values))


@pytest.fixture
def pool() -> StreamingMaxPool_rtl:
    layer = getCustomOp(graph_of().transform(InferMaxPool()).graph.node[0])
    layer.set_nodeattr("PE", 3)
    return layer


def test_folds_channels(pool: StreamingMaxPool_rtl) -> None:
    assert pool.get_folded_input_shape() == (1, 6, 8, 4, 3)
    assert pool.get_folded_output_shape() == (1, 3, 4, 4, 3)
    assert (pool.get_instream_width(), pool.get_instream_width_padded()) == (12, 16)


def test_estimates_a_cycle_a_beat_and_one_buffer(pool: StreamingMaxPool_rtl) -> None:
    assert pool.get_exp_cycles() == 6 * 8 * 4
    assert pool.get_buffer_depth() == 4 * 4
    assert pool.bram_estimation("") == 0 and 50 < pool.lut_estimation("") < 90


def test_a_deep_buffer_goes_into_block_ram() -> None:
    layer = getCustomOp(graph_of((416, 416, 8)).transform(InferMaxPool()).graph.node[0])
    assert layer.get_buffer_depth() == 208 * 8
    assert layer.bram_estimation("") == 1


def test_writes_a_wrapper_around_the_module(pool: StreamingMaxPool_rtl, tmp_path: Path) -> None:
    pool.set_nodeattr("code_gen_dir_ipgen", str(tmp_path))
    pool.generate_hdl(None, "", 10.0)
    text = (tmp_path / "MaxPoolNHWC_3.v").read_text()
    assert "module MaxPoolNHWC_3 (" in text
    assert '.BITS(4), .CHANNELS(12), .PE(3), .WIDTH(8), .RAM_STYLE("distributed")' in text
    assert [Path(name).name for name in pool.get_rtl_file_list(abspath=True)] == ["maxpool_2x2.sv", "MaxPoolNHWC_3.v"]
    assert all(Path(name).is_file() for name in pool.get_rtl_file_list(abspath=True))
    assert pool.code_generation_ipi()[-1] == "create_bd_cell -type module -reference MaxPoolNHWC_3 MaxPoolNHWC_3"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kernel": 3}, "MaxPoolNHWC_3 has kernel \\[3, 3\\]"),
        ({"stride": 1}, "strides \\[1, 1\\]"),
        ({"shape": (7, 8, 12)}, "works on 7 x 8 values"),
        ({"kind": "INT4"}, "of type INT4"),
    ],
)
def test_refuses_what_the_hardware_cannot_do(changes: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        graph_of(**changes).transform(InferMaxPool())  # type: ignore[arg-type]
