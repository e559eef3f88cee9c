"""What yosys makes of an array for a 7-series chip: block RAM, LUT memory, or a table in LUTs, and of how many pieces.

yosys (`memory_libmap`) weighs every way to build an array of the chip's memories by a price for each and takes the
cheapest. The same is done here, by the prices and shapes of its description of these chips (`brams_xc4v.txt` and
`lutrams_xc5v.txt` of yosys 0.70), so that block RAMs come out exactly. The shapes are those of UG473 and UG474.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

AUTO, DISTRIBUTED, BLOCK = "auto", "distributed", "block"

LUTRAM_DEPTH = 64
"""Memories up to this depth go into LUTs and deeper ones into block RAM, where nothing else is said."""

_BLOCK_RAMS = (
    ((1, 2, 4, 9, 18, 36), 14, 129, 1),
    ((1, 2, 4, 9, 18, 36, 72), 15, 257, 2),
    ((1,), 16, 513, 4),
)
"""Half a block RAM, a whole one, two of them in cascade: widths of a port, bits of address at the narrowest, price,
halves of 18 kbit."""

_SLICES = ((32, 6), (64, 3))
"""Words and bits that the four LUTs of a slice hold with one port to write and one to read (RAM32M, RAM64M)."""

_SLICE_LUTS = 4
_SLICE_PRICE, _SLICE_PRICE_BY_WIDTH = 1, 7
_ROM_BIT_PRICE = 1 / 64
_CHOICE_PRICE = 0.5
_BYTE = 9

ROM_WORDS = 64
"""Words of a table that one LUT holds, one bit of each."""


@dataclass(frozen=True)
class Memory:
    """What became of an array.

    `lut` are the LUTs that serve as memory, `bram18` the halves of block RAM. `rom` are the bits, by 64, of a table in
    LUTs, each a LUT unless its contents are simple. `choices` are the LUTs that choose between banks of words, each of
    which chooses one bit of up to four, or of three besides what another one chose.
    """

    lut: int = 0
    bram18: int = 0
    rom: int = 0
    choices: int = 0


def memory_style(words: int) -> str:
    """Return where a memory of so many words lies where nothing else is said: "distributed" or "block"."""
    return DISTRIBUTED if words <= LUTRAM_DEPTH else BLOCK


@lru_cache(maxsize=65_536)
def mapped(words: int, width: int, style: str = AUTO, *, read_only: bool = False) -> Memory:
    """Return what becomes of `words` words of `width` bits with one port to write, if any, and one to read by a clock.

    Args:
        style: the attribute `ram_style`: "auto", "distributed" or "block".
        read_only: whether nothing writes to it, so that its contents are known.
    """
    candidates: list[tuple[float, Memory]] = []
    if style != BLOCK:
        candidates += [_table(words, width)] if read_only else _of_slices(words, width)
    if style != DISTRIBUTED:
        candidates += _of_blocks(words, width, read_only)
    # Prices count whole points; of equal ones the first is taken.
    return min(candidates, key=lambda candidate: int(candidate[0]))[1]


def _table(words: int, width: int) -> tuple[float, Memory]:
    banks = math.ceil(words / ROM_WORDS)
    return words * width * _ROM_BIT_PRICE, Memory(rom=width * banks, choices=_choices(banks, width))


def _of_slices(words: int, width: int) -> Iterator[tuple[float, Memory]]:
    for depth, bits in _SLICES:
        banks = math.ceil(words / depth)
        slices = banks * math.ceil(width / bits)
        price = _SLICE_PRICE * slices + _SLICE_PRICE_BY_WIDTH * banks * width / bits
        yield price + _choosing(banks, width, False), Memory(lut=_SLICE_LUTS * slices, choices=_choices(banks, width))


def _of_blocks(words: int, width: int, read_only: bool) -> Iterator[tuple[float, Memory]]:
    for widths, address_bits, price, halves in _BLOCK_RAMS:
        for place, bits in enumerate(widths):
            banks = math.ceil(words / 2 ** (address_bits - place))
            # A word that is written fills whole bytes of 9 bits; banks lie one behind the other.
            byte = 1 if read_only else min(_BYTE, bits)
            pieces = math.ceil(banks * math.ceil(width / byte) * byte / bits)
            total = price * pieces + _choosing(banks, width, read_only)
            yield total, Memory(bram18=halves * pieces, choices=_choices(banks, width))


def _choices(banks: int, width: int) -> int:
    return width * math.ceil((banks - 1) / 3)


def _choosing(banks: int, width: int, read_only: bool) -> float:
    """Return the price of choosing between banks: multiplexers to read, and one gate a bank to write."""
    gates = 0 if read_only or banks == 1 else banks
    return _CHOICE_PRICE * ((banks - 1) * width + gates)
