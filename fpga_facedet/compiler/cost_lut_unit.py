"""Shape of our matrix unit of LUTs (rtl/mvu_lut.sv): the adders of its Booth digits, its weights, its input words."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import ClassVar

from fpga_facedet.compiler.cost_memory import ROM_WORDS, Memory, mapped, memory_style
from fpga_facedet.compiler.cost_shapes import Terms, bits_for, different
from fpga_facedet.compiler.matrix_units import LUT, Multiplier

_CHAIN, _LEVELS = 5, 3
"""CHAIN and LEVELS of mvu_lut_pkg.sv."""


@dataclass(frozen=True)
class _Product:
    """How a signed weight and an unsigned activation are multiplied (mvu_lut_pkg.sv, mvu_lut_dot.sv)."""

    weight_bits: int
    activation_bits: int
    result_bits: int

    @cached_property
    def recodes_weights(self) -> bool:
        """Whether the weight is the operand that becomes digits."""
        weights, activations = (self.weight_bits + 1) // 2, self.activation_bits // 2 + 1
        return weights * (self.activation_bits + 2) <= activations * (self.weight_bits + 2)

    @cached_property
    def digits(self) -> int:
        """Radix-4 digits of the operand that becomes digits."""
        return (self.weight_bits + 1) // 2 if self.recodes_weights else self.activation_bits // 2 + 1

    def sum_bits(self, lanes: int, first: int, behind: int) -> int:
        """Return the bits of the sum of digits `first` to `behind` - 1 of `lanes` products (sum_bits)."""
        size = self.weight_bits if self.recodes_weights else self.activation_bits
        signed, carried = self.recodes_weights, int(first > 0)
        if behind < self.digits:
            least, most = -(2 ** (2 * (behind - first) - 1)), 2 ** (2 * (behind - first) - 1) - 1 + carried
        else:
            least = -(2 ** (size - 2 * first - 1)) if signed else 0
            most = 2 ** (size - 2 * first - signed) - 1 + carried
        if self.recodes_weights:
            lowest, highest = 0, 2**self.activation_bits - 1
        else:
            lowest, highest = -(2 ** (self.weight_bits - 1)), 2 ** (self.weight_bits - 1) - 1
        products = [0, *(one * other for one in (least, most) for other in (lowest, highest))]
        below, above = -min(products) * lanes + 1, max(products) * lanes
        return min(self.result_bits, 1 + max(bits_for(below), above.bit_length()))


@lru_cache(maxsize=65_536)
def _adders(product: _Product, simd: int) -> tuple[int, int, int]:
    """Return the bits of the digits of products, of the adders behind them, and of the registers of one dot product."""
    chains = math.ceil(simd / _CHAIN)
    levels = bits_for(chains)
    made = added = registered = 0
    for digit in range(product.digits):
        ends = [chain * simd // chains for chain in range(chains + 1)]
        for begin, end in pairwise(ends):
            bits = [product.sum_bits(lanes + 1, digit, digit + 1) for lanes in range(end - begin)]
            made += sum(bits)
            registered += bits[-1] + 1
        for level in range(1, levels + 1):
            for lanes, joined in _nodes(simd, chains, level):
                bits_here = product.sum_bits(lanes, digit, digit + 1)
                added += bits_here if joined else 0
                registered += bits_here + 1 if level % _LEVELS == 0 else 0
    for level in range(1, bits_for(product.digits) + 1):
        for first in range(0, product.digits, 2**level):
            bits_here = product.sum_bits(simd, first, min(first + 2**level, product.digits))
            joined = first + 2 ** (level - 1) < product.digits and bits_here > 2**level
            added += bits_here - 2**level if joined else 0
            registered += bits_here + 1 if (levels + level) % _LEVELS == 0 else 0
    return made, added, registered


def _nodes(simd: int, chains: int, level: int) -> Iterator[tuple[int, bool]]:
    """Yield the lanes below each node of a level of the tree of chains, and whether it adds two."""
    below = math.ceil(chains / 2 ** (level - 1))
    for node in range(math.ceil(chains / 2**level)):
        begin, end = node * 2**level, min((node + 1) * 2**level, chains)
        yield end * simd // chains - begin * simd // chains, 2 * node + 1 < below


@dataclass(frozen=True)
class LutUnit:
    """Our matrix-vector unit without DSPs; fields as those of `MatrixUnit`, `places` are the input words it keeps."""

    formula: ClassVar[str] = "matrix unit in LUTs"
    MULTIPLIER: ClassVar[Multiplier] = LUT
    dsp: ClassVar[int] = 0
    narrow: ClassVar[bool] = True

    inputs: int
    outputs: int
    pe: int
    simd: int
    weight_bits: int
    activation_bits: int
    result_bits: int
    ram_style: str
    places: int

    @property
    def words(self) -> int:
        """Lines of weights."""
        return self.inputs * self.outputs // (self.pe * self.simd)

    @property
    def bram18(self) -> int:
        """Of the weights, and of the input words that are used again."""
        return self._weights.bram18 + self._replay.bram18

    @cached_property
    def _weights(self) -> Memory:
        if self.words == 1:
            return Memory()
        return mapped(self.words, self._columns, self.ram_style, read_only=True)

    @property
    def _columns(self) -> int:
        return self.pe * self.simd * self.weight_bits

    @cached_property
    def _replay(self) -> Memory:
        words = self.inputs // self.simd
        if words == 1 or self.outputs == self.pe:
            return Memory()
        return mapped(self.places, self.simd * self.activation_bits, memory_style(words))

    @property
    def _counters(self) -> int:
        words, passes = self.inputs // self.simd, self.outputs // self.pe
        ring = 3 * (bits_for(self.places) + 1) if words > 1 and passes > 1 else 0
        return bits_for(self.words) + bits_for(words) + bits_for(passes) + ring

    def _dot(self) -> tuple[int, int, int]:
        return _adders(_Product(self.weight_bits, self.activation_bits, self.result_bits), self.simd)

    def lut_terms(self) -> Terms:
        """Digits of products, each added as it is made; adders behind them; tables of weights; counters."""
        made, added, _ = self._dot()
        constant = self.words == 1
        tables = different(self._columns, self.words) * math.ceil(self.words / ROM_WORDS) if self._weights.rom else 0.0
        return {
            "unit": 1,
            "bits of digits": 0 if constant else self.pe * made,
            "bits of digits of constants": self.pe * made if constant else 0,
            "bits of trees": self.pe * added,
            "bits of accumulators": self.pe * self.result_bits if self.inputs > self.simd else 0,
            "tables of weights": tables,
            "bits of counters": self._counters,
            "LUT memory": self._replay.lut,
            "choices": self._weights.choices + self._replay.choices,
        }

    def ff_terms(self) -> Terms:
        """Registers of sums, accumulators, results, weights and input words; counters."""
        _, _, registered = self._dot()
        kept = 2 if self.inputs > self.simd else 1
        return {
            "unit": 1,
            "bits of sums": self.pe * registered,
            "bits of results": kept * self.pe * self.result_bits,
            "bits of weights": different(self._columns, self.words) if self._weights.rom else 0.0,
            "bits of input words": 0 if self._replay.bram18 else self.simd * self.activation_bits,
            "bits of counters": self._counters,
        }
