import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from fpga_facedet.assessment import assess as room
from fpga_facedet.assessment.assess import BEST_FILE, CURVES_FILE, EVAL_FILE, WORST_FILE, assess
from fpga_facedet.detections import Detections
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.errors import UserError
from fpga_facedet.evaluation.wider import load_truth, wider_ap
from fpga_facedet.host.decode import faces_in_frame
from fpga_facedet.host.picture import read_picture
from fpga_facedet.letterbox import Letterbox

from .conftest import PICTURES


def shown(result: room.Assessment) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(result.describe())
    return console.export_text()


def test_wider_pictures_by_the_golden_engine(wider_folder: Path, small_model: Path, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    result = assess(small_model, wider_folder, progress=lambda text, share: told.append((text, share)))
    engine, found = GoldenEngine(small_model), {}
    for name in PICTURES:
        frame = cv2.imread(str(wider_folder / "images" / name))
        box = Letterbox.fit(80, 60, 96, 64)
        faces = faces_in_frame(engine.infer(box.apply(frame)[None])[0], engine.manifest, box, 0.01)
        found[name] = Detections(faces.boxes * 2, faces.scores)
    expected = wider_ap(found, load_truth(tmp_path / "official"))
    ap = result.score.average_precisions()
    assert {level: ap[level] for level in expected} == expected
    assert set(ap) == {"easy", "medium", "hard", "ap50"}
    assert (result.pictures, result.score.scored.faces, result.stopped) == (3, 2, False)
    assert sum(map(len, found.values())) > 10, "a detector that finds nothing proves nothing"
    # A face of 30 x 40 original pixels is 16 x 21 in the detector's input, one of 20 x 20 is 10.7.
    assert [score.faces for score in result.score.bands] == [0, 1, 1, 0, 0, 0]
    assert result.score.mistakes.score_threshold == 0.3
    assert told[-1][1] == 1.0
    text = shown(result)
    assert "small by the golden engine on 3 pictures" in text
    assert "easy" in text
    assert "16 to 32" in text


def test_the_folder_of_results_is_whole(wider_folder: Path, small_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = assess(small_model, wider_folder, out=tmp_path / "out", score_threshold=0.1)
    written = json.loads((tmp_path / "out" / EVAL_FILE).read_text())
    assert written == result.to_dict()
    assert written["protocol"] == "WIDER FACE"
    assert written["mistakes"]["score_threshold"] == 0.1
    assert "agreement" not in written
    for name in (CURVES_FILE, WORST_FILE, BEST_FILE):
        assert cv2.imread(str(tmp_path / "out" / name)) is not None


def test_a_labelled_folder_has_no_difficulties(labelled_folder: Path, small_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = assess(small_model, labelled_folder, out=tmp_path / "out")
    assert set(result.score.average_precisions()) == {"ap50"}
    assert list(result.score.curves()) == ["AP@0.5"]
    assert result.to_dict()["protocol"] == "AP@0.5"
    assert "easy" not in shown(result)


def test_captures_judge_as_the_engine_that_made_them(wider_folder: Path, small_model: Path, tmp_path: Path) -> None:
    made = assess(small_model, wider_folder, save_outputs=tmp_path / "captures")
    read = assess(small_model, wider_folder, "captures", captures=tmp_path / "captures", against="golden")
    assert read.agreement is not None
    assert (read.agreement.engines, read.agreement.outputs, read.agreement.different) == (
        ("captures", "golden"),
        3 * 4 * 6 * 12,
        0,
    )
    assert {**read.to_dict(), "engine": "golden"} | made.to_dict() == {**read.to_dict(), "engine": "golden"}
    assert "difference" in shown(read)
    path = tmp_path / "captures" / f"{PICTURES[1]}.npy"
    output = np.load(path)
    np.save(path, np.where(output == 127, 126, output + 1).astype(np.int8))
    spoilt = assess(small_model, wider_folder, "captures", captures=tmp_path / "captures", against="golden")
    assert spoilt.agreement is not None
    assert spoilt.agreement.different == 4 * 6 * 12
    assert spoilt.to_dict()["agreement"]["pictures"][0]["picture"] == PICTURES[1]


def test_torch_and_golden_see_the_same(wider_folder: Path, small_model: Path) -> None:
    result = assess(small_model, wider_folder, "torch", against="golden", limit=2)
    assert result.pictures == 2
    assert result.agreement is not None
    assert result.agreement.unexplained == 0
    assert "torch and golden" in shown(result)


def test_the_faces_of_a_damaged_picture_are_missed_by_widers_protocol(
    wider_folder: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To leave such a picture out would raise the official figures."""

    def the_face(output: np.ndarray, manifest: object, box: Letterbox, least_score: float) -> Detections:
        # Of the second picture, in the pixels of its file; in the first it lies where no face is.
        return Detections(np.array([[5, 5, 15, 15]], np.float32), np.array([0.9], np.float32))

    monkeypatch.setattr(room, "faces_in_frame", the_face)
    for name in (PICTURES[0], PICTURES[2]):
        (wider_folder / "images" / name).write_bytes(b"")
    result = assess(small_model, wider_folder)
    assert result.score.average_precisions() == pytest.approx({"easy": 0.5, "medium": 0.5, "hard": 0.5, "ap50": 1.0})
    assert result.broken == (PICTURES[0], PICTURES[2])


def test_a_large_picture_of_a_labelled_folder_reaches_the_engine_as_a_host_sees_it(
    tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(6)
    cv2.imwrite(str(tmp_path / "a.jpg"), rng.integers(0, 256, (700, 1100, 3), np.uint8))
    (tmp_path / "labels_val.txt").write_text("a.jpg\n1\n100 100 300 400\n")
    seen: list[np.ndarray] = []
    infer = GoldenEngine.infer

    def look(engine: GoldenEngine, frames: np.ndarray) -> np.ndarray:
        seen.append(frames.copy())
        return infer(engine, frames)

    monkeypatch.setattr(GoldenEngine, "infer", look)
    assess(small_model, tmp_path)
    (frames,) = seen
    np.testing.assert_array_equal(
        frames, Letterbox.fit(1100, 700, 96, 64).apply(read_picture(tmp_path / "a.jpg"))[None]
    )


def test_a_damaged_picture_is_named_and_does_not_count(wider_folder: Path, small_model: Path) -> None:
    path = wider_folder / "images" / PICTURES[0]
    path.write_bytes(path.read_bytes()[:200])
    result = assess(small_model, wider_folder)
    assert (result.pictures, result.broken, result.score.scored.faces) == (2, (PICTURES[0],), 1)
    assert f"1 pictures cannot be read and count in easy, medium and hard alone, as missed: {PICTURES[0]}" in shown(
        result
    )
    for name in PICTURES[1:]:
        (wider_folder / "images" / name).unlink()
    with pytest.raises(UserError, match="nothing to judge"):
        assess(small_model, wider_folder)


def test_ctrl_c_judges_what_was_done(wider_folder: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_BATCH", 1)

    def interrupt(text: str, share: float) -> None:
        if 0.6 < share < 1:
            raise KeyboardInterrupt

    result = assess(small_model, wider_folder, progress=interrupt)
    assert (result.pictures, result.stopped) == (2, True)
    assert "Stopped early" in shown(result)


def test_ctrl_c_before_the_first_picture_ends_it(wider_folder: Path, small_model: Path) -> None:
    def interrupt(text: str, share: float) -> None:
        if text.startswith("looking"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assess(small_model, wider_folder, progress=interrupt)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "gpu"}, "torch, golden, rtl, csim, captures"),
        ({"engine": "rtl"}, "--accelerator"),
        ({"engine": "csim"}, "--accelerator"),
        ({"engine": "captures"}, "--captures"),
        ({"against": "golden"}, "with itself"),
        ({"limit": 0}, "limit of 0"),
        ({"score_threshold": 1.5}, "1.5"),
    ],
)
def test_wrong_words_are_said_before_anything_runs(
    arguments: dict[str, object], message: str, small_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        assess(small_model, tmp_path / "nowhere", **arguments)  # type: ignore[arg-type]
