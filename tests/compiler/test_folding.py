from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from fpga_facedet.boards import Board
from fpga_facedet.compiler import folding
from fpga_facedet.compiler.cost import Resources, converter
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.folding import Folding
from fpga_facedet.errors import UserError
from tests.compiler.conftest import Built


def choice(lanes_in: int, lanes_out: int, cycles: int, lut: float, **feeding: int) -> Folding:
    return Folding((("PE", lanes_out),), 4 * lanes_in, 4 * lanes_out, cycles, Resources(lut=lut), **feeding)


def share(chain: tuple[Folding, ...], board: Board, most_cycles: int) -> float:
    """What a chain costs, infinite where it is too slow or does not join."""
    joints = [converter(a.bits_out, b.bits_in) for a, b in pairwise(chain)]
    if None in joints or max(folding.cycles_of(list(chain))) > most_cycles:
        return float("inf")
    return sum(part.cost.share_of(board) for part in chain) + sum(joint.share_of(board) for joint in joints if joint)


@pytest.mark.parametrize("seed", range(20))
def test_finds_the_cheapest_chain_of_all(seed: int, board: Board) -> None:
    random = np.random.default_rng(seed)
    lanes = [1, 2, 3, 4, 6]
    choices = []
    for layer in range(4):
        feeding = {"vectors": 10, "words": 6, "passes": 3} if layer == 2 else {"refill": 20} if layer == 1 else {}
        choices.append(
            [
                choice(
                    *random.choice(lanes, 2), int(random.integers(50, 400)), float(random.integers(1, 500)), **feeding
                )
                for _ in range(5)
            ]
        )
    for most in (100, 200, 300, 500):
        found = folding.cheapest(choices, board, most)
        best = min(share(chain, board, most) for chain in product(*choices))
        if found is None:
            assert best == float("inf")
        else:
            assert share(tuple(found), board, most) == pytest.approx(best)


def test_a_matrix_unit_waits_for_words_it_has_no_place_for() -> None:
    # 18 words in a buffer of 32: 14 come early, 4 in the last pass, each after 8 cycles.
    unit = choice(8, 4, 18 * 8 * 100, 0, vectors=100, words=18, passes=8)
    source = choice(1, 8, 18 * 8 * 100, 0, refill=30)
    assert unit.cycles_behind(source) == (18 * 8 + 4 * 8 - 18) * 100 + 30
    fast = choice(8, 8, 18 * 100, 0, refill=30)
    assert unit.cycles_behind(fast) == 18 * 8 * 100 + 30


def test_a_single_pass_goes_at_the_pace_of_its_source() -> None:
    unit = choice(8, 8, 900, 0, vectors=100, words=9, passes=1)
    assert unit.cycles_behind(choice(8, 8, 1000, 0, refill=5)) == 1005


def test_an_hls_unit_waits_for_a_slower_source_alone() -> None:
    """Its stream holds a whole vector: what holds the RTL up (above) costs nothing here."""
    unit = choice(8, 4, 0, 0, hls_cycles=18 * 8 * 100 + 9, vectors=100, words=18, passes=8)
    source = choice(1, 8, 0, 0, hls_cycles=18 * 8 * 100, refill=30)
    assert unit.hls_cycles_behind(source) == 18 * 8 * 100 + 9 + 30
    assert unit.hls_cycles_behind(replace(source, hls_cycles=20_000)) == 20_030
    assert unit.hls_cycles_behind(None) == unit.hls_cycles
    assert source.hls_cycles_behind(unit) == source.hls_cycles


def test_the_slower_style_decides(board: Board) -> None:
    first = [choice(2, 2, 100, 50), choice(2, 2, 100, 90, hls_cycles=80)]
    assert folding.cheapest([first], board, 100) == [first[0]]
    slow = [replace(first[0], hls_cycles=101), first[1]]
    assert slow[0].cycles == 101 and folding.cycles_of([slow[0]]) == [101]
    assert folding.cheapest([slow], board, 100) == [first[1]]
    unit = choice(2, 2, 90, 0, hls_cycles=90, vectors=10, words=9, passes=1)
    source = choice(2, 2, 90, 0, hls_cycles=98, refill=5)
    assert folding.cheapest([[source], [unit]], board, 102) is None
    assert folding.cheapest([[source], [unit]], board, 103) == [source, unit]


