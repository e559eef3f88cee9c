from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from fpga_facedet.detections import Detections
from fpga_facedet.evaluation.wider import DIFFICULTIES
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.training.dataset import Picture, load_split
from fpga_facedet.training.official import official_curves

SIZE = (96, 64)
# Pictures of 1,000 x 600: larger than what is kept in memory. The second face of each is not asked for in "easy".
BOXES = {"a": [[100, 100, 200, 260], [600, 300, 40, 50]], "b": [[300, 50, 120, 150], [700, 400, 30, 40]]}


def cells(*items: object) -> np.ndarray:
    column = np.empty((len(items), 1), object)
    for index, item in enumerate(items):
        column[index, 0] = item
    return column


def write_lists(folder: Path, factor: float = 1.0) -> None:
    folder.mkdir(exist_ok=True)
    for level in DIFFICULTIES:
        asked = [[1]] if level == "easy" else [[1], [2]]
        content = {
            "event_list": cells("0--Parade"),
            "file_list": cells(cells(*BOXES)),
            "face_bbx_list": cells(cells(*(factor * np.array(boxes, float) for boxes in BOXES.values()))),
            "gt_list": cells(cells(*(np.array(asked) for _ in BOXES))),
        }
        savemat(folder / f"wider_{level}_val.mat", content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = []
    for name, boxes in BOXES.items():
        path = Path("images/0--Parade") / f"{name}.jpg"
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / path), np.full((600, 1000, 3), 90, np.uint8))
        lines += [str(path), str(len(boxes)), *(" ".join(map(str, box)) for box in boxes)]
    for split in ("train", "val"):
        (tmp_path / f"labels_{split}.txt").write_text("\n".join(lines) + "\n")
    write_lists(tmp_path / "wider_face_split")
    return tmp_path


def larger_faces(pictures: list[Picture]) -> list[Detections]:
    """The first face of each picture, where the letterboxed picture has it."""
    found = []
    for picture in pictures:
        height, width = picture.pixels.shape[:2]
        boxes = Letterbox.fit(width, height, *SIZE).to_input(picture.faces[:1])
        found.append(Detections(boxes, np.array([0.9], np.float32)))
    return found


def test_the_difficulties_are_those_of_the_lists(folder: Path) -> None:
    pictures = load_split(folder, "val").pictures
    assert max(pictures[0].pixels.shape) < 1000
    curves = official_curves(folder, pictures, larger_faces(pictures), SIZE)
    assert {level: curve.average_precision for level, curve in curves.items()} == pytest.approx(
        {"easy": 1.0, "medium": 0.5, "hard": 0.5}
    )


def test_without_lists_or_with_pictures_they_do_not_name_there_are_none(folder: Path, data_folder: Path) -> None:
    plain = load_split(data_folder, "val").pictures
    assert official_curves(data_folder, plain, [Detections()] * len(plain), SIZE) == {}
    pictures = load_split(folder, "val").pictures
    other = Picture("images/0--Parade/c.jpg", pictures[0].pixels, pictures[0].faces, pictures[0].ignored)
    assert official_curves(folder, [*pictures, other], larger_faces([*pictures, other]), SIZE) == {}


def test_pictures_of_another_size_than_the_lists_are_not_judged_by_them(folder: Path) -> None:
    write_lists(folder / "wider_face_split", factor=1.5)
    pictures = load_split(folder, "val").pictures
    assert official_curves(folder, pictures, larger_faces(pictures), SIZE) == {}
