"""The search for the best folding: one folding a layer, the whole within the budget and a frame within some cycles.

The pipeline is a chain, so that a choice is a path through a graph with a stage for each layer: an edge is a folding of
the layer behind everything before it that matters to it, and carries cycles and resources. Converters and FIFOs belong
to the edge they stand in front of. The shortest path for one price for each resource is a dynamic program.
The shortest path within the budgets of several resources at once is found in `paths`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import zip_longest

import numpy as np

from fpga_facedet.boards import Board
from fpga_facedet.compiler import cost, fifos
from fpga_facedet.compiler.choices import Folding, Layer
from fpga_facedet.compiler.cost import RESOURCE_NAMES, Budget, Resources
from fpga_facedet.compiler.hls import cost as hls_cost
from fpga_facedet.compiler.paths import Floats, Indices, Stage, Within, front_of
from fpga_facedet.compiler.timing import Timing, UnitTiming
from fpga_facedet.manifest import HLS


@dataclass(frozen=True)
class Chain:
    """A chain of foldings, one a layer: which, the cycles of each in its place, and what all of it takes."""

    foldings: tuple[Folding, ...]
    cycles: tuple[int, ...]
    used: Resources

    @property
    def slowest(self) -> int:
        """The cycles a frame."""
        return max(self.cycles)


def vector_of(resources: Resources) -> Floats:
    """Return the four counts, in the order of RESOURCE_NAMES."""
    return np.array([getattr(resources, name) for name in RESOURCE_NAMES])


def limits_of(board: Board, budget: Budget) -> Floats:
    """Return what may be taken of each resource."""
    return np.array([getattr(board, name) * getattr(budget, name) for name in RESOURCE_NAMES])


class Space:
    """Every chain of foldings there is, as stages of edges; made once a network and style, for all boards.

    `board` decides where a FIFO is cheaper alone: before a width converter, or behind it.
    """

    def __init__(self, layers: Sequence[Layer], board: Board) -> None:
        """Connect the layers' foldings."""
        self.layers = list(layers)
        self.stages: list[Stage] = []
        nodes: list[tuple[int, Timing | None]] = [(layers[0].foldings[0].bits_in, None)]
        before: Layer | None = None
        for layer, behind in zip_longest(layers, layers[1:]):
            stage, nodes = _stage(before, layer, nodes, board)
            before = layer
            if behind is not None and behind.waiting:
                stage, nodes = _uncoupled(stage, nodes)
            self.stages.append(stage)

    @property
    def fewest_cycles(self) -> int:
        """The cycles a frame of the slowest layer where each is as fast as it can be."""
        return int(max(stage.cycles.min() for stage in self.stages))

    @property
    def most_cycles(self) -> int:
        """The cycles a frame beyond which no folding becomes possible."""
        return int(max(stage.cycles.max() for stage in self.stages))

    @cached_property
    def most_resources(self) -> Floats:
        """What no chain takes more of, whatever its foldings, in the order of RESOURCE_NAMES."""
        most: Floats = np.sum([stage.resources.max(axis=0) for stage in self.stages], axis=0)
        return most

    def paces(self) -> Indices:
        """Return all cycles a frame that a layer can have, and so a network, in order."""
        every: Indices = np.unique(np.concatenate([stage.cycles for stage in self.stages]))
        return every[every >= self.fewest_cycles]

    def chain(self, path: Sequence[int]) -> Chain:
        """Return the chain of an edge a stage."""
        foldings, cycles, used = [], [], np.zeros(len(RESOURCE_NAMES))
        for layer, stage, edge in zip(self.layers, self.stages, path, strict=True):
            foldings.append(layer.foldings[stage.choice[edge]])
            cycles.append(int(stage.cycles[edge]))
            used += stage.resources[edge]
        return Chain(tuple(foldings), tuple(cycles), Resources(**dict(zip(RESOURCE_NAMES, used.tolist(), strict=True))))

    def cheapest(self, most_cycles: int, prices: Floats, limits: Floats) -> Chain | None:
        """Return the chain of the lowest price within `most_cycles` a frame and `limits`, None where there is none.

        `prices` (4,) is that of one of each resource, `limits` (4,) what may be taken of it, infinity for any amount.
        """
        # No chain takes more than this; the search reckons in shares of the limits.
        if not np.isfinite(limits).all():
            limits = np.where(np.isfinite(limits), limits, np.maximum(self.most_resources, 1.0))
        within = Within.of(self.stages, most_cycles)
        path = None if within is None else within.best(prices * limits, limits)
        return None if path is None else self.chain(path)

    def fastest(self, prices: Floats, limits: Floats) -> Chain | None:
        """Return the chain of the fewest cycles a frame within `limits`, the cheapest such; None where none fits."""
        paces = self.paces()
        low, high, found = 0, len(paces) - 1, None
        while low <= high:
            middle = (low + high) // 2
            within = Within.of(self.stages, int(paces[middle]))
            path = None if within is None else within.any_path(limits)
            if path is None:
                low = middle + 1
            else:
                found = self.chain(path)
                high = int(np.searchsorted(paces, found.slowest)) - 1
        return found if found is None else self.cheapest(found.slowest, prices, limits) or found


