"""The header of a Xilinx bitstream file: which design it is of, for which chip, and the mark we gave it.

After 13 bytes that are always the same come fields: a letter, a length in two bytes, text that ends in a zero byte;
`a` is the design's name with settings after semicolons, `b` the part, `c` and `d` date and time; then `e` and the
length of the bitstream itself in four bytes. Xilinx never specified it; pynq reads it the same way (pynq.bitstream).
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from fpga_facedet.errors import UserError

_START = bytes.fromhex("00090ff00ff00ff00ff0000001")


@dataclass(frozen=True)
class BitHeader:
    """`design` is the top module, `part` the chip without `xc` and speed grade, `user_id` 8 digits in capitals."""

    design: str
    part: str
    user_id: str | None


def read_bit_header(path: Path) -> BitHeader:
    """Read the header of the bitstream `path`; UserError where it is none, or shorter than its header says."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read the bitstream {path}: {error.strerror}; run Vivado again.") from error
    broken = UserError(f"{path} is no whole bitstream; run Vivado again.")
    if not data.startswith(_START):
        raise broken
    fields: dict[str, str] = {}
    place = len(_START)
    try:
        while data[place : place + 1] != b"e":
            letter, size = struct.unpack_from(">cH", data, place)
            fields[letter.decode()] = data[place + 3 : place + 3 + size].rstrip(b"\0").decode()
            place += 3 + size
        (length,) = struct.unpack_from(">I", data, place + 1)
    except (struct.error, UnicodeDecodeError):
        raise broken from None
    if not {"a", "b"} <= fields.keys() or len(data) - place - 5 != length:
        raise broken
    design, *settings = fields["a"].split(";")
    marks = (re.fullmatch(r"UserID=0[xX]([0-9a-fA-F]{8})", setting) for setting in settings)
    return BitHeader(design, fields["b"], next((mark[1].upper() for mark in marks if mark), None))
