"""The folding search against brute force, on short chains with every kind of coupling."""

from itertools import product

import numpy as np
import pytest

from fpga_facedet.boards import Board
from fpga_facedet.compiler import paths, search
from fpga_facedet.compiler.choices import Folding, Layer
from fpga_facedet.compiler.cost import Resources, converter, fifo
from fpga_facedet.compiler.fifos import cheapest_memory, roomiest
from fpga_facedet.compiler.hls import cost as hls_cost
from fpga_facedet.compiler.search import Chain, Space
from fpga_facedet.compiler.timing import PaddingTiming, Timing, UnitTiming, WindowTiming

LANES = [1, 2, 3, 4, 6]
KINDS = ("stream", "padding", "window", "unit", "stream", "unit")


def timing(kind: str, lanes: int, random: np.random.Generator) -> Timing:
    cycles = int(random.integers(50, 400))
    if kind == "padding":
        return PaddingTiming(cycles, lanes, pixel_cycles=int(random.integers(1, 4)))
    if kind == "window":
        return WindowTiming(
            0, lanes, height=6, width=5, kernel=(3, 3), pixel_cycles=int(random.integers(1, 3)),
            window_cycles=int(random.integers(1, 12)), reads_ahead=bool(random.integers(2)),
        ).behind(None)  # fmt: skip
    if kind == "unit":
        words, passes = (int(number) for number in random.integers(1, 7, 2))
        return UnitTiming(cycles, lanes, vectors=12, words=words, passes=passes, lanes_in=int(random.choice(LANES)))
    return Timing(cycles, lanes)


