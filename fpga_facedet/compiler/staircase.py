"""Thresholds as a staircase over integers, and the arithmetic that climbs it exactly.

A MultiThreshold counts, for each accumulator, how many of its channel's thresholds it has reached. That count never
falls as the accumulator rises, so a channel is a staircase: level i begins at the integer `steps[i - 1]`. Counting is
slow on a processor. Where a channel's steps are (nearly) equally far apart, three operations give the same count:

    level = min(floor(max(accumulator + bias, 0) * scale), levels)

This module finds such a bias and scale, and proves them. The proof needs no tolerance: the sum is exact (bias is a
multiple of a power of two that leaves every sum within the mantissa), the product is one correctly rounded IEEE 754
multiplication, the same on every machine, and each of the four operations is monotone. A monotone function that is
right on both sides of every step, and at both ends of the accumulator's range, is right on every integer between.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import InternalError, UserError

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

MANTISSA = {np.dtype(np.float32): 24, np.dtype(np.float64): 53}
"""Bits of the integers that a float type holds without a gap."""


@dataclass(frozen=True)
class Staircase:
    """The thresholds of one layer, for accumulators that are integers in a known range.

    `steps` int64 (channels, levels), ascending along each row: the smallest accumulator that reaches level 1, 2, ...,
    limited to `low` .. `high` + 1 (never reached). `low` and `high` int64 (channels,): the accumulators' range, both
    included. `bound` int64 (channels,): no partial sum of an accumulator, in whatever order, is larger in magnitude.
    """

    layer: str
    steps: Integers
    low: Integers
    high: Integers
    bound: Integers

    @classmethod
    def of(cls, layer: str, thresholds: Floats, low: Integers, high: Integers, bound: Integers) -> "Staircase":
        """Make the staircase of MultiThreshold's `thresholds`, (channels, levels) or one row for all channels.

        Raises UserError that names `layer` where the thresholds do not fit the channels or are not numbers.
        """
        if thresholds.ndim != 2 or thresholds.shape[0] not in (1, len(low)):
            raise UserError(
                f"Layer {layer} has thresholds of shape {thresholds.shape} for {len(low)} channels; "
                "export the model again."
            )
        if np.isnan(thresholds).any():
            channel = int(np.isnan(thresholds).any(axis=1).argmax())
            raise UserError(
                f"Layer {layer} has a threshold in channel {channel} that is not a number; train the model again."
            )
        # An integer reaches a threshold exactly when it reaches the next integer above it.
        ceiling = np.ceil(thresholds.astype(np.float64))
        steps = np.clip(ceiling, low[:, None], high[:, None] + 1).astype(np.int64)
        return cls(layer, np.sort(steps, axis=1), low, high, bound)

    @property
    def levels(self) -> int:
        """How many thresholds a channel has: its outputs are 0 .. levels."""
        return int(self.steps.shape[1])

    def count(self, accumulators: Integers) -> Integers:
        """Return the level of `accumulators` int64 (channels, n), by the definition: thresholds reached."""
        return np.count_nonzero(accumulators[:, :, None] >= self.steps[:, None, :], axis=2)

    def critical(self) -> Integers:
        """Return int64 (channels, 2 * levels + 2): both sides of every step, and both ends of the range."""
        points = [self.steps - 1, self.steps, self.low[:, None], self.high[:, None]]
        return np.clip(np.concatenate(points, axis=1), self.low[:, None], self.high[:, None])


@dataclass(frozen=True)
class Affine:
    """`bias` and `scale` (channels,), float32 or float64, of level = min(floor(max(x + bias, 0) * scale), levels)."""

    bias: Floats
    scale: Floats

    def evaluate(self, accumulators: Integers, levels: int) -> Integers:
        """Return the levels of `accumulators` int64 (channels, n), computed as the golden engine computes them."""
        x = accumulators.astype(self.bias.dtype) + self.bias[:, None]
        product = np.maximum(x, x.dtype.type(0)) * self.scale[:, None]
        return np.minimum(np.floor(product), levels).astype(np.int64)


def prove(staircase: Staircase, affine: Affine) -> None:
    """Raise InternalError, with layer, channel and accumulator, unless `affine` equals `staircase` everywhere."""
    inexact = ~_sums_exact(staircase, affine.bias)
    if inexact.any():
        channel = int(inexact.argmax())
        raise InternalError(
            f"Layer {staircase.layer}, channel {channel}: the sum with bias {float(affine.bias[channel])} is not exact "
            f"in {affine.bias.dtype} for accumulators up to {staircase.bound[channel]}."
        )
    falling = ~(affine.scale >= 0)
    if falling.any():
        channel = int(falling.argmax())
        raise InternalError(
            f"Layer {staircase.layer}, channel {channel}: the scale {float(affine.scale[channel])} makes the golden "
            "arithmetic fall where it must rise."
        )
    points = staircase.critical()
    wrong = affine.evaluate(points, staircase.levels) != staircase.count(points)
    if wrong.any():
        channel, which = np.argwhere(wrong)[0]
        raise InternalError(
            f"Layer {staircase.layer}, channel {channel}: the golden arithmetic differs from the thresholds "
            f"for accumulator {points[channel, which]}."
        )


def prove_table(staircase: Staircase, table: Floats) -> None:
    """Raise InternalError, with layer and channel, unless `table` is the staircase's `bisection_table`."""
    wrong = (table != bisection_table(staircase, table.dtype)).any(axis=1)
    if wrong.any():
        raise InternalError(
            f"Layer {staircase.layer}, channel {int(wrong.argmax())}: the golden table does not hold the thresholds."
        )


