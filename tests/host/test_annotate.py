import cv2
import numpy as np
import pytest

from fpga_facedet.detections import Detections
from fpga_facedet.errors import UserError
from fpga_facedet.host.annotate import BOX_COLOUR, EDGE_COLOUR, annotate, save_picture
from tests.host.conftest import picture

FACES = Detections(np.array([[30, 40, 60, 80]], np.float32), np.array([0.875], np.float32))


def has(image, colour):
    return bool((image == np.array(colour, np.uint8)).all(axis=2).any())


@pytest.mark.parametrize("ground", [0, 255, BOX_COLOUR])
def test_a_box_shows_on_any_ground(ground):
    image = np.full((90, 120, 3), ground, np.uint8)
    before = image.copy()
    drawn = annotate(image, FACES)
    assert has(drawn[40:42, 30:60], BOX_COLOUR) and has(drawn[40:80, 28:34], EDGE_COLOUR)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(drawn[45:75, 35:55], image[45:75, 35:55])


def test_no_faces_leave_the_picture_as_it_is():
    np.testing.assert_array_equal(annotate(picture(1), Detections()), picture(1))


@pytest.mark.parametrize("box", [(0, 0, 120, 90), (110, 0, 120, 8), (0, 80, 4, 90), (50.4, 50.4, 50.6, 50.6)])
@pytest.mark.parametrize("height", [1, 12, 90])
def test_labels_stay_inside_pictures_of_any_size(box, height):
    faces = Detections(np.array([box], np.float32), np.array([1.0], np.float32))
    assert annotate(np.zeros((height, 120, 3), np.uint8), faces).shape == (height, 120, 3)


def test_a_saved_picture_is_read_back_and_nothing_is_left_beside_it(tmp_path):
    save_picture(tmp_path / "new" / "a.png", picture(2))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "new" / "a.png")), picture(2))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["a.xyz", "a"])
def test_an_unknown_format_is_an_error(tmp_path, name):
    with pytest.raises(UserError, match=r"use \.jpg or \.png"):
        save_picture(tmp_path / name, picture(2))
