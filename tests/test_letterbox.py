"""The letterbox: geometry, exactness, and boxes there and back."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpga_facedet import letterbox as module
from fpga_facedet.errors import UserError
from fpga_facedet.letterbox import FILL, Letterbox
from fpga_facedet.native import library, resampling
from tests.conftest import REPOSITORY

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


WAYS = ("native", "opencv", "numpy")
CHANNELS = {"bgr": (3,), "yuyv": (2,), "grey": ()}


def rgbx_by(way: str, box: Letterbox, frame: npt.NDArray[np.uint8], fill: int = FILL) -> npt.NDArray[np.uint8]:
    """The input by one of the three ways, into memory that held something else."""
    out = np.full((box.input_height, box.input_width, 4), 0xA5, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        if way == "native":
            if library() is None:
                pytest.skip("needs g++")
        else:
            patch.setattr(module, "library", lambda: None)
        if way == "numpy":
            patch.setattr(resampling, "opencv", lambda: None)
        box.apply_rgbx(frame, out, fill)
    return out


def picture(seed: int, shape: tuple[int, ...], kind: str) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    if kind == "extremes":
        return np.where(noise > 127, np.uint8(255), np.uint8(0))
    return np.full(shape, seed % 256, np.uint8) if kind == "flat" else noise


small = st.integers(1, 70)
large = st.one_of(small, st.integers(1, 400))


@given(large, large, small, small, st.sampled_from(["bgr", "yuyv", "grey"]), st.integers(0, 255), st.data())
@settings(max_examples=250)
def test_all_ways_write_the_same_bytes(
    width: int, height: int, input_width: int, input_height: int, pixels: str, fill: int, data: st.DataObject
) -> None:
    width += width % 2 if pixels == "yuyv" else 0
    kind = data.draw(st.sampled_from(["noise", "extremes", "flat"]))
    frame = picture(data.draw(st.integers(0, 1 << 20)), (height, width, *CHANNELS[pixels]), kind)
    box = Letterbox.fit(width, height, input_width, input_height)
    native, opencv, plain = (rgbx_by(way, box, frame, fill) for way in WAYS)
    np.testing.assert_array_equal(native, opencv)
    np.testing.assert_array_equal(plain, opencv)
    assert not opencv[..., 3].any()
    if pixels == "bgr":
        np.testing.assert_array_equal(opencv[..., :3], box.apply(frame, fill))


@pytest.mark.parametrize("pixels", CHANNELS)
@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (1920, 1080), (480, 640), (4000, 3), (2, 4000), (1002, 835)])
def test_all_ways_agree_on_camera_sizes(size: tuple[int, int], pixels: str) -> None:
    frame = picture(7, (size[1], size[0], *CHANNELS[pixels]), "noise")
    box = Letterbox.fit(*size, 416, 416)
    native, opencv, plain = (rgbx_by(way, box, frame) for way in WAYS)
    np.testing.assert_array_equal(native, opencv)
    np.testing.assert_array_equal(plain, opencv)


@pytest.mark.parametrize(("size", "side"), [((255, 171), 256), ((6, 10), 512), ((767, 3), 768), ((14, 509), 1024)])
def test_weights_in_the_middle_of_two_steps_go_to_the_even_one(size: tuple[int, int], side: int) -> None:
    """Where a side holds 256 once more than the picture's, weights end in a half; black and white show each step."""
    frame = picture(11, (size[1], size[0], 3), "extremes")
    box = Letterbox.fit(*size, side, side)
    native, opencv, plain = (rgbx_by(way, box, frame) for way in WAYS)
    np.testing.assert_array_equal(native, opencv)
    np.testing.assert_array_equal(plain, opencv)


def all_colours() -> Iterator[npt.NDArray[np.uint8]]:
    """Every Y, U, V once in an even and once in an odd pixel, in pictures of 512 x 256."""
    y, u = (part.astype(np.uint8) for part in np.meshgrid(np.arange(256), np.arange(256), indexing="ij"))
    for v in range(256):
        frame = np.empty((256, 512, 2), np.uint8)
        frame[:, 0::2, 0], frame[:, 1::2, 0], frame[:, 0::2, 1], frame[:, 1::2, 1] = y, 255 - y, u, v
        yield frame


def test_every_colour_of_yuyv_is_opencvs() -> None:
    cv2 = pytest.importorskip("cv2")
    box = Letterbox.fit(512, 256, 512, 256)
    for number, frame in enumerate(all_colours()):
        wanted = cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_YUYV)
        np.testing.assert_array_equal(rgbx_by("native", box, frame)[..., :3], wanted)
        if number % 32 == 31:  # slower, and of one piece: no vector body and rest
            np.testing.assert_array_equal(rgbx_by("numpy", box, frame)[..., :3], wanted)


