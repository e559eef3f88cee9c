from pathlib import Path

import cv2
import numpy as np
import pytest

from fpga_facedet.training.decode import BrokenPictureError, read_picture

SUFFIXES = (".jpg", ".png", ".bmp", ".webp")


def encoded(suffix: str, parameters: tuple[int, ...] = ()) -> bytes:
    pixels = np.random.default_rng(3).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    return cv2.imencode(suffix, pixels, parameters)[1].tobytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_whole_picture_is_rgb(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((48, 64, 3), (250, 10, 10), np.uint8)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), pixels)
    read = read_picture(tmp_path / f"a{suffix}")
    assert read.shape == (48, 64, 3)
    assert read.dtype == np.uint8
    assert read[..., 2].min() > 200 > 60 > read[..., 0].max()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_cut_off_anywhere_is_broken(tmp_path: Path, suffix: str, share: float) -> None:
    data = encoded(suffix)
    (tmp_path / "a").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BrokenPictureError, match="cut off"):
        read_picture(tmp_path / "a")


@pytest.mark.parametrize(
    "parameters",
    [(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2), (cv2.IMWRITE_JPEG_OPTIMIZE, 1)],
)
def test_jpegs_of_every_kind_are_whole_and_may_be_followed_by_rubbish(
    tmp_path: Path, parameters: tuple[int, ...]
) -> None:
    data = encoded(".jpg", parameters)
    (tmp_path / "a.jpg").write_bytes(data + b"rubbish")
    assert read_picture(tmp_path / "a.jpg").shape == (48, 64, 3)
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(BrokenPictureError, match="cut off"):
        read_picture(tmp_path / "a.jpg")


def test_an_end_within_a_thumbnail_does_not_count(tmp_path: Path) -> None:
    """Cameras put a whole small JPEG into a segment of the large one."""
    data, thumbnail = encoded(".jpg"), encoded(".jpg", (cv2.IMWRITE_JPEG_QUALITY, 10))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = data[:2] + segment + data[2:]
    (tmp_path / "a.jpg").write_bytes(whole)
    assert read_picture(tmp_path / "a.jpg").shape == (48, 64, 3)
    (tmp_path / "a.jpg").write_bytes(whole[:-200])
    with pytest.raises(BrokenPictureError, match="cut off"):
        read_picture(tmp_path / "a.jpg")


def test_a_flipped_bit_in_a_png_is_found(tmp_path: Path) -> None:
    data = bytearray(encoded(".png"))
    data[len(data) // 2] ^= 4
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(BrokenPictureError, match="check sum"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize(("data", "why"), [(b"", "empty file"), (b"no picture at all", "not a picture")])
def test_what_is_no_picture_is_said(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(BrokenPictureError, match=why):
        read_picture(tmp_path / "a.jpg")
    with pytest.raises(BrokenPictureError, match="no such file"):
        read_picture(tmp_path / "gone.jpg")
