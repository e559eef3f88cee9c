"""The shortest path through a graph of stages within limits on several resources at once.

The budgets of several resources at once make it hard; they are handled exactly but for MOST_LABELS. Prices that favour
what is scarce give a lower bound on any solution (Lagrange's relaxation, by Kelley's cutting planes). The bounds from
here to the end of the chain then leave only few partial paths that can still beat the best solution known; of these,
those that another one dominates in all resources go too (label setting).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from fpga_facedet.compiler.cost import RESOURCE_NAMES

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

MOST_LABELS = 200
"""Partial paths kept at a node, of twice as many compared; only where there are more the optimum may be missed."""

_CUTS = 40
_GAP = 1e-4
"""A path counts as optimal where none can be cheaper by more than this share."""
_MARGIN = 1e-9


@dataclass(frozen=True)
class Stage:
    """All foldings of a layer behind all that may stand before it: edges, sorted by `source`.

    `source` and `target` number the nodes before and behind the stage, `choice` the layer's foldings; `cycles` (edges,)
    and `resources` (edges, 4), in the order of RESOURCE_NAMES.
    """

    source: Indices
    target: Indices
    choice: Indices
    cycles: Indices
    resources: Floats
    targets: int


@dataclass(frozen=True)
class Within:
    """The edges of every stage within some number of cycles a frame, with their number among all of the stage's."""

    stages: list[Stage]
    numbers: list[Indices]

    @classmethod
    def of(cls, stages: Sequence[Stage], most_cycles: int) -> "Within | None":
        """Keep the edges that are fast enough and lie on a whole path; None where there is no path."""
        keep = [stage.cycles <= most_cycles for stage in stages]
        open_nodes = np.ones(1, bool)
        for stage, kept in zip(stages, keep, strict=True):
            kept &= open_nodes[stage.source]
            open_nodes = np.zeros(stage.targets, bool)
            open_nodes[stage.target[kept]] = True
        sources = [1, *(stage.targets for stage in stages[:-1])]
        for stage, kept, nodes in zip(reversed(stages), reversed(keep), reversed(sources), strict=True):
            kept &= open_nodes[stage.target]
            open_nodes = np.zeros(nodes, bool)
            open_nodes[stage.source[kept]] = True
        if not keep[0].any():
            return None
        numbers = [np.flatnonzero(kept) for kept in keep]
        return cls([_part(stage, number) for stage, number in zip(stages, numbers, strict=True)], numbers)

    def best(self, prices: Floats, limits: Floats) -> list[int] | None:
        """Return the path of the lowest price within the limits; `prices` is that of all of each limit."""
        scaled = self._scaled(limits)
        feasible = scaled.feasible()
        if feasible is None and not scaled.undecided:
            return None
        path = scaled.optimum(prices, feasible)
        return None if path is None else self._numbered(path)

    def any_path(self, limits: Floats) -> list[int] | None:
        """Return some path within the limits."""
        scaled = self._scaled(limits)
        path = scaled.feasible()
        if path is None and scaled.undecided:
            path = scaled.optimum(np.zeros(len(RESOURCE_NAMES)), None)
        return None if path is None else self._numbered(path)

    def _scaled(self, limits: Floats) -> "_Scaled":
        return _Scaled([replace(stage, resources=stage.resources / limits) for stage in self.stages])

    def _numbered(self, path: Sequence[int]) -> list[int]:
        return [int(number[edge]) for number, edge in zip(self.numbers, path, strict=True)]


def _part(stage: Stage, number: Indices) -> Stage:
    return Stage(
        stage.source[number],
        stage.target[number],
        stage.choice[number],
        stage.cycles[number],
        stage.resources[number],
        stage.targets,
    )


@dataclass(frozen=True)
class _Bounds:
    """For some prices: what the rest of the chain costs at least, from every node before each stage and at the end."""

    prices: Floats
    rest: list[Floats]


