"""An adder graph in time: its adders in stages with registers between them, and what both cost.

A stage holds up to `LEVELS` adders in a row. A value that a later stage needs is passed on through a register for each
stage in between, so that one vector enters and one leaves in every cycle.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fpga_facedet.compiler.cost import Resources

if TYPE_CHECKING:
    from fpga_facedet.compiler.adder_graph import Adder, AdderGraph

LEVELS = 2
"""Adders in a row between two registers.

On a 7-series chip of speed grade -1 an adder of 12 bits takes about 1.3 ns and the wires to it 0.8 to 1.5 ns: two of
them leave a third of the 10 ns of 100 MHz to a crowded chip, three would leave nothing. Estimated, not routed.
"""

_SHIFT_REGISTER = 3
"""A delay of so many cycles or more becomes a shift register in a LUT, a shorter one flip-flops."""

_SWEEPS = 20


@dataclass(frozen=True)
class Pipeline:
    """Which stage each value of a graph is computed in, from 1 on; inputs count to the first."""

    graph: "AdderGraph"
    stages: tuple[int, ...]

    @cached_property
    def depth(self) -> int:
        """The stages, which are the cycles from an input to its output."""
        return max(self.stages)

    @cached_property
    def delays(self) -> tuple[int, ...]:
        """The registers behind each value: one for each stage after its own up to the last that needs it."""
        last = list(self.stages)
        for stage, adder in zip(self.stages[self.graph.inputs :], self.graph.adders, strict=True):
            for value in _operands(adder):
                last[value] = max(last[value], stage)
        for output in self.graph.outputs:
            if output.source is not None:
                last[output.source] = self.depth + 1
        return tuple(after - own for after, own in zip(last, self.stages, strict=True))


def pipeline(graph: "AdderGraph", levels: int = LEVELS) -> Pipeline:
    """Put each adder as early as it goes, then move single ones later or earlier while that saves registers."""
    return Pipeline(graph, tuple(max(1, -(-level // levels)) for level in _Levels(graph, levels).settled()))


def cost(graph: "AdderGraph", levels: int = LEVELS) -> Resources:
    """Return what a graph costs: a LUT a bit that is really added, and the registers (estimated, fitted to nothing)."""
    placed = pipeline(graph, levels)
    lut, ff = sum(_luts(graph, number) for number in range(len(graph.adders))), placed.depth
    for value, delay in enumerate(placed.delays):
        if delay >= _SHIFT_REGISTER:
            lut += graph.width(value)
        else:
            ff += delay * graph.width(value)
    return Resources(lut=lut + 1, ff=ff)


def _operands(adder: "Adder") -> list[int]:
    return [adder.right] if adder.left is None else [adder.left, adder.right]


def _luts(graph: "AdderGraph", number: int) -> int:
    """Return the bits of an adder that need a LUT, equal ones once.

    They are those in which two signals meet; of a difference also those that only one of them has, as the carry chain
    then takes it inverted. Bits below the right operand pass through.
    """
    adder, met = graph.adders[number], set()
    for bit in range(adder.right_shift, graph.width(graph.inputs + number)):
        left = None if adder.left is None else _signal(graph, adder.left, bit - adder.left_shift)
        right = _signal(graph, adder.right, bit - adder.right_shift)
        if (left is not None and right is not None) or (adder.subtract and left != right):
            met.add((left, right))
    return len(met)


def _signal(graph: "AdderGraph", value: int, bit: int) -> int | None:
    """Return which bit of `value` stands at `bit`, extended upwards; None for a constant 0."""
    width = graph.width(value)
    if bit < 0 or (bit >= width and not graph.signed(value)):
        return None
    return min(bit, width - 1)


class _Levels:
    """The level of each value, inputs 0: an adder stands above its operands, `levels` of them to a stage."""

    def __init__(self, graph: "AdderGraph", levels: int) -> None:
        self._levels = levels
        self._inputs = graph.inputs
        self._widths = [graph.width(value) for value in range(graph.inputs + len(graph.adders))]
        self._operands: list[list[int]] = [[] for _ in range(graph.inputs)]
        self._operands += [_operands(adder) for adder in graph.adders]
        self._users: list[list[int]] = [[] for _ in self._operands]
        self._level = [0] * graph.inputs
        for value, operands in enumerate(self._operands[graph.inputs :], graph.inputs):
            self._level.append(1 + max(self._level[operand] for operand in operands))
            for operand in operands:
                self._users[operand].append(value)
        # The last level that still belongs to the last stage.
        self._top = max(1, math.ceil(max(self._level) / levels)) * levels
        self._outputs = {output.source for output in graph.outputs}

    def settled(self) -> list[int]:
        """Return the levels after moving adders one by one, until none of them saves registers any more."""
        for _ in range(_SWEEPS):
            moved = [self._moved(value) for value in range(len(self._level) - 1, self._inputs - 1, -1)]
            if not any(moved):
                break
        return self._level

    def _moved(self, value: int) -> bool:
        lowest = 1 + max(self._level[operand] for operand in self._operands[value])
        highest = min((self._level[user] - 1 for user in self._users[value]), default=self._top)
        before, best = self._level[value], (self._registers(value), 0, self._level[value])
        for level in range(lowest, highest + 1):
            self._level[value] = level
            best = min(best, (self._registers(value), abs(level - before), level))
        self._level[value] = best[2]
        return best[2] != before

    def _registers(self, value: int) -> int:
        """Return what the registers behind a value and behind its operands cost; those in LUTs weigh more."""
        total = 0
        for one in {value, *self._operands[value]}:
            last = max((self._stage(user) for user in self._users[one]), default=0)
            delay = (self._top // self._levels + 1 if one in self._outputs else last) - self._stage(one)
            total += self._widths[one] * (delay if delay < _SHIFT_REGISTER else 2 * _SHIFT_REGISTER)
        return total

    def _stage(self, value: int) -> int:
        return max(1, -(-self._level[value] // self._levels))
