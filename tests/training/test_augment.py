import numpy as np
import pytest

from fpga_facedet.training.augment import random_window, text_page
from fpga_facedet.training.dataset import Picture

NONE = np.zeros((0, 4), np.float32)
FULL = (96, 128)


@pytest.fixture
def pictures() -> list[Picture]:
    """Pictures that are black but for one bright face."""
    made = []
    for x, y, side in ((20, 30, 40), (90, 10, 60), (60, 60, 24)):
        pixels = np.zeros((120, 160, 3), np.uint8)
        pixels[y : y + side, x : x + side] = 255
        made.append(Picture("face", pixels, np.array([[x, y, x + side, y + side]], np.float32), NONE))
    return made


def test_windows_have_the_asked_size_and_boxes_inside(rng: np.random.Generator, pictures: list[Picture]) -> None:
    for _ in range(200):
        window = random_window(rng, pictures, 64, 96, FULL)
        assert window.pixels.shape == (64, 96, 3)
        assert window.pixels.dtype == np.uint8
        for boxes in (window.faces, window.ignored):
            assert boxes.dtype == np.float32
            assert (boxes[:, :2] >= 0).all()
            assert (boxes[:, 2:] <= [96, 64]).all()
            assert (boxes[:, 2:] >= boxes[:, :2]).all()


def test_boxes_stay_on_their_faces(rng: np.random.Generator, pictures: list[Picture]) -> None:
    seen = 0
    for _ in range(100):
        window = random_window(rng, pictures, 64, 96, FULL)
        for x1, y1, x2, y2 in window.faces:
            if min(x2 - x1, y2 - y1) > 8:
                inside = window.pixels[int(y1) + 2 : int(y2) - 2, int(x1) + 2 : int(x2) - 2]
                assert inside.mean() > 120
                seen += 1
    assert seen > 30


def test_the_seed_decides(pictures: list[Picture]) -> None:
    first, second = (random_window(np.random.default_rng(3), pictures, 64, 64, FULL) for _ in range(2))
    np.testing.assert_array_equal(first.faces, second.faces)


def test_some_windows_show_no_face(rng: np.random.Generator, pictures: list[Picture]) -> None:
    empty = sum(not len(random_window(rng, pictures, 48, 48, FULL).faces) for _ in range(200))
    assert 10 < empty < 120


def test_pages_of_print_have_ink_and_no_face(rng: np.random.Generator) -> None:
    page = text_page(rng, 64, 96)
    assert page.pixels.std() > 5
    assert len(page.faces) == 0
