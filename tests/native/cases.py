"""Frames and outputs that both processors get, as the driver's arguments and input."""

import numpy as np
import numpy.typing as npt

from fpga_facedet.letterbox import Letterbox
from fpga_facedet.native import PixelFormat

ANCHORS = np.array([[10, 14], [23, 27], [37, 58]], np.float32)
GRID = 13
BYTES = {PixelFormat.BGR: 3, PixelFormat.YUYV: 2, PixelFormat.GREY: 1}


def letterbox_arguments(box: Letterbox, pixels: PixelFormat) -> tuple[object, ...]:
    """The driver's arguments, less the number of turns."""
    sizes = (box.frame_width, box.frame_height, box.input_width, box.input_height)
    return ("letterbox", int(pixels), *sizes, box.width, box.height, box.left, box.top)


def frame_bytes(rng: np.random.Generator, width: int, height: int, pixels: PixelFormat) -> bytes:
    """Noise that every format takes."""
    return rng.integers(0, 256, width * height * BYTES[pixels], dtype=np.uint8).tobytes()


def crowd(rng: np.random.Generator, candidates: int) -> npt.NDArray[np.int8]:
    """A head's output of 416x416 pixels with so many anchors above a threshold of 0.3, many near one another."""
    output = rng.integers(-128, -90, (GRID, GRID, len(ANCHORS), 6)).astype(np.int8)
    flat = output.reshape(-1, 6)
    chosen = rng.choice(len(flat), candidates, replace=False)
    flat[chosen] = np.concatenate(
        [rng.integers(-128, 128, (candidates, 4)), rng.integers(60, 128, (candidates, 2))], axis=1
    )
    return output.reshape(GRID, GRID, -1)


def faces_arguments(box: Letterbox, threshold: float = 0.3, iou: float = 0.45) -> tuple[object, ...]:
    """The driver's arguments for a head of `crowd`, less the number of turns."""
    least = int(np.ceil(threshold * 4 * 128 * 128))
    scale = (np.float32(box.width / box.frame_width), np.float32(box.height / box.frame_height))
    numbers = (np.float32(iou), *scale, box.left, box.top, box.frame_width, box.frame_height)
    return ("faces", GRID, GRID, len(ANCHORS), 32, 128, least, *(f"{float(v):.9g}" for v in numbers))


def faces_input(output: npt.NDArray[np.int8]) -> bytes:
    """The driver's input for `faces_arguments`."""
    return ANCHORS.tobytes() + output.tobytes()
