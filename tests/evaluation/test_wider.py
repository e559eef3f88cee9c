import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from fpga_facedet.detections import Detections
from fpga_facedet.errors import UserError
from fpga_facedet.evaluation.wider import (
    DIFFICULTIES,
    WiderPicture,
    inclusive_iou,
    load_truth,
    wider_ap,
    wider_curve,
)


def found(*rows: tuple[float, float, float, float, float]) -> Detections:
    array = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(array[:, :4].copy(), array[:, 4].copy())


def truth(faces: list[list[float]], hard: list[bool]) -> WiderPicture:
    mask = np.array(hard, np.bool_)
    return WiderPicture(np.array(faces, np.float32).reshape(-1, 4), dict.fromkeys(DIFFICULTIES, mask))


A, B, C = [0, 0, 99, 99], [200, 0, 299, 99], [0, 200, 99, 299]


def test_boxes_include_both_ends() -> None:
    # 10 x 10 pixels each, half of them shared: 50 / 150.
    a, b = np.array([[0, 0, 9, 9]], np.float32), np.array([[5, 0, 14, 9]], np.float32)
    assert inclusive_iou(a, b)[0, 0] == pytest.approx(1 / 3)


def test_all_found_and_nothing_else_is_one() -> None:
    result = wider_ap({"p": found((*A, 0.9), (*B, 0.8))}, {"p": truth([A, B], [True, True])})
    assert result == {"easy": 1.0, "medium": 1.0, "hard": 1.0}


def test_nothing_found_is_zero() -> None:
    assert wider_ap({}, {"p": truth([A], [True])})["hard"] == 0.0


def test_one_wrong_between_two_right_ones_by_hand() -> None:
    # Best first: right, wrong, right. Precision 1 at recall 1/2, 2/3 at recall 1: 1/2 * 1 + 1/2 * 2/3.
    detections = {"p": found((*A, 0.9), (*C, 0.7), (*B, 0.5))}
    curve = wider_curve(detections, {"p": truth([A, B], [True, True])}, "hard")
    assert curve.average_precision == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_second_box_on_the_same_face_is_wrong() -> None:
    # Right, second on the same face, right: as above.
    detections = {"p": found((*A, 0.9), (*A, 0.7), (*B, 0.5))}
    curve = wider_curve(detections, {"p": truth([A, B], [True, True])}, "hard")
    assert curve.average_precision == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_face_of_another_difficulty_counts_neither_way() -> None:
    detections = {"p": found((*C, 0.9), (*C, 0.85), (*A, 0.8), (*B, 0.5))}
    curve = wider_curve(detections, {"p": truth([A, B, C], [True, True, False])}, "easy")
    assert curve.average_precision == 1.0


def test_too_little_overlap_is_wrong() -> None:
    # Shifted by half its width: IoU 1/3.
    curve = wider_curve({"p": found((50, 0, 149, 99, 0.9))}, {"p": truth([A], [True])}, "easy")
    assert curve.average_precision == 0.0


def test_pictures_share_one_scale_of_scores() -> None:
    # Over both pictures: wrong (0.9), right (0.8), right (0.6). Precision 1/2 and 2/3: the envelope is 2/3 throughout.
    detections = {"p": found((*C, 0.9), (*A, 0.6)), "q": found((*A, 0.8))}
    pictures = {"p": truth([A], [True]), "q": truth([A], [True])}
    assert wider_curve(detections, pictures, "easy").average_precision == pytest.approx(2 / 3)


def test_a_picture_without_detections_still_counts_its_faces() -> None:
    pictures = {"p": truth([A], [True]), "q": truth([A, B, C], [True, True, True])}
    curve = wider_curve({"p": found((*A, 0.9), (*C, 0.1))}, pictures, "easy")
    assert curve.recall.max() == pytest.approx(1 / 4)
    assert curve.average_precision == pytest.approx(1 / 4)


def test_only_the_pictures_of_the_truth_count() -> None:
    detections = {"p": found((*A, 0.9), (*B, 0.1)), "elsewhere": found((*A, 99.0))}
    assert wider_curve(detections, {"p": truth([A, B], [True, True])}, "easy").average_precision == 1.0