class _Scaled:
    """The problem in shares of the limits, all of which are then 1."""

    def __init__(self, stages: list[Stage]) -> None:
        self.stages = stages
        self.bounds: list[_Bounds] = []
        self.undecided = False

    def shortest(self, prices: Floats) -> tuple[float, list[int], Floats]:
        """Return the lowest price of a path, the path, and what it takes; what the rest costs is kept as a bound."""
        rest = [np.zeros(self.stages[-1].targets)]
        totals: list[Floats] = []
        for stage in reversed(self.stages):
            total = stage.resources @ prices + rest[0][stage.target]
            starts = np.flatnonzero(np.r_[True, np.diff(stage.source) > 0])
            least = np.full(int(stage.source[-1]) + 1, np.inf)
            least[stage.source[starts]] = np.minimum.reduceat(total, starts)
            rest.insert(0, least)
            totals.insert(0, total)
        self.bounds.append(_Bounds(prices, rest))
        path, node, taken = [], 0, np.zeros(len(RESOURCE_NAMES))
        for stage, total in zip(self.stages, totals, strict=True):
            first, last = np.searchsorted(stage.source, [node, node + 1])
            edge = int(first + np.argmin(total[first:last]))
            path.append(edge)
            taken += stage.resources[edge]
            node = int(stage.target[edge])
        return float(rest[0][0]), path, taken

    def feasible(self) -> list[int] | None:
        """Return a path within all limits. None where there is none, or `undecided` where prices cannot tell."""
        # The prices add up to 1: a cheapest path above 1 proves that every path breaks a limit.
        cuts: list[Floats] = []
        count = len(RESOURCE_NAMES)
        prices = np.full(count, 1 / count)
        for _ in range(_CUTS):
            price, path, taken = self.shortest(prices)
            if (taken <= 1 + _MARGIN).all():
                return path
            if price > 1 + _MARGIN:
                return None
            cuts.append(taken)
            best = _maximum(np.array([[*-taken, 1.0] for taken in cuts]), np.zeros(len(cuts)), whole=True)
            if best.bound <= price + _GAP:
                break
            prices = best.prices
        self.undecided = True
        return None

    def optimum(self, prices: Floats, known: list[int] | None) -> list[int] | None:
        """Return the path of the lowest price within all limits, `known` being one of them."""
        best, most = known, math.inf
        if known is not None:
            most = float(self._taken(known) @ prices)
            if most == 0:
                return known
        cuts, extra = [], np.zeros(len(RESOURCE_NAMES))
        bound = -math.inf
        # What all limits cost no path within them exceeds. The prices of limits are sought in units of the best path's
        # own price: the solver's bounds and tolerances are absolute.
        unit = most if known is not None else float(prices.sum())
        for _ in range(_CUTS):
            price, path, taken = self.shortest(prices + extra)
            bound = max(bound, price - extra.sum())
            if (taken <= 1 + _MARGIN).all() and taken @ prices < most:
                best, most = path, float(taken @ prices)
            if best is not None and most - bound <= _GAP * most:
                return best
            cuts.append(taken)
            unit = min(unit, most) or 1.0
            rows = np.array([[*(1 - taken), 1.0] for taken in cuts])
            found = _maximum(rows, np.array([taken @ prices for taken in cuts]) / unit, whole=False)
            if found.bound * unit <= bound + _GAP * unit:
                break
            extra = found.prices * unit
        return self._search(prices, best, most)

    def _taken(self, path: Sequence[int]) -> Floats:
        total: Floats = np.sum([stage.resources[edge] for stage, edge in zip(self.stages, path, strict=True)], axis=0)
        return total

    def _search(self, prices: Floats, best: list[int] | None, most: float) -> list[int] | None:
        """Return the best path, by setting labels from the first stage on; see the module's text."""
        bounds = self._useful(prices)
        taken, nodes = np.zeros((1, len(RESOURCE_NAMES))), np.zeros(1, np.int64)
        history: list[tuple[Indices, Indices]] = []
        for number, stage in enumerate(self.stages):
            first, last = (np.searchsorted(stage.source, nodes, side) for side in ("left", "right"))
            counts = last - first
            label = np.repeat(np.arange(len(nodes)), counts)
            edge = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
            longer = taken[label] + stage.resources[edge]
            kept, rank = self._promising(longer, stage.target[edge], number + 1, prices, bounds, most)
            chosen = kept[_labels(longer[kept], stage.target[edge[kept]], rank)]
            if not len(chosen):
                return best
            history.append((label[chosen], edge[chosen]))
            taken, nodes = longer[chosen], stage.target[edge[chosen]]
        fits = np.flatnonzero((taken <= 1 + _MARGIN).all(axis=1))
        if not len(fits):
            return best
        last_label = int(fits[np.argmin(taken[fits] @ prices)])
        path: list[int] = []
        for label, edge in reversed(history):
            path.insert(0, int(edge[last_label]))
            last_label = int(label[last_label])
        return path if best is None or self._taken(path) @ prices < most else best

    def _useful(self, prices: Floats) -> list[_Bounds]:
        """Return the bounds to test labels against: those found, and one for each resource alone."""
        for unit in np.eye(len(RESOURCE_NAMES)):
            self.shortest(unit)
        self.shortest(prices)
        return self.bounds

    def _promising(
        self, taken: Floats, node: Indices, stage: int, prices: Floats, bounds: list[_Bounds], most: float
    ) -> tuple[Indices, Floats]:
        """Return which labels may still become the best path within the limits, and the least price they may have."""
        number, least = np.arange(len(taken)), np.full(len(taken), -np.inf)
        for bound in bounds:
            whole = taken[number] @ bound.prices + bound.rest[stage][node[number]]
            extra = bound.prices - prices
            alive = np.ones(len(number), bool)
            if (extra >= -_MARGIN).all():
                # Whatever the rest takes, it costs at least this without the extra prices of the limits.
                least[number] = np.maximum(least[number], whole - extra.sum())
                if math.isfinite(most):
                    alive &= least[number] < most - _GAP * most
            # No path within the limits costs more than all limits do.
            alive &= whole <= bound.prices.sum() * (1 + _MARGIN) + _MARGIN
            number = number[alive]
        return number, least[number]


