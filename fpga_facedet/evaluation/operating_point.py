"""Precision and recall on a labelled folder, and the score from which a detection is shown by default."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import Detections, FloatArray, iou_matrix

LEAST_OVERLAP = 0.5

LEAST_SCORE = 0.01
"""Below this a detection cannot matter for a precision-recall curve."""


@dataclass(frozen=True)
class Truth:
    """One picture's faces and the regions that count neither way, float32 (N, 4) x1, y1, x2, y2, in pixels."""

    faces: FloatArray
    ignored: FloatArray


@dataclass(frozen=True)
class OperatingPoint:
    """What a score threshold gives: both figures in 0..1."""

    score_threshold: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Scored:
    """All detections of a set of pictures, best first: score (N,), and whether each is right (N,); faces to find."""

    scores: npt.NDArray[np.float32]
    right: npt.NDArray[np.bool_]
    faces: int

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """Share of right ones among the best k detections, (N,)."""
        return np.cumsum(self.right) / np.arange(1, len(self.right) + 1)

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """Share of the faces that the best k detections find, (N,)."""
        return np.cumsum(self.right) / max(self.faces, 1)

    @property
    def average_precision(self) -> float:
        """Area under precision over recall, precision made to fall only."""
        if not len(self.right):
            return 0.0
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float((np.diff(self.recall, prepend=0.0) * envelope).sum())


def score_detections(
    found: Sequence[Detections], truth: Sequence[Truth], least_size: float = 0.0, size_limit: float = np.inf
) -> Scored:
    """Match the detections of each picture with its faces (IoU 0.5 or more, best score first).

    Only faces of `least_size` pixels (square root of the area) up to, not including, `size_limit` are to be found. The
    others and ignored regions count neither way; nor does a detection of another size which finds nothing.
    """
    scores, right, faces = [], [], 0
    for detections, picture in zip(found, truth, strict=True):
        detections = detections.best_first()
        wanted, sized = (
            (sizes >= least_size) & (sizes < size_limit)
            for sizes in (box_sizes(picture.faces), box_sizes(detections.boxes))
        )
        faces += int(wanted.sum())
        face = match_faces(detections, picture.faces)
        verdict = face >= 0
        verdict[verdict] = wanted[face[verdict]]
        counts = verdict | ((face < 0) & sized & ~lie_inside(detections.boxes, picture.ignored))
        scores.append(detections.scores[counts])
        right.append(verdict[counts])
    all_scores = np.concatenate([np.zeros(0, np.float32), *scores])
    all_right = np.concatenate([np.zeros(0, np.bool_), *right])
    order = np.argsort(-all_scores, kind="stable")
    return Scored(all_scores[order], all_right[order], faces)


def box_sizes(boxes: FloatArray) -> npt.NDArray[np.float64]:
    """Return the size of each of `boxes` (N, 4) in pixels, float64 (N,): the square root of its area."""
    return np.sqrt(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1, dtype=np.float64))


def match_faces(found: Detections, faces: FloatArray) -> npt.NDArray[np.intp]:
    """Return for each detection of `found` (best first) the face of `faces` (M, 4) it finds, int (N,); -1 for none.

    Each detection takes the face that it overlaps most among those not taken yet, if by IoU 0.5 or more.
    """
    match = np.full(len(found), -1, np.intp)
    overlap = iou_matrix(found.boxes, faces)
    if not overlap.size:
        return match
    for d in range(len(found)):
        best = int(overlap[d].argmax())
        if overlap[d, best] >= LEAST_OVERLAP:
            match[d] = best
            overlap[:, best] = 0
    return match


def lie_inside(boxes: FloatArray, regions: FloatArray) -> npt.NDArray[np.bool_]:
    """Tell which of `boxes` (N, 4) lie at least half in one of `regions` (M, 4), bool (N,)."""
    if not len(regions):
        return np.zeros(len(boxes), np.bool_)
    size = np.minimum(boxes[:, None, 2:], regions[None, :, 2:]) - np.maximum(boxes[:, None, :2], regions[None, :, :2])
    area = np.clip(boxes[:, 2:] - boxes[:, :2], 1e-6, None).prod(axis=1)
    return np.asarray((np.clip(size, 0, None).prod(axis=2) >= 0.5 * area[:, None]).any(axis=1))


def choose_operating_point(scored: Scored, least_precision: float) -> OperatingPoint:
    """Return the threshold with the best F1 among those of at least `least_precision`, or else the most precise one."""
    if not len(scored.scores):
        return OperatingPoint(0.5, 0.0, 0.0)
    precision, recall = scored.precision, scored.recall
    # Only the last of equal scores is a threshold.
    last = np.append(scored.scores[1:] != scored.scores[:-1], True)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    allowed = last & (precision >= least_precision)
    merit = np.where(allowed, f1, -1) if allowed.any() else np.where(last, precision, -1)
    k = int(merit.argmax())
    return OperatingPoint(float(scored.scores[k]), float(precision[k]), float(recall[k]))
