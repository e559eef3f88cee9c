"""What a person asks the folding search for, and what they are told."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from fpga_facedet.boards import Board
from fpga_facedet.compiler import choices, fifos, folding, power
from fpga_facedet.compiler.choices import cycles_by_layer, layers_of
from fpga_facedet.compiler.cost import RESOURCE_NAMES, Budget, Resources
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.folding import Found, Request
from fpga_facedet.compiler.hls import cost as hls_cost
from fpga_facedet.compiler.hls.styles import Styles, segments
from fpga_facedet.compiler.matrix_units import ADDERS, DSP, LUT, multiplier_of
from fpga_facedet.compiler.search import Space, limits_of, vector_of
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import HLS, RTL
from tests.compiler.conftest import Built


@pytest.fixture(scope="module")
def space(built: Built, board: Board) -> Space:
    return space_of(built, board, "rtl")


def space_of(built: Built, board: Board, style: str) -> Space:
    graph = built.graph("specialise")
    with finn_session():
        return Space(layers_of(graph, {node.name: style for node in graph.graph.node}, board), board)


def test_the_words_of_a_command() -> None:
    assert Request.parse() == Request(None)
    assert Request.parse("280", "dsp") == Request(280.0, "dsp")
    request = Request.parse("max", "power", "lut=50")
    assert request.highest and request.budget.lut == 0.5 and request.budget.dsp == Budget().dsp
    assert request.to_dict() == {"target_fps": "max", "minimise": "power"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("0",), "A target of 0 frames a second makes no sense; give a positive number, or max"),
        (("-5",), "A target of -5 frames"),
        (("nan",), "A target of nan frames"),
        (("inf",), "A target of inf frames"),
        (("fast",), "'fast' is no frame rate; give frames a second, or max"),
        (("280", "area"), "'area' cannot be minimised; choose one of: share, lut, dsp, bram18, power"),
        (("280", "share", "lut=0"), "budget of 0 % of lut makes no sense"),
    ],
)
def test_senseless_requests(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Request.parse(*words)


def test_the_highest_rate_says_what_binds_it(space: Space, board: Board) -> None:
    found = folding.find(space, board, Request(math.inf))
    assert found.chain.used.fits(board, found.request.budget)
    assert found.bottleneck.cycles == max(found.chain.cycles) >= found.next.cycles
    assert found.binding in (folding.INPUT_STREAM, folding.LANES, *RESOURCE_NAMES)
    assert found.limit.startswith(f"Beyond {found.fps:.1f} frames a second: a tenth more is stopped since ")
    assert found.pareto[-1].fps == round(found.fps, 1)


def test_a_scarce_resource_binds(space: Space, board: Board) -> None:
    """On a chip of few LUTs they bind: one cycle less a frame needs more of them than there are."""
    free = folding.find(space, board, Request(math.inf))
    tight = replace(board, lut=round(free.chain.used.lut / 1.2))
    found = folding.find(space, tight, Request(math.inf))
    assert found.fps < free.fps and "lut" in found.binding
    assert folding._least(space, found.chain.slowest - 1, "lut", limits_of(tight, Budget())) is None
    assert " LUTs of " in found.limit


@pytest.mark.parametrize("minimise", folding.MINIMISE)
def test_at_a_rate_the_least_of_what_is_asked_for(space: Space, board: Board, minimise: str) -> None:
    def measure(found: Found) -> float:
        if minimise == "share":
            return found.chain.used.share_of(board)
        return found.power_w if minimise == "power" else getattr(found.chain.used, minimise)

    chosen = folding.find(space, board, Request(5_000, minimise))
    others = [folding.find(space, board, Request(5_000, other)) for other in folding.MINIMISE]
    assert chosen.fps >= 5_000
    assert measure(chosen) <= min(measure(other) for other in others) * 1.001
    assert chosen.power_w == pytest.approx(
        power.estimate(chosen.chain.used, board, board.clock_mhz, chosen.fps).total_w
    )


def test_equal_dsps_are_settled_by_the_share_of_the_chip(space: Space, board: Board) -> None:
    found = folding.find(space, board, Request(5_000, "dsp"))
    most = int(board.clock_mhz * 1e6 / 5_000)
    limits = limits_of(board, Budget())
    limits[RESOURCE_NAMES.index("dsp")] = found.chain.used.dsp + 0.5
    cheapest = space.cheapest(most, folding.prices_of("share", board), limits)
    assert cheapest is not None
    assert found.chain.used.share_of(board) == pytest.approx(cheapest.used.share_of(board), abs=0.01)


def test_more_speed_takes_more_of_the_chip(space: Space, board: Board) -> None:
    found = folding.find(space, board, Request(math.inf))
    assert [point.fps for point in found.pareto] == sorted({point.fps for point in found.pareto})
    shares = [point.used.share_of(board) for point in found.pareto]
    assert len(shares) > 5 and all(later >= earlier - 1e-3 for earlier, later in pairwise(shares))
    assert all(set(point.to_dict()) == {"fps", *RESOURCE_NAMES, "power_w", "energy_mj"} for point in found.pareto)


def test_says_what_lacks_and_the_nearest_that_fits(space: Space, board: Board) -> None:
    with pytest.raises(UserError, match="1e.06 frames a second are out of reach on TUL PYNQ-Z2 at 100 MHz: ") as raised:
        folding.find(space, board, Request(1_000_000))
    nearest = float(str(raised.value).rstrip(".").rsplit(" ", 1)[1])
    assert folding.find(space, board, Request(nearest)).fps >= nearest


def test_what_is_short_is_named_with_need_and_budget(space: Space, board: Board) -> None:
    fastest = folding.find(space, board, Request(math.inf))
    tight = replace(board, lut=round(fastest.chain.used.lut / 1.2))
    with pytest.raises(UserError, match=r"it needs [\d,]+ LUTs of [\d,]+; the nearest that fits is [\d.]+\.") as told:
        folding.find(space, tight, Request(math.floor(fastest.fps)))
    words = str(told.value).split()
    needs, there = (int(words[words.index("LUTs") + step].strip(",;").replace(",", "")) for step in (-1, 2))
    assert there == math.floor(0.85 * tight.lut) < needs <= fastest.chain.used.lut + 1


def test_without_a_target_takes_the_best_that_fits(space: Space, board: Board) -> None:
    # The small network reaches the default easily: a slow clock does not.
    slow = replace(board, clock_mhz=0.5)
    best = folding.find(space, slow, Request(math.inf))
    assert best.fps < folding.DEFAULT_FPS
    assert folding.find(space, slow, Request()).chain.slowest == best.chain.slowest
    assert folding.find(space, board, Request()).fps >= folding.DEFAULT_FPS


def test_a_network_that_fits_at_no_speed(space: Space, board: Board) -> None:
    with pytest.raises(UserError, match=r"does not fit TUL PYNQ-Z2 at any speed: it needs [\d,]+ LUTs of 425; make"):
        folding.find(space, replace(board, lut=500), Request())
    with pytest.raises(UserError, match=r"LUTs of 532; make the network smaller or raise the budget \(--budget\)\.$"):
        folding.find(space, board, Request(budget=Budget(lut=0.01)))
    with pytest.raises(UserError, match=r"LUTs of 500; make the network smaller\.$"):
        folding.find(space, replace(board, lut=500), Request(budget=Budget(lut=1.0, ff=1.0, bram18=1.0, dsp=1.0)))


def test_a_rate_next_to_zero_is_the_cheapest_of_all(space: Space, board: Board) -> None:
    slowest, slow = (folding.find(space, board, Request(fps)) for fps in (1e-310, 1e-3))
    assert slowest.chain == slow.chain


def test_folds_the_graph_as_found(built: Built, board: Board) -> None:
    """Cycles and widths of the folded graph are the search's; a whole pixel enters at any speed."""
    from qonnx.custom_op.registry import getCustomOp

    graph = built.graph("specialise")
    styles = {node.name: "rtl" for node in graph.graph.node}
    with finn_session():
        graph, found = folding.fold(graph, board, Request(200), styles)
        assert getCustomOp(graph.graph.node[0]).get_nodeattr("SIMD") == 3
        again = cycles_by_layer((node, "rtl") for node in graph.graph.node)
    assert list(again.values()) == list(found.chain.cycles)


