"""Folding: how many lanes each layer gets, so that the network reaches a frame rate, or its highest, within a budget.

`choices` says what each layer can be, `search` finds the best of all chains; here is what a person asks for and what
they are told: the slowest layer and the next one, what binds, and what stops the next tenth.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fpga_facedet.boards import Board
from fpga_facedet.compiler import power
from fpga_facedet.compiler.choices import Layer, apply, layers_of
from fpga_facedet.compiler.cost import RESOURCE_NAMES, Budget, Resources
from fpga_facedet.compiler.paths import Floats
from fpga_facedet.compiler.search import Chain, Space, limits_of, vector_of
from fpga_facedet.compiler.timing import PaddingTiming, UnitTiming, WindowTiming
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import name_in_sources

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

DEFAULT_FPS = 280.0
"""More than the board's processor can feed it with; LPYOLO then takes a third of a PYNQ-Z2's LUTs."""

SEARCH_FILE = "search.json"

MAX = "max"
"""The word for the highest frame rate there is."""

MINIMISE = ("share", "lut", "dsp", "bram18", "power")
"""What can be minimised: `share` is the sum of the shares of the chip's LUTs, block RAMs and DSPs."""

INPUT_STREAM = "input stream"
LANES = "lanes"
"""What binds a frame rate besides a resource: one pixel a beat, or layers that have no further lanes to take."""

_FRONT_POINTS, _FRONT_SPAN = 14, 24
_TIE = 0.1
"""Weight of the share of the chip among foldings that are equal in the resource to minimise: less than one piece."""


@dataclass(frozen=True)
class Request:
    """What the search is for.

    `target_fps` frames a second: infinity is the highest the budget allows; None is DEFAULT_FPS, or that where it is
    less. `minimise` is one of MINIMISE, `budget` what share of the chip may be taken.
    """

    target_fps: float | None = None
    minimise: str = "share"
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        """Refuse a rate that no hardware could have, and an unknown thing to minimise."""
        if self.target_fps is not None and not self.target_fps > 0:
            raise UserError(
                f"A target of {self.target_fps:g} frames a second makes no sense; give a positive number, or {MAX}."
            )
        if self.minimise not in MINIMISE:
            raise UserError(f"'{self.minimise}' cannot be minimised; choose one of: {', '.join(MINIMISE)}.")

    @classmethod
    def parse(cls, target: str | None = None, minimise: str = "share", budget: str | None = None) -> "Request":
        """Return what the words of a command ask for: a number or 'max', a name, 'lut=85,bram=90,dsp=95'."""
        try:
            fps = None if target is None else math.inf if target == MAX else float(target)
        except ValueError:
            raise UserError(f"'{target}' is no frame rate; give frames a second, or {MAX}.") from None
        if fps == math.inf and target != MAX:
            raise UserError(f"A target of {target} frames a second makes no sense; give a positive number, or {MAX}.")
        return cls(fps, minimise, Budget() if budget is None else Budget.parse(budget))

    @property
    def highest(self) -> bool:
        """Whether the highest frame rate is asked for."""
        return self.target_fps == math.inf

    def to_dict(self) -> dict[str, Any]:
        """Return rate and what to minimise as JSON keeps them."""
        return {"target_fps": MAX if self.highest else self.target_fps, "minimise": self.minimise}


@dataclass(frozen=True)
class Pace:
    """A layer that sets the pace, its cycles a frame, and why it takes so many."""

    layer: str
    cycles: int
    why: str


@dataclass(frozen=True)
class Point:
    """A folding of the Pareto front: frames a second, the least share of the chip for them, power and energy."""

    fps: float
    used: Resources
    power_w: float
    energy_mj: float

    def to_dict(self) -> dict[str, float]:
        """Return all of it as one JSON object."""
        counts = {name: round(getattr(self.used, name)) for name in RESOURCE_NAMES}
        return {"fps": self.fps, **counts, "power_w": round(self.power_w, 3), "energy_mj": round(self.energy_mj, 2)}


@dataclass(frozen=True)
class Found:
    """What the search found, all of it estimated."""

    request: Request
    board: Board
    chain: Chain
    bottleneck: Pace
    next: Pace
    binding: str
    limit: str
    power_w: float
    pareto: tuple[Point, ...]
    seconds: float

    @property
    def fps(self) -> float:
        """Frames a second at the board's clock."""
        return frames_a_second(self.board, self.chain.slowest)

    def to_dict(self) -> dict[str, Any]:
        """Return what `search.json` holds."""
        return {
            "evidence": "estimated",
            "request": self.request.to_dict(),
            "budget": self.request.budget.to_dict(),
            "bottleneck": asdict(self.bottleneck),
            "next": asdict(self.next),
            "limit": self.limit,
            "binding": self.binding,
            "power_w": round(self.power_w, 3),
            "pareto": [point.to_dict() for point in self.pareto],
            "seconds": round(self.seconds, 2),
        }