def bisection_table(staircase: Staircase, dtype: npt.DTypeLike) -> Floats:
    """Return the steps of every channel for a search by halving, in `dtype`: (channels, 2^k).

    Places beyond the last step hold infinity, which no accumulator reaches. The steps lie in the accumulators' range,
    so `dtype`, which holds the accumulators without a gap, holds them too.
    """
    places = 1 << staircase.levels.bit_length()
    table = np.full((len(staircase.steps), places), np.inf, dtype=dtype)
    table[:, : staircase.levels] = staircase.steps
    return table


def fit(staircase: Staircase, dtype: npt.DTypeLike) -> Affine | None:
    """Return a proven bias and scale in `dtype` for all channels, or None where some channel has none.

    For a given bias the scales that fit are an interval, from `lowest` to `highest`. Their ratio rises and then falls
    as the bias grows (the pairs that fit with a given slack are a convex polygon), so the best bias is found by golden
    section, then moved to the nearest two values for which the sum is exact.
    """
    kind: np.dtype[Any] = np.dtype(dtype)
    best = _best_bias(staircase)
    room = np.log2(2.0 ** MANTISSA[kind] / (staircase.bound + np.abs(best) + 2))
    if (room < 0).any():
        return None
    grain = 2.0 ** -np.minimum(np.floor(room), 24)
    bias, scale = np.zeros(len(best), kind), np.zeros(len(best), kind)
    open_channels = np.ones(len(best), bool)
    for near in (np.floor(best / grain) * grain, np.ceil(best / grain) * grain):
        lowest, highest = _scales(staircase, near)
        middle = np.sqrt(lowest) * np.sqrt(np.where(np.isfinite(highest), highest, 4 * lowest))
        for candidate in (middle, lowest, np.nextafter(lowest.astype(kind), kind.type(np.inf))):
            trial = Affine(near.astype(kind), np.where(np.isfinite(candidate), candidate, 0).astype(kind))
            fits = open_channels & _right(staircase, trial)
            bias[fits], scale[fits] = trial.bias[fits], trial.scale[fits]
            open_channels &= ~fits
    return None if open_channels.any() else Affine(bias, scale)


def _right(staircase: Staircase, affine: Affine) -> npt.NDArray[np.bool_]:
    """Tell for each channel whether `affine` is right there."""
    points = staircase.critical()
    equal = (affine.evaluate(points, staircase.levels) == staircase.count(points)).all(axis=1)
    return equal & _sums_exact(staircase, affine.bias)


def _sums_exact(staircase: Staircase, bias: Floats) -> npt.NDArray[np.bool_]:
    """Tell for each channel whether every partial sum plus `bias` is exact: counted in grains of the bias, it fits."""
    limit = 1 << MANTISSA[bias.dtype]
    exact = []
    for value, bound in zip(bias.tolist(), staircase.bound.tolist(), strict=True):
        numerator, denominator = value.as_integer_ratio()
        exact.append(bound * denominator + abs(numerator) <= limit)
    return np.array(exact, bool)


def _scales(
    staircase: Staircase, bias: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the interval of scales, [lowest, highest), that fit with `bias`, each float64 (channels,)."""
    level = np.arange(1, staircase.levels + 1, dtype=np.float64)
    reached = staircase.steps + bias[:, None]
    missed = np.minimum(staircase.steps - 1, staircase.high[:, None]) + bias[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        at_least = np.where(reached > 0, level / reached, np.inf)
        below = np.where(missed > 0, level / missed, np.inf)
    at_least[staircase.steps > staircase.high[:, None]] = 0
    below[staircase.steps <= staircase.low[:, None]] = np.inf
    return at_least.max(axis=1), below.min(axis=1)


def _best_bias(staircase: Staircase) -> npt.NDArray[np.float64]:
    """Return for each channel the bias that leaves the widest interval of scales, float64 (channels,)."""

    def slack(offset: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        lowest, highest = _scales(staircase, offset - staircase.steps[:, 0])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.isinf(lowest), 0, np.where(lowest == 0, np.inf, highest / lowest))

    left = np.zeros(len(staircase.steps))
    right = (staircase.levels + 1.0) * (staircase.high - staircase.low + 2)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(80):  # narrows the bracket by 10^16, which is all that float64 tells apart
        one, two = right - golden * (right - left), left + golden * (right - left)
        fall = slack(one) >= slack(two)
        left, right = np.where(fall, left, one), np.where(fall, two, right)
    return (left + right) / 2 - staircase.steps[:, 0]
