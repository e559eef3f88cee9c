from pathlib import Path

import pytest
from scipy.io import savemat

from fpga_facedet.errors import UserError
from fpga_facedet.labels.find import FORMATS, find_labels


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make(folder: Path, format_: str) -> None:
    if format_ == "plain text (labels_train.txt)":
        touch(folder / "labels_train.txt", "a.jpg\n0\n")
    elif format_ == "WIDER FACE text":
        touch(folder / "wider_face_split" / "wider_face_train_bbx_gt.txt", "a.jpg\n0\n")
    elif format_ == "WIDER FACE Matlab":
        savemat(folder / "wider_face_train.mat", {"event_list": [1]})
    elif format_ == "Pascal VOC":
        touch(folder / "Annotations" / "a.xml", "<annotation/>")
    elif format_ == "YOLO":
        touch(folder / "images" / "train" / "a.jpg")
        touch(folder / "labels" / "train" / "a.txt", "0 .5 .5 .1 .1\n")


@pytest.mark.parametrize("format_", [f.format for f in FORMATS])
def test_each_format_is_known_by_its_files(tmp_path: Path, format_: str) -> None:
    make(tmp_path, format_)
    assert find_labels(tmp_path).format == format_


def test_a_folder_of_something_else_is_told_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(UserError, match=r"looked for labels_train\.txt; .*bbx_gt\.txt; .*\.mat; .*\.xml; data\.yaml"):
        find_labels(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no data folder"):
        find_labels(tmp_path / "gone")
