from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpga_facedet.errors import UserError
from fpga_facedet.labels.wider_txt import PlainFolder, WiderTextFolder, read_wider_txt

SIDE = st.integers(1, 4000)
ROW = st.tuples(SIDE, SIDE, SIDE, SIDE, st.sampled_from([0, 1]))


@settings(max_examples=25)
@given(st.lists(st.lists(ROW, max_size=4), min_size=1, max_size=5), st.booleans())
def test_both_forms_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, pictures: list, official: bool
) -> None:
    lines = []
    for index, rows in enumerate(pictures):
        lines += [f"0--Parade/{index}.jpg", str(len(rows))]
        for x, y, width, height, invalid in rows:
            lines.append(f"{x} {y} {width} {height}" + f" 2 1 0 {invalid} 1 0 " * official)
        if official and not rows:
            lines.append("0 0 0 0 0 0 0 0 0 0 ")
    path = tmp_path_factory.mktemp("wider") / "labels.txt"
    path.write_text("\n".join(lines) + "\n")
    read = list(read_wider_txt(path))
    assert [p.path for p in read] == [f"0--Parade/{index}.jpg" for index in range(len(pictures))]
    for picture, rows in zip(read, pictures, strict=True):
        for boxes, invalid in ((picture.faces, 0), (picture.ignored, 1)):
            wanted = [(x, y, x + w, y + h) for x, y, w, h, flag in rows if flag * official == invalid]
            np.testing.assert_array_equal(boxes, np.array(wanted, np.float32).reshape(-1, 4))


def test_boxes_without_size_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a.jpg\n3\n7 8 0 5 0 0 0 0 0 0\n7 8 -2 5 0 0 0 0 0 0\n1 2 3 4 0 0 0 0 0 0\n")
    (picture,) = read_wider_txt(tmp_path / "labels.txt")
    np.testing.assert_array_equal(picture.faces, [[1, 2, 4, 6]])
    np.testing.assert_array_equal(picture.ignored, [[7, 8, 7, 13], [7, 8, 5, 13]])


@pytest.mark.parametrize(
    ("text", "line", "value"),
    [
        ("a.jpg\nmany\n", 2, "many"),
        ("a.jpg\n", 2, ""),
        ("a.jpg\n1\n1 2 x 4\n", 3, "1 2 x 4"),
        ("a.jpg\n1\n1 2 nan 4\n", 3, "1 2 nan 4"),
        ("a.jpg\n1\n1 2 -3 4\n", 3, "1 2 -3 4"),
        ("a.jpg\n2\n1 2 3 4\n", 4, ""),
        ("a.jpg\n2\n1 2 3 4\nb.jpg\n0\n", 4, "b.jpg"),
        ("a.jpg\n1\n1 2 3 4\n5 6 7 8\nb.jpg\n0\n", 4, "5 6 7 8"),
        ("a.jpg\n0\nb.jpg\n0\na.jpg\n0\n", 5, "a.jpg"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, line: int, value: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=f"labels.txt, line {line}: '{value}'"):
        list(read_wider_txt(path))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbfa.jpg\r\n0\r\nM\xfcller.jpg\r\n0\r\n")
    with pytest.raises(UserError, match=r"labels\.txt, line 3: this is not UTF-8"):
        list(read_wider_txt(tmp_path / "labels.txt"))


def test_the_plain_folder_adds_its_ignore_file(tmp_path: Path) -> None:
    (tmp_path / "labels_train.txt").write_text("a.jpg\n1\n1 2 3 4\nb.jpg\n0\n")
    (tmp_path / "ignore_train.txt").write_text("a.jpg\n1\n5 5 20 20\n")
    source = PlainFolder(tmp_path)
    assert source.splits == ("train",)
    pictures, remarks = source.read("train")
    np.testing.assert_array_equal(pictures[0].ignored, [[5, 5, 25, 25]])
    assert pictures[1].faces.shape == pictures[1].ignored.shape == (0, 4)
    assert remarks == []


@pytest.mark.parametrize("place", ["WIDER_train/images", "images", "."])
def test_wider_pictures_are_found_where_the_archives_put_them(tmp_path: Path, place: str) -> None:
    (tmp_path / "wider_face_split").mkdir()
    text = "0--Parade/a.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n"
    (tmp_path / "wider_face_split" / "wider_face_train_bbx_gt.txt").write_text(text)
    source = WiderTextFolder(tmp_path)
    with pytest.raises(UserError, match=r"0--Parade/a\.jpg.*unpack WIDER_train"):
        source.read("train")
    (tmp_path / place / "0--Parade").mkdir(parents=True)
    (tmp_path / place / "0--Parade" / "a.jpg").touch()
    pictures, _ = source.read("train")
    assert (tmp_path / pictures[0].path).is_file()
