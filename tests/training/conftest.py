"""A folder of generated pictures: bright ellipses with eyes on noise are the faces."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from fpga_facedet.spec import DetectorSpec

from ..conftest import SMALL_SPEC


def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    picture = rng.integers(0, 90, (120, 160, 3)).astype(np.uint8)
    boxes = []
    for index in range(count):
        width, x, y = int(rng.integers(18, 36)), 10 + 75 * index, int(rng.integers(10, 60))
        height = int(width * 1.3)
        centre = (x + width // 2, y + height // 2)
        cv2.ellipse(picture, centre, (width // 2, height // 2), 0, 0, 360, (170, 190, 230), -1)
        for side in (-1, 1):
            cv2.circle(picture, (centre[0] + side * width // 5, centre[1] - height // 8), 2, (20, 20, 20), -1)
        boxes.append((x, y, width, height))
    return picture, boxes


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 24 + 8 pictures with labels_train.txt, labels_val.txt and ignore_train.txt."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / "images").mkdir()
    rng = np.random.default_rng(5)
    for split, number in (("train", 24), ("val", 8)):
        lines = []
        for index in range(number):
            picture, boxes = draw(rng, index % 3)
            name = f"images/{split}{index}.png"
            cv2.imwrite(str(folder / name), picture)
            lines += [name, str(len(boxes)), *(" ".join(map(str, box)) for box in boxes)]
        (folder / f"labels_{split}.txt").write_text("\n".join(lines) + "\n")
    (folder / "ignore_train.txt").write_text("images/train0.png\n1\n5 5 20 20\n")
    return folder


@pytest.fixture(scope="session")
def small_spec() -> DetectorSpec:
    """Return a detector of 64x96 pixels that trains in seconds."""
    return DetectorSpec.from_dict(SMALL_SPEC)
