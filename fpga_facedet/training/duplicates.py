"""Near-duplicates: the same photograph resized, recompressed, brighter, mirrored or cropped by a few percent.

Pictures shot one after the other without moving the camera count as well: whoever trains on one has seen the other.

Two pictures are candidates where their difference hashes (64 bits: is each cell of a 9 x 8 thumbnail brighter than the
next) differ in few bits, and duplicates where their thumbnails correlate as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

_SIDE = 10
"""Thumbnails for the second look are squares of so many pixels: coarse enough that a slightly different crop agrees."""

_MOST_BITS = 16
_LEAST_CORRELATION = 0.92
_LEAST_CONTRAST = 2.0
"""Grey levels (standard deviation) below which a picture shows nothing that could be compared."""

_BLOCK = 512


@dataclass(frozen=True)
class Fingerprint:
    """What is compared of a picture: hashes as seen and mirrored, and float32 (_SIDE * _SIDE,) of length 1.

    The thumbnail is all zeros where the picture is blank.
    """

    straight: int
    mirrored: int
    thumbnail: npt.NDArray[np.float32]


def fingerprint(pixels: npt.NDArray[np.uint8]) -> Fingerprint:
    """Return the fingerprint of an RGB picture, uint8 (height, width, 3)."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    contrast = float(small.std())
    thumbnail = small.ravel() / (contrast * _SIDE) if contrast >= _LEAST_CONTRAST else np.zeros(_SIDE**2, np.float32)
    cells = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return Fingerprint(_hash(cells), _hash(cells[:, ::-1]), np.asarray(thumbnail, np.float32))


def near_duplicates(first: Sequence[Fingerprint], second: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Return (index in `first`, index in `second`) of each pair of near-duplicates, in order."""
    if not first or not second:
        return []
    hashes, thumbnails = _hashes(f.straight for f in first), np.stack([f.thumbnail for f in first])
    others = np.stack([f.thumbnail for f in second])
    flipped = others.reshape(-1, _SIDE, _SIDE)[:, :, ::-1].reshape(len(second), -1)
    pairs = set(_matches(hashes, thumbnails, _hashes(f.straight for f in second), others))
    pairs.update(_matches(hashes, thumbnails, _hashes(f.mirrored for f in second), flipped))
    return sorted(pairs)


def group_duplicates(prints: Sequence[Fingerprint]) -> list[int]:
    """Return for each picture the least index of those it is a near-duplicate of, directly or by way of others."""
    leader = list(range(len(prints)))

    def lead(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    for a, b in near_duplicates(prints, prints):
        low, high = sorted((lead(a), lead(b)))
        leader[high] = low
    return [lead(index) for index in range(len(prints))]


def _hash(cells: npt.NDArray[np.uint8] | cv2.typing.MatLike) -> int:
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def _hashes(values: Iterable[int]) -> npt.NDArray[np.uint64]:
    return np.fromiter(values, np.uint64)


def _matches(
    first_hashes: npt.NDArray[np.uint64],
    first_thumbnails: npt.NDArray[np.float32],
    second_hashes: npt.NDArray[np.uint64],
    second_thumbnails: npt.NDArray[np.float32],
) -> Iterable[tuple[int, int]]:
    """Yield the pairs whose hashes and thumbnails agree."""
    for start in range(0, len(first_hashes), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = np.bitwise_count(first_hashes[block, None] ^ second_hashes[None, :]) <= _MOST_BITS
        alike = first_thumbnails[block] @ second_thumbnails.T >= _LEAST_CORRELATION
        for a, b in np.argwhere(near & alike):
            yield start + int(a), int(b)
