"""What a detector gets wrong at its threshold: faces missed, by size and reason, and false boxes, by kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import Detections, iou_matrix
from fpga_facedet.evaluation.operating_point import (
    LEAST_OVERLAP,
    Truth,
    box_sizes,
    lie_inside,
    match_faces,
)
from fpga_facedet.evaluation.sizes import BANDS, Band, band_of

NEAR = 0.1
"""From this overlap (IoU) on, a wrong box is a face badly boxed; below it, something else taken for a face."""

FATES = ("found", "lost to a neighbour", "below the threshold", "badly boxed", "not seen")
"""What becomes of a face, the first that holds: a box found it; a shown box fits it but went to another face; a box
fits it but scores too low; a shown box overlaps it by NEAR or more; no box to speak of."""

FALSE_KINDS = ("duplicate", "badly boxed", "background")
"""A false box fits a face that a better box found; overlaps a face by NEAR or more; or has next to no face in it."""


@dataclass(frozen=True)
class Mistakes:
    """Counts at one score threshold over all pictures.

    `fates` int (bands, FATES) of the faces; `false_boxes` int (FALSE_KINDS); `excused` boxes lie in ignored regions.
    """

    score_threshold: float
    bands: tuple[Band, ...]
    fates: npt.NDArray[np.int64]
    false_boxes: npt.NDArray[np.int64]
    excused: int

    @property
    def faces(self) -> int:
        """All faces."""
        return int(self.fates.sum())

    @property
    def found(self) -> int:
        """The faces found, which is also the number of right boxes."""
        return int(self.fates[:, 0].sum())

    @property
    def precision(self) -> float:
        """Share of right ones among the boxes that count, 0..1; 0 without any."""
        return self.found / max(self.found + int(self.false_boxes.sum()), 1)

    @property
    def recall(self) -> float:
        """Share of the faces that are found, 0..1; 0 without any."""
        return self.found / max(self.faces, 1)

    def to_dict(self) -> dict[str, Any]:
        """Return all counts, JSON-ready."""
        return {
            "score_threshold": round(self.score_threshold, 4),
            "precision": round(self.precision, 4),
            "recall": round(self.recall, 4),
            "faces": {
                band.name: dict(zip(FATES, row.tolist(), strict=True))
                for band, row in zip(self.bands, self.fates, strict=True)
            },
            "false_boxes": dict(zip(FALSE_KINDS, self.false_boxes.tolist(), strict=True)),
            "boxes_in_ignored_regions": self.excused,
        }


def count_mistakes(
    found: Sequence[Detections], truth: Sequence[Truth], score_threshold: float, bands: Sequence[Band] = BANDS
) -> Mistakes:
    """Count what becomes of every face and every box with score >= `score_threshold` (0..1).

    `found` holds weaker detections too: they tell a face that scored too low from one not seen. Boxes in pixels of the
    detector's input, in which `bands` are.
    """
    fates = np.zeros((len(bands), len(FATES)), np.int64)
    false_boxes = np.zeros(len(FALSE_KINDS), np.int64)
    excused = 0
    for detections, picture in zip(found, truth, strict=True):
        detections = detections.best_first()
        shown = detections[detections.scores >= score_threshold]
        face = match_faces(shown, picture.faces)
        band = band_of(box_sizes(picture.faces), bands)
        np.add.at(fates, (band, _fates(shown, detections, picture, face)), 1)
        wrong = shown[face < 0]
        counts = ~lie_inside(wrong.boxes, picture.ignored)
        excused += int(np.count_nonzero(~counts))
        overlap = iou_matrix(wrong[counts].boxes, picture.faces).max(axis=1, initial=0)
        false_boxes += [
            np.count_nonzero(overlap >= LEAST_OVERLAP),
            np.count_nonzero((overlap >= NEAR) & (overlap < LEAST_OVERLAP)),
            np.count_nonzero(overlap < NEAR),
        ]
    return Mistakes(score_threshold, tuple(bands), fates, false_boxes, excused)


def _fates(
    shown: Detections, all_found: Detections, picture: Truth, face: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Return the position in FATES of each face of `picture`, int (N,); `face` is what each shown box finds."""
    found = np.zeros(len(picture.faces), np.bool_)
    found[face[face >= 0]] = True
    closest_shown = iou_matrix(shown.boxes, picture.faces).max(axis=0, initial=0)
    closest = iou_matrix(all_found.boxes, picture.faces).max(axis=0, initial=0)
    reasons = [found, closest_shown >= LEAST_OVERLAP, closest >= LEAST_OVERLAP, closest_shown >= NEAR]
    return np.select(reasons, range(len(reasons)), len(reasons))
