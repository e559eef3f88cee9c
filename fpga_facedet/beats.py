"""Values to stream words and back: lane 0 in the lowest bits, words padded to whole bytes with zeros."""

import numpy as np
import numpy.typing as npt


def pack(values: npt.NDArray[np.integer], bits: int) -> npt.NDArray[np.uint8]:
    """Pack integers (..., lanes), two's complement where negative, as words uint8 (..., bytes) of `bits` a lane.

    `bits` is at most 32; higher bits of a value are cut off.
    """
    if bits == 8:
        return np.ascontiguousarray(values).astype(np.uint8)
    split = (np.asarray(values, np.int64)[..., None] >> np.arange(bits)) & 1
    flat = split.astype(np.uint8).reshape(*values.shape[:-1], values.shape[-1] * bits)
    return np.packbits(flat, axis=-1, bitorder="little")


def unpack(words: npt.NDArray[np.uint8], lanes: int, bits: int, signed: bool) -> npt.NDArray[np.int32]:
    """Return the values int32 (..., lanes) of words uint8 (..., bytes); `bits` is at most 31, or 32 if signed."""
    split = np.unpackbits(words, axis=-1, count=lanes * bits, bitorder="little")
    weights = np.int64(1) << np.arange(bits)
    if signed:
        weights[-1] = -weights[-1]
    values = split.reshape(*words.shape[:-1], lanes, bits).astype(np.int64) @ weights
    return values.astype(np.int32)
