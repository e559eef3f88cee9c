"""A matrix of constants as a graph of adders: y = x W with additions, subtractions and shifts alone.

Every value of the graph is a sum of inputs times integers, so the graph is a linear function of the inputs; it equals
the matrix for every input there can be exactly if it does so for the unit vectors. `solve` proves that for each graph
it returns. The same coefficients and the range of the inputs give the range of every value, which is reached: that is
the width of its adder.

da4ml finds the graphs: it takes the commonest sums of two shifted terms out of all columns, again and again
(C. Sun, Z. Que, V. Loncar et al., "da4ml: Distributed Arithmetic for Real-time Neural Networks on FPGAs", 2025).
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.compiler import adder_pipeline
from fpga_facedet.compiler.cost import Resources
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.files import write_text
from fpga_facedet.native.building import cache_folder

Integers = npt.NDArray[np.int64]

MADE_BY = 1
"""Counted up where the search below finds other graphs for the same matrix: earlier ones in the cache are not used."""

_METHODS = ("mc", "wmc")
"""da4ml's ways to choose the next sum: the commonest, or the commonest by overlapping bits."""

_DEPTHS = (-1, 2, 4)
"""da4ml's bounds on the depth of the first of the two factors that it takes the matrix apart into; -1 is one factor."""


@dataclass(frozen=True)
class Adder:
    """A node: (left << left_shift) + (right << right_shift), or their difference. `left` None stands for zero.

    `left` and `right` number the values: the inputs first, then the adders in their order. One of the shifts is 0.
    """

    left: int | None
    right: int
    left_shift: int
    right_shift: int
    subtract: bool


@dataclass(frozen=True)
class Output:
    """A column's sum: the value `source` << `shift`, or always zero where `source` is None."""

    source: int | None
    shift: int = 0


