"""Evaluation to look at: precision-recall curves, and photographs with the faces that are there and those found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import Detections, FloatArray
from fpga_facedet.evaluation.operating_point import Truth, score_detections
from fpga_facedet.evaluation.wider import Curve
from fpga_facedet.files import saving, write_bytes

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
"""Okabe and Ito's: told apart by everyone, on paper too."""

TRUE_COLOUR = (90, 200, 90)
FOUND_COLOUR = (255, 140, 0)
"""RGB: green are the labels, orange is what the detector found."""

_TILE = 320
_CAPTION = 26
_GAP = 6
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class GridItem:
    """One picture of a grid.

    `pixels` RGB uint8 (h, w, 3); `truth` float32 (N, 4) x1, y1, x2, y2 and the boxes of `found` in its pixels.
    """

    pixels: npt.NDArray[np.uint8]
    truth: FloatArray
    found: Detections
    caption: str = ""


def plot_precision_recall(curves: Mapping[str, Curve], path: Path, title: str = "") -> None:
    """Draw precision over recall, one line a name (with its AP), to the PNG `path`; UserError where that fails."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        # Before the first detection precision is 0 of 0: nothing to draw.
        drawn = (curve.recall > 0) | (curve.precision > 0)
        label = f"{name}: AP {curve.average_precision:.3f}"
        axes.plot(curve.recall[drawn], curve.precision[drawn], color=colour, label=label)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title=title)
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(loc="best")
    with saving(path) as temporary:
        figure.savefig(temporary, dpi=120)


def picture_grid(items: Sequence[GridItem], path: Path, columns: int = 4) -> None:
    """Draw pictures with their labelled faces (green) and found ones (orange) as a table of tiles to the PNG `path`."""
    rows = -(-len(items) // columns)
    height, width = _TILE + _CAPTION + _GAP, _TILE + _GAP
    sheet = np.full((max(rows, 1) * height + _GAP, columns * width + _GAP, 3), 255, np.uint8)
    for number, item in enumerate(items):
        row, column = divmod(number, columns)
        top, left = _GAP + row * height, _GAP + column * width
        sheet[top : top + _TILE + _CAPTION, left : left + _TILE] = _tile(item)
    encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    write_bytes(path, encoded.tobytes())


def _tile(item: GridItem) -> npt.NDArray[np.uint8]:
    height, width = item.pixels.shape[:2]
    scale = _TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.ascontiguousarray(cv2.resize(item.pixels, size, interpolation=way))
    for boxes, colour in ((item.truth, TRUE_COLOUR), (item.found.boxes, FOUND_COLOUR)):
        for x1, y1, x2, y2 in np.rint(boxes * scale).astype(int).tolist():
            cv2.rectangle(small, (x1, y1), (x2, y2), colour, 1)
    tile = np.full((_TILE + _CAPTION, _TILE, 3), 235, np.uint8)
    top, left = (_TILE - size[1]) // 2, (_TILE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    cv2.putText(tile, _shortened(item.caption), (4, _TILE + 18), _FONT, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
    return tile


def _shortened(caption: str) -> str:
    """Return what of `caption` fits under a tile; the font has ASCII alone."""
    text = caption.encode("ascii", "replace").decode()
    while cv2.getTextSize(text, _FONT, 0.42, 1)[0][0] > _TILE - 8:
        text = text[:-4] + "..."
    return text


def worst_and_best(found: Sequence[Detections], truth: Sequence[Truth]) -> npt.NDArray[np.intp]:
    """Return the positions of the pictures with faces, worst first, by each picture's own AP@0.5, int (n,).

    Between equals the picture with more faces lies further outside: forty faces missed are worse than one, forty
    found better.
    """
    shown = np.array([index for index, picture in enumerate(truth) if len(picture.faces)], np.intp)
    merit = np.array([score_detections([found[i]], [truth[i]]).average_precision for i in shown])
    faces = np.array([len(truth[i].faces) for i in shown])
    return shown[np.lexsort((np.where(merit < 0.5, -faces, faces), merit))]
