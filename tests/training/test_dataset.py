from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.training.dataset import face_of_head, load_split, read_labels


def test_pictures_come_with_faces_and_ignored_regions(data_folder: Path) -> None:
    dataset = load_split(data_folder, "train")
    assert len(dataset) == 24
    assert dataset.broken == []
    first, third = dataset[0], dataset[2]
    assert first.pixels.shape == (120, 160, 3)
    assert first.faces.shape == (0, 4)
    np.testing.assert_array_equal(first.ignored, [[5, 5, 25, 25]])
    assert third.faces.shape == (2, 4)
    x1, y1, x2, y2 = third.faces[0].astype(int)
    middle = third.pixels[(y1 + y2) // 2, (x1 + x2) // 2]
    # The drawing is blue, green, red 170, 190, 230; the dataset holds RGB.
    np.testing.assert_array_equal(middle, [230, 190, 170])


def test_a_count_of_zero_has_no_line_behind_it(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a.jpg\n0\nb.jpg\n1\n1 2 3 4\n")
    labels = dict(read_labels(tmp_path / "labels.txt"))
    assert labels["a.jpg"].shape == (0, 4)
    np.testing.assert_array_equal(labels["b.jpg"], [[1, 2, 4, 6]])


@pytest.mark.parametrize(
    ("text", "line", "value"),
    [("a.jpg\nmany\n", 2, "many"), ("a.jpg\n1\n1 2 x 4\n", 3, "1 2 x 4"), ("a.jpg\n2\n1 2 3 4\n", 4, "")],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, line: int, value: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=f"labels.txt, line {line}: '{value}'"):
        list(read_labels(path))


def test_broken_pictures_are_skipped_and_told(tmp_path: Path, data_folder: Path) -> None:
    good = (data_folder / "images" / "train1.png").read_bytes()
    (tmp_path / "good.png").write_bytes(good)
    (tmp_path / "cut.png").write_bytes(good[:40])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "labels_train.txt").write_text("good.png\n0\ncut.png\n0\nempty.png\n0\nmissing.png\n0\n")
    dataset = load_split(tmp_path, "train")
    assert [p.name for p in dataset.pictures] == ["good.png"]
    assert dataset.broken == ["cut.png", "empty.png", "missing.png"]


def test_a_folder_without_a_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels_train\.txt"):
        load_split(tmp_path, "train")
    (tmp_path / "labels_train.txt").write_text("missing.png\n0\n")
    with pytest.raises(UserError, match="None of the 1 pictures"):
        load_split(tmp_path, "train")


def test_head_boxes_shrink_to_the_face() -> None:
    box = face_of_head(np.array([[100, 100, 200, 250]], np.float32))[0]
    np.testing.assert_allclose(box, [105, 122.5, 195, 245.5])