@dataclass(frozen=True)
class AdderGraph:
    """Adders over `inputs` integers of the range `least` to `most`, and where each output is found."""

    inputs: int
    least: int
    most: int
    adders: tuple[Adder, ...]
    outputs: tuple[Output, ...]

    def evaluate(self, x: npt.ArrayLike) -> Integers:
        """Return the outputs, int64 (..., outputs), for inputs of integers (..., inputs), adder by adder.

        >>> graph = AdderGraph(2, 0, 255, (Adder(0, 1, 0, 2, True),), (Output(2), Output(1, 3), Output(None)))
        >>> graph.evaluate([10, 1]).tolist()
        [6, 8, 0]
        """
        values = self._values(np.asarray(x, np.int64))
        zero = np.zeros_like(values[0])
        found = [zero if end.source is None else values[end.source] << end.shift for end in self.outputs]
        return np.stack(found, axis=-1)

    def _values(self, x: Integers) -> list[Integers]:
        values = [x[..., index] for index in range(self.inputs)]
        for adder in self.adders:
            left = np.int64(0) if adder.left is None else values[adder.left] << adder.left_shift
            right = values[adder.right] << adder.right_shift
            values.append(left - right if adder.subtract else left + right)
        return values

    @cached_property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The least and the largest number that each value takes, inputs first."""
        # What the unit vectors give are the coefficients of the inputs in each value.
        coefficients = np.stack(self._values(np.eye(self.inputs, dtype=np.int64)))
        positive, negative = np.maximum(coefficients, 0).sum(axis=1), np.minimum(coefficients, 0).sum(axis=1)
        least = positive * self.least + negative * self.most
        most = positive * self.most + negative * self.least
        return tuple(zip(least.tolist(), most.tolist(), strict=True))

    def width(self, value: int) -> int:
        """Return the bits of a value, with a sign where it can be negative; at least 1."""
        least, most = self.ranges[value]
        if least < 0:
            return max((-least - 1).bit_length(), most.bit_length()) + 1
        return max(1, most.bit_length())

    def signed(self, value: int) -> bool:
        """Return whether a value can be negative."""
        return self.ranges[value][0] < 0

    def check(self, weights: Integers) -> None:
        """Raise InternalError unless this is `weights` (inputs, outputs) for every input."""
        if not np.array_equal(self.evaluate(np.eye(self.inputs, dtype=np.int64)), weights):
            raise InternalError("An adder graph does not compute the matrix that it was made for.")

    def cost(self, levels: int = adder_pipeline.LEVELS) -> Resources:
        """Return what the adders and the registers of the pipeline with `levels` adders a stage cost (estimated)."""
        return adder_pipeline.cost(self, levels)


def solve(weights: npt.ArrayLike, input_range: tuple[int, int]) -> AdderGraph:
    """Return a graph of few adders for integer `weights` (inputs, outputs).

    `input_range` are the least and the largest number that an input can be.

    It is kept in the user's cache by its content, so that only the first call for a matrix takes seconds; what is read
    there is proven like what is made. Raises InternalError where the graph is not the matrix.
    """
    (least, most), matrix = input_range, np.asarray(weights).astype(np.int64)
    if matrix.ndim != 2 or not matrix.size or not np.array_equal(matrix, weights) or least >= most:
        raise InternalError(f"There is no adder graph for weights {matrix.shape} and inputs {least} to {most}.")
    folder = cache_folder()
    cached = folder / f"adders-{_key(matrix, least, most)}.json" if folder else None
    graph = _read(cached, matrix) if cached else None
    if graph is None:
        graph = min(_candidates(matrix, least, most), key=lambda found: found.cost().lut)
        graph.check(matrix)
        if cached:
            with contextlib.suppress(UserError):  # a cache that cannot be written: found again the next time
                write_text(cached, json.dumps(_to_json(graph)))
    return graph


def _key(matrix: Integers, least: int, most: int) -> str:
    about = [MADE_BY, metadata.version("da4ml"), least, most, matrix.tolist()]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def _to_json(graph: AdderGraph) -> dict[str, Any]:
    return {
        "inputs": [graph.inputs, graph.least, graph.most],
        "adders": [astuple(adder) for adder in graph.adders],
        "outputs": [astuple(output) for output in graph.outputs],
    }


def _read(path: Path, matrix: Integers) -> AdderGraph | None:
    """Return the graph that the cache holds for `matrix`, None where there is none or it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        adders = tuple(Adder(*adder) for adder in found["adders"])
        inputs, least, most = found["inputs"]
        graph = AdderGraph(inputs, least, most, adders, tuple(Output(*output) for output in found["outputs"]))
        graph.check(matrix)
    except (OSError, ValueError, KeyError, TypeError, IndexError, InternalError):
        return None
    return graph


def _candidates(matrix: Integers, least: int, most: int) -> Iterator[AdderGraph]:
    """Yield the graphs that da4ml finds in several ways; none of them is the best for every matrix."""
    if not matrix.any():
        yield AdderGraph(len(matrix), least, most, (), (Output(None),) * matrix.shape[1])
        return
    solver, interval = _da4ml()
    # da4ml reckons with whole powers of two; what the widths really are, `ranges` says.
    given = [interval(float(least), float(most), 1.0)] * len(matrix)
    deepest = math.ceil(math.log2(len(matrix)))
    for method in _METHODS:
        for depth in sorted({min(depth, deepest) for depth in _DEPTHS}):
            found = solver(
                matrix.astype(np.float32), method0=method, method1="auto", hard_dc=-1, decompose_dc=depth,
                qintervals=given, latencies=[0.0] * len(matrix), adder_size=1, carry_size=-1,
            )  # fmt: skip
            builder = _Builder(len(matrix), least, most)
            yield builder.graph(found.solutions)


def _da4ml() -> tuple[Any, Any]:
    """Return da4ml's solver and its type of a range, uncompiled.

    numba would compile it for a minute, and keep the result in site-packages where it may; as plain Python it takes a
    second or so for a first layer.
    """
    import numba

    before, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, True
    try:
        from da4ml.cmvm import QInterval
        from da4ml.cmvm.api import jit_solve
    finally:
        numba.config.DISABLE_JIT = before
    return jit_solve, QInterval