def test_each_layer_by_its_own_style(built: Built, board: Board) -> None:
    """An HLS layer is judged by HLS costs, and is never a graph of adders."""
    graph = built.graph("specialise")
    styles = {node.name: "hls" for node in graph.graph.node}
    with finn_session():
        layers = layers_of(graph, styles, board)
        graph, found = folding.fold(graph, board, Request(20_000), styles)
        multipliers = {multiplier_of(node) for node in graph.graph.node if node.op_type.startswith("MVAU")}
    assert multipliers == {"dsp"} and found.fps >= 20_000
    assert all(folding_.multiplier != ADDERS for layer in layers for folding_ in layer.foldings)


@pytest.mark.parametrize(
    "chosen",
    [Styles.rtl(), Styles.hls(), Styles(RTL, (("*_2", HLS), ("FMPadding_*", HLS)))],
    ids=["rtl", "hls", "both"],
)
@pytest.mark.parametrize(
    "wanted", [Request(200), Request(20_000), Request(math.inf, "lut")], ids=["slow", "fast", "max"]
)
def test_the_build_takes_what_the_search_said(built: Built, board: Board, chosen: Styles, wanted: Request) -> None:
    """Converters and FIFOs included, each in its style."""
    graph = built.graph("specialise")
    with finn_session():
        graph, found = folding.fold(graph, board, wanted, chosen.of_graph(graph), 4096)
        graph = fifos.insert_fifos(fifos.insert_converters(graph, board.part), board)
        parts = segments(graph, chosen.of_graph(graph))
        total = sum(hls_cost.by_node(graph, parts, board).values(), Resources())
    assert vector_of(total) == pytest.approx(vector_of(found.chain.used), rel=1e-9)


