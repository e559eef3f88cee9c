"""A moving sequence out of a photograph: the demo's camera where there is none."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet.host.annotate import save_picture
from fpga_facedet.host.sources import open_source

FRAME_WIDTH, FRAME_HEIGHT = 640, 480
CLOSEST, FARTHEST = 1.0, 0.55
"""How much of the frame's height the photograph fills, when nearest and when farthest."""


def moving_picture(
    photograph: npt.NDArray[np.uint8], phase: float, width: int = FRAME_WIDTH, height: int = FRAME_HEIGHT
) -> npt.NDArray[np.uint8]:
    """Return one frame, BGR uint8 (height, width, 3), of `photograph` wandering over its own blurred backdrop.

    `phase` 0..1 is the place on a closed path, so phase 1 looks like phase 0 and the sequence can loop.
    """
    import cv2

    angle = 2 * math.pi * phase
    share = FARTHEST + (CLOSEST - FARTHEST) * (0.5 + 0.5 * math.cos(angle))
    shown_height = max(1, round(height * share))
    shown_width = max(1, min(width, round(photograph.shape[1] * shown_height / photograph.shape[0])))
    shown = cv2.resize(photograph, (shown_width, shown_height), interpolation=cv2.INTER_AREA)
    frame = cv2.GaussianBlur(cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA), (0, 0), 25)
    left = round((width - shown_width) * (0.5 + 0.45 * math.sin(angle)))
    top = round((height - shown_height) * (0.5 + 0.45 * math.sin(2 * angle)))
    frame[top : top + shown_height, left : left + shown_width] = shown
    return np.asarray(frame, np.uint8)


def write_sequence(names: list[str], folder: Path, frames: int) -> None:
    """Save `frames` JPEG frames to `folder`: the photographs `names` (see `open_source`) one after another."""
    photographs = [next(iter(open_source(name))).image for name in names]
    for index in range(frames):
        which, place = divmod(index * len(photographs), frames)
        save_picture(folder / f"{index:03d}.jpg", moving_picture(photographs[which], place / frames))
