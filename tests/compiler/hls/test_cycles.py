"""Trip counts against loops that are written out, and pipelines that make a layer only a little slower."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from onnx import NodeProto, helper
from qonnx.custom_op.registry import getCustomOp

from fpga_facedet.compiler.hls.cycles import interval, trips
from tests.compiler.conftest import Built


def window(height: int, width: int, kernel: int, stride: int, channels: int, simd: int, parallel: int = 0) -> NodeProto:
    """A sliding window as FINN describes it."""
    return helper.make_node(
        "ConvolutionInputGenerator_rtl", ["in"], ["out"], domain="finn.custom_op.fpgadataflow.rtl",
        backend="fpgadataflow", name="window", ConvKernelDim=[kernel, kernel], Stride=[stride, stride],
        IFMDim=[height, width], OFMDim=[(height - kernel) // stride + 1, (width - kernel) // stride + 1],
        IFMChannels=channels, SIMD=simd, parallel_window=parallel, Dilation=[1, 1], depthwise=0,
        inputDataType="UINT4", outputDataType="UINT4", M=1, is1D=0, dynamic_mode=0,
    )  # fmt: skip


def iterations_of_a_window(height: int, width: int, kernel: int, stride: int, folds: int) -> int:
    """Go through the pixels as sliding_window.hpp says: the window that a pixel completes leaves in the next step."""
    completed, count = False, 0
    for pixel in range(height * width + 1):
        taken = folds if pixel < height * width else 0
        count += kernel * kernel * folds if completed else taken
        row, column = divmod(pixel, width)
        completed = row >= kernel - 1 and column >= kernel - 1
        completed = completed and (row - kernel + 1) % stride == (column - kernel + 1) % stride == 0
    return count


@settings(max_examples=150)
@given(some.integers(1, 9), some.integers(1, 9), some.integers(1, 4), some.integers(1, 3), some.integers(1, 3))
def test_a_sliding_window_step_by_step(height: int, width: int, kernel: int, stride: int, folds: int) -> None:
    kernel = min(kernel, height, width)
    node = window(height, width, kernel, stride, 4 * folds, 4)
    assert trips(node) == iterations_of_a_window(height, width, kernel, stride, folds)


def test_a_parallel_window_takes_a_pixel_a_trip() -> None:
    assert trips(window(7, 5, 3, 2, 6, 6, parallel=1)) == 35


def test_the_layers_of_an_accelerator(built_hls: Built) -> None:
    """Each loop is as long as the busier of its streams, a matrix unit's as all words of all passes."""
    checked = set()
    for node in built_hls.graph("fifos").graph.node:
        layer, op = getCustomOp(node), node.op_type.removesuffix("_rtl")
        beats = [prod(shape[:-1]) for shape in (layer.get_folded_input_shape(), layer.get_folded_output_shape())]
        if op == "MVAU":
            weights = layer.get_nodeattr("MW") * layer.get_nodeattr("MH")
            vectors = beats[0] * layer.get_nodeattr("SIMD") // layer.get_nodeattr("MW")
            expected = vectors * weights // (layer.get_nodeattr("SIMD") * layer.get_nodeattr("PE"))
        elif op == "ConvolutionInputGenerator":
            continue
        else:
            expected = 0 if op == "StreamingFIFO" else max(beats)
        assert trips(node) == expected, node.name
        checked.add(op)
    assert checked == {"FMPadding", "MVAU", "Thresholding", "StreamingMaxPool", "StreamingDataWidthConverter",
                       "StreamingFIFO"}  # fmt: skip


def test_a_pipeline_adds_a_few_cycles_a_frame(built_hls: Built) -> None:
    for node in built_hls.graph("fifos").graph.node:
        assert 4 <= interval(node) - trips(node) <= 30, node.name


@pytest.mark.parametrize(("simd", "more"), [(1, 0), (2, 1), (3, 2), (27, 5)])
def test_an_adder_tree_has_a_level_for_each_doubling(simd: int, more: int) -> None:
    def unit(columns: int) -> NodeProto:
        return helper.make_node(
            "MVAU_rtl", ["in", "weights"], ["out"], domain="finn.custom_op.fpgadataflow.rtl", backend="fpgadataflow",
            MW=columns, MH=2, SIMD=columns, PE=2, inputDataType="UINT4", weightDataType="INT4", outputDataType="INT9",
            numInputVectors=[1, 10],
        )  # fmt: skip

    assert trips(unit(simd)) == 10
    assert interval(unit(simd)) - interval(unit(1)) == more
