"""Average precision by the protocol of WIDER FACE (easy, medium, hard), as its own evaluation code computes it.

The protocol, from the official Matlab code:

- Scores are stretched to 0..1 over all pictures of the evaluation.
- In each picture the detections, best first, are compared with all faces. One that overlaps its closest face by 0.5
  or more finds it, if nobody did before; further ones on the same face count as wrong. Where that face is not of the
  asked difficulty, the detection counts neither way.
- Boxes are in whole pixels, both ends included: a width is x2 - x1 + 1.
- Precision and recall are taken at 1,000 thresholds, and the area under the curve as PASCAL VOC does since 2010.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import Detections, FloatArray
from fpga_facedet.errors import UserError
from fpga_facedet.labels.wider_mat import load_mat

DIFFICULTIES = ("easy", "medium", "hard")
THRESHOLDS = 1000
LEAST_OVERLAP = 0.5

_NOT_ASKED, _MISSED, _FOUND = -1, 0, 1
_LISTS = ("event_list", "file_list", "face_bbx_list", "gt_list")


@dataclass(frozen=True)
class WiderPicture:
    """The truth of one picture.

    `faces` float32 (N, 4) x1, y1, x2, y2 in pixels of the original; `asked` for each difficulty a mask (N,).
    """

    faces: FloatArray
    asked: Mapping[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Curve:
    """Precision and recall at falling thresholds, both (THRESHOLDS,), and the area under the curve."""

    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    average_precision: float


def load_truth(folder: str | Path) -> dict[str, WiderPicture]:
    """Read the official files `wider_{easy,medium,hard}_val.mat` of `folder`, keyed by "event/picture.jpg".

    UserError where one is missing or is not what the official site distributes.
    """
    folder = Path(folder)
    paths = {level: folder / f"wider_{level}_val.mat" for level in DIFFICULTIES}
    lists = {level: load_mat(path, _LISTS) for level, path in paths.items()}
    try:
        return _pictures_of(lists)
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(
            f"The lists of {folder} ({', '.join(path.name for path in paths.values())}) are not WIDER's ({error}); "
            "download them again."
        ) from error


def _pictures_of(lists: Mapping[str, Mapping[str, Any]]) -> dict[str, WiderPicture]:
    first = lists[DIFFICULTIES[0]]
    truth = {}
    for e, event in enumerate(first["event_list"][:, 0]):
        for p, picture in enumerate(first["file_list"][e, 0][:, 0]):
            boxes = np.asarray(first["face_bbx_list"][e, 0][p, 0], np.float32).reshape(-1, 4)
            if not np.isfinite(boxes).all():
                raise ValueError(f"a box of {picture[0]} is no box")
            faces = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
            asked = {}
            for level in DIFFICULTIES:
                asked[level] = np.zeros(len(faces), np.bool_)
                numbers = lists[level]["gt_list"][e, 0][p, 0].astype(int).ravel()
                if (numbers < 1).any():
                    raise ValueError(f"{picture[0]} has no face {numbers.min()}")
                asked[level][numbers - 1] = True
            truth[f"{event[0]}/{picture[0]}.jpg"] = WiderPicture(faces, asked)
    return truth


def wider_curve(
    detections: Mapping[str, Detections],
    truth: Mapping[str, WiderPicture],
    difficulty: str,
    overlap: float = LEAST_OVERLAP,
) -> Curve:
    """Evaluate `detections` (original pixels) of the pictures in `truth`; a picture without an entry found nothing.

    Only the pictures of `truth` count, so a subset is evaluated by giving a subset.
    """
    span = _score_span(detections[name] for name in truth if name in detections)
    counts = np.zeros((THRESHOLDS, 2))
    asked = 0
    for name, picture in truth.items():
        mask = picture.asked[difficulty]
        asked += int(mask.sum())
        found = detections.get(name)
        if found is not None and len(found) and len(picture.faces):
            counts += _count_picture(found.best_first(), picture.faces, mask, span, overlap)
    shown, right = counts[:, 0], counts[:, 1]
    precision = np.divide(right, shown, out=np.zeros(THRESHOLDS), where=shown > 0)
    recall = right / max(asked, 1)
    return Curve(precision, recall, _area(recall, precision))


def wider_ap(detections: Mapping[str, Detections], truth: Mapping[str, WiderPicture]) -> dict[str, float]:
    """Return the average precision of each difficulty, 0..1; see `wider_curve`."""
    return {level: wider_curve(detections, truth, level).average_precision for level in DIFFICULTIES}


def _score_span(found: Iterable[Detections]) -> tuple[float, float]:
    """Return the least score of all and the distance to the greatest."""
    scores = np.concatenate([np.zeros(0, np.float32), *(item.scores for item in found)])
    if not len(scores):
        return 0.0, 1.0
    return float(scores.min()), float(scores.max() - scores.min()) or 1.0


def _count_picture(
    found: Detections, faces: FloatArray, asked: npt.NDArray[np.bool_], span: tuple[float, float], overlap: float
) -> npt.NDArray[np.float64]:
    """Return (THRESHOLDS, 2): detections that count, and faces found, at each threshold."""
    overlaps = inclusive_iou(found.boxes, faces)
    closest = overlaps.argmax(axis=1)
    near = overlaps.max(axis=1) >= overlap
    state = np.full(len(faces), _MISSED)
    counting = np.ones(len(found), np.bool_)
    recalled = np.zeros(len(found))
    for d, face in enumerate(closest):
        if near[d]:
            if not asked[face]:
                state[face], counting[d] = _NOT_ASKED, False
            elif state[face] == _MISSED:
                state[face] = _FOUND
        recalled[d] = np.count_nonzero(state == _FOUND)
    scores = (found.scores.astype(np.float64) - span[0]) / span[1]
    thresholds = 1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS
    passing = np.searchsorted(-scores, -thresholds, side="right")
    shown = np.concatenate([[0.0], np.cumsum(counting)])[passing]
    return np.stack([shown, np.concatenate([[0.0], recalled])[passing]], axis=1)


def inclusive_iou(a: FloatArray, b: FloatArray) -> npt.NDArray[np.float64]:
    """Return the overlap of each box of `a` (N, 4) with each of `b` (M, 4), both ends of a box included, (N, M)."""
    a, b = a.astype(np.float64), b.astype(np.float64)  # type: ignore[assignment]
    size = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]) + 1
    common = np.clip(size, 0, None).prod(axis=2)
    area_a, area_b = ((box[:, 2:] - box[:, :2] + 1).prod(axis=1) for box in (a, b))
    return np.asarray(common / (area_a[:, None] + area_b[None, :] - common), np.float64)


def _area(recall: npt.NDArray[np.float64], precision: npt.NDArray[np.float64]) -> float:
    """Return the area under the curve, precision made to fall only (PASCAL VOC 2010)."""
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    step = np.flatnonzero(recall[1:] != recall[:-1])
    return float(((recall[step + 1] - recall[step]) * envelope[step + 1]).sum())