def official_average_precision(
    pictures: list[tuple[np.ndarray, np.ndarray, np.ndarray]], thresholds: int = 1000, overlap: float = 0.5
) -> float:
    """The official Matlab evaluation, line by line: evaluation.m, image_evaluation.m, image_pr_info.m, VOCap.m.

    For each picture: boxes with score (N, 5) best first, faces (M, 4) x1, y1, x2, y2, and the faces' keep index (K,).
    """
    scores = np.concatenate([found[:, 4] for found, _, _ in pictures])
    least, most = scores.min(), scores.max()
    info, faces_in_all = np.zeros((thresholds, 2)), 0
    for found, faces, keep in pictures:
        faces_in_all += len(keep)
        if not len(found) or not len(faces):
            continue
        recall_list, proposal_list = np.zeros(len(faces)), np.ones(len(found))
        recalled = np.zeros(len(found))
        for h, box in enumerate(found):
            overlaps = []
            for face in faces:
                w = min(box[2], face[2]) - max(box[0], face[0]) + 1
                h_ = min(box[3], face[3]) - max(box[1], face[1]) + 1
                inter = w * h_ if w > 0 and h_ > 0 else 0
                area = (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
                overlaps.append(inter / (area + (face[2] - face[0] + 1) * (face[3] - face[1] + 1) - inter))
            best = int(np.argmax(overlaps))
            if overlaps[best] >= overlap:
                if best not in keep:
                    recall_list[best], proposal_list[h] = -1, -1
                elif recall_list[best] == 0:
                    recall_list[best] = 1
            recalled[h] = np.sum(recall_list == 1)
        normalised = (found[:, 4] - least) / (most - least)
        for t in range(1, thresholds + 1):
            passing = np.flatnonzero(normalised >= 1 - t / thresholds)
            if len(passing):
                info[t - 1] += np.sum(proposal_list[: passing[-1] + 1] == 1), recalled[passing[-1]]
    with np.errstate(invalid="ignore"):
        precision, recall = np.nan_to_num(info[:, 1] / info[:, 0]), info[:, 1] / faces_in_all
    mrec, mpre = np.array([0, *recall, 1]), np.array([0, *precision, 0])
    for i in range(len(mpre) - 2, -1, -1):
        mpre[i] = max(mpre[i], mpre[i + 1])
    steps = [i for i in range(1, len(mrec)) if mrec[i] != mrec[i - 1]]
    return float(sum((mrec[i] - mrec[i - 1]) * mpre[i] for i in steps))


@pytest.mark.parametrize("seed", range(12))
def test_random_pictures_score_what_the_official_code_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    detections, pictures, official = {}, {}, []
    for number in range(int(rng.integers(2, 9))):
        faces = rng.integers(0, 60, (int(rng.integers(0, 7)), 4)).astype(np.float32)
        faces[:, 2:] = faces[:, :2] + rng.integers(3, 40, (len(faces), 2))
        near = faces[rng.integers(0, len(faces), 9)] if len(faces) else np.zeros((0, 4), np.float32)
        boxes = np.concatenate([near + rng.normal(0, 3, near.shape), rng.uniform(0, 99, (3, 4))]).astype(np.float32)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        boxes = boxes if rng.uniform() < 0.8 else boxes[:0]
        scores = np.sort(rng.choice(np.linspace(0.01, 0.99, 17, dtype=np.float32), len(boxes)))[::-1]
        asked = rng.uniform(size=len(faces)) < 0.6
        detections[str(number)] = Detections(boxes, np.ascontiguousarray(scores))
        pictures[str(number)] = WiderPicture(faces, dict.fromkeys(DIFFICULTIES, asked))
        found_ = np.concatenate([boxes, scores[:, None]], axis=1).astype(np.float64)
        official.append((found_, faces.astype(np.float64), np.flatnonzero(asked)))
    curve = wider_curve(detections, pictures, "hard")
    assert curve.average_precision == pytest.approx(official_average_precision(official), abs=1e-12)
    assert 0 < curve.average_precision < 1


def write_lists(folder: Path, **others: object) -> None:
    """Write the three lists of one picture, as the official site has them; `others` replaces what one holds."""

    def cells(*items: object) -> np.ndarray:
        array = np.empty((len(items), 1), object)
        for i, item in enumerate(items):
            array[i, 0] = item
        return array

    for level, kept in (("easy", [1]), ("medium", [1, 2]), ("hard", [1, 2, 3])):
        content = {
            "event_list": cells("0--Parade"),
            "file_list": cells(cells("0_Parade_1")),
            "face_bbx_list": cells(cells(np.array([[0, 0, 50, 60], [1, 2, 3, 4], [5, 6, 7, 8]]))),
            "gt_list": cells(cells(np.array(kept)[:, None])),
        }
        content |= {name: cells(cells(value)) for name, value in others.items()}
        savemat(folder / f"wider_{level}_val.mat", content, do_compression=True)


def test_the_official_files_are_read(tmp_path: Path) -> None:
    write_lists(tmp_path)
    picture = load_truth(tmp_path)["0--Parade/0_Parade_1.jpg"]
    np.testing.assert_array_equal(picture.faces, [[0, 0, 50, 60], [1, 2, 4, 6], [5, 6, 12, 14]])
    np.testing.assert_array_equal(picture.asked["medium"], [True, True, False])


def test_a_missing_or_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"wider_easy_val\.mat"):
        load_truth(tmp_path)
    write_lists(tmp_path)
    path = tmp_path / "wider_medium_val.mat"
    whole = path.read_bytes()
    for content in (b"", b"not Matlab" * 50, whole[:128], whole[:200], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"wider_medium_val\.mat"):
            load_truth(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"wider_medium_val\.mat: No such file"):
        load_truth(tmp_path)


