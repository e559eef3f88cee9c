"""The letterbox: geometry, exactness, and boxes there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpga_facedet.errors import UserError
from fpga_facedet.letterbox import FILL, Letterbox

sizes = st.integers(1, 3000)
inputs = st.integers(1, 20).map(lambda n: 32 * n)


@given(sizes, sizes, inputs, inputs)
def test_the_picture_fits_and_is_centred(width: int, height: int, input_width: int, input_height: int) -> None:
    box = Letterbox.fit(width, height, input_width, input_height)
    assert box.width == input_width or box.height == input_height
    assert 1 <= box.width <= input_width and 1 <= box.height <= input_height
    assert abs((input_width - box.width) - 2 * box.left) <= 1
    assert abs((input_height - box.height) - 2 * box.top) <= 1


@given(sizes, sizes, inputs, inputs, st.data())
def test_boxes_go_there_and_back(
    width: int, height: int, input_width: int, input_height: int, data: st.DataObject
) -> None:
    box = Letterbox.fit(width, height, input_width, input_height)
    xs = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    ys = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    boxes = np.array([[xs[0], ys[0], xs[1], ys[1]]], np.float32)
    # float32 holds input coordinates to 2**-14; one input pixel may be many of the picture's
    tolerance = 1e-3 * max(1.0, width / box.width, height / box.height)
    np.testing.assert_allclose(box.to_frame(box.to_input(boxes)), boxes, atol=tolerance, rtol=0)


def test_a_picture_of_the_inputs_size_only_swaps_its_colours(rng: np.random.Generator) -> None:
    frame = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Letterbox.fit(96, 64, 96, 64).apply(frame), frame[..., ::-1])


def test_bars_are_filled_and_the_picture_keeps_its_place() -> None:
    frame = np.full((50, 100, 3), (10, 20, 30), np.uint8)
    box = Letterbox.fit(100, 50, 64, 64)
    out = box.apply(frame)
    assert (box.top, box.height) == (16, 32)
    np.testing.assert_array_equal(out[:16], FILL)
    np.testing.assert_array_equal(out[48:], FILL)
    np.testing.assert_array_equal(out[16:48], np.broadcast_to(np.uint8([30, 20, 10]), (32, 64, 3)))


def test_large_pictures_are_averaged_not_sampled() -> None:
    """A checkerboard four times too large becomes its mean; sampling would make it black or white."""
    frame = np.zeros((256, 256, 3), np.uint8)
    frame[::2, ::2] = frame[1::2, 1::2] = 255
    out = Letterbox.fit(256, 256, 64, 64).apply(frame)
    assert set(np.unique(out)) <= {127, 128}


def test_clipped_to_the_picture() -> None:
    box = Letterbox.fit(100, 50, 64, 64)
    clipped = box.to_frame(np.array([[-50, -50, 500, 500]], np.float32))
    np.testing.assert_array_equal(clipped, np.array([[0, 0, 100, 50]], np.float32))


def test_a_wrong_array_is_refused() -> None:
    with pytest.raises(UserError, match=r"letterbox for 100x50.*\(50, 100\)"):
        Letterbox.fit(100, 50, 64, 64).apply(np.zeros((50, 100), np.uint8))
    with pytest.raises(UserError, match="no pixels"):
        Letterbox.fit(0, 50, 64, 64)
