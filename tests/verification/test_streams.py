"""Expected streams against FINN's own execution of the folded graph, layer by layer; how a wrong one is told."""

from dataclasses import replace

import numpy as np
import pytest
from finn.core.onnx_exec import execute_onnx
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from fpga_facedet.compiler import flow
from fpga_facedet.compiler.golden_streams import GoldenStep
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import LayerInfo, Manifest
from fpga_facedet.verification.streams import LayerComparison, LayerStream, compare, layer_streams

from . import small


def test_every_stream_is_that_of_the_folded_graph(rng: np.random.Generator) -> None:
    folder = small.accelerator()
    golden = GoldenEngine(folder).opened()
    frame = rng.integers(0, 256, (64, 64, 3), np.uint8)
    values = golden.run(frame)
    streams = {stream.layer.name: stream for stream in layer_streams(Manifest.load(folder).layers, golden.steps)}
    number = flow.STEPS.index("fifos") + 1
    graph = ModelWrapper(str(folder / "steps" / f"{number:02d}_fifos.onnx"))
    feed = {graph.graph.input[0].name: frame[None].astype(np.float32)}
    tensors = execute_onnx(graph, feed, return_full_exec_context=True)
    layers = [node for node in graph.graph.node if node.op_type != "StreamingFIFO_rtl"]
    assert [node.name for node in layers] == list(streams)
    assert {streams[node.name].layer.op for node in layers} == {
        "FMPadding", "ConvolutionInputGenerator", "StreamingDataWidthConverter", "MVAU", "Thresholding",
        "StreamingMaxPool",
    }  # fmt: skip
    windows = [getCustomOp(n).get_nodeattr("parallel_window") for n in layers if "InputGenerator" in n.op_type]
    assert set(windows) == {0, 1}
    for node in layers:
        folded = getCustomOp(node).get_folded_output_shape()
        expected = streams[node.name].expected(values)
        assert expected.dtype == np.int32 and streams[node.name].lanes == folded[-1], node.name
        wanted = tensors[node.output[0]].reshape(-1, folded[-1])
        np.testing.assert_array_equal(expected.reshape(-1, folded[-1]), wanted, node.name)


def layer(name: str, op: str, **folding: int) -> LayerInfo:
    return LayerInfo(name, op, folding, {}, 1, {})


STEPS = (
    GoldenStep("convolution", "a", (2, 3), (1, 1), (0, 0, 0, 0)),
    GoldenStep("thresholds", "b"),
)
LAYERS = (
    layer("ConvolutionInputGenerator_rtl_0", "ConvolutionInputGenerator", SIMD=1, parallel_window=0),
    layer("MVAU_rtl_0", "MVAU", PE=2, SIMD=1),
    layer("Thresholding_rtl_0", "Thresholding", PE=1),
)


@pytest.mark.parametrize(
    ("layers", "complaint"),
    [
        (LAYERS[:2], r"no layer does the golden model's step 1 \(thresholds\)"),
        (LAYERS[::2], r"layer Thresholding_rtl_0 \(Thresholding\) stands where .* a step of kind 'convolution'"),
        ((*LAYERS, LAYERS[1]), r"layer MVAU_rtl_0 \(MVAU\) stands where the golden model has no step left"),
        ((*LAYERS, LAYERS[0]), "ConvolutionInputGenerator.* no step left"),
        ((layer("AddStreams_0", "AddStreams"),), "AddStreams_0"),
    ],
)
def test_layers_of_another_model(layers: tuple[LayerInfo, ...], complaint: str) -> None:
    with pytest.raises(UserError, match=f"not those of the golden model beside it: .*{complaint}.*build"):
        layer_streams(layers, STEPS)


def test_a_difference_is_placed_in_the_stream_and_in_the_picture(rng: np.random.Generator) -> None:
    window, sums, _ = layer_streams(LAYERS, STEPS)
    pixels = rng.integers(0, 256, (4, 5, 3)).astype(np.int32)
    golden = window.expected([pixels])
    assert golden.shape == (3, 3, 2, 3, 3)
    found = golden.reshape(-1, 1).copy()
    assert compare(window, golden, found, 4) == LayerComparison(
        "ConvolutionInputGenerator_0", "ConvolutionInputGenerator", golden.size
    )
    # Row 2, column 1, second row and third column of its window, channel 1; and a later one.
    place = int(np.ravel_multi_index((2, 1, 1, 2, 1), golden.shape))
    found[place] -= 300
    found[place + 5] += 1
    compared = compare(window, golden, found, 4)
    assert (compared.values, compared.mismatched) == (golden.size, 2)
    first = compared.first
    assert first is not None
    assert (first.layer, first.frame, first.beat, first.lane) == ("ConvolutionInputGenerator_0", 4, place, 0)
    assert (first.row, first.column, first.tap, first.channel) == (2, 1, (1, 2), 1)
    assert (first.golden, first.found) == (pixels[3, 3, 1], pixels[3, 3, 1] - 300)
    assert f"frame 4, beat {place}, lane 0 (pixel in row 2, column 1, row 1 and column 2 of its window, channel 1)" in (
        first.describe()
    )
    golden = np.zeros((2, 2, 4), np.int32)
    found = golden.reshape(-1, 2).copy()
    found[5, 1] = 9
    first = compare(sums, golden, found, 0).first
    assert first is not None
    assert (first.beat, first.lane, first.row, first.column, first.tap, first.channel) == (5, 1, 1, 0, None, 3)


def test_comparisons_add_up() -> None:
    _, sums, _ = layer_streams(LAYERS, STEPS)
    golden = np.zeros((1, 2, 4), np.int32)
    wrong = np.ones((4, 2), np.int32)
    right, second, third = (compare(sums, golden, value, n) for n, value in enumerate((0 * wrong, wrong, wrong)))
    total = right + second + third
    assert (total.values, total.mismatched, total.first) == (24, 16, second.first)


def test_another_number_of_beats_or_lanes() -> None:
    _, sums, _ = layer_streams(LAYERS, STEPS)
    golden = np.zeros((1, 2, 4), np.int32)
    for found in (np.zeros((3, 2), np.int32), np.zeros((2, 4), np.int32)):
        with pytest.raises(InternalError, match=r"MVAU_0 put out \d beats of \d values for frame 3, not 4 of 2"):
            compare(sums, golden, found, 3)


def test_a_converter_in_front_of_everything_passes_the_frame_on(rng: np.random.Generator) -> None:
    layers = (layer("StreamingDataWidthConverter_0", "StreamingDataWidthConverter", lanes_in=3, lanes_out=1), *LAYERS)
    first: LayerStream = layer_streams(layers, STEPS)[0]
    pixels = rng.integers(0, 256, (4, 5, 3)).astype(np.int32)
    np.testing.assert_array_equal(first.expected([pixels]), pixels)
    assert first.lanes == 1 and replace(layers[0], folding={}) != layers[0]
