"""What HLS layers cost: memories and multipliers counted by hand, LUTs by what they must grow with."""

import re
from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from fpga_facedet.boards import Board
from fpga_facedet.compiler import choices
from fpga_facedet.compiler import cost as rtl_cost
from fpga_facedet.compiler.cost import LUTRAM_DEPTH, RESOURCE_NAMES, Budget, Resources
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.hls import cost, styles
from fpga_facedet.compiler.hls.calls import (
    HlsLayer,
    MatrixVector,
    MaxPool,
    ParallelWindow,
    SlidingWindow,
    Stream,
    Values,
)
from fpga_facedet.compiler.hls.library import headers
from fpga_facedet.compiler.hls.plan import plan
from fpga_facedet.compiler.hls.styles import Styles
from fpga_facedet.compiler.matrix_units import DSP
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import HLS, RTL
from tests.compiler.conftest import Built


def stream(lanes: int, bits: int = 4, depth: int = 2) -> Stream:
    return Stream("before", Values(bits, signed=False), lanes, 100, depth)


def matrix(passes: int, words: int, pe: int, simd: int, weight_bits: int, value_bits: int) -> MatrixVector:
    weights = np.zeros((passes, words, pe, simd), np.int64)
    sums = Stream("unit", Values(16, signed=True), pe, 100)
    return MatrixVector("unit", stream(simd, value_bits), sums, 1, 10, weight_bits, weights, "block")


@pytest.mark.parametrize(
    ("call", "blocks"),
    [
        # 26 passes of 72 words of 4 x 7 weights of 4 bits: 1,872 words of 112 bits, 9 bits a block; the vector's 72
        # words of 28 bits take another.
        (matrix(26, 72, 4, 7, 4, 4), 13 + 1),
        # 512 words of 36 bits are one block; a vector of 64 words lies in LUTs.
        (matrix(8, 64, 3, 3, 4, 4), 1),
        # (3 - 1) * 28 + 3 + 1 pixels of 4 folds: 240 words of 32 bits.
        (SlidingWindow("window", stream(8), stream(8), 1, 28, 28, 32, (3, 3), (1, 1)), 1),
        # The one pixel more than a window spans counts: 7 * 74 = 518 words of 36 bits do not fit one block, 511 would.
        (SlidingWindow("window", stream(9), stream(9), 1, 35, 35, 63, (3, 3), (1, 1)), 2),
        # Three rows that take turns, each 418 words of 3 values of 8 bits: 24 bits, in a block of 36 each.
        (ParallelWindow("window", stream(3, 8), stream(27, 8), 1, 418, 418, 3, (3, 3), (1, 1)), 3),
        # 418 words of 5 values of 8 bits are 40 bits: two blocks a row.
        (ParallelWindow("window", stream(5, 8), stream(30, 8), 1, 418, 418, 5, (2, 3), (1, 1)), 4),
        # Short lines lie in LUTs.
        (ParallelWindow("window", stream(3, 8), stream(27, 8), 1, 64, 64, 3, (3, 3), (1, 1)), 0),
        (ParallelWindow("window", stream(3, 8), stream(3, 8), 1, 418, 418, 3, (1, 1), (2, 2)), 0),
        # 208 windows of 2 folds a row of pools: 416 words of 16 bits.
        (MaxPool("pool", stream(4), stream(4), 1, 416, 416, 8), 1),
        # 13 windows of 104 folds a row, 1,352 words of 4 bits; and 104 words for the pixel to the left.
        (MaxPool("pool", stream(1), stream(1), 1, 26, 26, 104), 2),
    ],
)  # fmt: skip
def test_block_rams_follow_from_the_memories(call: HlsLayer, blocks: int) -> None:
    assert cost.resources(call).bram18 == blocks


def test_rows_that_take_turns_are_chosen_by_a_lut_a_bit() -> None:
    def luts(rows: int) -> float:
        window = ParallelWindow("window", stream(3, 8), stream(9 * rows, 8), 1, 418, 418, 3, (rows, 3), (1, 1))
        return cost.resources(window).lut

    # Of two to four rows a LUT chooses, of five to seven two.
    assert [luts(rows) - luts(1) for rows in (2, 3, 4, 5)] == [24, 48, 72, 4 * 24 * 2]


def test_one_word_is_no_memory() -> None:
    assert cost.resources(matrix(1, 1, 4, 9, 4, 4)).lut == cost.resources(matrix(2, 1, 4, 9, 4, 4)).lut - 4 * 9 * 4 / 2
    folded, whole = (MaxPool("pool", stream(4), stream(4), 1, 8, 8, channels) for channels in (8, 4))
    # 2 words to the left, 8 above; or a register, and 4 above: half a LUT a bit, up to 32 words.
    assert cost.resources(folded).lut - cost.resources(whole).lut == 16 / 2


def test_a_deep_stream_is_a_block_ram_in_front_of_its_layer() -> None:
    pool = MaxPool("pool", stream(4), stream(4), 1, 8, 8, 8)
    deep = replace(pool, source=stream(4, depth=1024))
    assert cost.resources(deep).bram18 - cost.resources(pool).bram18 == 1


