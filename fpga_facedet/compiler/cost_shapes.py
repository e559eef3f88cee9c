"""What determines the resources of a layer, and how: its shape, and the terms of the formulas that count it.

A shape holds the parameters that code generation writes into a layer's source, and nothing else. `lut_terms` and
`ff_terms` say how much there is of what takes LUTs or flip-flops: bits that are added, chosen or stored, read off the
SystemVerilog; what each takes is a coefficient, fitted to yosys's counts (synthesis/calibration.py). Block RAMs and
DSPs follow exactly, with nothing to fit.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar, Protocol

from fpga_facedet.compiler.cost_memory import ROM_WORDS, Memory, mapped
from fpga_facedet.compiler.matrix_units import DSP, Multiplier

Terms = dict[str, float]

DSP48E1, DSP48E2 = "DSP48E1", "DSP48E2"
_FACTOR_BITS = {DSP48E1: 25, DSP48E2: 27}
"""Bits of the wider factor of a DSP slice (UG479, UG579)."""
_PRODUCT_BITS = 48


class Shape(Protocol):
    """The parameters of a layer that its resources depend on."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def formula(self) -> str:
        """The name of the formula for its LUTs and flip-flops."""

    def lut_terms(self) -> Terms:
        """Return how much there is of what takes LUTs."""

    def ff_terms(self) -> Terms:
        """Return how much there is of what takes flip-flops."""

    @property
    def bram18(self) -> int:
        """Halves of block RAM."""

    @property
    def dsp(self) -> int:
        """DSP slices."""


def bits_for(count: int) -> int:
    """Return the bits of a number below `count`: $clog2."""
    return (count - 1).bit_length() if count > 1 else 0


def lanes(weight_bits: int, activation_bits: int, dsp: str = DSP48E1, narrow: bool = True) -> int:
    """Return the products that one DSP slice makes a cycle (NUM_LANES of finn's mvu.sv).

    `narrow` says that no weight is the lowest number of its type, which saves a bit of the factor.
    """
    factor = _FACTOR_BITS[dsp]
    return 1 + (factor - (not narrow) - weight_bits) // (weight_bits + activation_bits - 1)


def lane_places(weight_bits: int, activation_bits: int, result_bits: int, dsp: str, narrow: bool) -> list[int]:
    """Return where in the product each lane begins, and where the last one ends (sliceLanes of mvu.sv)."""
    count, least = lanes(weight_bits, activation_bits, dsp, narrow), weight_bits + activation_bits - 1
    spare = _FACTOR_BITS[dsp] - (not narrow) - weight_bits - (count - 1) * least
    places = [0]
    for lane in range(1, count):
        extra = math.ceil(spare / (count - lane))
        places.append(places[-1] + least + extra)
        spare -= extra
    return [*places, min(places[-1] + result_bits, _PRODUCT_BITS)]


@lru_cache(maxsize=65_536)
def sum_tree(count: int, bits: int, carries: bool) -> tuple[int, int]:
    """Return the bits that a binary tree adds, and those of all its sums, over `count` numbers of `bits` bits.

    An adder takes a LUT for each bit that both of its operands have (add_multi.sv). `carries` are numbers from -1 to 1.
    """

    def width(leaves: int) -> int:
        if not carries:
            return bits + bits_for(leaves)
        above, below = bits_for(leaves + 1), 1 + bits_for(leaves)
        return above + 1 if above >= below else below

    leaves = [1] * (2 * count - 1)
    for node in range(count - 2, -1, -1):
        leaves[node] = leaves[2 * node + 1] + leaves[2 * node + 2]
    inner = range(count - 1)
    added = sum(min(width(leaves[2 * node + 1]), width(leaves[2 * node + 2])) for node in inner)
    return added, sum(width(leaves[node]) for node in inner)


def different(columns: int, words: int) -> float:
    """Return how many of `columns` random columns of a table of `words` bits are different and not constant.

    yosys keeps one of those that are equal, so that tables of few words shrink.
    """
    if words >= 32:
        return float(columns)
    patterns = 2.0**words
    return (patterns - 2) * (1 - (1 - 1 / patterns) ** columns)