def test_no_beat_is_wider_than_asked(built: Built, board: Board) -> None:
    graph = built.graph("specialise")
    with finn_session():
        layers = layers_of(graph, {node.name: "rtl" for node in graph.graph.node}, board, widest=64)
    assert max(max(one.bits_in, one.bits_out) for layer in layers for one in layer.foldings) <= 64


def test_prices_of_power_are_the_estimates_slope(space: Space, board: Board) -> None:
    used = folding.find(space, board, Request(5_000)).chain.used
    drawn = power.estimate(used, board, board.clock_mhz, 1.0)
    slope = vector_of(used) @ folding.prices_of("power", board)
    assert slope == pytest.approx(sum(drawn.dynamic_w.values()), rel=1e-3)


def test_large_tables_of_weights_lie_in_block_ram_alone(
    built: Built, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 4096
    monkeypatch.setattr(choices, "_MOST_BITS_IN_A_TABLE", most)
    graph = built.graph("specialise")
    with finn_session():
        layers = layers_of(graph, {node.name: "rtl" for node in graph.graph.node}, board)
        weights = {node.name: node.input[1] for node in graph.graph.node if node.op_type.startswith("MVAU")}
        sizes = {name: graph.get_initializer(tensor).size for name, tensor in weights.items()}
        bits = {name: graph.get_tensor_datatype(tensor).bitwidth() for name, tensor in weights.items()}
    found: dict[str, set[tuple[int, int]]] = {"distributed": set(), "block": set()}
    for layer in layers:
        for one in layer.foldings:
            chosen = dict(one.settings)
            if one.multiplier in (DSP, LUT):
                lines = sizes[layer.name] // (int(chosen["PE"]) * int(chosen["SIMD"]))
                found[str(chosen["ram_style"])].add((lines, sizes[layer.name] * bits[layer.name]))
    small = {(lines, size) for lines, size in found["block"] if lines <= 64 and size <= most}
    assert found["distributed"] == small < found["block"]
    assert {size for _, size in found["block"]} > {size for _, size in small} > set()