def layers(seed: int, count: int = 5) -> list[Layer]:
    """A pipeline of random foldings; a FIFO stands before the padding and before the last matrix unit."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        foldings = []
        for _ in range(4):
            into, out = (int(lanes) for lanes in random.choice(LANES, 2))
            lut, ff, bram18, dsp = (float(amount) for amount in random.integers(1, 40, 4))
            cost = Resources(lut=100 * lut, ff=ff, bram18=bram18, dsp=dsp)
            foldings.append(Folding((), 4 * into, 4 * out, timing(KINDS[number], out, random), cost))
        waiting = 40 if number in (1, 5) else 0
        found.append(Layer(f"layer_{number}", "rtl", foldings, waiting, pixel_bits=24))
    found[0].foldings[:] = [folding for folding in found[0].foldings if folding.bits_in == found[0].foldings[0].bits_in]
    return found


def every_chain(layers: list[Layer], board: Board) -> list[tuple[int, np.ndarray]]:
    """Return cycles and resources of each chain whose widths join, as the definition says, one by one."""
    found = []
    for chain in product(*(layer.foldings for layer in layers)):
        used, cycles, source, width = np.zeros(4), 0, None, chain[0].bits_in
        for layer, folding in zip(layers, chain, strict=True):
            joint = converter(width, folding.bits_in)
            if joint is None:
                break
            if layer.waiting:
                beats = {bits: -(-layer.waiting * layer.pixel_bits // bits) for bits in (folding.bits_in, width)}
                taken = {bits: fifo(count, bits, cheapest_memory(count, bits, board)) for bits, count in beats.items()}
                place = min(taken, key=lambda bits: taken[bits].share_of(board))
                places = roomiest(beats[place], place, board)
                joint += fifo(places, place, cheapest_memory(places, place, board))
            source = folding.timing.behind(source)
            cycles, width = max(cycles, source.cycles), folding.bits_out
            used += search.vector_of(joint) + search.vector_of(folding.cost)
        else:
            found.append((cycles, used))
    return found


@pytest.mark.parametrize("seed", range(25))
def test_finds_the_cheapest_chain_of_all(seed: int, board: Board) -> None:
    """Within limits that bind: those of a random chain, a little wider."""
    random = np.random.default_rng(seed)
    pipeline = layers(seed, count=5 + seed % 2)
    chains = every_chain(pipeline, board)
    space = Space(pipeline, board)
    for _ in range(4):
        some_cycles, some_used = chains[random.integers(len(chains))]
        most, limits = int(some_cycles * random.uniform(0.9, 1.5)), some_used * random.uniform(0.8, 1.2, 4)
        prices = random.random(4) / limits
        fitting = [used @ prices for cycles, used in chains if cycles <= most and (used <= limits).all()]
        found = space.cheapest(most, prices, limits)
        assert (found is not None) == bool(fitting)
        if found is not None:
            check(found, most, limits)
            assert search.vector_of(found.used) @ prices == pytest.approx(min(fitting), rel=2e-4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("others", [1e6, np.inf])
def test_a_scarce_resource_may_be_worth_any_number_of_luts(seed: int, others: float, board: Board) -> None:
    """A block RAM spared costs a thousand LUTs: all of the limit is worth 100,000 of what is minimised."""
    random = np.random.default_rng(seed)
    bram18, dsp = random.integers(0, 12, (2, 24, 12))
    lut = np.round(4_000 * random.random((24, 12)) + 30_000 / (1 + bram18 + dsp))
    ways = np.stack([lut, bram18, dsp], axis=2)
    blocks, slices = (int(amount.min(axis=1).sum() + 60) for amount in (bram18, dsp))
    pipeline = [
        Layer(str(number), "rtl", [Folding((), 8, 8, Timing(10), Resources(lut=a, bram18=b, dsp=c)) for a, b, c in way])
        for number, way in enumerate(ways.tolist())
    ]
    found = Space(pipeline, board).cheapest(10, np.array([1.0, 0, 0, 0]), np.array([others, 1, blocks, slices]))
    assert found is not None and found.used.bram18 <= blocks and found.used.dsp <= slices
    assert found.used.lut == pytest.approx(knapsack(ways, blocks, slices), rel=1.1e-4)


def knapsack(ways: np.ndarray, blocks: int, slices: int) -> float:
    """Return the fewest LUTs of one way a layer, (layers, ways, 3), for every number of blocks and slices in turn."""
    least = np.full((blocks + 1, slices + 1), np.inf)
    least[0, 0] = 0
    for layer in ways:
        more = np.full_like(least, np.inf)
        for lut, block, one in layer:
            b, d = int(block), int(one)
            more[b:, d:] = np.minimum(more[b:, d:], least[: blocks + 1 - b, : slices + 1 - d] + lut)
        least = more
    return float(least.min())


@pytest.mark.parametrize("seed", range(12))
def test_finds_the_fastest_chain_of_all(seed: int, board: Board) -> None:
    pipeline = layers(seed)
    chains = every_chain(pipeline, board)
    limits = np.quantile([used for _, used in chains], 0.1, axis=0)
    prices = 1 / limits
    fitting = [(cycles, used @ prices) for cycles, used in chains if (used <= limits).all()]
    found = Space(pipeline, board).fastest(prices, limits)
    assert (found is not None) == bool(fitting)
    if found is not None:
        check(found, found.slowest, limits)
        fewest = min(fitting)
        assert found.slowest == fewest[0]
        assert search.vector_of(found.used) @ prices == pytest.approx(fewest[1], rel=2e-4)


def check(chain: Chain, most: int, limits: np.ndarray) -> None:
    """That a chain is what it says: its cycles and what it takes follow from its foldings alone."""
    source, used = None, np.zeros(4)
    for folding, cycles in zip(chain.foldings, chain.cycles, strict=True):
        source = folding.timing.behind(source)
        used += search.vector_of(folding.cost)
        assert source.cycles == cycles <= most
    assert (used <= search.vector_of(chain.used)).all() and (search.vector_of(chain.used) <= limits + 1e-6).all()


def test_where_prices_cannot_tell_labels_do(board: Board) -> None:
    """Half of each of two equal extremes would fit, but a chain cannot be cut: only the middle way does."""
    ways = [Resources(lut=100, dsp=0), Resources(lut=0, dsp=100), Resources(lut=70, dsp=70)]
    foldings = [Folding((), 8, 8, Timing(10), way) for way in ways]
    space = Space([Layer("only", "rtl", foldings)], board)
    found = space.cheapest(10, np.array([1.0, 0, 0, 1.0]), np.array([80.0, 1, 1, 80]))
    assert found is not None and found.used == ways[2]
    assert space.cheapest(10, np.array([1.0, 0, 0, 1.0]), np.array([69.0, 1, 1, 80])) is None
    assert space.cheapest(9, np.array([1.0, 0, 0, 1.0]), np.array([80.0, 1, 1, 80])) is None


def test_more_labels_than_are_kept_still_give_a_chain_within_the_limits(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "MOST_LABELS", 2)
    pipeline = layers(3, count=6)
    chains = every_chain(pipeline, board)
    limits = np.quantile([used for _, used in chains], 0.4, axis=0)
    fitting = [used.sum() for _, used in chains if (used <= limits).all()]
    found = Space(pipeline, board).cheapest(10**6, np.ones(4), limits)
    assert fitting and found is not None
    assert min(fitting) <= search.vector_of(found.used).sum() <= 1.1 * min(fitting)


def test_a_fifo_before_an_hls_converter_is_the_stream_that_the_converter_reads(board: Board) -> None:
    source, layer = (Layer(name, "hls", [Folding((), 4, 4, Timing(1), Resources())], 400, 96) for name in "ab")
    joint = search._joint(96, 4, source, layer, board)
    places = roomiest(400, 96, board)
    assert joint == hls_cost.converter(96, 4, places) != hls_cost.converter(96, 4)
