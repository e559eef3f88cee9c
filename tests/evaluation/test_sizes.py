import numpy as np
import pytest

from fpga_facedet.detections import Detections
from fpga_facedet.evaluation.operating_point import Truth
from fpga_facedet.evaluation.sizes import BANDS, band_of, score_bands

NONE = np.zeros((0, 4), np.float32)


def square(x: float, side: float) -> list[float]:
    return [x, 0, x + side, side]


def test_the_bands_follow_each_other_and_know_their_names() -> None:
    assert [band.name for band in BANDS] == ["below 8", "8 to 16", "16 to 32", "32 to 64", "64 to 128", "from 128"]
    sizes = np.array([0, 7.99, 8, 31.9, 32, 127.9, 128, 4000])
    np.testing.assert_array_equal(band_of(sizes), [0, 0, 1, 2, 3, 4, 5, 5])


def test_each_band_is_judged_by_its_own_faces() -> None:
    # Two faces of 10 pixels, one found; one of 40, found; wrong boxes of 10 (best score) and of 200 pixels.
    faces = np.array([square(0, 10), square(50, 10), square(100, 40)], np.float32)
    boxes = np.array([square(300, 10), square(0, 10), square(100, 40), square(500, 200)], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7, 0.6], np.float32))
    scores = {score.band.name: score for score in score_bands([found], [Truth(faces, NONE)])}
    assert {name: score.faces for name, score in scores.items() if score.faces} == {"8 to 16": 2, "32 to 64": 1}
    # Wrong, right, one never found: half of the faces at precision 1/2.
    assert scores["8 to 16"].average_precision == pytest.approx(0.25)
    assert scores["32 to 64"].average_precision == 1.0
    assert scores["from 128"].average_precision is None


def test_a_box_of_another_size_still_finds_its_face() -> None:
    # 15 pixels of box on 16.5 of face: of the band 16 to 32 is the face, so there it counts.
    found = Detections(np.array([square(0, 15)], np.float32), np.array([0.9], np.float32))
    scores = score_bands([found], [Truth(np.array([square(0, 16.5)], np.float32), NONE)])
    assert [score.average_precision for score in scores[:3]] == [None, None, 1.0]
