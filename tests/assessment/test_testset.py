from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from fpga_facedet.assessment.testset import open_testset
from fpga_facedet.errors import UserError
from fpga_facedet.training.dataset import face_of_head

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
    for row in ("3,wide", "3", "0,4", "3,-4"):
        sizes.write_text(f"image,orig_w,orig_h\n0--Parade/a.jpg,{row}\n")
        with pytest.raises(UserError, match=r"sizes\.csv, line 2"):
            open_testset(wider_folder)
    sizes.write_bytes("image,orig_w,orig_h\n0--Parade/ä.jpg,3,4\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"sizes\.csv, line 2: this is not UTF-8"):
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
    for sample in testset.samples:
        np.testing.assert_array_equal(sample.read(), cv2.imread(str(labelled_folder / sample.name)))


def test_pictures_of_a_labelled_folder_are_the_files_with_the_boxes_that_count(tmp_path: Path) -> None:
    """Training keeps pictures of 512 pixels; a host letterboxes the file, and so does what judges a model."""
    pixels = np.random.default_rng(5).integers(0, 256, (660, 1000, 3), np.uint8)
    (tmp_path / "fddb").mkdir()
    for name in ("a.png", "fddb/b.png"):
        cv2.imwrite(str(tmp_path / name), pixels)
    rows = "2\n100 200 300 400\n900 600 200 40\n"
    (tmp_path / "labels_val.txt").write_text(f"a.png\n{rows}fddb/b.png\n{rows}")
    (tmp_path / "ignore_val.txt").write_text("a.png\n1\n50 60 70 80\n")
    faces = np.array([[100, 200, 400, 600], [900, 600, 1000, 640]], np.float32)
    heads = face_of_head(np.array([[100, 200, 400, 600], [900, 600, 1100, 640]], np.float32)).clip(max=1000)
    for sample, truth in zip(open_testset(tmp_path).samples, (faces, heads), strict=True):
        np.testing.assert_array_equal(sample.read(), pixels)
        np.testing.assert_allclose(sample.truth.faces, truth, rtol=1e-6)
        np.testing.assert_array_equal(sample.scale(1000, 660), [1, 1, 1, 1])
    np.testing.assert_allclose(open_testset(tmp_path).samples[0].truth.ignored, [[50, 60, 120, 140]], rtol=1e-6)


def test_pictures_are_turned_as_their_labels_are(tmp_path: Path) -> None:
    """As a phone held upright writes it: stored lying, orientation 6, labelled as viewers show it."""
    pixels = np.full((60, 80, 3), 40, np.uint8)
    pixels[10:30, 50:70] = 220
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + entry + bytes(4)
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])
    (tmp_path / "labels_val.txt").write_text("a.jpg\n1\n30 50 20 20\n")
    (sample,) = open_testset(tmp_path).samples
    shown = sample.read()
    assert shown.shape == (80, 60, 3)
    x1, y1, x2, y2 = sample.truth.faces[0].astype(int)
    assert shown[y1:y2, x1:x2].min() > 150
    assert np.median(shown) < 60


def test_a_folder_beside_it_that_is_not_ours_to_read_is_passed_over(
    wider_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_locked_folder").mkdir()
    is_file = Path.is_file

    def refuse(path: Path) -> bool:
        if path.parent.name == "a_locked_folder":
            raise PermissionError(13, "Permission denied")
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    assert len(open_testset(wider_folder).samples) == 3

    def refuse_all(path: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse_all)
    with pytest.raises(UserError, match="--truth"):
        open_testset(wider_folder)


def test_a_limit_chooses_evenly(wider_folder: Path) -> None:
    testset = open_testset(wider_folder)
    assert [sample.name for sample in testset.limited(2).samples] == [PICTURES[0], PICTURES[2]]
    assert testset.limited(None) is testset
    assert len(testset.limited(99).samples) == 3
