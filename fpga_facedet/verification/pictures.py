"""Frames to verify with: no two alike, from photographs to what no camera takes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fpga_facedet.letterbox import Letterbox
from fpga_facedet.manifest import InputInfo

_BLOCK = 8


def make_frames(
    wanted: InputInfo, count: int, seed: int = 0, pictures: Sequence[npt.NDArray[np.uint8]] | None = None
) -> npt.NDArray[np.uint8]:
    """Return `count` different frames, RGB uint8 (count, height, width, 3), for a detector with input `wanted`.

    They take turns: a photograph, noise of all values, a crop of a photograph, blocks of black and full colours (the
    largest sums). `pictures` are photographs, BGR uint8 (h, w, 3) of any size; scikit-image's portrait of an astronaut
    unless given, and smooth gradients where scikit-image is not installed. All else follows from `seed`.
    """
    rng = np.random.default_rng(seed)
    photographs = list(pictures) if pictures else [_photograph(wanted)]
    kinds = (_whole, _noise, _crop, _blocks)
    frames = []
    for number in range(count):
        turn, kind = divmod(number, len(kinds))
        # Whole photographs first; when they are used up, further turns take crops of them.
        make = _crop if kind == 0 and turn >= len(photographs) else kinds[kind]
        frames.append(make(wanted, photographs[turn % len(photographs)], rng))
    return np.stack(frames)


def told_frames(count: int) -> str:
    """Return in words what was verified with."""
    return f"{count} different frames" if count > 1 else "1 frame"


def _whole(wanted: InputInfo, picture: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    return Letterbox.fit(width, height, wanted.width, wanted.height).apply(picture, wanted.fill)


def _crop(wanted: InputInfo, picture: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    height, width = (int(rng.integers(side // 3, side)) for side in picture.shape[:2])
    top, left = int(rng.integers(picture.shape[0] - height)), int(rng.integers(picture.shape[1] - width))
    return _whole(wanted, np.ascontiguousarray(picture[top : top + height, left : left + width]), rng)


def _noise(wanted: InputInfo, picture: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return rng.integers(0, 256, (wanted.height, wanted.width, wanted.channels), np.uint8)


def _blocks(wanted: InputInfo, picture: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    coarse = rng.integers(0, 2, (-(-wanted.height // _BLOCK), -(-wanted.width // _BLOCK), wanted.channels), np.uint8)
    return (coarse.repeat(_BLOCK, 0).repeat(_BLOCK, 1) * np.uint8(255))[: wanted.height, : wanted.width]


def _photograph(wanted: InputInfo) -> npt.NDArray[np.uint8]:
    try:
        from skimage import data
    except ImportError:
        rows, columns = np.mgrid[: wanted.height, : wanted.width]
        waves = [np.sin(rows / (7 + 5 * k) + columns / (23 - 6 * k)) for k in range(3)]
        return np.round(127.5 * (1 + np.stack(waves, -1))).astype(np.uint8)
    return np.ascontiguousarray(data.astronaut()[..., ::-1])
