from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.training.dataset import Dataset, face_of_head, keep_inside, load_split


def test_pictures_come_with_faces_and_ignored_regions(data_folder: Path) -> None:
    dataset = load_split(data_folder, "train")
    assert len(dataset) == 24
    assert dataset.broken == []
    first, third = dataset[0], dataset[2]
    assert first.pixels.shape == (120, 160, 3)
    assert first.faces.shape == (0, 4)
    np.testing.assert_array_equal(first.ignored, [[5, 5, 25, 25]])
    assert third.faces.shape == (2, 4)
    x1, y1, x2, y2 = third.faces[0].astype(int)
    middle = third.pixels[(y1 + y2) // 2, (x1 + x2) // 2]
    # The drawing is blue, green, red 170, 190, 230; the dataset holds RGB.
    np.testing.assert_array_equal(middle, [230, 190, 170])


def test_broken_pictures_are_skipped_and_told_with_the_reason(tmp_path: Path, data_folder: Path) -> None:
    good = (data_folder / "images" / "train1.png").read_bytes()
    jpeg = cv2.imencode(".jpg", cv2.imdecode(np.frombuffer(good, np.uint8), 1))[1].tobytes()
    (tmp_path / "good.png").write_bytes(good)
    (tmp_path / "cut.png").write_bytes(good[:40])
    (tmp_path / "half.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    names = ("good.png", "cut.png", "half.jpg", "empty.png", "missing.png")
    (tmp_path / "labels_train.txt").write_text("".join(f"{name}\n0\n" for name in names))
    (tmp_path / "labels_val.txt").write_text("good.png\n0\n")
    dataset = load_split(tmp_path, "train")
    assert [p.name for p in dataset.pictures] == ["good.png"]
    assert dataset.broken == ["cut.png", "half.jpg", "empty.png", "missing.png"]
    assert list(dataset.faults.values()) == ["cut off", "cut off", "empty file", "no such file or directory"]


def test_a_folder_without_a_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels_train\.txt"):
        load_split(tmp_path, "train")
    (tmp_path / "labels_val.txt").write_text("missing.png\n0\n")
    with pytest.raises(UserError, match="has no pictures to train on, only val"):
        load_split(tmp_path, "train")
    (tmp_path / "labels_train.txt").write_text("missing.png\n0\n")
    with pytest.raises(UserError, match="None of the 1 pictures"):
        load_split(tmp_path, "train")
    (tmp_path / "labels_val.txt").write_text("")
    with pytest.raises(UserError, match="names no pictures for val"):
        load_split(tmp_path, "val")


def test_progress_reaches_the_end(data_folder: Path) -> None:
    shares: list[float] = []
    load_split(data_folder, "val", lambda text, share: shares.append(share))
    assert shares == sorted(shares)
    assert len(shares) == 8
    assert shares[-1] == 1.0


def test_large_pictures_shrink_with_their_boxes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((300, 1024, 3), np.uint8))
    (tmp_path / "labels_train.txt").write_text("a.png\n1\n100 20 50 60\n")
    (tmp_path / "labels_val.txt").write_text("a.png\n0\n")
    picture = load_split(tmp_path, "train")[0]
    assert picture.pixels.shape == (150, 512, 3)
    np.testing.assert_array_equal(picture.faces, [[50, 10, 75, 40]])


def as_wider(folder: Path, split: str, dataset: Dataset) -> None:
    lines = []
    for picture in dataset.pictures:
        rows = [(box, flag) for boxes, flag in ((picture.faces, 0), (picture.ignored, 1)) for box in boxes]
        lines += [Path(picture.name).name, str(len(rows))]
        lines += [f"{x1:g} {y1:g} {x2 - x1:g} {y2 - y1:g} 0 0 0 {flag} 0 0" for (x1, y1, x2, y2), flag in rows]
        lines += ["0 0 0 0 0 0 0 0 0 0"] * (not rows)
    (folder / f"wider_face_{split}_bbx_gt.txt").write_text("\n".join(lines) + "\n")
    place_pictures(folder / f"WIDER_{split}" / "images", dataset)


def as_yolo(folder: Path, split: str, dataset: Dataset) -> None:
    (folder / "labels" / split).mkdir(parents=True)
    for picture in dataset.pictures:
        height, width = picture.pixels.shape[:2]
        lines = [
            f"0 {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} {(x2 - x1) / width} {(y2 - y1) / height}"
            for x1, y1, x2, y2 in picture.faces.tolist()
        ]
        (folder / "labels" / split / f"{Path(picture.name).stem}.txt").write_text("\n".join(lines))
    place_pictures(folder / "images" / split, dataset)


def as_voc(folder: Path, split: str, dataset: Dataset) -> None:
    for name in ("Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for picture in dataset.pictures:
        objects = "".join(
            f"<object><name>face</name><difficult>{flag}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for boxes, flag in ((picture.faces, 0), (picture.ignored, 1))
            for x1, y1, x2, y2 in boxes.tolist()
        )
        stem = Path(picture.name).stem
        (folder / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{objects}</annotation>")
    stems = "\n".join(Path(p.name).stem for p in dataset.pictures)
    (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(stems)
    place_pictures(folder / "JPEGImages", dataset)


def place_pictures(folder: Path, dataset: Dataset) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for picture in dataset.pictures:
        cv2.imwrite(str(folder / Path(picture.name).name), picture.pixels[..., ::-1])


@pytest.mark.parametrize("write", [as_wider, as_yolo, as_voc])
def test_every_format_gives_the_same_dataset(
    data_folder: Path, tmp_path: Path, write: Callable[[Path, str, Dataset], None]
) -> None:
    plain = {split: load_split(data_folder, split) for split in ("train", "val")}
    for split, dataset in plain.items():
        write(tmp_path, split, dataset)
    for split, dataset in plain.items():
        wanted = {Path(p.name).name: p for p in dataset.pictures}
        got = load_split(tmp_path, split)
        assert {Path(p.name).name for p in got.pictures} == wanted.keys()
        for picture in got.pictures:
            original = wanted[Path(picture.name).name]
            np.testing.assert_array_equal(picture.pixels, original.pixels)
            np.testing.assert_allclose(picture.faces, original.faces, atol=1e-3)
            # YOLO's form has no way to say that a region does not count.
            if write is not as_yolo:
                np.testing.assert_array_equal(picture.ignored, original.ignored)


def test_boxes_beyond_the_picture_by_hand() -> None:
    faces = np.array(
        [
            [10, 10, 30, 30],  # inside
            [90, 10, 101, 30],  # beyond by a rounding
            [80, 10, 120, 30],  # half outside: cut
            [-30, 10, 10, 30],  # a quarter inside: does not count
            [200, 10, 220, 30],  # outside
            [50, 10, 50, 30],  # no width
            [60, 40, 50, 30],  # ends before it begins
        ],
        np.float32,
    )
    ignored = np.array([[-5, -5, 5, 5], [300, 0, 310, 10], [1, 1, 1, 1]], np.float32)
    kept, regions, wrong = keep_inside(faces, ignored, 100, 50)
    np.testing.assert_array_equal(kept, [[10, 10, 30, 30], [90, 10, 100, 30], [80, 10, 100, 30]])
    np.testing.assert_array_equal(regions, [[0, 0, 5, 5], [0, 10, 10, 30]])
    assert vars(wrong) == {"clipped": 1, "mostly_outside": 1, "outside": 2, "empty": 3}
    assert wrong.total == 7


def scene(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(scope="module")
def undivided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YOLO folder of 60 pictures without splits; every even one comes a second time, smaller."""
    folder = tmp_path_factory.mktemp("undivided")
    for index in range(40):
        cv2.imwrite(str(folder / f"p{index:02}.png"), scene(index))
        (folder / f"p{index:02}.txt").write_text("0 .5 .5 .25 .25\n")
        if index % 2 == 0:
            cv2.imwrite(str(folder / f"copy{index:02}.jpg"), cv2.resize(scene(index), (120, 90)))
    return folder


def test_a_folder_without_validation_pictures_is_divided_and_says_so(undivided: Path) -> None:
    train, val = (load_split(undivided, split) for split in ("train", "val"))
    names = [{p.name for p in part.pictures} for part in (train, val)]
    assert names[0].isdisjoint(names[1])
    assert len(names[0] | names[1]) == 60
    assert 1 <= len(names[1]) <= 15
    assert any("keeps no validation pictures apart" in remark for remark in val.remarks)
    assert [p.name for p in load_split(undivided, "val").pictures] == [p.name for p in val.pictures]
    np.testing.assert_array_equal(train[0].faces.shape, (0, 4) if train[0].name.startswith("copy") else (1, 4))


def test_copies_stay_on_the_side_of_their_original(undivided: Path) -> None:
    val = {p.name for p in load_split(undivided, "val").pictures}
    copies = [f"{index:02}" for index in range(0, 40, 2)]
    assert [f"copy{i}.jpg" in val for i in copies] == [f"p{i}.png" in val for i in copies]
    assert any(f"copy{i}.jpg" in val for i in copies), "the seeds put no copy into val: the test shows nothing"


def test_a_growing_folder_keeps_its_validation_pictures(undivided: Path, tmp_path: Path) -> None:
    before = {p.name for p in load_split(undivided, "val").pictures}
    for file in undivided.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for index in range(40, 60):
        cv2.imwrite(str(tmp_path / f"p{index:02}.png"), scene(index))
    assert before <= {p.name for p in load_split(tmp_path, "val").pictures}


def test_even_two_pictures_are_divided(tmp_path: Path) -> None:
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"p{index}.png"), scene(index))
    (tmp_path / "labels_train.txt").write_text("p0.png\n0\np1.png\n0\n")
    assert [len(load_split(tmp_path, split)) for split in ("train", "val")] == [1, 1]


def test_head_boxes_shrink_to_the_face() -> None:
    box = face_of_head(np.array([[100, 100, 200, 250]], np.float32))[0]
    np.testing.assert_allclose(box, [105, 122.5, 195, 245.5])
