"""Overlap and non-maximum suppression against their definitions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fpga_facedet.detections import Detections, iou_matrix, nms

coordinates = st.integers(0, 60)
boxes = st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), max_size=12)


def make(corners: list[tuple[int, int, int, int]], scores: list[float] | None = None) -> Detections:
    array = np.array(corners, np.float32).reshape(-1, 4)
    array = np.concatenate([np.minimum(array[:, :2], array[:, 2:]), np.maximum(array[:, :2], array[:, 2:])], axis=1)
    if scores is None:
        scores = [round(1 - 0.05 * i, 2) for i in range(len(array))]
    return Detections(array, np.array(scores, np.float32))


def test_iou_of_known_boxes() -> None:
    a = np.array([[0, 0, 10, 10], [5, 5, 5, 9]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(iou_matrix(a, b), [[1, 1 / 3, 0], [0, 0, 0]], rtol=1e-6)


@given(boxes, boxes)
def test_iou_is_symmetric_and_bounded(a: list[tuple[int, int, int, int]], b: list[tuple[int, int, int, int]]) -> None:
    first, second = make(a).boxes, make(b).boxes
    overlap = iou_matrix(first, second)
    np.testing.assert_array_equal(overlap, iou_matrix(second, first).T)
    assert ((overlap >= 0) & (overlap <= 1)).all()


@given(boxes)
def test_nms_keeps_the_best_of_each_group(corners: list[tuple[int, int, int, int]]) -> None:
    found = make(corners)
    kept = nms(found, 0.5)
    overlap = iou_matrix(kept.boxes, kept.boxes) - np.eye(len(kept), dtype=np.float32)
    assert (overlap <= 0.5).all(), "two that stay overlap too much"
    for box, score in zip(found.boxes, found.scores, strict=True):
        better = kept.scores >= score
        covered = (iou_matrix(box[None], kept.boxes)[0] > 0.5) | (kept.boxes == box).all(axis=1)
        assert (better & covered).any(), "one went without a better one that covers it"


def test_equal_scores_keep_their_order() -> None:
    found = make([(0, 0, 4, 4), (10, 10, 14, 14), (20, 20, 24, 24)], [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(nms(found, 0.5).boxes, found.boxes)


def test_nothing_in_nothing_out() -> None:
    assert len(nms(Detections(), 0.5)) == 0
