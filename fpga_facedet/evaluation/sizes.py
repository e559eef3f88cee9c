"""Average precision by the size of the faces, in bands of the detector's own pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import Detections
from fpga_facedet.evaluation.operating_point import Truth, score_detections


@dataclass(frozen=True)
class Band:
    """Sizes from `least` up to, not including, `limit`, in pixels (square root of a box's area)."""

    least: float
    limit: float

    @property
    def name(self) -> str:
        """The band in words: "below 8", "8 to 16", "from 128"."""
        if self.least <= 0:
            return f"below {self.limit:g}"
        return f"from {self.least:g}" if math.isinf(self.limit) else f"{self.least:g} to {self.limit:g}"


BANDS = tuple(Band(least, limit) for least, limit in ((0, 8), (8, 16), (16, 32), (32, 64), (64, 128), (128, math.inf)))


@dataclass(frozen=True)
class BandScore:
    """How many faces a band has, and the AP@0.5 on them (0..1); None where there are none."""

    band: Band
    faces: int
    average_precision: float | None


def score_bands(found: Sequence[Detections], truth: Sequence[Truth], bands: Sequence[Band] = BANDS) -> list[BandScore]:
    """Return the AP@0.5 of each band; boxes in pixels of the detector's input. See `score_detections`."""
    scores = []
    for band in bands:
        scored = score_detections(found, truth, band.least, band.limit)
        scores.append(BandScore(band, scored.faces, scored.average_precision if scored.faces else None))
    return scores


def band_of(sizes: npt.NDArray[np.float64], bands: Sequence[Band] = BANDS) -> npt.NDArray[np.intp]:
    """Return the position in `bands` (which follow each other) of each of `sizes` (N,) pixels, int (N,)."""
    return np.searchsorted([band.limit for band in bands[:-1]], sizes, side="right")
