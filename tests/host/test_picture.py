import zlib

import cv2
import numpy as np
import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.host.picture import find_fault, read_picture
from tests.host.conftest import picture


def encoded(suffix, image=None, *options):
    done, data = cv2.imencode(suffix, picture(1) if image is None else image, list(options))
    assert done
    return data.tobytes()


FORMATS = [
    (".jpg", ()),
    (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    (".jpg", (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)),
    (".png", ()),
    (".bmp", ()),
    (".webp", ()),
    (".tiff", ()),
]


@pytest.mark.parametrize(("suffix", "options"), FORMATS)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95, 0.999])
def test_a_picture_cut_short_is_an_error_that_names_it(tmp_path, capfd, suffix, options, kept):
    data = encoded(suffix, None, *options)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UserError, match=f"cut{suffix}") as raised:
        read_picture(path)
    message = str(raised.value)
    assert "\n" not in message and message.endswith(".")
    if suffix in (".jpg", ".png"):
        assert "cut short" in message
        assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("suffix", "options"), FORMATS)
def test_a_whole_picture_is_read_as_opencv_reads_it(tmp_path, suffix, options):
    path = tmp_path / f"whole{suffix}"
    path.write_bytes(encoded(suffix, None, *options))
    np.testing.assert_array_equal(read_picture(path), cv2.imread(str(path), cv2.IMREAD_COLOR))


def test_every_cut_of_a_jpeg_and_a_png_is_found():
    for data in (encoded(".jpg", picture(3, 24, 16)), encoded(".png", picture(3, 24, 16))):
        assert find_fault(data) is None
        missed = [length for length in range(len(data)) if find_fault(data[:length]) is None]
        # The first bytes alone do not show the format yet; the decoder refuses those.
        assert all(0 < length < 8 for length in missed)


def test_a_thumbnails_end_is_not_the_pictures_end():
    data = encoded(".jpg")
    thumbnail = encoded(".jpg", picture(2, 16, 16))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = data[:2] + segment + data[2:]
    assert find_fault(with_thumbnail) is None
    assert find_fault(with_thumbnail[: 2 + len(segment) + 300]) is not None


def test_what_follows_a_jpegs_end_does_not_matter():
    assert find_fault(encoded(".jpg") + b"padding of a phone's video part") is None


def test_a_png_with_one_wrong_bit_is_damaged():
    data = bytearray(encoded(".png"))
    data[len(data) // 2] ^= 1
    assert "damaged" in (find_fault(bytes(data)) or "")


def test_a_png_with_a_profile_that_libpng_dislikes_is_read_in_silence(tmp_path, capfd):
    data = encoded(".png")
    body = b"iCCP" + b"bad profile\0\0" + zlib.compress(bytes(200))
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    header_end = 8 + 12 + 13
    path = tmp_path / "profile.png"
    path.write_bytes(data[:header_end] + chunk + data[header_end:])
    np.testing.assert_array_equal(read_picture(path), picture(1))
    assert capfd.readouterr().err == ""
    cv2.imread(str(path))
    assert "iCCP" in capfd.readouterr().err, "the profile must be one that libpng complains of"


def test_empty_unreadable_and_other_files_are_errors(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(UserError, match=r"empty\.jpg: the file is empty"):
        read_picture(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("no picture at all")
    with pytest.raises(UserError, match="no picture that OpenCV knows"):
        read_picture(tmp_path / "text.jpg")
    with pytest.raises(UserError, match="no such file"):
        read_picture(tmp_path / "gone.jpg")


def test_grey_alpha_and_sixteen_bits_become_three_bytes(tmp_path):
    colour = picture(5)
    grey = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    cases = {
        "grey": (grey, np.repeat(grey[..., None], 3, axis=2)),
        "alpha": (np.dstack([colour, np.full(grey.shape, 7, np.uint8)]), colour),
        "deep": (colour.astype(np.uint16) * 257, colour),
    }
    for name, (stored, wanted) in cases.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(encoded(".png", stored))
        read = read_picture(path)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, wanted)


def test_pixels_are_as_stored_whatever_exif_says(tmp_path):
    data = encoded(".jpg", picture(6, 120, 90))
    # One IFD entry: tag 0x112 (orientation), type short, count 1, value 6 (turn by 90 degrees).
    tiff = b"MM\x00\x2a\x00\x00\x00\x08" + b"\x00\x01" + b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00" + bytes(4)
    body = b"Exif\x00\x00" + tiff
    path = tmp_path / "turned.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:])
    assert cv2.imread(str(path)).shape == (120, 90, 3), "the mark must be one that OpenCV heeds"
    assert read_picture(path).shape == (90, 120, 3)