def _labels(taken: Floats, node: Indices, rank: Floats) -> Indices:
    """Return which labels of each node to keep: those that none dominates, the most promising ones of too many."""
    kept: list[Indices] = []
    order = np.lexsort((rank, node))
    for _, group in groupby(order.tolist(), key=lambda label: int(node[label])):
        labels = np.array(list(group)[: 2 * MOST_LABELS], np.int64)
        kept.append(labels[front_of(taken[labels])][:MOST_LABELS])
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


@dataclass(frozen=True)
class _Dual:
    """The best prices for the cuts known, and what they bound."""

    prices: Floats
    bound: float


def _maximum(rows: Floats, right: Floats, whole: bool) -> _Dual:
    """Maximise z over prices >= 0 where rows @ (prices, z) <= right; `whole` prices add up to 1."""
    from scipy.optimize import linprog

    count = len(RESOURCE_NAMES)
    sums = ([[1.0] * count + [0.0]], [1.0]) if whole else (None, None)
    solved = linprog(
        [0.0] * count + [-1.0], A_ub=rows, b_ub=right, A_eq=sums[0], b_eq=sums[1],
        bounds=[(0, 1e4)] * count + [(None, None)], method="highs",
    )  # fmt: skip
    return _Dual(solved.x[:count], float(solved.x[count]))


def front_of(points: Floats) -> Indices:
    """Return the indices of the points (n, 4) that no other one is at most equal to in every coordinate."""
    at_most = (points[np.newaxis] <= points[:, np.newaxis] + _MARGIN).all(axis=2)
    # Of equal points the first one stays.
    first = np.tri(len(points), k=-1, dtype=bool)
    return np.flatnonzero(~(at_most & (~at_most.T | first)).any(axis=1))