@dataclass(frozen=True)
class MatrixUnit:
    """FINN's matrix-vector unit on DSP slices (mvu_vvu_axi.sv) with the memory that streams its weights (memstream.sv).

    The matrix has `inputs` columns and `outputs` rows, SIMD and PE of which are multiplied at a time.
    """

    formula: ClassVar[str] = "matrix unit on DSPs"
    MULTIPLIER: ClassVar[Multiplier] = DSP

    inputs: int
    outputs: int
    pe: int
    simd: int
    weight_bits: int
    activation_bits: int
    result_bits: int
    ram_style: str
    narrow: bool = True
    device: str = DSP48E1

    @property
    def words(self) -> int:
        """Words of the weight memory."""
        return self.inputs * self.outputs // (self.pe * self.simd)

    @property
    def dsp(self) -> int:
        """One for each of SIMD in a group of PE as large as there are lanes; what is left of PE takes a whole group."""
        return self._groups * self.simd

    @property
    def bram18(self) -> int:
        """Of the weights, and of the input words that are used again."""
        return self._weights.bram18 + self._replay.bram18

    @property
    def _groups(self) -> int:
        return math.ceil(self.pe / lanes(self.weight_bits, self.activation_bits, self.device, self.narrow))

    @property
    def _weights(self) -> Memory:
        width = self.pe * self.simd * self.weight_bits
        return mapped(self.words, width, self.ram_style, read_only=True) if self.words > 1 else Memory()

    @property
    def _columns(self) -> float:
        """Bits of the weights that are neither constant nor equal to another one."""
        columns = self.pe * self.simd * self.weight_bits
        if self.words == 1:
            return 0.0
        return float(columns) if self._weights.bram18 else different(columns, self.words)

    @property
    def _replay(self) -> Memory:
        if self.outputs == self.pe:
            return Memory()
        return mapped(2 ** max(1, bits_for(self.inputs // self.simd)), self.simd * self.activation_bits)

    @property
    def _counters(self) -> int:
        """Bits of the counters and pointers."""
        position, weights = bits_for(self.inputs // self.simd), bits_for(self.words)
        if self.outputs == self.pe:
            return position + weights
        return position + weights + bits_for(self.outputs // self.pe) + 3 * (max(1, position) + 1)

    def _lanes_used(self) -> "list[_Lane]":
        """Return each lane of each DSP slice of one place of SIMD that makes a result."""
        places = lane_places(self.weight_bits, self.activation_bits, self.result_bits, self.device, self.narrow)
        low = [end - begin for begin, end in pairwise(places)]
        high = [_high_bits(low, self.result_bits, self.simd, lane) for lane in range(len(low))]
        found = []
        for group in range(self._groups):
            empty = max(0, len(low) * (group + 1) - self.pe)
            found += [_Lane(low[lane], high[lane], lane == empty) for lane in range(empty, len(low))]
        return found

    def lut_terms(self) -> Terms:
        """Adders of the sums, what finds the carries between lanes, queues, tables of weights, counters."""
        used = self._lanes_used()
        sums = carries = results = 0
        for lane in used:
            sums += sum_tree(self.simd, lane.low, False)[0]
            if lane.high:
                carries += sum_tree(self.simd, 2, True)[0] + lane.high
                results += self.result_bits - lane.low
            if not lane.first:
                results += self.result_bits
        columns = self._columns
        table = columns * math.ceil(self.words / ROM_WORDS) if self._weights.rom and self.words > 5 else 0.0
        return {
            "unit": 1,
            "bits of sums": sums,
            "bits of carries": carries,
            "bits of results": results,
            "lanes behind another": (self.pe - self._groups) * self.simd,
            "DSP slices": self.dsp,
            "bits queued": self.pe * self.result_bits + columns,
            "tables of weights": table,
            "bits of counters": self._counters,
            "LUT memory": self._replay.lut,
            "choices": self._weights.choices + self._replay.choices,
        }

    def ff_terms(self) -> Terms:
        """Registers of the trees, of the carries between lanes, of results and queues, of weights on their way."""
        used = self._lanes_used()
        registered = sum(sum_tree(self.simd, lane.low, False)[1] for lane in used)
        registered += sum(sum_tree(self.simd, 2, True)[1] + lane.high for lane in used if lane.high)
        return {
            "unit": 1,
            "bits of sums": registered,
            "bits of results": self.pe * self.result_bits,
            "lanes behind another": (self.pe - self._groups) * self.simd,
            "DSP slices": self.dsp,
            "bits of weights": self._columns,
            "bits of counters": self._counters,
            "bits replayed": self.simd * self.activation_bits if self.outputs > self.pe else 0,
        }


@dataclass(frozen=True)
class _Lane:
    """One lane of a DSP slice: its own bits, those of the part above them, and whether it is its slice's first."""

    low: int
    high: int
    first: bool


def _high_bits(low: list[int], result_bits: int, simd: int, lane: int) -> int:
    """Return the bits of the part of a result that its lane has no room for (hi_width of mvu.sv)."""
    missing = result_bits - low[lane]
    if missing <= 0:
        return 0 if lane == len(low) - 1 else 1 + bits_for(simd)
    if bits_for(simd) < missing - 1:
        return 1 + missing
    overflow, below = 0, 0
    for other in range(lane, -1, -1):
        below += low[other]
        overflow += 2 ** (result_bits - below - 1) if result_bits > below else 0
    return 1 + bits_for(overflow + simd)