@dataclass(frozen=True)
class _Term:
    """A value times a power of two, which may be a fraction, and a sign; `value` None is zero."""

    value: int | None
    exponent: int = 0
    negative: bool = False


class _Builder:
    """Makes an AdderGraph of da4ml's operations: equal adders once, negations as late as they go."""

    def __init__(self, inputs: int, least: int, most: int) -> None:
        self._about = (inputs, least, most)
        self._adders: dict[Adder, int] = {}

    def graph(self, stages: Sequence[Any]) -> AdderGraph:
        """Return the graph of da4ml's stages, each of which works on what the one before put out."""
        terms = [_Term(index) for index in range(self._about[0])]
        for stage in stages:
            terms = self._stage(stage, terms)
        outputs = tuple(self._output(term) for term in terms)
        return _without_unused(AdderGraph(*self._about, tuple(self._adders), outputs))

    def _stage(self, stage: Any, given: list[_Term]) -> list[_Term]:
        terms: list[_Term] = []
        for op in stage.ops:
            if op.opcode == -1:
                terms.append(_scaled(given[op.id0], stage.inp_shifts[op.id0]))
            elif op.opcode in (0, 1):
                right = _scaled(terms[op.id1], op.data, negate=op.opcode == 1)
                terms.append(self._sum(terms[op.id0], right))
            else:
                raise InternalError(f"da4ml put operation {op.opcode} into the graph of a matrix.")
        ends = zip(stage.out_idxs, stage.out_shifts, stage.out_negs, strict=True)
        return [_Term(None) if index < 0 else _scaled(terms[index], shift, sign) for index, shift, sign in ends]

    def _sum(self, one: _Term, other: _Term) -> _Term:
        if one.value is None or other.value is None:
            return one if other.value is None else other
        if one.negative and not other.negative:
            one, other = other, one
        exponent = min(one.exponent, other.exponent)
        subtract = one.negative != other.negative
        if not subtract and one.exponent > exponent:
            # The lower bits of what is not shifted need no adder, so it stands on the left.
            one, other = other, one
        assert one.value is not None and other.value is not None
        adder = Adder(one.value, other.value, one.exponent - exponent, other.exponent - exponent, subtract)
        return _Term(self._number(adder), exponent, one.negative and other.negative)

    def _number(self, adder: Adder) -> int:
        return self._adders.setdefault(adder, self._about[0] + len(self._adders))

    def _output(self, term: _Term) -> Output:
        if term.value is None:
            return Output(None)
        if term.exponent < 0:
            raise InternalError("da4ml put out half of a value.")
        return Output(self._negated(term.value) if term.negative else term.value, term.exponent)

    def _negated(self, value: int) -> int:
        """Return the number of -value: a difference the other way round, or one more adder."""
        own = value - self._about[0]
        adder = list(self._adders)[own] if own >= 0 else None
        if adder is not None and adder.subtract and adder.left is not None:
            return self._number(Adder(adder.right, adder.left, adder.right_shift, adder.left_shift, subtract=True))
        return self._number(Adder(None, value, 0, 0, subtract=True))


def _scaled(term: _Term, shift: int, negate: bool = False) -> _Term:
    return _Term(term.value, term.exponent + int(shift), term.negative != bool(negate))


def _without_unused(graph: AdderGraph) -> AdderGraph:
    """Return the graph without adders that no output needs."""
    needed = {output.source for output in graph.outputs}
    for number, adder in reversed(list(enumerate(graph.adders, graph.inputs))):
        if number in needed:
            needed |= {adder.left, adder.right}
    kept = [number for number in range(graph.inputs + len(graph.adders)) if number < graph.inputs or number in needed]
    new: dict[int | None, Any] = {old: index for index, old in enumerate(kept)}
    new[None] = None
    adders = tuple(
        Adder(new[adder.left], new[adder.right], adder.left_shift, adder.right_shift, adder.subtract)
        for number, adder in enumerate(graph.adders, graph.inputs)
        if number in needed
    )
    outputs = tuple(Output(new[output.source], output.shift) for output in graph.outputs)
    return AdderGraph(graph.inputs, graph.least, graph.most, adders, outputs)
