"""Detected faces as arrays: boxes, scores, overlap and non-maximum suppression."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def _no_boxes() -> FloatArray:
    return np.zeros((0, 4), np.float32)


def _no_scores() -> FloatArray:
    return np.zeros(0, np.float32)


@dataclass(frozen=True)
class Detections:
    """Faces of one picture, best first unless said otherwise.

    `boxes` float32 (N, 4) holds x1, y1, x2, y2 in pixels; `scores` float32 (N,) lies in 0..1.

    >>> len(Detections(np.array([[0, 0, 9, 9]], np.float32), np.array([0.5], np.float32)))
    1
    """

    boxes: FloatArray = field(default_factory=_no_boxes)
    scores: FloatArray = field(default_factory=_no_scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.intp] | slice) -> "Detections":
        """Return the faces that `index` (a mask, positions or a slice) picks."""
        return Detections(self.boxes[index], self.scores[index])

    def best_first(self) -> "Detections":
        """Return the same faces by falling score; equal scores keep their order."""
        return self[np.argsort(-self.scores, kind="stable")]


def iou_matrix(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the intersection over union of every box of `a` (N, 4) with every box of `b` (M, 4) as (N, M) float32.

    Boxes are x1, y1, x2, y2; a box without area overlaps nothing.
    """
    corner = np.maximum(a[:, None, :2], b[None, :, :2])
    opposite = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.clip(opposite - corner, 0, None).prod(axis=2, dtype=np.float32)
    area_a = np.clip(a[:, 2:] - a[:, :2], 0, None).prod(axis=1, dtype=np.float32)
    area_b = np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1, dtype=np.float32)
    union = area_a[:, None] + area_b[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def nms(detections: Detections, iou: float) -> Detections:
    """Return the faces that survive greedy non-maximum suppression, best first.

    A face goes when its IoU with a better one that stays is above `iou`. Equal scores keep their order, so the
    result does not depend on the platform's sort. `iou` counts as the nearest float32.
    """
    ranked = detections.best_first()
    overlap = iou_matrix(ranked.boxes, ranked.boxes) > np.float32(iou)
    kept = np.ones(len(ranked), np.bool_)
    for i in range(len(ranked)):
        if kept[i]:
            kept[i + 1 :] &= ~overlap[i, i + 1 :]
    return ranked[kept]