@pytest.mark.parametrize(("weight_bits", "value_bits", "dsp"), [(8, 8, 108), (8, 3, 108), (8, 2, 0), (4, 4, 0)])
def test_products_of_more_than_ten_bits_are_a_dsp_each(weight_bits: int, value_bits: int, dsp: int) -> None:
    assert cost.resources(matrix(2, 1, 4, 27, weight_bits, value_bits)).dsp == dsp


def test_products_in_luts_grow_with_both_factors() -> None:
    by_bits = [
        cost.resources(matrix(2, 1, 4, 9, bits, values)).lut for bits, values in ((2, 4), (4, 4), (4, 5), (5, 5))
    ]
    assert by_bits == sorted(set(by_bits))
    # 36 products of 4 x 4 bits: 4 rows of 5 adders each.
    luts = cost.resources(matrix(2, 1, 4, 9, 4, 4)).lut
    assert 36 * 20 < luts < 36 * 60


def test_each_layer_of_an_accelerator_costs_something(built: Built) -> None:
    graph = built.graph("fifos")
    with finn_session():
        parts = styles.segments(graph, Styles.hls().of_graph(graph))
        found = cost.by_node(graph, parts)
        calls = {call.function for call in plan(graph, parts[0].nodes)}
    assert calls >= {"pad", "sliding_window", "matrix_vector", "thresholds_by_search", "max_pool_2x2", "convert_width"}
    assert list(found) == [node.name for node in graph.graph.node]
    for name, used in found.items():
        assert (used == Resources()) == name.startswith("StreamingFIFO"), name


def test_each_part_costs_what_its_style_does(built: Built) -> None:
    graph = built.graph("fifos")
    with finn_session():
        rtl, hls, mixed = (
            cost.by_node(graph, styles.segments(graph, chosen.of_graph(graph)))
            for chosen in (Styles.rtl(), Styles.hls(), Styles(RTL, (("*_2", HLS),)))
        )
    assert mixed["MVAU_rtl_2"] == hls["MVAU_rtl_2"] != rtl["MVAU_rtl_2"]
    assert mixed["MVAU_rtl_1"] == rtl["MVAU_rtl_1"] != hls["MVAU_rtl_1"]


def test_rtl_multiplies_with_the_boards_own_slices(built: Built, board: Board) -> None:
    """A DSP48E2 packs the products of 4 bits as a DSP48E1 does not: the part decides."""
    graph = built.graph("specialise")
    larger = replace(board, part="xczu3eg-sbva484-1-e")
    with finn_session():
        choices.apply(graph.get_node_from_name("MVAU_rtl_1"), {"PE": 4, "SIMD": 3}, DSP)
        parts = styles.segments(graph, Styles.rtl().of_graph(graph))
        found = cost.by_node(graph, parts, larger)
        assert found == {node.name: rtl_cost.resources(node, graph, larger) for node in graph.graph.node}
        assert found != cost.by_node(graph, parts, board)


def test_registers_of_a_layer_grow_with_what_is_kept() -> None:
    shallow, wide = cost.resources(matrix(2, 1, 4, 9, 8, 8)), cost.resources(matrix(2, 1, 8, 9, 8, 8))
    assert 0 < shallow.ff < wide.ff
    # Products that LUTs make stay in flip-flops, 36 of 9 bits here; those of a DSP in its own.
    in_luts, in_dsps = cost.resources(matrix(2, 1, 4, 9, 4, 5)), cost.resources(matrix(2, 1, 4, 9, 8, 5))
    assert in_luts.ff >= 36 * 9 > in_dsps.ff - shallow.ff


@pytest.mark.parametrize(
    ("kind", "title"), [("lut", "LUTs"), ("ff", "flip-flops"), ("bram18", "18-kbit block RAMs"), ("dsp", "DSPs")]
)
def test_what_does_not_fit_is_named(kind: str, title: str, built: Built, board: Board) -> None:
    graph = built.graph("fifos")
    with finn_session():
        parts = styles.segments(graph, Styles.hls().of_graph(graph))
        cost.check_fits(graph, parts, board)
        exact = ceil(sum(getattr(used, kind) for used in cost.by_node(graph, parts).values()))
        cost.check_fits(graph, parts, replace(board, **{kind: exact}))
        with pytest.raises(UserError, match=rf"takes {exact:,} of the {exact - 1:,} {title} of TUL PYNQ-Z2"):
            cost.check_fits(graph, parts, replace(board, **{kind: exact - 1}))
        half, limit = Budget(**{kind: 0.5}), 2 * exact
        whole = dict.fromkeys(RESOURCE_NAMES, 10**9)
        cost.check_fits(graph, parts, replace(board, **whole | {kind: limit}), half)
        with pytest.raises(UserError, match=rf"takes {exact:,} of the {exact - 1:,} {title} of the budget on TUL"):
            cost.check_fits(graph, parts, replace(board, **whole | {kind: limit - 2}), half)
        rtl = styles.segments(graph, Styles.rtl().of_graph(graph))
        cost.check_fits(graph, rtl, replace(board, lut=1))


@pytest.mark.parametrize(
    ("name", "words"), [("LUTRAM_WORDS", LUTRAM_DEPTH), ("SEARCH_LUTRAM_WORDS", cost.SEARCH_LUTRAM_WORDS)]
)
def test_the_headers_bind_memories_by_the_same_depths(name: str, words: int) -> None:
    text = "".join(path.read_text() for path in headers())
    assert re.findall(rf"constexpr int {name} = (\d+);", text) == [str(words)]
