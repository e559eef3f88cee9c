from pathlib import Path

import cv2
import numpy as np
import pytest

from fpga_facedet.detections import Detections
from fpga_facedet.errors import UserError
from fpga_facedet.evaluation.operating_point import Truth
from fpga_facedet.evaluation.pictures import (
    FOUND_COLOUR,
    TRUE_COLOUR,
    GridItem,
    picture_grid,
    plot_precision_recall,
    worst_and_best,
)
from fpga_facedet.evaluation.wider import Curve

NONE = np.zeros((0, 4), np.float32)


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def count(picture: np.ndarray, rgb: tuple[int, int, int]) -> int:
    return int((picture == np.array(rgb[::-1])).all(axis=2).sum())


def test_the_curves_are_drawn_apart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    recall = np.linspace(0, 0.8, 50)
    curves = {name: Curve(1 - recall * fall, recall, 0.5) for name, fall in (("easy", 0.2), ("hard", 0.9))}
    plot_precision_recall(curves, tmp_path / "new" / "pr.png", "a title")
    drawn = cv2.imread(str(tmp_path / "new" / "pr.png"))
    assert drawn.shape[0] > 300
    assert count(drawn, (0x00, 0x72, 0xB2)) > 100
    assert count(drawn, (0xE6, 0x9F, 0x00)) > 100


def test_a_curve_without_detections_is_an_empty_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot_precision_recall({"hard": Curve(np.zeros(1000), np.zeros(1000), 0.0)}, tmp_path / "pr.png")
    assert cv2.imread(str(tmp_path / "pr.png")) is not None


def test_the_grid_shows_truth_and_findings_in_their_places(tmp_path: Path) -> None:
    grey = np.full((160, 320, 3), 128, np.uint8)
    found = Detections(boxes([200, 50, 260, 110]), np.array([0.9], np.float32))
    items = [GridItem(grey, boxes([20, 20, 60, 60]), found, "Gesicht ä " * 20), GridItem(grey, NONE, Detections())]
    picture_grid(items, tmp_path / "grid.png", columns=2)
    drawn = cv2.imread(str(tmp_path / "grid.png"))
    left, right = drawn[:, : drawn.shape[1] // 2], drawn[:, drawn.shape[1] // 2 :]
    rows, columns = np.nonzero((left == np.array(TRUE_COLOUR[::-1])).all(axis=2))
    # Its tile starts 6 pixels in; the picture, half as high as its tile, 80 pixels down.
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (26, 66, 106, 146)
    assert count(left, FOUND_COLOUR) == 4 * 60
    assert count(right, TRUE_COLOUR) == count(right, FOUND_COLOUR) == 0


def test_a_grid_of_nothing_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    picture_grid([], tmp_path / "grid.png")
    assert cv2.imread(str(tmp_path / "grid.png")) is not None
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        picture_grid([], tmp_path / "file" / "grid.png")


def test_pictures_are_ranked_by_what_they_show() -> None:
    one, two = [0.0, 0, 20, 20], [50.0, 0, 70, 20]
    box = Detections(boxes(one), np.array([0.9], np.float32))
    both = Detections(boxes(one, two), np.array([0.9, 0.8], np.float32))
    truth = [Truth(boxes(*faces), NONE) for faces in ([one], [one, two], [], [one, two], [one, two], [one])]
    found = [box, both, box, Detections(), box, Detections()]
    # Two missed, one missed, one of two found, one found, two found; the picture without faces does not show.
    np.testing.assert_array_equal(worst_and_best(found, truth), [3, 5, 4, 0, 1])
