"""The opened golden model against QONNX's own execution, step by step."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from qonnx.core.onnx_exec import execute_onnx

from fpga_facedet.compiler import integer
from fpga_facedet.compiler.golden_streams import GoldenStep, open_up
from tests.compiler.test_integer import Chain, forms, telling_frames, trained_thresholds, weights_of

KINDS = {"MatMul": "convolution", "MultiThreshold": "thresholds", "MaxPoolNHWC": "pool"}


def detector(rng: np.random.Generator) -> Chain:
    """Two pools in a row, a stride, a 1x1 convolution, uneven pads; thresholds of every form; not square."""
    chain = Chain(16, 24).convolve(weights_of(rng, 8, 3, 3, 3, 4), pads=(1, 1, 1, 1))
    chain.threshold(trained_thresholds(rng, 4, 15, 60000)).pool().pool()
    chain.convolve(weights_of(rng, 4, 3, 1, 4, 6), (2, 1), (1, 0, 2, 0))
    chain.threshold(rng.uniform(-900, 900, (6, 15))).pool((2, 2), (1, 2))
    chain.convolve(weights_of(rng, 4, 1, 1, 6, 2))
    return chain.threshold(np.ceil(trained_thresholds(rng, 2, 255, 500)), 1.0, -128, "INT8")


def falling_levels(rng: np.random.Generator) -> Chain:
    chain = Chain(8, 8).convolve(weights_of(rng, 4, 3, 3, 3, 4))
    return chain.threshold(trained_thresholds(rng, 4, 15, 3000), -2.0, 3.0, "INT8").pool()


def run(model: bytes, steps: tuple[GoldenStep, ...], frames: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float64]]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    *found, raw = session.run([*(step.output for step in steps), "raw"], {"frame": frames})
    np.testing.assert_array_equal(raw, found[-1].transpose(0, 2, 3, 1))
    return [value.transpose(0, 2, 3, 1).astype(np.float64) for value in found]


@pytest.mark.parametrize("make", [detector, falling_levels])
def test_every_step_equals_the_streamlined_graph(
    make: Callable[[np.random.Generator], Chain], rng: np.random.Generator
) -> None:
    chain = make(rng)
    streamlined = chain.model()
    opened, steps = open_up(integer.build(streamlined).SerializeToString())
    nodes = [node for node in streamlined.graph.node if node.op_type in KINDS]
    assert [step.kind for step in steps] == [KINDS[node.op_type] for node in nodes]
    frames = telling_frames(rng, chain.shapes[0])
    found = run(opened, steps, frames)
    for number, frame in enumerate(frames):
        context = execute_onnx(streamlined, {"x0": frame[None].astype(np.float32)}, return_full_exec_context=True)
        for node, value in zip(nodes, found, strict=True):
            np.testing.assert_array_equal(value[number], context[node.output[0]][0], node.name)


def test_steps_say_how_their_windows_move(rng: np.random.Generator) -> None:
    _, steps = open_up(integer.build(detector(rng).model()).SerializeToString())
    assert [(step.kernel, step.strides, step.pads) for step in steps if step.kind == "convolution"] == [
        ((3, 3), (1, 1), (1, 1, 1, 1)),
        ((3, 1), (2, 1), (1, 0, 2, 0)),
        ((1, 1), (1, 1), (0, 0, 0, 0)),
    ]
    assert [(step.kernel, step.strides) for step in steps if step.kind == "pool"] == [
        ((2, 2), (2, 2)),
        ((2, 2), (2, 2)),
        ((2, 2), (1, 2)),
    ]


@pytest.mark.parametrize("even", [True, False])
def test_sums_in_float64(even: bool, rng: np.random.Generator) -> None:
    """Sums that can go beyond 2^24 come out of several convolutions; QONNX rounds them: integers are the reference."""
    expand, gather = weights_of(rng, 4, 3, 600), np.full((600, 2), 127)
    gather[::7, 1] = -126
    first, last = np.array([[-200, 0, 900]]), np.linspace(-3e6, 19e6, 255)[None].round() + np.array([[0], [11]])
    if not even:
        last = rng.integers(-3_000_000, 19_000_000, (2, 255))
    last = last.astype(np.float32)
    chain = Chain(6, 6).convolve(expand[None, None]).threshold(first, 85.0).convolve(gather[None, None])
    built = integer.build(chain.threshold(last, 1.0, -128, "INT8").pool().model())
    assert forms(built)[1] == ("float64" if even else "search")
    opened, steps = open_up(built.SerializeToString())
    frames = telling_frames(rng, chain.shapes[0])
    hidden = 85 * np.count_nonzero((frames.astype(np.int64) @ expand)[..., None] >= first, axis=-1)
    sums = hidden @ gather
    levels = np.count_nonzero(sums[..., None] >= last.astype(np.float64), axis=-1) - 128
    found = run(opened, steps, frames)
    np.testing.assert_array_equal(found[2], sums)
    np.testing.assert_array_equal(found[3], levels)
    np.testing.assert_array_equal(found[4], levels.reshape(-1, 3, 2, 3, 2, 2).max(axis=(2, 4)))
