import numpy as np
import pytest

from fpga_facedet.detections import Detections
from fpga_facedet.evaluation.mistakes import FALSE_KINDS, FATES, count_mistakes
from fpga_facedet.evaluation.operating_point import Truth

NONE = np.zeros((0, 4), np.float32)


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def found(*rows: tuple[list[float], float]) -> Detections:
    return Detections(boxes(*(box for box, _ in rows)), np.array([score for _, score in rows], np.float32))


A, B, C = [0, 0, 20, 20], [100, 0, 150, 50], [300, 0, 310, 10]
HALF_B = [125, 0, 175, 50]  # overlaps B by 1/3
NOTHING = [400, 400, 450, 450]


def fates(result: object, band: int) -> dict[str, int]:
    return {name: int(n) for name, n in zip(FATES, result.fates[band], strict=True) if n}  # type: ignore[attr-defined]


def kinds(result: object) -> dict[str, int]:
    counts = result.false_boxes  # type: ignore[attr-defined]
    return {name: int(n) for name, n in zip(FALSE_KINDS, counts, strict=True) if n}


def test_every_fate_and_every_kind_by_hand() -> None:
    detections = found((A, 0.9), ([1, 0, 21, 20], 0.8), (HALF_B, 0.7), (NOTHING, 0.6), (C, 0.2))
    result = count_mistakes([detections], [Truth(boxes(A, B, C), NONE)], 0.5)
    assert fates(result, 2) == {"found": 1}
    assert fates(result, 3) == {"badly boxed": 1}
    assert fates(result, 1) == {"below the threshold": 1}
    assert kinds(result) == {"duplicate": 1, "badly boxed": 1, "background": 1}
    assert (result.faces, result.found, result.excused) == (3, 1, 0)
    assert (result.precision, result.recall) == (pytest.approx(1 / 4), pytest.approx(1 / 3))


def test_a_face_whose_box_went_to_its_neighbour() -> None:
    beside = [4, 0, 24, 20]  # overlaps A by 2/3
    result = count_mistakes([found((A, 0.9))], [Truth(boxes(A, beside), NONE)], 0.5)
    assert fates(result, 2) == {"found": 1, "lost to a neighbour": 1}
    assert kinds(result) == {}


def test_a_face_that_only_weak_misplaced_boxes_touch_is_not_seen() -> None:
    result = count_mistakes([found((HALF_B, 0.1))], [Truth(boxes(B), NONE)], 0.5)
    assert fates(result, 3) == {"not seen": 1}


def test_boxes_in_ignored_regions_are_no_mistakes() -> None:
    result = count_mistakes([found((NOTHING, 0.9), (C, 0.8))], [Truth(NONE, boxes([390, 390, 460, 460]))], 0.5)
    assert result.excused == 1
    assert kinds(result) == {"background": 1}


def test_the_threshold_itself_is_shown() -> None:
    result = count_mistakes([found((A, 0.5))], [Truth(boxes(A), NONE)], 0.5)
    assert result.found == 1


def test_the_json_has_every_count() -> None:
    result = count_mistakes([found((A, 0.9))], [Truth(boxes(A, B), NONE)], 0.25).to_dict()
    assert result["score_threshold"] == 0.25
    assert (result["precision"], result["recall"]) == (1.0, 0.5)
    assert result["faces"]["16 to 32"] == dict.fromkeys(FATES, 0) | {"found": 1}
    assert result["faces"]["32 to 64"]["not seen"] == 1
    assert result["false_boxes"] == dict.fromkeys(FALSE_KINDS, 0)
