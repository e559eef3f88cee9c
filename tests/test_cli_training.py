"""`facedet data check`, `train` and `eval` on a person's own folder, as a person calls them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from .test_cli import facedet, refusal
from .training.conftest import draw

SPEC = """
name = "small"
input = {width = 96, height = 64}
bits = {weight = 4, activation = 4, first_weight = 8, last_weight = 8}
layers = [{channels = 8, pool = 2}, {channels = 8, pool = 2}, {channels = 16, pool = 2}, {channels = 16, pool = 2}]
head = {anchors = [[12, 16], [24, 32]]}
"""
VOC_OBJECT = (
    "<object>\n<name>face</name>\n<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>\n"
    "</object>\n"
)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SPEC)
    return path


def pictures(folder: Path, number: int, place: str) -> list[tuple[str, list[tuple[int, int, int, int]]]]:
    """Write pictures `place`/000.png ... and return each one's stem and its boxes x, y, width, height."""
    (folder / place).mkdir(parents=True)
    rng = np.random.default_rng(7)
    written = []
    for index in range(number):
        picture, boxes = draw(rng, index % 3)
        cv2.imwrite(str(folder / place / f"{index:03}.png"), picture)
        written.append((f"{index:03}", boxes))
    return written


def yolo(folder: Path, number: int = 40) -> Path:
    """Write a folder in YOLO's form, all in one split, and return a label file of two faces."""
    written = pictures(folder, number, "images/train")
    (folder / "labels/train").mkdir(parents=True)
    for stem, boxes in written:
        lines = [f"0 {(x + w / 2) / 160} {(y + h / 2) / 120} {w / 160} {h / 120}\n" for x, y, w, h in boxes]
        (folder / "labels/train" / f"{stem}.txt").write_text("".join(lines))
    return folder / "labels/train/002.txt"


def voc(folder: Path, number: int = 6) -> Path:
    """Write a folder in Pascal VOC's form and return an annotation of two faces."""
    written = pictures(folder, number, "JPEGImages")
    (folder / "Annotations").mkdir()
    for stem, boxes in written:
        objects = "".join(VOC_OBJECT.format(x + 1, y + 1, x + w, y + h) for x, y, w, h in boxes)
        text = f"<annotation>\n<filename>{stem}.png</filename>\n<size><width>160</width><height>120</height></size>\n"
        (folder / "Annotations" / f"{stem}.xml").write_text(f"{text}{objects}</annotation>\n")
    return folder / "Annotations/002.xml"


def wider(folder: Path, number: int = 6) -> Path:
    """Write a folder in the form of WIDER FACE's text and return the label file."""
    written = pictures(folder, number, "WIDER_train/images/0--Parade")
    lines = []
    for stem, boxes in written:
        rows = [f"{x} {y} {w} {h} 0 0 0 0 0 0" for x, y, w, h in boxes] or ["0 0 0 0 0 0 0 0 0 0"]
        lines += [f"0--Parade/{stem}.png", str(len(boxes)), *rows]
    labels = folder / "wider_face_split/wider_face_train_bbx_gt.txt"
    labels.parent.mkdir()
    labels.write_text("\n".join(lines) + "\n")
    return labels


@pytest.mark.parametrize(
    ("write", "right", "wrong", "line"),
    [
        (yolo, "0 0.", "0 zero.", 1),
        (voc, "<xmin>11</xmin>", "<xmin>eleven</xmin>", 6),
        (wider, " 0 0 0 0 0 0\n0--Parade/003", " 0 0 0 bad 0 0\n0--Parade/003", 10),
    ],
)
def test_a_wrong_label_is_named_by_file_and_line(
    tmp_path: Path, spec: Path, write, right: str, wrong: str, line: int
) -> None:
    labels = write(tmp_path / "data")
    text = labels.read_text()
    assert right in text
    labels.write_text(text.replace(right, wrong, 1))
    sentence = refusal("train", "--spec", spec, "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert labels.name in sentence
    assert f"line {line}" in sentence
    assert not (tmp_path / "run" / "training.pt").exists()


@pytest.mark.slow
def test_from_a_folder_of_ones_own_to_a_judged_model(tmp_path: Path, spec: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    yolo(data)
    (data / "images/train/900.jpg").write_bytes(b"")
    (data / "images/train/901.jpg").write_bytes(b"\xff\xd8 not a picture")

    check = facedet("data", "check", data, "--spec", spec, "--out", tmp_path / "sizes.png", "--json")
    assert check.returncode == 0, check.stderr
    findings = json.loads(check.stdout)["splits"]
    assert sum(split["pictures"] for split in findings.values()) == 40
    assert {name for split in findings.values() for name in split["broken"]} == {
        "images/train/900.jpg",
        "images/train/901.jpg",
    }
    assert cv2.imread(str(tmp_path / "sizes.png")) is not None

    trained = facedet("train", "--spec", spec, "--data", data, "--out", run, "--minutes", "0.1")
    assert trained.returncode == 0, trained.stderr
    assert "cannot be read" in trained.stderr
    for name in ("training.pt", "log.jsonl", "model.onnx", "checkpoint.pt", "report.html"):
        assert (run / name).is_file(), name

    words = ("--model", run / "model.onnx", "--data", data, "--engine", "torch", "--against", "golden", "--json")
    judged = facedet("eval", *words, "--out", tmp_path / "judged")
    assert judged.returncode == 0, judged.stderr
    result = json.loads(judged.stdout)
    assert result["agreement"]["unexplained"] == 0
    assert result["ap"]["ap50"] == pytest.approx(result["against"]["ap"]["ap50"], abs=0.001)
    assert json.loads((tmp_path / "judged" / "eval.json").read_text())["ap"] == result["ap"]

    again = facedet("train", "--spec", spec, "--data", data, "--out", run, "--minutes", "0.1")
    assert again.returncode == 2
    assert "--resume" in again.stderr


def test_what_eval_cannot_use_is_said(tmp_path: Path) -> None:
    assert "Unknown engine 'vulkan'" in refusal("eval", "--data", tmp_path, "--engine", "vulkan")
    assert str(tmp_path / "none") in refusal("eval", "--data", tmp_path / "none")
    assert str(tmp_path) in refusal("eval", "--data", tmp_path)
    assert "--captures" in refusal("eval", "--data", tmp_path, "--engine", "captures")


def test_weights_that_are_not_there_are_said(tmp_path: Path, spec: Path) -> None:
    yolo(tmp_path / "data", 4)
    words = ("train", "--spec", spec, "--data", tmp_path / "data", "--out", tmp_path / "run", "--weights", "nowhere.pt")
    assert "nowhere.pt" in refusal(*words)