def fold(
    model: "ModelWrapper", board: Board, request: Request, styles: Mapping[str, str], widest: int | None = None
) -> tuple["ModelWrapper", Found]:
    """Fold every layer of a specialised graph as `request` says; return it and what the search found.

    Args:
        styles: 'rtl' or 'hls' for the name of each node: each layer is judged by its own style's cost and cycles.
        widest: the bits that a beat may have, None for any.

    Raises UserError where the request cannot be met: which resource fails, and the nearest frame rate that can be.
    """
    begun = time.monotonic()
    layers = layers_of(model, styles, board, widest)
    space = Space(layers, board)
    found = find(space, board, request, begun)
    for node, folding, cycles in zip(model.graph.node, found.chain.foldings, found.chain.cycles, strict=True):
        apply(node, dict(folding.settings) | {"cycles_estimate": cycles}, folding.multiplier)
    return model, found


def find(space: Space, board: Board, request: Request, begun: float | None = None) -> Found:
    """Return the best chain of a network's foldings for a request, and what there is to say about it."""
    begun = time.monotonic() if begun is None else begun
    limits = limits_of(board, request.budget)
    prices = prices_of(request.minimise, board)
    fastest = space.fastest(prices, limits)
    if fastest is None:
        raise UserError(_too_large(space, board, limits))
    chain = fastest if request.highest else _at(space, board, request, fastest, prices, limits)
    binding, stops = what_binds(space, board, fastest, limits)
    bottleneck, following = _paces(space.layers, chain)
    return Found(
        request=request,
        board=board,
        chain=chain,
        bottleneck=bottleneck,
        next=following,
        binding=binding,
        limit=stops,
        power_w=_power(board, chain),
        pareto=front(space, board, fastest, limits),
        seconds=time.monotonic() - begun,
    )


def _at(space: Space, board: Board, request: Request, fastest: Chain, prices: Floats, limits: Floats) -> Chain:
    """Return the cheapest chain of the rate asked for."""
    target = DEFAULT_FPS if request.target_fps is None else request.target_fps
    # A rate next to zero has more cycles than a number can hold.
    most_cycles = int(min(board.clock_mhz * 1e6 / target, space.most_cycles))
    if fastest.slowest <= most_cycles:
        return space.cheapest(most_cycles, prices, limits) or fastest
    if request.target_fps is None:
        return fastest
    nearest = math.floor(frames_a_second(board, fastest.slowest) * 10) / 10
    raise UserError(
        f"{target:g} frames a second are out of reach on {board.title} at {board.clock_mhz:g} MHz: "
        f"{_lack(space, board, most_cycles, limits)[1]}; the nearest that fits is {nearest:g}."
    )


def what_binds(space: Space, board: Board, fastest: Chain, limits: Floats) -> tuple[str, str]:
    """Return what binds the highest frame rate, and a sentence about what stops the next tenth."""
    fps = frames_a_second(board, fastest.slowest)
    binding = _lack(space, board, fastest.slowest - 1, limits)[0]
    _, lack = _lack(space, board, math.floor(fastest.slowest / 1.1), limits)
    return binding, f"Beyond {fps:.1f} frames a second: a tenth more is stopped since {lack}."


def _lack(space: Space, board: Board, most_cycles: int, limits: Floats) -> tuple[str, str]:
    """Return what lacks for so few cycles a frame, and a clause that says how much of it."""
    if most_cycles < space.fewest_cycles:
        return _too_fast(space)
    for name in ("dsp", "lut", "bram18", "ff"):
        lifted = limits.copy()
        lifted[RESOURCE_NAMES.index(name)] = math.inf
        needed = _least(space, most_cycles, name, lifted)
        if needed is not None:
            allowed = limits[RESOURCE_NAMES.index(name)]
            return name, f"it needs {math.ceil(needed):,} {_TITLES[name]} of {math.floor(allowed):,}"
    needs = _needs(space, most_cycles, limits)
    return " and ".join(needs), "it needs " + " and ".join(needs.values())


_TITLES = {"lut": "LUTs", "ff": "flip-flops", "bram18": "18-kbit block RAMs", "dsp": "DSPs"}


def _too_fast(space: Space) -> tuple[str, str]:
    """Return what keeps even a chip without limits from fewer cycles: the input, up to the first FIFO, or a layer."""
    slowest = int(np.argmax([stage.cycles.min() for stage in space.stages]))
    kind, what = LANES, f"layer {_called(space.layers[slowest])} has no more lanes to take"
    if not any(layer.waiting for layer in space.layers[: slowest + 1]):
        kind, what = INPUT_STREAM, "the input stream brings one pixel a beat"
    return kind, f"{what}, so that a frame takes {space.fewest_cycles:,} cycles at least"


