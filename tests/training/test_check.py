import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from fpga_facedet.errors import UserError
from fpga_facedet.training.check import EDGES, DataCheck, check_data, describe


def told(check: DataCheck) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(describe(check))
    return console.file.getvalue()


def scene(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture
def spoiled(tmp_path: Path) -> Path:
    """Three training pictures, one of them broken; two for validation, one the same as in training."""
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), scene(index))
    (tmp_path / "[cut].jpg").write_bytes(cv2.imencode(".jpg", scene(3))[1].tobytes()[:300])
    cv2.imwrite(str(tmp_path / "same.jpg"), cv2.resize(scene(1), (100, 75)))
    (tmp_path / "labels_train.txt").write_text(
        "0.png\n3\n10 10 20 20\n500 10 20 20\n10 10 0 5\n1.png\n0\n[cut].jpg\n1\n1 1 5 5\n"
    )
    (tmp_path / "ignore_train.txt").write_text("0.png\n1\n50 50 10 10\n")
    (tmp_path / "labels_val.txt").write_text("2.png\n1\n20 20 40 40\nsame.jpg\n0\n")
    return tmp_path


def test_what_is_wrong_is_counted_and_named(spoiled: Path) -> None:
    check = check_data(spoiled)
    train, val = check.splits["train"], check.splits["val"]
    assert (train.pictures, train.faces, train.ignored, train.background) == (2, 1, 1, 1)
    assert (val.pictures, val.faces, val.background) == (2, 1, 1)
    assert train.broken == {"[cut].jpg": "cut off"}
    assert vars(train.wrong_in["0.png"]) == {"clipped": 0, "mostly_outside": 0, "outside": 1, "empty": 1}
    assert check.duplicates == [("1.png", "same.jpg")]
    assert not check.sound
    text = told(check)
    assert "[cut].jpg (cut off)" in text
    assert "0.png (1 outside, 1 empty)" in text
    assert "1.png  =  same.jpg" in text


def test_sizes_are_those_at_the_input(spoiled: Path) -> None:
    # 160x120 fits 416x416 at 2.6; a face of 20x20 is seen at 52, at a 320x240 input at 40.
    assert check_data(spoiled).splits["train"].sizes == pytest.approx([52])
    check = check_data(spoiled, input_size=(320, 240))
    assert check.splits["train"].sizes == pytest.approx([40])
    counts = check.splits["train"].histogram()
    filled = int(np.flatnonzero(counts)[0])
    assert EDGES[filled] <= 40 < EDGES[filled + 1]
    assert sum(counts) == 1


def test_a_sound_folder_is_called_so(data_folder: Path) -> None:
    check = check_data(data_folder)
    assert check.sound
    assert "Nothing broken" in told(check)
    # Pictures 0, 3, 6 ... of the generated folder have no face, the next one, the next two.
    assert (check.splits["train"].pictures, check.splits["train"].faces) == (24, 24)
    assert check.splits["train"].background == 8


def test_the_findings_are_json(spoiled: Path) -> None:
    report = json.loads(json.dumps(check_data(spoiled).to_dict()))
    assert report["duplicates"] == [["1.png", "same.jpg"]]
    assert report["splits"]["train"]["broken"] == {"[cut].jpg": "cut off"}
    assert report["splits"]["train"]["wrong_boxes"]["outside"] == 1
    assert len(report["splits"]["val"]["size_counts"]) == len(report["size_edges_pixels"]) - 1


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_histogram_is_a_picture(data_folder: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "deep" / f"report{suffix}"
    shares: list[float] = []
    check = check_data(data_folder, out, lambda text, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert check.picture == str(out)
    if suffix == ".png":
        pixels = cv2.imread(str(out))
        assert pixels is not None
        assert pixels.std() > 5
    else:
        assert "detector's 416x416 input" in out.read_text().replace("&#x27;", "'")


def test_a_folder_without_faces_still_has_a_histogram(tmp_path: Path) -> None:
    for index, split in enumerate(("train", "val")):
        cv2.imwrite(str(tmp_path / f"{split}.png"), scene(index))
        (tmp_path / f"labels_{split}.txt").write_text(f"{split}.png\n0\n")
    check = check_data(tmp_path, tmp_path / "report.png")
    assert (tmp_path / "report.png").is_file()
    assert not check.sound
    assert "train has no faces" in told(check)


def test_an_unknown_kind_of_picture_is_refused_before_the_work(data_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'report\.doc'; use one of \.png"):
        check_data(data_folder, tmp_path / "report.doc")


def test_a_wrong_line_is_named(data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels_train.txt").write_text("a.png\nmany\n")
    with pytest.raises(UserError, match=r"labels_train\.txt, line 2: 'many'"):
        check_data(tmp_path)