@pytest.mark.parametrize("way", WAYS)
def test_grey_is_the_same_as_three_equal_colours(way: str, rng: np.random.Generator) -> None:
    frame = rng.integers(0, 256, (90, 131), dtype=np.uint8)
    box = Letterbox.fit(131, 90, 64, 64)
    grey = rgbx_by(way, box, frame)
    np.testing.assert_array_equal(grey, rgbx_by(way, box, np.repeat(frame[..., None], 3, axis=2)))


@pytest.mark.parametrize("pixels", CHANNELS)
@pytest.mark.parametrize("side", [1, 64])
@pytest.mark.parametrize("size", [(2, 1), (1, 1), (1, 2), (5, 3), (400, 1)])
def test_single_pixels_in_and_out(size: tuple[int, int], side: int, pixels: str) -> None:
    """The board's OpenCV 4.5.4 takes no array (1, 1, 3)."""
    if pixels == "yuyv" and size[0] % 2:
        pytest.skip("half a pair")
    frame = picture(3, (size[1], size[0], *CHANNELS[pixels]), "noise")
    box = Letterbox.fit(*size, side, side)
    native, opencv, plain = (rgbx_by(way, box, frame) for way in WAYS)
    np.testing.assert_array_equal(native, opencv)
    np.testing.assert_array_equal(plain, opencv)
    if pixels == "bgr":
        np.testing.assert_array_equal(box.apply(frame), opencv[..., :3])


@pytest.mark.parametrize("way", WAYS)
def test_views_of_pictures_are_taken(way: str, rng: np.random.Generator) -> None:
    whole = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    box = Letterbox.fit(30, 40, 32, 32)
    np.testing.assert_array_equal(rgbx_by(way, box, whole[:, ::2]), rgbx_by(way, box, whole[:, ::2].copy()))


@pytest.mark.parametrize("way", WAYS)
def test_any_contiguous_memory_will_do(way: str, rng: np.random.Generator) -> None:
    """A DMA buffer is a view of memory of its own kind; nothing outside it changes."""
    memory = bytearray(b"\xa5" * (32 * 32 * 4 + 10))

    class Buffer(np.ndarray):
        pass

    out = np.frombuffer(memory, np.uint8)[3:-7].reshape(32, 32, 4).view(Buffer)
    frame = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    box = Letterbox.fit(30, 20, 32, 32)
    with pytest.MonkeyPatch.context() as patch:
        if way != "native":
            patch.setattr(module, "library", lambda: None)
        box.apply_rgbx(frame, out)
    np.testing.assert_array_equal(out[..., :3], box.apply(frame))
    assert memory[:3] == b"\xa5" * 3 and memory[-7:] == b"\xa5" * 7


def test_wrong_frames_and_places_are_refused() -> None:
    box = Letterbox.fit(100, 50, 64, 64)
    frame, out = np.zeros((50, 100, 3), np.uint8), np.zeros((64, 64, 4), np.uint8)
    read_only = out.copy()
    read_only.flags.writeable = False
    for wrong in (frame[:49], frame[..., :1], frame.astype(np.int8), frame[None], np.zeros((50, 100, 4), np.uint8)):
        with pytest.raises(UserError, match=r"letterbox for 100x50 pictures got .* give uint8 \(50, 100\) with 3"):
            box.apply_rgbx(wrong, out)
    wider = np.zeros((64, 128, 4), np.uint8)
    for place, what in (
        (out[..., :3], "non-contiguous array"),
        (wider[:, ::2], "non-contiguous array"),
        (out.astype(np.int8), "of int8"),
        (read_only, "read-only array"),
        (wider, r"array \(64, 128, 4\)"),
    ):
        with pytest.raises(UserError, match=f"cannot write into a.*{what}.*give a contiguous, writable uint8"):
            box.apply_rgbx(frame, place)
    for fill in (-1, 256):
        with pytest.raises(UserError, match=f"grey level {fill} .* outside 0..255"):
            box.apply_rgbx(frame, out, fill)
    with pytest.raises(UserError, match="51 pixels' width ends in half a pair"):
        Letterbox.fit(51, 50, 64, 64).apply_rgbx(np.zeros((50, 51, 2), np.uint8), out)


def test_it_imports_and_works_without_opencv() -> None:
    """numpy alone: what a board without its OpenCV has."""
    code = (
        "import sys; sys.modules['cv2'] = None; import numpy as np; "
        "from fpga_facedet.letterbox import Letterbox; out = np.zeros((4, 4, 4), np.uint8); "
        "box = Letterbox.fit(8, 6, 4, 4); frame = np.full((6, 8, 3), (1, 2, 3), np.uint8); box.apply_rgbx(frame, out); "
        "assert out[2, 2].tolist() == [3, 2, 1, 0], out; assert (out[..., :3] == box.apply(frame)).all()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
