import numpy as np

from fpga_facedet.training.targets import IGNORED, NEGATIVE, POSITIVE, assign

ANCHORS = np.array([[10, 14], [23, 27], [37, 58]], np.float32)
NONE = np.zeros((0, 4), np.float32)
GRID = (4, 6)


def box(cx: float, cy: float, w: float, h: float) -> list[float]:
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def make(faces: list[list[float]], ignored: list[list[float]] | None = None) -> np.ndarray:
    return assign(
        np.array(faces, np.float32).reshape(-1, 4),
        np.array(ignored or [], np.float32).reshape(-1, 4),
        ANCHORS,
        32,
        GRID,
    )


def test_a_small_face_is_asked_of_the_closest_anchor_of_its_cell_only() -> None:
    target = make([box(80, 48, 9, 12)])
    assert np.argwhere(target[:, 4] == POSITIVE).tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(target[0, :4, 1, 2], box(80, 48, 9, 12))


def test_a_larger_face_is_asked_of_its_neighbours_too() -> None:
    # Right of and above the middle of cell (row 1, column 2).
    target = make([box(90, 40, 24, 28)])
    assert np.argwhere(target[1, 4] == POSITIVE).tolist() == [[0, 2], [1, 2], [1, 3]]
    assert np.count_nonzero(target[:, 4] == POSITIVE) == 4


def test_crowded_faces_share_the_anchors_of_a_cell() -> None:
    target = make([box(70, 40, 10, 14), box(85, 40, 9, 13), box(75, 55, 8, 12)])
    assert (target[:, 4, 1, 2] == POSITIVE).all()
    # The largest chose first.
    np.testing.assert_allclose(target[0, :4, 1, 2], box(70, 40, 10, 14))


def test_tiny_faces_and_ignored_regions_count_neither_way() -> None:
    target = make([box(48, 48, 3, 3)], [box(160, 64, 64, 64)])
    assert (target[:, 4, 1, 1] == IGNORED).all()
    assert (target[:, 4, 1:3, 4:6] == IGNORED).all()
    assert (target[:, 4, 0] == NEGATIVE).all()


def test_a_face_too_large_to_box_is_ignored() -> None:
    target = make([box(96, 64, 190, 120)])
    assert not (target[:, 4] == POSITIVE).any()
    assert (target[:, 4, 1, 2] == IGNORED).all()


def test_a_face_wins_over_an_ignored_region() -> None:
    target = make([box(48, 48, 20, 26)], [box(48, 48, 60, 60)])
    assert target[1, 4, 1, 1] == POSITIVE
    assert target[2, 4, 1, 1] in (POSITIVE, IGNORED)


def test_no_face_no_target() -> None:
    assert not make([]).any()
