"""Packing of values into stream words."""

import numpy as np
import pytest

from fpga_facedet.beats import pack, unpack


def test_lane_0_is_lowest() -> None:
    np.testing.assert_array_equal(pack(np.array([[1, 2, 3]]), 4), [[0x21, 0x03]])
    np.testing.assert_array_equal(pack(np.array([[-1, 0, -8]]), 4), [[0x0F, 0x08]])


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("lanes", "bits"), [(1, 1), (3, 8), (9, 8), (5, 3), (2, 19), (4, 31)])
def test_unpack_reverses_pack(rng: np.random.Generator, lanes: int, bits: int, signed: bool) -> None:
    low = -(1 << bits - 1) if signed else 0
    values = rng.integers(low, low + (1 << bits), (2, 7, lanes))
    words = pack(values, bits)
    assert words.shape == (2, 7, -(-lanes * bits // 8))
    np.testing.assert_array_equal(unpack(words, lanes, bits, signed), values)
