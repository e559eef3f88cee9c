from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.assessment.testset import open_testset
from fpga_facedet.errors import UserError

from .conftest import PICTURES, write_truth


def test_wider_pictures_carry_their_truth_in_original_pixels(wider_folder: Path) -> None:
    testset = open_testset(wider_folder)
    assert [sample.name for sample in testset.samples] == PICTURES
    assert testset.wider is not None
    assert list(testset.wider) == PICTURES
    sample = testset.samples[1]
    np.testing.assert_array_equal(sample.truth.faces, [[10, 10, 30, 30]])
    # What not even "hard" asks for counts neither way.
    np.testing.assert_array_equal(sample.truth.ignored, [[100, 60, 108, 68]])
    assert sample.read().shape == (60, 80, 3)
    np.testing.assert_array_equal(sample.scale(80, 60), [2, 2, 2, 2])


def test_the_truth_may_lie_anywhere_or_in_the_folder_itself(wider_folder: Path, tmp_path: Path) -> None:
    write_truth(tmp_path / "far" / "away")
    assert len(open_testset(wider_folder, tmp_path / "far" / "away").samples) == 3
    (tmp_path / "official").rename(tmp_path / "far" / "official")
    with pytest.raises(UserError, match="--truth"):
        open_testset(wider_folder)
    write_truth(wider_folder)
    assert len(open_testset(wider_folder).samples) == 3


def test_without_sizes_the_pictures_that_are_there_count(wider_folder: Path, tmp_path: Path) -> None:
    (wider_folder / "sizes.csv").unlink()
    (wider_folder / "images" / PICTURES[0]).unlink()
    testset = open_testset(wider_folder, tmp_path / "official")
    assert [sample.name for sample in testset.samples] == PICTURES[1:]
    np.testing.assert_array_equal(testset.samples[0].scale(80, 60), [1, 1, 1, 1])


def test_wrong_wider_folders_are_named(wider_folder: Path, tmp_path: Path) -> None:
    sizes = wider_folder / "sizes.csv"
    sizes.write_text("image,orig_w,orig_h\nnobody/x.jpg,3,4\n")
    with pytest.raises(UserError, match=r"nobody/x\.jpg"):
        open_testset(wider_folder)
    sizes.write_text("image,orig_w,orig_h\n0--Parade/a.jpg,3,wide\n")
    with pytest.raises(UserError, match=r"sizes\.csv, line 2"):
        open_testset(wider_folder)
    with pytest.raises(UserError, match="no folder"):
        open_testset(tmp_path / "nowhere")


def test_any_labelled_folder_is_read_as_training_data_is(labelled_folder: Path) -> None:
    testset = open_testset(labelled_folder)
    assert testset.wider is None
    assert [sample.name for sample in testset.samples] == ["0.png", "1.png", "2.png"]
    first = testset.samples[0]
    np.testing.assert_array_equal(first.truth.faces, [[10, 10, 30, 35]])
    np.testing.assert_array_equal(first.truth.ignored, [[40, 30, 60, 50]])
    import cv2

    for sample in testset.samples:
        np.testing.assert_array_equal(sample.read(), cv2.imread(str(labelled_folder / sample.name)))


def test_a_limit_chooses_evenly(wider_folder: Path) -> None:
    testset = open_testset(wider_folder)
    assert [sample.name for sample in testset.limited(2).samples] == [PICTURES[0], PICTURES[2]]
    assert testset.limited(None) is testset
    assert len(testset.limited(99).samples) == 3
