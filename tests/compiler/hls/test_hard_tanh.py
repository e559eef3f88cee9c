from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpga_facedet.compiler.hls import hard_tanh
from fpga_facedet.compiler.staircase import Staircase
from fpga_facedet.errors import InternalError


def staircase(steps: list[list[int]], low: int, high: int) -> Staircase:
    ends = np.full(len(steps), low), np.full(len(steps), high)
    return Staircase.of("Thresholding_9", np.array(steps, np.float64), *ends, np.maximum(-ends[0], ends[1]))


def quantized_tanh(scale: float, bias: float, low: int, high: int, levels: int = 255) -> list[int]:
    """Where round(x * scale + bias) reaches each level, as a HardTanh's quantizer puts its thresholds."""
    level = np.arange(1, levels + 1) - (levels + 1) // 2
    return np.clip(np.ceil((level - 0.5 - bias) / scale), low, high + 1).astype(int).tolist()


def assert_equal_everywhere(found: hard_tanh.HardTanh, stairs: Staircase) -> None:
    values = np.arange(stairs.low[0], stairs.high[0] + 1)[None].repeat(len(stairs.steps), axis=0)
    np.testing.assert_array_equal(found.evaluate(values, stairs.levels), stairs.count(values) + found.least)


def test_equals_an_eight_bit_head_for_every_sum() -> None:
    low, high = -3000, 2500
    # Steep, flat, of both biases, and one that is at its end for all sums.
    slopes = [(0.11, 3.2), (0.007, -60.9), (0.9, 0.0), (0.031, 90.4), (0.02, -400.0)]
    stairs = staircase([quantized_tanh(scale, bias, low, high) for scale, bias in slopes], low, high)
    found = hard_tanh.fit(stairs, -128)
    assert found is not None and found.shift > 8
    assert_equal_everywhere(found, stairs)


@settings(max_examples=40)
@given(st.lists(st.integers(-12, 13), min_size=1, max_size=4), st.integers(-4, 0))
def test_finds_the_smallest_shift_of_all(steps: list[int], least: int) -> None:
    low, high = -12, 12
    stairs = staircase([sorted(steps)], low, high)
    found = hard_tanh.fit(stairs, least)
    values = np.arange(low, high + 1)
    wanted = stairs.count(values[None])[0]
    if found is not None:
        assert_equal_everywhere(found, stairs)
    for shift in range(3 if found is None else min(found.shift, 3)):
        # Beyond these scales and offsets, all values are at one end, or a smaller scale does the same.
        scales = np.arange(((stairs.levels + 1) << shift) + 1)
        most = ((stairs.levels + 2) << shift) * (high + 2)
        for scale in scales:
            lines = (values * scale + np.arange(-most, most + 1)[:, None]) >> shift
            assert (np.clip(lines, 0, stairs.levels) != wanted).any(axis=1).all(), (shift, scale)


def test_channels_that_never_or_always_reach_their_levels() -> None:
    stairs = staircase([[101, 101, 101], [-100, -100, -100], [-100, 5, 101], [7, 7, 7]], -100, 100)
    found = hard_tanh.fit(stairs, -2)
    assert found is not None
    assert_equal_everywhere(found, stairs)


def test_no_line_climbs_uneven_steps() -> None:
    assert hard_tanh.fit(staircase([[0, 1, 90]], -100, 100), -2) is None


def test_refuses_integers_that_are_wrong_for_one_sum() -> None:
    stairs = staircase([quantized_tanh(0.05, 1.0, -4000, 4000)], -4000, 4000)
    found = hard_tanh.fit(stairs, -128)
    assert found is not None
    hard_tanh.prove(stairs, found)
    for wrong in (replace(found, offset=found.offset + (1 << found.shift) // 16), replace(found, least=-127)):
        with pytest.raises(InternalError, match="Layer Thresholding_9, channel 0: HardTanh differs"):
            hard_tanh.prove(stairs, wrong)
    with pytest.raises(InternalError, match="makes HardTanh fall"):
        hard_tanh.prove(stairs, replace(found, scale=-found.scale))
