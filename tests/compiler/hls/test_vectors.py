"""The words at the ends of segments: the values between layers, in the order of the stream."""

from itertools import pairwise

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from fpga_facedet.beats import unpack
from fpga_facedet.compiler.equivalence import execute, noise, scene
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.hls import styles, vectors
from fpga_facedet.compiler.hls.styles import Styles
from fpga_facedet.compiler.rtl import stream_of
from fpga_facedet.manifest import HLS, RTL
from tests.compiler.conftest import Built

PICTURES = [make(32, 64, 3) for make in (noise, scene)]


@pytest.fixture(scope="module")
def graph(built: Built) -> ModelWrapper:
    return built.graph("fifos")


def test_the_ends_are_pixels_and_outputs(graph: ModelWrapper) -> None:
    parts = styles.segments(graph, Styles.hls().of_graph(graph))
    with finn_session():
        ((name, (entered, left)),) = vectors.record(graph, parts, PICTURES).items()
        expected = [execute(graph, picture[None]).ravel() for picture in PICTURES]
    assert name == "facedet_hls_0"
    np.testing.assert_array_equal(entered, np.stack(PICTURES).reshape(2, -1, 3))
    np.testing.assert_array_equal(left.view(np.int8).reshape(2, -1), np.stack(expected))


def test_what_leaves_a_segment_enters_the_next(graph: ModelWrapper) -> None:
    """Signed sums of odd widths cross between a matrix unit and its thresholds: the same words on both sides."""
    found = Styles(RTL, (("MVAU_*", HLS),)).of_graph(graph)
    parts = styles.segments(graph, found)
    with finn_session():
        words = vectors.record(graph, parts, PICTURES)
    for before, behind in pairwise(parts):
        np.testing.assert_array_equal(words[before.name][1], words[behind.name][0])
    sums = next(part for part in parts if part.nodes[0].name == "MVAU_rtl_0")
    stream = stream_of(sums.nodes)
    values = unpack(words[sums.name][1], stream.lanes_out, stream.bits_out, signed=True)
    assert values.min() < 0 < values.max() and stream.bits_out > 8
    weights = graph.get_initializer(sums.nodes[0].input[1]).astype(np.int64)
    entered = unpack(words[sums.name][0], stream.lanes_in, stream.bits_in, signed=False)
    expected = entered.reshape(2, -1, len(weights)).astype(np.int64) @ weights
    np.testing.assert_array_equal(values.reshape(expected.shape), expected)
