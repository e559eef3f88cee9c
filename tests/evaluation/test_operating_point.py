import numpy as np
import pytest

from fpga_facedet.detections import Detections
from fpga_facedet.evaluation.operating_point import Truth, choose_operating_point, score_detections

NONE = np.zeros((0, 4), np.float32)


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


A, B, C = [0, 0, 50, 50], [100, 0, 150, 50], [200, 0, 250, 50]


def found(*rows: tuple[list[float], float]) -> Detections:
    return Detections(boxes(*(box for box, _ in rows)), np.array([score for _, score in rows], np.float32))


def test_average_precision_by_hand() -> None:
    scored = score_detections([found((A, 0.9), (C, 0.7), (B, 0.5))], [Truth(boxes(A, B), NONE)])
    assert scored.faces == 2
    np.testing.assert_array_equal(scored.right, [True, False, True])
    assert scored.average_precision == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_ignored_regions_excuse_what_lies_in_them() -> None:
    scored = score_detections([found((A, 0.9), (C, 0.7))], [Truth(boxes(A), boxes([190, 0, 260, 60]))])
    np.testing.assert_array_equal(scored.right, [True])


def test_small_faces_count_neither_way() -> None:
    small = [300, 0, 310, 10]
    truth = [Truth(boxes(A, small), NONE)]
    scored = score_detections([found((A, 0.9), (small, 0.8), ([400, 0, 409, 9], 0.7))], truth, least_size=20)
    assert scored.faces == 1
    np.testing.assert_array_equal(scored.right, [True])


def test_pictures_without_faces_punish_every_detection() -> None:
    scored = score_detections([found((A, 0.9)), found((A, 0.8))], [Truth(NONE, NONE), Truth(boxes(A), NONE)])
    np.testing.assert_array_equal(scored.right, [False, True])


def test_the_threshold_keeps_the_precision_asked_for() -> None:
    detections = [found((A, 0.9), (B, 0.8), (C, 0.7), ([300, 0, 350, 50], 0.6))]
    scored = score_detections(detections, [Truth(boxes(A, B, [300, 0, 350, 50]), NONE)])
    assert choose_operating_point(scored, 0.9).score_threshold == pytest.approx(0.8)
    best = choose_operating_point(scored, 0.5)
    assert best.score_threshold == pytest.approx(0.6)
    assert (best.precision, best.recall) == (0.75, 1.0)


def test_without_detections_there_is_a_threshold_all_the_same() -> None:
    assert choose_operating_point(score_detections([], []), 0.9).score_threshold == 0.5
