"""Boxes and scores drawn into pictures, and such pictures saved."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import Detections
from fpga_facedet.errors import UserError
from fpga_facedet.files import write_bytes

BOX_COLOUR = (80, 230, 60)
"""BGR: a green that skin and clothes seldom have; its dark edge carries it over bright and green grounds."""
EDGE_COLOUR = (0, 0, 0)


def annotate(image: npt.NDArray[np.uint8], faces: Detections) -> npt.NDArray[np.uint8]:
    """Return a copy of `image`, BGR uint8 (h, w, 3), with a box and a score (two decimals) at each face.

    `faces` are in pixels of `image`. Lines and letters grow with the picture; each has a dark edge, so it is readable
    on any ground. The best face is drawn last, on top.
    """
    import cv2

    canvas = image.copy()
    line = max(1, round(min(image.shape[:2]) / 240))
    for box, score in reversed(list(zip(faces.boxes, faces.scores, strict=True))):
        x1, y1, x2, y2 = (round(float(v)) for v in box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), EDGE_COLOUR, line + 2)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), BOX_COLOUR, line)
        _label(canvas, f"{score:.2f}", x1, y1, line)
    return canvas


def _label(canvas: npt.NDArray[np.uint8], text: str, x: int, y: int, line: int) -> None:
    """Write `text` on a plate above (x, y), moved inside the picture where it would leave it."""
    import cv2

    font = cv2.FONT_HERSHEY_SIMPLEX
    scale, stroke = 0.4 * max(1.0, line * 0.75), max(1, line // 2)
    (width, height), below = cv2.getTextSize(text, font, scale, stroke)
    x = max(0, min(x, canvas.shape[1] - width - 4))
    y = max(height + below + 4, y)
    cv2.rectangle(canvas, (x, y - height - below - 4), (x + width + 4, y), BOX_COLOUR, cv2.FILLED)
    cv2.putText(canvas, text, (x + 2, y - below - 1), font, scale, EDGE_COLOUR, stroke, cv2.LINE_AA)


def save_picture(path: str | os.PathLike[str], image: npt.NDArray[np.uint8]) -> None:
    """Save `image`, BGR uint8 (h, w, 3), in the format of the suffix of `path`, whole or not at all.

    Raises UserError where OpenCV knows no such format, or the file cannot be written.
    """
    import cv2

    path = Path(path)
    try:
        done, data = cv2.imencode(path.suffix, image)
    except cv2.error:
        done = False
    if not done:
        raise UserError(f"Cannot save {path}: there is no picture format '{path.suffix}'; use .jpg or .png.")
    write_bytes(path, data.tobytes())
