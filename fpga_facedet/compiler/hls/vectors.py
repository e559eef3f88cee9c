"""What crosses the ends of the HLS segments on a few frames: the words that a C++ test bench reads and compares."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.beats import pack
from fpga_facedet.compiler.equivalence import Pixels
from fpga_facedet.compiler.hls.styles import Segment

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

Words = npt.NDArray[np.uint8]
"""Words of a stream, (frames, beats, bytes), least significant byte first."""


def record(
    graph: "ModelWrapper", segments: Sequence[Segment], pictures: Iterable[Pixels]
) -> dict[str, tuple[Words, Words]]:
    """Execute a folded graph on `pictures`, uint8 (H, W, C); return the words into and out of each segment by name."""
    frames = []
    for picture in pictures:
        tensors = _tensors(graph, picture)
        frames.append({segment.name: _ends(segment, tensors) for segment in segments})
    return {name: (_frames(frames, name, 0), _frames(frames, name, 1)) for name in frames[0]}


def _frames(frames: list[dict[str, tuple[Words, Words]]], name: str, end: int) -> Words:
    return np.stack([frame[name][end] for frame in frames])


def _tensors(graph: "ModelWrapper", picture: Pixels) -> dict[str, npt.NDArray[np.float32]]:
    """Return every tensor of one execution by name; those between layers are NHWC."""
    from finn.core.onnx_exec import execute_onnx

    feed = {graph.graph.input[0].name: picture[None].astype(np.float32)}
    tensors: dict[str, npt.NDArray[np.float32]] = execute_onnx(graph, feed, return_full_exec_context=True)
    return tensors


def _ends(segment: Segment, tensors: dict[str, npt.NDArray[np.float32]]) -> tuple[Words, Words]:
    from qonnx.custom_op.registry import getCustomOp

    first, last = segment.nodes[0], segment.nodes[-1]
    source, sink = getCustomOp(first), getCustomOp(last)
    return (
        _words(tensors[first.input[0]], source.get_folded_input_shape(), source.get_input_datatype(0)),
        _words(tensors[last.output[0]], sink.get_folded_output_shape(), sink.get_output_datatype()),
    )


def _words(values: npt.NDArray[np.float32], folded: tuple[int, ...], kind: Any) -> Words:
    """Return the words of a tensor: its values in the order of memory, as many a beat as the folding says."""
    return pack(values.astype(np.int64).reshape(-1, folded[-1]), kind.bitwidth())
