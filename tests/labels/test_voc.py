from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpga_facedet.errors import UserError
from fpga_facedet.labels.voc import VocFolder

OBJECT = """  <object>
    <name>{name}</name>
    <difficult>{difficult}</difficult>
    <bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>
  </object>
"""


def put(root: Path, stem: str, objects: list, picture: str | None = None) -> Path:
    (root / "Annotations").mkdir(exist_ok=True)
    (root / "JPEGImages").mkdir(exist_ok=True)
    picture = picture or f"{stem}.jpg"
    (root / "JPEGImages" / picture).touch()
    body = "".join(OBJECT.format(*box, name=name, difficult=int(unsure)) for name, box, unsure in objects)
    path = root / "Annotations" / f"{stem}.xml"
    path.write_text(f"<annotation>\n  <filename>{picture}</filename>\n{body}</annotation>\n")
    return path


CORNER, SIDE = st.integers(0, 2000), st.integers(1, 500)


@settings(max_examples=25)
@given(st.lists(st.tuples(CORNER, CORNER, SIDE, SIDE, st.booleans()), max_size=5))
def test_boxes_come_back_as_written(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    root = tmp_path_factory.mktemp("voc")
    put(root, "a", [("face", (x, y, x + w, y + h), unsure) for x, y, w, h, unsure in rows])
    ((picture,), remarks) = VocFolder(root).read("train")
    assert picture.path == "JPEGImages/a.jpg"
    assert remarks == []
    for boxes, unsure in ((picture.faces, False), (picture.ignored, True)):
        wanted = [(x, y, x + w, y + h) for x, y, w, h, flag in rows if flag == unsure]
        np.testing.assert_array_equal(boxes, np.array(wanted, np.float32).reshape(-1, 4))


def test_lists_keep_splits_apart_and_the_suffix_is_found(tmp_path: Path) -> None:
    box = (1, 2, 30, 40)
    for stem, picture in (("a", "a.png"), ("b", "b.jpeg"), ("c", "c.jpg")):
        put(tmp_path, stem, [("face", box, False), ("person", box, False)], picture)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb  1\n")
    (lists / "val.txt").write_text("c\n")
    source = VocFolder(tmp_path)
    assert source.splits == ("train", "val")
    train, remarks = source.read("train")
    assert [p.path for p in train] == ["JPEGImages/a.png", "JPEGImages/b.jpeg"]
    assert [len(p.faces) for p in train] == [1, 1]
    assert remarks == ["Only class 'face' counts, not: person."]
    assert [p.path for p in source.read("val")[0]] == ["JPEGImages/c.jpg"]


def test_a_face_anywhere_decides_for_both_splits(tmp_path: Path) -> None:
    put(tmp_path, "a", [("face", (1, 2, 3, 4), False)])
    put(tmp_path, "b", [("person", (1, 2, 3, 4), False)])
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    assert VocFolder(tmp_path).read("val")[0][0].faces.shape == (0, 4)


def test_without_a_face_class_all_count_and_it_is_said(tmp_path: Path) -> None:
    put(tmp_path, "a", [("mask", (1, 2, 3, 4), False), ("head", (5, 6, 7, 8), False)])
    ((picture,), remarks) = VocFolder(tmp_path).read("train")
    assert len(picture.faces) == 2
    assert remarks == ["No class is named 'face': all count as faces (head, mask)."]


def test_an_ignore_element_counts_as_difficult(tmp_path: Path) -> None:
    path = put(tmp_path, "a", [("face", (1, 2, 3, 4), False)])
    path.write_text(path.read_text().replace("<difficult>0</difficult>", "<ignore>1</ignore>"))
    ((picture,), _) = VocFolder(tmp_path).read("train")
    assert (len(picture.faces), len(picture.ignored)) == (0, 1)


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("<xmin>1</xmin>", "<xmin>one</xmin>", 6, "<xmin> is 'one', not a number"),
        ("<xmin>1</xmin>", "<xmin>nan</xmin>", 6, "<xmin> is 'nan', not a number"),
        ("<ymax>40</ymax>", "", 6, "<bndbox> has no <ymax>"),
        ("<xmax>30</xmax>", "<xmax>0</xmax>", 6, "<bndbox> ends before it begins"),
        ("bndbox>", "box>", 3, "object 'face' has no <bndbox>"),
        ("</object>", "", 8, "this is no XML"),
    ],
)
def test_a_wrong_element_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, what: str) -> None:
    path = put(tmp_path, "a", [("face", (1, 2, 30, 40), False)])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=rf"a\.xml, line {line}: {what}"):
        VocFolder(tmp_path).read("train")


@pytest.mark.parametrize(
    ("text", "what"), [("", "this is no XML"), ('<?xml version="1.0" encoding="none"?><a/>', "line 1")]
)
def test_what_is_no_annotation_is_named(tmp_path: Path, text: str, what: str) -> None:
    put(tmp_path, "a", []).write_text(text)
    with pytest.raises(UserError, match=rf"a\.xml, .*{what}|a\.xml, {what}"):
        VocFolder(tmp_path).read("train")


def test_a_listed_picture_without_annotation_is_named(tmp_path: Path) -> None:
    put(tmp_path, "a", [])
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\ngone\n")
    with pytest.raises(UserError, match=r"train\.txt, line 2: 'gone' has no file"):
        VocFolder(tmp_path).read("train")