def _stage(
    before: Layer | None, layer: Layer, nodes: list[tuple[int, Timing | None]], board: Board
) -> tuple[Stage, list[tuple[int, Timing | None]]]:
    """Return the edges of a layer behind `nodes`, and the nodes they lead to."""

    @cache
    def joint(bits_out: int, bits_in: int) -> Resources | None:
        return _joint(bits_out, bits_in, before, layer, board)

    groups = _undominated(layer.foldings)
    targets: dict[tuple[int, Timing], int] = {}
    blocks: list[tuple[int, int, int, list[int], Resources]] = []
    for source, (bits, carried) in enumerate(nodes):
        for (bits_in, bits_out, timing), choices in groups.items():
            between = joint(bits, bits_in)
            if between is None:
                continue
            placed = timing.behind(carried)
            target = targets.setdefault((bits_out, placed.carried), len(targets))
            blocks.append((source, target, placed.cycles, choices, between))
    sizes = [len(choices) for *_, choices, _ in blocks]
    choice = np.concatenate([np.array(choices, np.int64) for *_, choices, _ in blocks])
    own = np.array([vector_of(folding.cost) for folding in layer.foldings])
    joints = np.array([vector_of(block[4]) for block in blocks])
    ends = np.array([block[:3] for block in blocks], np.int64)
    stage = Stage(
        source=np.repeat(ends[:, 0], sizes),
        target=np.repeat(ends[:, 1], sizes),
        choice=choice,
        cycles=np.repeat(ends[:, 2], sizes),
        resources=own[choice] + np.repeat(joints, sizes, axis=0),
        targets=len(targets),
    )
    return stage, list(targets)


def _uncoupled(stage: Stage, nodes: list[tuple[int, Timing | None]]) -> tuple[Stage, list[tuple[int, Timing | None]]]:
    """Return the stage where a FIFO follows, behind which nothing but the width of a beat matters."""
    merged: dict[tuple[int, Timing | None], int] = {}
    of = np.array([merged.setdefault((bits, Timing(0, timing.lanes)), len(merged)) for bits, timing in nodes if timing])
    return replace(stage, target=of[stage.target], targets=len(merged)), list(merged)


def _undominated(foldings: Sequence[Folding]) -> dict[tuple[int, int, Timing], list[int]]:
    """Return the numbers of the foldings worth a look, by stream widths and timing: none that another one dominates."""
    groups: dict[tuple[int, int, Timing], list[int]] = {}
    for number, folding in enumerate(foldings):
        groups.setdefault((folding.bits_in, folding.bits_out, folding.timing), []).append(number)
    return {
        key: [numbers[kept] for kept in front_of(np.array([vector_of(foldings[number].cost) for number in numbers]))]
        for key, numbers in groups.items()
    }


def _joint(bits_out: int, bits_in: int, before: Layer | None, layer: Layer, board: Board) -> Resources | None:
    """Return what stands between two layers: a width converter, and before or behind it the FIFO of a convolution.

    Both are HLS where both layers are.
    """
    in_hls = before is not None and before.style == layer.style == HLS
    if not layer.waiting:
        return hls_cost.converter(bits_out, bits_in) if in_hls else cost.converter(bits_out, bits_in)
    # `fifos.insert_fifos` chooses the place and the memory alike, whatever the style.
    place = min((bits_in, bits_out), key=lambda bits: _fifo(_beats(layer, bits), bits, board).share_of(board))
    places = fifos.roomiest(_beats(layer, place), place, board)
    if not in_hls:
        between = cost.converter(bits_out, bits_in)
        return None if between is None else between + _fifo(places, place, board)
    if place != bits_in:
        return hls_cost.converter(bits_out, bits_in, places)
    between = hls_cost.converter(bits_out, bits_in)
    timing = layer.foldings[0].timing
    # The stream in front of a matrix unit holds a vector anyway: here, where no window stands before it, a pixel.
    vector = layer.pixel_bits // bits_in if isinstance(timing, UnitTiming) else 0
    return None if between is None else between + hls_cost.deepening(bits_in, vector, places)


def _beats(layer: Layer, bits: int) -> int:
    return math.ceil(layer.waiting * layer.pixel_bits / bits)


def _fifo(places: int, bits: int, board: Board) -> Resources:
    return cost.fifo(places, bits, fifos.cheapest_memory(places, bits, board))
