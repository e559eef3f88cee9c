"""Picture files into pixels, with a word on what is wrong with those that are not whole.

OpenCV fills what a cut-off JPEG or PNG lacks with grey and says nothing, so the files' own structure is followed first.
"""

import re
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

_JPEG, _PNG, _RIFF, _BMP = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM"
# Within compressed data 0xff stands before a stuffed zero, a restart marker (d0..d7) or fill; any other is a marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END_OF_IMAGE = 0xD9


class BrokenPictureError(Exception):
    """A picture file that cannot be used; the message says why in a few words."""


def read_picture(path: Path) -> npt.NDArray[np.uint8]:
    """Return a picture file as RGB uint8 (height, width, 3), turned as its EXIF says; BrokenPictureError otherwise."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BrokenPictureError((error.strerror or "cannot be read").lower()) from error
    except ValueError as error:  # A zero byte in the name.
        raise BrokenPictureError("no name of a file") from error
    if not data:
        raise BrokenPictureError("empty file")
    check_whole(data)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise BrokenPictureError("too large or malformed") from error
    if pixels is None:
        raise BrokenPictureError("not a picture that can be decoded")
    return np.ascontiguousarray(pixels, np.uint8)


def check_whole(data: bytes) -> None:
    """Raise BrokenPictureError where a JPEG, PNG, WebP or BMP ends early, or a PNG's check sums differ."""
    if data.startswith(_JPEG):
        _check_jpeg(data)
    elif data.startswith(_PNG):
        _check_png(data)
    elif data.startswith(_RIFF):
        _check_length(data, 8 + int.from_bytes(data[4:8], "little"))
    elif data.startswith(_BMP):
        _check_length(data, int.from_bytes(data[2:6], "little"))


def _check_length(data: bytes, length: int) -> None:
    if len(data) < length:
        raise BrokenPictureError("cut off")


def _check_jpeg(data: bytes) -> None:
    """Walk the segments to the end-of-image marker (ITU-T T.81, annex B)."""
    position = 2
    while marker := _MARKER.search(data, position):
        kind = data[marker.start() + 1]
        if kind == _END_OF_IMAGE:
            return
        length = int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        position = marker.end() + length
    raise BrokenPictureError("cut off")


def _check_png(data: bytes) -> None:
    """Walk the chunks to IEND and compare their check sums (PNG specification, 5.3)."""
    position = len(_PNG)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind, end = data[position + 4 : position + 8], position + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise BrokenPictureError("damaged (check sum)")
        if kind == b"IEND":
            return
        position = end + 4
    raise BrokenPictureError("cut off")
