"""Picture files read whole: what is cut short or damaged is found out, not shown with a grey bottom."""

import errno
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import UserError

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
# In the compressed data of a JPEG, FF is followed by 00 (an FF as such), a restart D0..D7 or another FF; else: a mark.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


class DamagedPictureError(UserError):
    """A picture that cannot be read whole; `reason` is the part of the sentence after its name."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"Cannot read the picture {path}: {reason}; give an intact file.")
        self.reason = reason


def read_picture(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Return the picture at `path` as BGR uint8 (h, w, 3), pixels as stored.

    The orientation that cameras note in EXIF is not applied: boxes and ground truth count stored pixels. Grey becomes
    three equal channels, 16 bits become the upper 8, transparency is ignored. Raises DamagedPictureError where the
    file is cut short, damaged or no picture. OpenCV alone is not enough to tell: many of its versions fill the missing
    part of a JPEG with grey and say nothing.
    """
    import cv2

    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedPictureError(path, os.strerror(error.errno or errno.EIO).lower()) from error
    fault = find_fault(data)
    if fault:
        raise DamagedPictureError(path, fault)
    if data.startswith(_PNG):
        data = _without_profile(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None:
        raise DamagedPictureError(path, "it is damaged, or no picture that OpenCV knows")
    return image  # type: ignore[return-value]


def looks_like_picture(path: Path) -> bool:
    """Return whether a file starts as a JPEG or PNG, whatever it is called."""
    try:
        with open(path, "rb") as file:
            return file.read(8).startswith((_JPEG, _PNG))
    except OSError:
        return False


def find_fault(data: bytes) -> str | None:
    """Return what is wrong with the bytes of a picture file as part of a sentence, None where nothing shows.

    JPEG and PNG are walked from mark to mark; other formats are left to the decoder, which refuses what is short.
    """
    if not data:
        return "the file is empty"
    if data.startswith(_JPEG):
        return _jpeg_fault(data)
    if data.startswith(_PNG):
        return _png_fault(data)
    return None


def _jpeg_fault(data: bytes) -> str | None:
    """Walk the segments (ITU-T T.81, annex B) to the end-of-image mark; a thumbnail inside a segment is jumped over."""
    position = 2
    while marker := _JPEG_MARKER.search(data, position):
        position = marker.end()
        if marker[0] == b"\xff\xd9":
            return None
        if position + 2 <= len(data) and marker[0] != b"\xff\x01":
            position += struct.unpack_from(">H", data, position)[0]
    return f"the JPEG is cut short at {len(data)} bytes, or damaged"


def _png_fault(data: bytes) -> str | None:
    """Walk the chunks to IEND and check each one's CRC."""
    for kind, start, end in _png_chunks(data):
        if zlib.crc32(memoryview(data)[start + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return f"the PNG is damaged near byte {start}"
        if kind == b"IEND":
            return None
    return f"the PNG is cut short at {len(data)} bytes, or damaged"


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first byte and end of each chunk that is there whole."""
    start = len(_PNG)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            return
        yield kind, start, end
        start = end


def _without_profile(data: bytes) -> bytes:
    """Return a whole PNG without its colour profile: OpenCV ignores it, but libpng complains of many on stderr."""
    kept = [data[start:end] for kind, start, end in _png_chunks(data) if kind != b"iCCP"]
    return _PNG + b"".join(kept)
