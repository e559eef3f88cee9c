"""The letterbox's arithmetic where the native library is not: OpenCV where it is installed, numpy otherwise.

Both give the same bytes as native/rows.cpp; the tests compare the three.
"""

import functools
from types import ModuleType

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

# ITU-R BT.601 with 20 fractional bits, as OpenCV's cvtColor uses it.
_SHIFT = 20
_LUMA, _BLUE_U, _GREEN_U, _GREEN_V, _RED_V = 1220542, 2116026, -409993, -852492, 1673527


@functools.cache
def opencv() -> ModuleType | None:
    """Return cv2, or None where it is not installed."""
    try:
        import cv2

        return cv2
    except ImportError:
        return None


def halve(frame: Pixels) -> Pixels:
    """Return the 2x2 means, rounded half up, of uint8 (h, w, C); an odd last row or column is left out."""
    even = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
    if (cv2 := opencv()) is not None:
        return _with_channels(cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), frame)
    total = even[::2].astype(np.uint16) + even[1::2]
    return ((total[:, ::2] + total[:, 1::2] + 2) >> 2).astype(np.uint8)


def resize(frame: Pixels, width: int, height: int) -> Pixels:
    """Return uint8 (h, w, C) interpolated to (height, width, C) in integers: OpenCV's INTER_LINEAR_EXACT."""
    if (cv2 := _opencv_for(frame)) is not None:
        return _with_channels(cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), frame)
    row, down = _neighbours(frame.shape[0], height)
    column, right = _neighbours(frame.shape[1], width)
    next_row = np.minimum(row + 1, frame.shape[0] - 1)
    next_column = np.minimum(column + 1, frame.shape[1] - 1)
    # 8 fractional bits of each direction and 8 of the value make 24: nothing is lost before the one rounding.
    rows = frame[row] * (256 - down)[:, None, None] + frame[next_row] * down[:, None, None]
    mixed = rows[:, column] * (256 - right)[:, None] + rows[:, next_column] * right[:, None]
    return ((mixed + (1 << 15)) >> 16).astype(np.uint8)


def swap_colours(frame: Pixels, out: Pixels) -> None:
    """Write BGR uint8 (h, w, 3) as RGB into `out` of the same shape, or the other way round."""
    if (cv2 := _opencv_for(frame)) is not None:
        out[...] = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    else:
        out[...] = frame[..., ::-1]


def bgr_of_yuyv(frame: Pixels) -> Pixels:
    """Return YUYV uint8 (h, w, 2), w even, as BGR (h, w, 3): OpenCV's COLOR_YUV2BGR_YUYV."""
    if (cv2 := opencv()) is not None:
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_YUYV))
    u, v = (np.repeat(frame[:, start::2, 1].astype(np.int32) - 128, 2, axis=1) for start in (0, 1))
    light = np.maximum(frame[..., 0].astype(np.int32) - 16, 0) * _LUMA + (1 << (_SHIFT - 1))
    colours = (light + _BLUE_U * u, light + _GREEN_U * u + _GREEN_V * v, light + _RED_V * v)
    return np.stack([np.clip(colour >> _SHIFT, 0, 255) for colour in colours], axis=2).astype(np.uint8)


def _opencv_for(frame: Pixels) -> ModuleType | None:
    """Return cv2 unless `frame` is a single pixel: the board's OpenCV 4.5.4 takes no array (1, 1, 3)."""
    return None if frame.shape[:2] == (1, 1) else opencv()


def _neighbours(size: int, wanted: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint32]]:
    """Return for each of `wanted` pixels its left neighbour of `size`, and its way to the right one in 256ths.

    Source: interpolationLinear in OpenCV's modules/imgproc/src/resize.cpp; IEEE double operations in its order.
    """
    scale = 1.0 / (wanted / size)
    at = scale * (np.arange(wanted) + 0.5) - 0.5
    first = np.floor(at).astype(np.intp)
    weight = np.rint((at - first) * 256)
    weight[(first < 0) | (first >= size - 1)] = 0
    return np.clip(first, 0, size - 1), weight.astype(np.uint32)


def _with_channels(resized: Pixels, frame: Pixels) -> Pixels:
    """OpenCV drops the axis of a single channel."""
    return np.asarray(resized).reshape((*resized.shape[:2], frame.shape[2]))