def _least(space: Space, most_cycles: int, name: str, limits: Floats) -> float | None:
    """Return how much of one resource is needed at least within the limits of the others."""
    index = RESOURCE_NAMES.index(name)
    chain = space.cheapest(most_cycles, np.eye(len(RESOURCE_NAMES))[index], limits)
    return None if chain is None else float(getattr(chain.used, name))


def _needs(space: Space, most_cycles: int, limits: Floats) -> dict[str, str]:
    """Return what several resources lack at once, where all of them were scarce to the same degree."""
    low, high = 1.0, 1e4
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        fits = space.cheapest(most_cycles, np.zeros(len(RESOURCE_NAMES)), limits * middle) is not None
        low, high = (low, middle) if fits else (middle, high)
    chain = space.cheapest(most_cycles, 1 / limits, limits * high)
    if chain is None:
        return {"chip": "a larger chip"}
    return {
        name: f"{math.ceil(used):,} {_TITLES[name]} of {math.floor(limit):,}"
        for name, used, limit in zip(RESOURCE_NAMES, vector_of(chain.used), limits, strict=True)
        if used > limit
    }


def _too_large(space: Space, board: Board, limits: Floats) -> str:
    _, lack = _lack(space, board, space.most_cycles, limits)
    whole = (limits >= limits_of(board, Budget(lut=1.0, ff=1.0, bram18=1.0, dsp=1.0))).all()
    remedy = "" if whole else " or raise the budget (--budget)"
    return f"The network does not fit {board.title} at any speed: {lack}; make the network smaller{remedy}."


def prices_of(minimise: str, board: Board) -> Floats:
    """Return what one of each resource counts, in the order of RESOURCE_NAMES, for something to minimise."""
    share = vector_of(Resources(lut=1 / board.lut, bram18=1 / board.bram18, dsp=1 / board.dsp))
    if minimise == "share":
        return share
    if minimise == "power":
        # The estimate is linear in the resources.
        idle = power.estimate(Resources(), board, board.clock_mhz, 1.0).total_w
        pieces = [Resources(**{name: 1e4}) for name in RESOURCE_NAMES]
        drawn = [power.estimate(piece, board, board.clock_mhz, 1.0).total_w - idle for piece in pieces]
        return np.array(drawn) / 1e4 + share * 1e-6
    return np.eye(len(RESOURCE_NAMES))[RESOURCE_NAMES.index(minimise)] + _TIE * share


def front(space: Space, board: Board, fastest: Chain, limits: Floats) -> tuple[Point, ...]:
    """Return the Pareto front from slow to the fastest chain: at each rate the least share of the chip."""
    best = frames_a_second(board, fastest.slowest)
    prices, points = prices_of("share", board), {}
    for fps in np.geomspace(best / _FRONT_SPAN, best, _FRONT_POINTS):
        chain = space.cheapest(max(fastest.slowest, int(board.clock_mhz * 1e6 / fps)), prices, limits) or fastest
        reached = frames_a_second(board, chain.slowest)
        watts = power.estimate(chain.used, board, board.clock_mhz, reached)
        points[chain.slowest] = Point(round(reached, 1), chain.used, watts.total_w, watts.energy_mj)
    return tuple(points.values())


def frames_a_second(board: Board, cycles: int) -> float:
    """Return the frames a second of so many cycles a frame at the board's clock."""
    return board.clock_mhz * 1e6 / cycles


def _power(board: Board, chain: Chain) -> float:
    fps = frames_a_second(board, chain.slowest)
    return float(power.estimate(chain.used, board, board.clock_mhz, fps).total_w)


def _called(layer: Layer) -> str:
    return name_in_sources(layer.name, layer.style)


def _paces(layers: list[Layer], chain: Chain) -> tuple[Pace, Pace]:
    """Return the slowest layer, and the slowest of the other convolutions (of all layers where there is only one)."""
    groups = np.cumsum([bool(layer.waiting) for layer in layers])
    order = sorted(range(len(layers)), key=lambda index: -chain.cycles[index])
    first = order[0]
    second = next((index for index in order if groups[index] != groups[first]), order[-1])
    return _pace(layers, chain, first), _pace(layers, chain, second)


def _pace(layers: list[Layer], chain: Chain, index: int) -> Pace:
    timing, cycles = chain.foldings[index].timing, chain.cycles[index]
    if isinstance(timing, UnitTiming):
        work = timing.vectors * timing.words * timing.passes
        why = (
            f"{timing.vectors:,} vectors of {timing.words} beats, {timing.passes} passes over each: {work:,}; "
            f"{max(0, cycles - work):,} of waiting"
        )
    elif isinstance(timing, WindowTiming):
        why = f"{timing.rows} x {timing.columns} windows of an image of {timing.height} x {timing.width}"
    elif isinstance(timing, PaddingTiming):
        why = "it puts out the padded image beat by beat"
    else:
        why = f"it takes {timing.cycles:,} beats; {max(0, cycles - timing.cycles):,} of waiting"
    return Pace(_called(layers[index]), cycles, why)
