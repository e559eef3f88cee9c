"""Matrix units of adders in a network of one convolution and a 1x1 head, simulated whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from fpga_facedet.beats import pack
from fpga_facedet.boards import Board
from fpga_facedet.compiler import fifos, flow, layers, rtl
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.hls.plan import check_supported
from fpga_facedet.compiler.matrix_units import ADDERS, set_multiplier, streams_weights
from fpga_facedet.engines.golden import OpenGolden
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import HLS
from fpga_facedet.simulation.verilator import SimulatedStream, compile_model
from fpga_facedet.spec import DetectorSpec
from tests.compiler import nets

SIZE = 32

DETECTOR = DetectorSpec.from_dict(
    {
        "name": "one-layer",
        "input": {"width": SIZE, "height": SIZE},
        "bits": {"weight": 4, "activation": 4, "first_weight": 8, "last_weight": 8},
        "layers": [{"channels": 4, "pool": 2}],
        "head": {"kernel": 1, "anchors": [[10, 14]]},
    }
)


@dataclass(frozen=True)
class Network:
    """A network in which every matrix unit is made of adders and every other layer takes a pixel at once."""

    folder: Path
    graph: ModelWrapper
    golden: Path


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def network(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("adders")
    model = nets.export(DETECTOR, folder / "model.onnx")
    flow.build(model, board, folder, to_step="specialise")
    number = flow.STEPS.index("specialise") + 1
    graph = ModelWrapper(str(folder / "steps" / f"{number:02d}_specialise.onnx"))
    with finn_session():
        for node in graph.graph.node:
            take_a_pixel_at_once(getCustomOp(node))
        for node in layers.matrix_units(graph):
            set_multiplier(node, ADDERS)
        graph = fifos.insert_fifos(fifos.insert_converters(graph, board.part), board)
    return Network(folder, graph, folder / "steps" / f"{flow.STEPS.index('golden') + 1:02d}_golden.onnx")


def take_a_pixel_at_once(layer: Any) -> None:
    whole = {
        "FMPadding": {"SIMD": "NumChannels"},
        "ConvolutionInputGenerator": {"SIMD": "IFMChannels"},
        "MVAU": {"PE": "MH", "SIMD": "MW"},
        "Thresholding": {"PE": "NumChannels"},
        "StreamingMaxPool": {"PE": "Channels"},
    }[layer.onnx_node.op_type.removesuffix("_rtl")]
    for folding, size in whole.items():
        layer.set_nodeattr(folding, layer.get_nodeattr(size))
    if "parallel_window" in layer.get_nodeattr_types():
        layer.set_nodeattr("parallel_window", 1)
        layer.set_nodeattr("ram_style", "distributed")


@pytest.fixture(scope="module")
def simulated(network: Network, board: Board) -> SimulatedStream:
    names = rtl.generate(network.graph, board, network.folder / "rtl")
    return compile_model([network.folder / "rtl" / name for name in names], "facedet_core", network.folder / "sim")


def units(graph: ModelWrapper) -> list[Any]:
    return [getCustomOp(node) for node in layers.matrix_units(graph)]


def test_no_weights_beside_it(network: Network, simulated: SimulatedStream) -> None:
    sources = {path.name for path in (network.folder / "rtl").iterdir()}
    assert not any("mvu" in name or "memstream" in name or "weights" in name for name in sources)
    top = (network.folder / "rtl" / "top.sv").read_text()
    assert "_weights" not in top and "ap_clk2x" not in top
    assert not any(streams_weights(layer) for layer in units(network.graph))


def test_equals_the_golden_model_at_a_pixel_a_cycle(
    network: Network, simulated: SimulatedStream, rng: np.random.Generator
) -> None:
    pixels = rng.integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    golden = OpenGolden(network.golden.read_bytes(), network.golden, threads=1)
    stream = rtl.stream_of(list(network.graph.graph.node))
    raw = np.stack([golden.run(picture)[-1] for picture in pixels]).astype(np.int64)
    wanted = pack(raw.reshape(3, -1, stream.lanes_out) % 2**stream.bits_out, stream.bits_out)
    words = pack(pixels.reshape(3, -1, 3), 8)
    for seed, (pause_in, pause_out) in enumerate([(0.0, 0.0), (0.4, 0.3), (0.0, 0.7)]):
        run = simulated.run(
            words, stream.beats_out, pause_in=pause_in, pause_out=pause_out, longest_pause=20, seed=seed
        )
        np.testing.assert_array_equal(run.words, wanted)
        if not seed:
            # The padded map, a pixel a cycle, and one cycle between frames.
            assert set(np.diff(run.last_output.astype(int))) == {(SIZE + 2) ** 2 + 1}


def test_cycles_and_resources(network: Network) -> None:
    first, head = units(network.graph)
    assert first.get_exp_cycles() == SIZE**2 and head.get_exp_cycles() == (SIZE // 2) ** 2
    assert first.dsp_estimation("") == 0 and first.bram_estimation("") == 0
    cost = first.resources(network.graph)
    assert cost == first.graph(network.graph).cost() and cost.dsp == 0 and cost.bram18 == 0 and cost.lut > 500
    with pytest.raises(InternalError, match="follow from its weights"):
        first.lut_estimation("")


@pytest.mark.parametrize(("folding", "lanes"), [("PE", 2), ("SIMD", 9)])
def test_it_takes_a_whole_vector(network: Network, board: Board, folding: str, lanes: int, tmp_path: Path) -> None:
    first, _ = units(ModelWrapper(network.graph.model))
    before = first.get_nodeattr(folding)
    first.set_nodeattr(folding, lanes)
    first.set_nodeattr("code_gen_dir_ipgen", str(tmp_path))
    try:
        for use in (first.get_exp_cycles, lambda: first.generate_hdl(network.graph, board.part, 10.0)):
            with pytest.raises(InternalError, match=rf"has {folding} {lanes}; a matrix unit of adders needs its M"):
                use()
    finally:
        first.set_nodeattr(folding, before)
    assert not list(tmp_path.iterdir())


def test_it_has_no_hls_form(network: Network) -> None:
    styles = {node.name: HLS for node in network.graph.graph.node}
    with pytest.raises(
        UserError, match=r"Layer MVAU\w*_0 is a matrix unit of adders, which has no HLS form; choose RTL"
    ):
        check_supported(network.graph, styles)