def test_every_folding_knows_the_cycles_of_both_styles(built: Built) -> None:
    with finn_session():
        for node in built.graph("specialise").graph.node:
            for found in folding.foldings_of(node):
                # The styles do the same work: they differ by what a pipeline and a window's first pixels take.
                assert found.rtl_cycles > 0 and found.hls_cycles > 0
                if node.op_type != "ConvolutionInputGenerator_rtl":
                    assert 0 < found.hls_cycles - found.rtl_cycles < 40, (node.name, found)


def test_reaches_the_target_with_whole_ratios(built: Built, board: Board) -> None:
    assert built.manifest.figure("fps").value >= 20_000
    assert max(layer.cycles for layer in built.manifest.layers) <= board.clock_mhz * 1e6 / 20_000


def test_a_whole_pixel_enters_at_any_speed(built: Built, board: Board) -> None:
    with finn_session():
        graph = folding.fold(built.graph("specialise"), board, 200)
    assert [attribute.i for attribute in graph.graph.node[0].attribute if attribute.name == "SIMD"] == [3]


def test_more_speed_takes_more_of_the_chip(built: Built, board: Board) -> None:
    with finn_session():
        choices = [folding.foldings_of(node) for node in built.graph("specialise").graph.node]
    shares = [
        share(tuple(folding.cheapest(choices, board, cycles)), board, cycles) for cycles in (40_000, 8_000, 3_000)
    ]
    assert shares == sorted(shares)


def test_no_beat_is_wider_than_asked(built: Built, board: Board) -> None:
    from qonnx.custom_op.registry import getCustomOp

    def widest(limit: int | None) -> int:
        with finn_session():
            folded = folding.fold(built.graph("specialise"), board, 2_000, limit)
        layers = [getCustomOp(node) for node in folded.graph.node]
        return max(max(layer.get_instream_width(), layer.get_outstream_width()) for layer in layers)

    free = widest(None)
    assert widest(free - 1) < free


def test_says_the_best_when_the_target_is_out_of_reach(built: Built, board: Board) -> None:
    graph = built.graph("specialise")
    with finn_session():
        with pytest.raises(
            UserError, match=r"out of reach on TUL PYNQ-Z2 at 100 MHz; the best this network can do is"
        ) as raised:
            folding.fold(graph, board, 1_000_000)
        best = float(str(raised.value).rstrip(".").split()[-1])
        folding.fold(graph, board, best)


@pytest.mark.parametrize("target", [0, -5, float("nan"), float("inf")])
def test_refuses_senseless_targets(built: Built, board: Board, target: float) -> None:
    with finn_session(), pytest.raises(UserError, match="makes no sense; give a positive number"):
        folding.fold(built.graph("specialise"), board, target)


def small_board(board: Board, dsp: int) -> Board:
    return Board("tiny", "Tiny", board.part, board.clock_mhz, board.lut, board.ff, board.bram18, dsp)


def test_without_a_target_takes_the_best_that_fits(built: Built, board: Board) -> None:
    # The small network reaches the default easily: a chip with few DSPs cannot.
    with finn_session():
        choices = [folding.foldings_of(node) for node in built.graph("specialise").graph.node]
        tight = small_board(board, 6)
        best, fps = folding.fastest(choices, tight)
    assert best is not None and 0 < fps < 20_000
    assert folding._total(best).fits(tight)


def test_a_network_that_fits_at_no_speed(built: Built, board: Board) -> None:
    with finn_session(), pytest.raises(UserError, match="does not fit Tiny at any speed"):
        folding.fold(built.graph("specialise"), small_board(board, 1))
