import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.util.basic import qonnx_make_model

from fpga_facedet.beats import pack, unpack
from fpga_facedet.boards import Board
from fpga_facedet.compiler import layout, rtl
from fpga_facedet.compiler.equivalence import execute
from fpga_facedet.compiler.matrix_units import DSP, LUT, set_multiplier
from fpga_facedet.compiler.mvau_lut import DOMAIN, SOURCES, MVAULut_rtl
from fpga_facedet.errors import InternalError
from fpga_facedet.simulation.verilator import compile_model

VECTORS = 9


def node_of(**changes: object) -> NodeProto:
    """A matrix unit of LUTs: 4-bit weights and activations, three words a vector, two passes."""
    attributes = {
        "MW": 18, "MH": 10, "PE": 5, "SIMD": 6, "inputDataType": "UINT4", "weightDataType": "INT4",
        "outputDataType": "INT12", "accDataType": "INT12", "noActivation": 1, "numInputVectors": [1, 3, 3],
        "ram_style": "distributed", "exec_mode": "cppsim", **changes,
    }  # fmt: skip
    node = helper.make_node(
        "MVAU_rtl", ["x", "w"], ["y"], name="MVAU_rtl_0", domain="finn.custom_op.fpgadataflow.rtl",
        backend="fpgadataflow", **attributes,
    )  # fmt: skip
    set_multiplier(node, LUT)
    return node


def layer_of(**changes: object) -> MVAULut_rtl:
    layer = getCustomOp(node_of(**changes))
    assert isinstance(layer, MVAULut_rtl)
    return layer


@pytest.fixture
def graph(rng: np.random.Generator) -> ModelWrapper:
    """The unit alone, -8 among its weights, on 3 x 3 pixels."""
    weights = rng.integers(-8, 8, (18, 10)).astype(np.float32)
    weights[0] = -8
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 3, size]) for name, size in (("x", 18), ("y", 10))
    ]
    model = ModelWrapper(qonnx_make_model(helper.make_graph([node_of()], "unit", ends[:1], ends[1:])))
    model.set_initializer("w", weights)
    for name, kind in (("x", "UINT4"), ("w", "INT4"), ("y", "INT12")):
        model.set_tensor_datatype(name, DataType[kind])
    return model


def test_the_hardware_computes_what_finn_does(
    graph: ModelWrapper, board: Board, tmp_path: Path, rng: np.random.Generator
) -> None:
    names = rtl.generate(graph, board, tmp_path / "rtl")
    assert set(SOURCES) < set(names) and "memstream.sv" not in names and "mvu_vvu_axi.sv" not in names
    model = compile_model([tmp_path / "rtl" / name for name in names], layout.TOP, tmp_path / "simulator")
    images = rng.integers(0, 16, (3, 1, 3, 3, 18))
    images[1] = 15
    run = model.run(pack(images.reshape(3, VECTORS * 3, 6), 4), VECTORS * 2, pause_in=0.2, pause_out=0.4, seed=2)
    as_dsps = ModelWrapper(graph.model, make_deepcopy=True)
    set_multiplier(as_dsps.graph.node[0], DSP)
    for image, words in zip(images, run.words, strict=True):
        found = unpack(words, 5, 12, signed=True).reshape(1, 3, 3, 10)
        for form in (graph, as_dsps):
            np.testing.assert_array_equal(found, execute(form, image.astype(np.uint8)))
        # Five results of 12 bits in 64: FINN's unit fills up with the highest sign.
        np.testing.assert_array_equal(words[:, 7] >> 4, np.where(words[:, 7] >> 3 & 1, 15, 0))
    assert layer_of().get_exp_cycles() == VECTORS * 3 * 2
    run = model.run(pack(images.reshape(3, VECTORS * 3, 6), 4), VECTORS * 2)
    np.testing.assert_array_equal(np.diff(run.last_output), VECTORS * 3 * 2)


