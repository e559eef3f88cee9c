"""The demo's moving photograph: always a whole frame, and the photograph is in it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpga_facedet.host.motion import FRAME_HEIGHT, FRAME_WIDTH, moving_picture, write_sequence
from fpga_facedet.host.picture import read_picture


@given(st.floats(0, 1), st.integers(20, 90), st.integers(20, 90))
def test_any_phase_and_shape_gives_a_whole_frame(phase: float, width: int, height: int) -> None:
    frame = moving_picture(np.full((height, width, 3), 200, np.uint8), phase, 64, 48)
    assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8


def test_the_path_is_closed_and_moves(astronaut_bgr: npt.NDArray[np.uint8]) -> None:
    first, middle, last = (moving_picture(astronaut_bgr, phase) for phase in (0.0, 0.3, 1.0))
    np.testing.assert_array_equal(first, last)
    assert (first != middle).mean() > 0.5


def test_a_sequence_is_saved_in_order(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the photographs come with scikit-image and matplotlib")
    write_sequence(["astronaut", "grace_hopper"], tmp_path, 6)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [f"{i:03d}.jpg" for i in range(6)]
    assert all(read_picture(file).shape == (FRAME_HEIGHT, FRAME_WIDTH, 3) for file in files)