def test_a_flipped_bit_of_a_list_is_found_or_changes_nothing(tmp_path: Path) -> None:
    write_lists(tmp_path)
    right = load_truth(tmp_path)
    path = tmp_path / "wider_easy_val.mat"
    whole = path.read_bytes()
    found_out = 0
    for position in range(0, len(whole), 3):
        spoilt = bytearray(whole)
        spoilt[position] ^= 1 << position % 8
        path.write_bytes(spoilt)
        try:
            read = load_truth(tmp_path)
        except UserError as error:
            assert "wider_easy_val.mat" in str(error)
            found_out += 1
            continue
        assert read.keys() == right.keys()
        for name, picture in read.items():
            np.testing.assert_array_equal(picture.faces, right[name].faces)
            np.testing.assert_array_equal(picture.asked["easy"], right[name].asked["easy"])
    assert found_out > (len(whole) - 128) // 3 - 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gt_list", np.array([[0]])),
        ("gt_list", np.array([[4]])),
        ("face_bbx_list", np.zeros((1, 3))),
        ("face_bbx_list", np.full((3, 4), np.inf)),
        ("face_bbx_list", "no numbers"),
        ("file_list", np.zeros((0, 0))),
    ],
)
def test_lists_that_contradict_each_other_are_named(tmp_path: Path, name: str, value: object) -> None:
    write_lists(tmp_path, **{name: value})
    with pytest.raises(UserError, match=r"wider_easy_val\.mat.*are not WIDER's"):
        load_truth(tmp_path)


def test_the_development_pictures_have_their_truth(shared_dir: Path) -> None:
    official = load_truth(shared_dir / "data" / "wider_official")
    with open(shared_dir / "data" / "wider_dev" / "sizes.csv") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    assert len(official) == 3226
    assert set(names) <= official.keys()
    # A detector that copies the truth is perfect.
    copied = {}
    for name in names[:50]:
        faces = official[name].faces
        copied[name] = Detections(faces, np.linspace(0.9, 0.5, len(faces), dtype=np.float32))
    result = wider_ap(copied, {name: official[name] for name in names[:50]})
    assert min(result.values()) > 0.98