def test_keeps_what_finn_says_of_the_layer() -> None:
    layer, node = layer_of(), node_of()
    set_multiplier(node, DSP)
    dsps: Any = getCustomOp(node)
    assert layer.onnx_node.domain == DOMAIN and isinstance(layer, type(dsps))
    for ask in ("get_folded_input_shape", "get_folded_output_shape", "get_exp_cycles", "get_instream_width_padded"):
        assert getattr(layer, ask)() == getattr(dsps, ask)()
    assert layer.dsp_estimation("xc7z020clg400-1") == 0 and dsps.dsp_estimation("xc7z020clg400-1") > 0
    assert not layer.streams_weights()


@pytest.mark.parametrize(
    ("words", "places", "early"),
    [(1, 2, 1), (2, 4, 2), (9, 32, 9), (16, 32, 16), (18, 32, 14), (64, 64, 0), (72, 256, 72), (256, 512, 256)],
)
def test_holds_two_vectors_where_that_costs_no_more(words: int, places: int, early: int) -> None:
    layer = layer_of(MW=6 * words)
    assert (layer.words(), layer.places(), layer.early_words()) == (words, places, early)
    assert early >= 2 ** math.ceil(math.log2(words)) - words  # what FINN's unit takes


def test_one_pass_keeps_nothing() -> None:
    assert layer_of(PE=10).passes() == 1 and layer_of(PE=10).early_words() == 0


def test_writes_a_wrapper_that_reads_the_weights_by_a_relative_name(graph: ModelWrapper, tmp_path: Path) -> None:
    layer = getCustomOp(graph.graph.node[0])
    layer.set_nodeattr("code_gen_dir_ipgen", str(tmp_path))
    layer.generate_hdl(graph, "", 10.0)
    text = (tmp_path / "MVAU_rtl_0_wrapper.v").read_text()
    assert 'INIT_FILE("./MVAU_rtl_0_weights.dat"), .RAM_STYLE("distributed"), .REPLAY_STYLE("distributed")' in text
    assert re.search(r"\.ACCU_WIDTH\(12\), \.PLACES\(8\)", text) and str(tmp_path) not in text
    assert [Path(name).name for name in layer.get_rtl_file_list(abspath=True)] == [*SOURCES, "MVAU_rtl_0_wrapper.v"]
    assert all(Path(name).is_file() for name in layer.get_rtl_file_list(abspath=True))
    assert layer.get_rtl_file_list() == [*SOURCES, "MVAU_rtl_0_wrapper.v"]
    assert layer.code_generation_ipi()[-1] == "create_bd_cell -type module -reference MVAU_rtl_0 MVAU_rtl_0"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"weightDataType": "INT9"}, "its weights are INT9"),
        ({"weightDataType": "BIPOLAR"}, "its weights are BIPOLAR"),
        ({"weightDataType": "UINT4"}, "its weights are UINT4, not signed"),
        ({"inputDataType": "UINT1"}, "its activations are"),
        ({"inputDataType": "FLOAT32"}, "its activations are FLOAT32"),
        ({"outputDataType": "INT33"}, "its results are INT33"),
        ({"outputDataType": "UINT12"}, "its results are UINT12"),
        ({"noActivation": 0}, "thresholds of its own"),
        ({"mem_mode": "external"}, "not constants"),
    ],
)
def test_says_what_the_hardware_cannot_do(changes: dict[str, object], says: str) -> None:
    layer = layer_of(**changes)
    assert says in str(layer.unsupported())
    with pytest.raises(InternalError, match=f"MVAU_rtl_0 cannot be a matrix unit of LUTs: .*{says}"):
        layer.generate_hdl(None, "", 10.0)


def test_does_all_that_the_paper_asks_for() -> None:
    for weight_bits, activation_bits in ((2, 4), (3, 5), (4, 2), (4, 4), (6, 4), (8, 3), (8, 8)):
        for sign in ("INT", "UINT"):
            changes = {"weightDataType": f"INT{weight_bits}", "inputDataType": f"{sign}{activation_bits}"}
            assert layer_of(**changes).unsupported() is None
