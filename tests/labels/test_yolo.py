from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpga_facedet.errors import UserError
from fpga_facedet.labels.yolo import YoloFolder, read_yolo_txt

WIDTH, HEIGHT = 640, 480


def put(root: Path, pictures: str, labels: str, name: str, lines: list[str] | None = None) -> None:
    (root / pictures).mkdir(parents=True, exist_ok=True)
    (root / labels).mkdir(parents=True, exist_ok=True)
    (root / pictures / f"{name}.jpg").touch()
    if lines is not None:
        (root / labels / f"{name}.txt").write_text("\n".join(lines) + "\n")


CORNERS = st.tuples(*[st.integers(0, limit - 2) for limit in (WIDTH, HEIGHT)], st.floats(0, 1), st.floats(0, 1))


@settings(max_examples=25)
@given(st.lists(CORNERS, max_size=5))
def test_boxes_come_back_in_pixels(tmp_path_factory: pytest.TempPathFactory, corners: list) -> None:
    root = tmp_path_factory.mktemp("yolo")
    boxes = [(x, y, x + 1 + int(a * (WIDTH - x - 1)), y + 1 + int(b * (HEIGHT - y - 1))) for x, y, a, b in corners]
    lines = [
        f"0 {(x1 + x2) / 2 / WIDTH:.8f} {(y1 + y2) / 2 / HEIGHT:.8f} {(x2 - x1) / WIDTH:.8f} {(y2 - y1) / HEIGHT:.8f}"
        for x1, y1, x2, y2 in boxes
    ]
    put(root, "images/train", "labels/train", "a", lines)
    ((picture,), _) = YoloFolder(root).read("train")
    assert picture.path == "images/train/a.jpg"
    faces = picture.sized(WIDTH, HEIGHT).faces
    np.testing.assert_allclose(faces, np.array(boxes, np.float32).reshape(-1, 4), atol=1e-3)


@pytest.mark.parametrize(
    ("pictures", "labels"),
    [
        ("images/{}", "labels/{}"),
        ("{}/images", "{}/labels"),
        ("{}", "{}"),
    ],
)
@pytest.mark.parametrize("val", ["val", "valid"])
def test_the_usual_places_of_splits(tmp_path: Path, pictures: str, labels: str, val: str) -> None:
    for split in ("train", val):
        put(tmp_path, pictures.format(split), labels.format(split), f"of_{split}", ["0 .5 .5 .2 .2"])
    source = YoloFolder(tmp_path)
    assert source.splits == ("train", "val")
    for split, name in (("train", "of_train"), ("val", f"of_{val}")):
        ((picture,), _) = source.read(split)
        assert Path(picture.path).stem == name
        np.testing.assert_allclose(picture.faces, [[0.4, 0.4, 0.6, 0.6]], atol=1e-6)


@pytest.mark.parametrize(("pictures", "labels"), [("images", "labels"), (".", ".")])
def test_a_folder_without_splits_is_all_for_training(tmp_path: Path, pictures: str, labels: str) -> None:
    put(tmp_path, pictures, labels, "a", ["0 .5 .5 .2 .2"])
    put(tmp_path, pictures, labels, "b")
    source = YoloFolder(tmp_path)
    assert source.splits == ("train",)
    read, remarks = source.read("train")
    assert [len(p.faces) for p in read] == [1, 0]
    assert "1 pictures (train) have no label file: taken as background." in remarks


def test_settings_name_splits_and_the_face_class(tmp_path: Path) -> None:
    put(tmp_path, "day/images", "day/labels", "a", ["1 .5 .5 .2 .2", "0 .2 .2 .1 .1"])
    put(tmp_path, "night", "night", "b", ["0 .5 .5 .2 .2"])
    (tmp_path / "data.yaml").write_text(
        "path: /of/another/machine\ntrain: ../day/images\nval: night\nnames: [person, Face]\n"
    )
    source = YoloFolder(tmp_path)
    train, remarks = source.read("train")
    np.testing.assert_allclose(train[0].faces, [[0.4, 0.4, 0.6, 0.6]], atol=1e-6)
    assert remarks == ["Only class 'face' counts, not: person."]
    assert source.read("val")[0][0].faces.shape == (0, 4)


def test_a_list_file_names_the_pictures(tmp_path: Path) -> None:
    put(tmp_path, "images", "labels", "a", ["0 .5 .5 .2 .2"])
    put(tmp_path, "images", "labels", "b", [])
    (tmp_path / "train.txt").write_text("./images/a.jpg\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: {0: face}\n")
    read, remarks = YoloFolder(tmp_path).read("train")
    assert [p.path for p in read] == ["images/a.jpg"]
    assert len(read[0].faces) == 1
    assert remarks == []


def test_without_a_face_class_all_count_and_it_is_said(tmp_path: Path) -> None:
    put(tmp_path, ".", ".", "a", ["0 .5 .5 .2 .2", "1 .2 .2 .1 .1"])
    assert YoloFolder(tmp_path).read("train")[1] == ["The classes have no names: all count as faces."]
    (tmp_path / "classes.txt").write_text("mask\nno mask\n")
    ((picture,), remarks) = YoloFolder(tmp_path).read("train")
    assert len(picture.faces) == 2
    assert remarks == ["No class is named 'face': all count as faces (mask, no mask)."]


@pytest.mark.parametrize(
    "line", ["0 .5 .5 .2", "face .5 .5 .2 .2", "0 .5 .5 .2 inf", "0.5 .5 .5 .2 .2", "0 120 80 40 40", "0 .5 .5 -.2 .2"]
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.txt").write_text(f"0 .5 .5 .2 .2\n\n{line}\n")
    with pytest.raises(UserError, match=f"a.txt, line 3: '{line}' is not 'class cx cy w h'"):
        read_yolo_txt(tmp_path / "a.txt")


def test_a_class_without_a_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("3 .5 .5 .2 .2\n")
    with pytest.raises(UserError, match=r"a\.txt, line 1: class 3 has no name among 1"):
        read_yolo_txt(tmp_path / "a.txt", {0: "face"})


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("train: [a\nval: b\n", r"data\.yaml, line \d+: this is no YAML"),
        ("just words\n", r"data\.yaml: there are no settings"),
        ("train: gone\n", r"data\.yaml: train names 'gone', which is not in"),
        ("nc: 1\ntrain: [a, b]\n", r"data\.yaml, line 2: train is \['a', 'b'\]; name one folder"),
        ("valid:\n  - a\n", r"data\.yaml, line 1: valid is \['a'\]; name one folder"),
        ("{train: [a]}\n", r"data\.yaml: train is \['a'\]; name one folder"),
        ("train: gone\nnames: {face: 0}\n", r"data\.yaml: names has a class that is no number"),
        ("train: gone\nnames: 3\n", r"data\.yaml: names is 3; write a list"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UserError, match=error):
        YoloFolder(tmp_path)
