"""The last layer's staircase as one multiplication: level = clamp((accumulator * scale + offset) >> shift, 0, levels).

HardTanh followed by a quantizer is a staircase whose steps are (nearly) equally far apart. Instead of searching among
255 thresholds, hardware multiplies by an integer, adds another and drops `shift` bits. This module finds the integers
with the fewest bits to drop, which makes the multiplication the narrowest, and proves them.

The proof is exact and covers the whole range of the accumulators: with a scale that is not negative, the product, the
sum, the arithmetic shift (which rounds down) and the clamp each never fall as the accumulator rises, and neither does
the count of thresholds. Two such functions that agree on both sides of every step and at both ends of the range agree
on every integer between (`Staircase.critical`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpga_facedet.compiler.staircase import Integers, Staircase
from fpga_facedet.errors import InternalError

MOST_SHIFT = 30
"""Bits to drop at most; a multiplier wider than this costs more than a search."""


@dataclass(frozen=True, eq=False)
class HardTanh:
    """The integers of one layer; its output is clamp((x * scale + offset) >> shift, least, least + levels).

    `scale` and `offset` int64 (channels,), no scale negative; `least` the output below all thresholds.
    """

    scale: Integers
    offset: Integers
    shift: int
    least: int

    def evaluate(self, accumulators: Integers, levels: int) -> Integers:
        """Return the outputs int64 of `accumulators` int64 (channels, n), as the hardware computes them."""
        shifted = (accumulators * self.scale[:, None] + self.offset[:, None]) >> self.shift
        return np.clip(shifted, self.least, self.least + levels)


def fit(staircase: Staircase, least: int) -> HardTanh | None:
    """Return proven integers with the smallest shift for all channels, or None where no shift up to MOST_SHIFT fits.

    Args:
        staircase: the thresholds of the layer.
        least: the output of an accumulator below all of them.
    """
    for shift in range(_most_shift(staircase) + 1):
        scale = _least_scales(staircase, shift)
        if scale is not None:
            lowest, highest = _offsets(staircase, scale, shift)
            # `_offsets` counts levels from 0; the hardware's outputs begin at `least`.
            lowest, highest = lowest + (least << shift), highest + (least << shift)
            found = HardTanh(scale, np.clip(0, lowest, highest), shift, least)
            prove(staircase, found)
            return found
    return None


def prove(staircase: Staircase, found: HardTanh) -> None:
    """Raise InternalError, with layer, channel and accumulator, unless `found` equals `staircase` everywhere."""
    if (found.scale < 0).any():
        channel = int((found.scale < 0).argmax())
        raise InternalError(
            f"Layer {staircase.layer}, channel {channel}: the scale {found.scale[channel]} makes HardTanh fall where "
            "it must rise."
        )
    points = staircase.critical()
    wrong = found.evaluate(points, staircase.levels) != staircase.count(points) + found.least
    if wrong.any():
        channel, which = np.argwhere(wrong)[0]
        raise InternalError(
            f"Layer {staircase.layer}, channel {channel}: HardTanh differs from the thresholds for accumulator "
            f"{points[channel, which]}."
        )


def _most_shift(staircase: Staircase) -> int:
    """Return the largest shift to try: int64 must hold the largest scale times the largest accumulator."""
    largest = int(max(np.abs(staircase.low).max(), np.abs(staircase.high).max())) + 1
    return min(MOST_SHIFT, 61 - largest.bit_length() - (staircase.levels + 1).bit_length())


def _offsets(staircase: Staircase, scale: Integers, shift: int) -> tuple[Integers, Integers]:
    """Return the offsets that fit with `scale`, from lowest to highest, each int64 (channels,); none if lowest is more.

    At its step an accumulator must reach its level, one below the step it must not. Steps outside the range ask
    nothing of one side or the other.
    """
    level = np.arange(1, staircase.levels + 1, dtype=np.int64) << shift
    anything = np.int64(1) << 62
    reach = level - scale[:, None] * staircase.steps
    miss = level - 1 - scale[:, None] * (staircase.steps - 1)
    lowest = np.where(staircase.steps <= staircase.high[:, None], reach, -anything).max(axis=1)
    highest = np.where(staircase.steps > staircase.low[:, None], miss, anything).min(axis=1)
    return lowest, highest


def _least_scales(staircase: Staircase, shift: int) -> Integers | None:
    """Return the smallest scale that fits each channel, int64 (channels,), or None where a channel has none.

    How far the highest offset lies above the lowest is a concave function of the scale (a minimum of linear functions
    minus a maximum of such). So its peak is found by halving on its slope, and the first scale that fits by halving
    below the peak.
    """

    def room(scale: Integers) -> Integers:
        lowest, highest = _offsets(staircase, scale, shift)
        return highest - lowest

    # A scale that climbs all levels between two neighbouring accumulators is more than any staircase needs.
    none = np.zeros(len(staircase.steps), np.int64)
    peak = _first(lambda scale: room(scale + 1) <= room(scale), none, none + ((staircase.levels + 1) << shift))
    if (room(peak) < 0).any():
        return None
    return _first(lambda scale: room(scale) >= 0, none, peak)


def _first(holds: Callable[[Integers], npt.NDArray[np.bool_]], low: Integers, high: Integers) -> Integers:
    """Return for each channel the first integer from `low` on for which `holds`, or `high` where none below it does.

    `holds` stays true once it is true.
    """
    while (low < high).any():
        middle = (low + high) // 2
        true = holds(middle) | (low >= high)
        low, high = np.where(true, low, middle + 1), np.where(true, middle, high)
    return low
