import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpga_facedet.compiler.staircase import Affine, Staircase, bisection_table, fit, prove, prove_table
from fpga_facedet.errors import InternalError, UserError

CHANNELS = 4


def staircase(thresholds: np.ndarray, low: int, high: int) -> Staircase:
    ends = [np.full(CHANNELS, value, np.int64) for value in (low, high, max(abs(low), abs(high)))]
    return Staircase.of("MultiThreshold_7", thresholds, *ends)


def evenly_spaced(rng: np.random.Generator, levels: int, step: float, high: int) -> np.ndarray:
    """Thresholds as a trained network has them: equal steps of any length from any start."""
    start = rng.uniform(-step, high / 2, (CHANNELS, 1))
    width = step * rng.uniform(0.5, 2, (CHANNELS, 1))
    return start + width * np.arange(levels)


def every_accumulator(stairs: Staircase) -> np.ndarray:
    return np.tile(np.arange(stairs.low[0], stairs.high[0] + 1), (CHANNELS, 1))


def by_definition(thresholds: np.ndarray, accumulators: np.ndarray) -> np.ndarray:
    return np.count_nonzero(accumulators[:, :, None] >= thresholds[:, None, :].astype(np.float64), axis=2)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.sampled_from([1, 2, 3, 4, 5]),
    step=st.floats(0.3, 300),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_a_fit_equals_the_definition_on_every_integer(seed: int, bits: int, step: float, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    thresholds = evenly_spaced(rng, 2**bits - 1, step, 6000)
    stairs = staircase(thresholds, -3000, 6000)
    affine = fit(stairs, dtype)
    accumulators = every_accumulator(stairs)
    expected = by_definition(thresholds, accumulators)
    np.testing.assert_array_equal(stairs.count(accumulators), expected)
    # Integers above the points of a line always lie between it and a line one higher: float64 is fine enough for it.
    if dtype is np.float64:
        assert affine is not None
    if affine is not None:
        prove(stairs, affine)
        np.testing.assert_array_equal(affine.evaluate(accumulators, stairs.levels), expected)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), levels=st.sampled_from([1, 2, 3, 7, 15]))
def test_arbitrary_thresholds_fit_exactly_or_not_at_all(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    thresholds = rng.uniform(-400, 400, (CHANNELS, levels)).astype(np.float32)
    thresholds[rng.random(thresholds.shape) < 0.1] = rng.choice([np.inf, -np.inf, 0.0])
    stairs = staircase(thresholds, -200, 250)
    affine = fit(stairs, np.float32)
    if affine is not None:
        accumulators = every_accumulator(stairs)
        np.testing.assert_array_equal(affine.evaluate(accumulators, levels), by_definition(thresholds, accumulators))


@pytest.mark.parametrize("bits", [4, 8])
def test_wide_accumulators_fit_in_float64_where_float32_is_too_coarse(bits: int, rng: np.random.Generator) -> None:
    high = 1 << 23
    thresholds = np.ceil(high / 2**bits * np.arange(1, 2**bits) + rng.uniform(0, 1, (CHANNELS, 1)))
    stairs = staircase(thresholds, -high, high)
    affine = fit(stairs, np.float64)
    assert affine is not None
    prove(stairs, affine)


def test_thresholds_out_of_reach_give_constant_levels() -> None:
    thresholds = np.array([[-900, -800, -700], [700, 800, 900], [-900, 0, 900], [5, 5, 5]], np.float32)
    stairs = staircase(thresholds, -100, 100)
    affine = fit(stairs, np.float32)
    assert affine is not None
    levels = affine.evaluate(every_accumulator(stairs), 3)
    assert np.unique(levels[0]).tolist() == [3]
    assert np.unique(levels[1]).tolist() == [0]
    assert np.unique(levels[2]).tolist() == [1, 2]
    assert np.unique(levels[3]).tolist() == [0, 3]


def test_one_row_of_thresholds_serves_all_channels() -> None:
    stairs = staircase(np.array([[1.5, 3.0]]), 0, 5)
    assert fit(stairs, np.float32) is not None
    assert stairs.count(every_accumulator(stairs)).tolist() == [[0, 0, 1, 2, 2, 2]] * CHANNELS


@pytest.mark.parametrize("shift", [-1, 1])
def test_the_proof_fails_when_one_threshold_is_tampered_with(shift: int, rng: np.random.Generator) -> None:
    stairs = staircase(evenly_spaced(rng, 15, 60, 3000), -3000, 3000)
    affine = fit(stairs, np.float32)
    assert affine is not None
    steps = stairs.steps.copy()
    steps[2, 5] += shift
    with pytest.raises(InternalError, match=r"MultiThreshold_7, channel 2.* accumulator -?\d+"):
        prove(dataclasses.replace(stairs, steps=steps), affine)


def test_the_proof_fails_when_a_sum_is_not_exact(rng: np.random.Generator) -> None:
    stairs = staircase(evenly_spaced(rng, 15, 60, 3000), -3000, 3000)
    affine = fit(stairs, np.float32)
    assert affine is not None
    beyond = np.where(np.arange(CHANNELS) == 1, 1 << 24, stairs.bound)
    with pytest.raises(InternalError, match="MultiThreshold_7, channel 1: the sum .* is not exact in float32"):
        prove(dataclasses.replace(stairs, bound=beyond), affine)


def test_the_proof_fails_for_a_falling_line() -> None:
    stairs = staircase(np.full((CHANNELS, 1), np.inf), -5, 5)
    falling = Affine(np.zeros(CHANNELS, np.float32), np.full(CHANNELS, -1, np.float32))
    with pytest.raises(InternalError, match=r"MultiThreshold_7, channel 0: the scale -1\.0 makes"):
        prove(stairs, falling)


def test_the_table_is_proven_too(rng: np.random.Generator) -> None:
    stairs = staircase(rng.uniform(-90, 90, (CHANNELS, 5)), -100, 100)
    table = bisection_table(stairs, np.float32)
    assert table.shape == (CHANNELS, 8)
    prove_table(stairs, table)
    table[3, 4] += 1
    with pytest.raises(InternalError, match="MultiThreshold_7, channel 3"):
        prove_table(stairs, table)


def test_thresholds_that_are_no_numbers_are_refused() -> None:
    thresholds = np.zeros((CHANNELS, 3), np.float32)
    thresholds[1, 2] = np.nan
    with pytest.raises(UserError, match="MultiThreshold_7 has a threshold in channel 1 that is not a number"):
        staircase(thresholds, 0, 9)


def test_thresholds_for_another_number_of_channels_are_refused() -> None:
    with pytest.raises(UserError, match=r"MultiThreshold_7 has thresholds of shape \(3, 2\) for 4 channels"):
        staircase(np.zeros((3, 2), np.float32), 0, 9)
