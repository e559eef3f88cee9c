"""FaceDetector as a notebook uses it, on a software board; runs where pynq is (see test_under_pynq.py)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("pynq", reason="needs pynq: runs in the board's environment")

import pynq

from fpga_facedet.board import FaceDetector
from fpga_facedet.errors import UserError
from fpga_facedet.host.annotate import annotate
from fpga_facedet.host.decode import faces_in_frame
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.software_board import Fault

from ..engines.on_board import TIMEOUT, Clock, damaged, next_frame_of, stop_by_hand, stuck, toy_board, toy_overlay
from ..engines.toy import MANIFEST, ToyEngine


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_overlay(tmp_path_factory.mktemp("overlays") / "pynq-z2" / "toy")


def picture(height: int, width: int, seed: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def golden(frame: npt.NDArray[np.uint8], *thresholds: Any) -> Any:
    letterbox = Letterbox.fit(frame.shape[1], frame.shape[0], MANIFEST.input.width, MANIFEST.input.height)
    output = ToyEngine().infer(letterbox.apply(frame, MANIFEST.input.fill)[None])[0]
    return faces_in_frame(output, MANIFEST, letterbox, *thresholds)


def test_faces_are_those_of_the_golden_engine_in_pixels_of_the_frame(folder: Path) -> None:
    seen = 0
    with toy_board(), FaceDetector(folder) as det:
        for seed, (height, width) in enumerate([(32, 48), (100, 50), (100, 50), (37, 211), (480, 640)]):
            frame = picture(height, width, seed)
            faces, wanted = det(frame), golden(frame)
            np.testing.assert_array_equal(faces.boxes, wanted.boxes)
            np.testing.assert_array_equal(faces.scores, wanted.scores)
            seen += len(faces)
    assert seen > 0, "the comparison needs faces"


def test_thresholds_are_the_callers(folder: Path) -> None:
    frame = picture(64, 96)
    with toy_board(), FaceDetector(folder) as det:
        for thresholds in ((0.0,), (0.6,), (0.0, 0.0), (0.0, 1.0)):
            np.testing.assert_array_equal(det(frame, *thresholds).boxes, golden(frame, *thresholds).boxes)
        assert len(det(frame, 0.0)) > len(det(frame, 0.6))
        with pytest.raises(UserError, match="outside 0..1"):
            det(frame, 1.5)
        assert len(det(frame)) == len(golden(frame)), "and it goes on"


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros((4, 4), np.uint8), r"got uint8 \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"got uint8 \(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), r"got float32"),
        (None, "got NoneType; read it with cv2.imread"),
        (np.zeros((0, 4, 3), np.uint8), "4x0 has no pixels"),
    ],
)
def test_what_is_no_picture_is_refused(folder: Path, frame: Any, words: str) -> None:
    with toy_board(), FaceDetector(folder) as det:
        with pytest.raises(UserError, match=words):
            det(frame)
        det(picture(9, 9))


def test_annotate_draws_into_a_copy(folder: Path) -> None:
    frame = picture(64, 96)
    with toy_board(), FaceDetector(folder) as det:
        faces = det(frame, 0.0)
        kept = frame.copy()
        np.testing.assert_array_equal(det.annotate(frame, faces), annotate(frame, faces))
        np.testing.assert_array_equal(frame, kept)


def test_it_says_what_it_is(folder: Path) -> None:
    with toy_board() as board, FaceDetector(folder) as det:
        assert repr(det) == "FaceDetector(toy, 48x32, pynq-z2, on the board)"
        assert "not measured: no frame has run" in det._repr_html_()
        board.evidence = "simulated"
        det(picture(32, 48))
        assert "cycles (simulated)" in det._repr_html_()
        info = json.loads(json.dumps(det.info()))
        assert (info["model"], info["board"], info["versions"]["shell"]) == ("toy", "pynq-z2", "1.0")
        assert info["versions"]["pynq"] == pynq.__version__
        assert info["hashes"]["model"] == MANIFEST.model.sha256
        assert info["engine"]["results"] == 1 and info["engine"]["shell"]["frames_out"] == 1
        assert {figure["evidence"] for figure in info["figures"]} == {"simulated"}
    assert "closed" in repr(det) and "closed" in det._repr_html_()


def test_it_is_an_overlay_with_the_engines_own_dma(folder: Path) -> None:
    with toy_board(), FaceDetector(folder) as det:
        assert isinstance(det, pynq.Overlay) and det.is_loaded()
        assert det.dma is det.engine.driver
        assert det.manifest.model.name == "toy" and det.folder == folder


def test_another_one_takes_its_place_and_the_old_one_says_so(folder: Path) -> None:
    with toy_board():
        old = FaceDetector(folder)
        with FaceDetector(folder) as new:
            with pytest.raises(UserError, match=r"no longer on the board: toy.bit was loaded after it; make a new"):
                old(picture(8, 8))
            assert old.engine.closed
            assert len(new(picture(32, 48))) == len(golden(picture(32, 48)))
        with pytest.raises(UserError, match=r"\(toy\) was closed; make a new one"):
            new(picture(8, 8))


def test_a_call_that_is_interrupted_leaves_nothing_behind(folder: Path) -> None:
    """A notebook's stop button, more often than there are slots; the next call gets its own picture's faces."""
    with toy_board(frame_seconds=0.3, interval_seconds=0.1) as board, FaceDetector(folder, timeout=10.0) as det:
        for seed in range(4):
            # So often that one is still under way when the finger is late.
            stop_by_hand(lambda: [det(picture(32, 48, 100)) for _ in range(200)], next_frame_of(board))
            frame = picture(32, 48, seed)
            np.testing.assert_array_equal(det(frame, 0.0).scores, golden(frame, 0.0).scores)


def test_wrong_options_are_refused_while_another_one_runs(folder: Path) -> None:
    frame = picture(32, 48)
    with toy_board(), FaceDetector(folder) as first:
        with pytest.raises(UserError, match="depth 1"):
            FaceDetector(folder, depth=1)
        np.testing.assert_array_equal(first(frame, 0.0).boxes, golden(frame, 0.0).boxes)


def test_a_damaged_description_is_named(folder: Path, tmp_path: Path) -> None:
    copy = damaged(folder, tmp_path)
    with toy_board(), pytest.raises(UserError, match=r"cannot read .* its .hwh \(syntax error.*copy the whole folder"):
        FaceDetector(copy)


def test_a_fault_in_mid_call_is_survived(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, clock = picture(32, 48), Clock(monkeypatch)
    with toy_board(Fault("stuck_s2mm", 1)) as board, FaceDetector(folder, timeout=TIMEOUT) as det:
        with clock.jumping(stuck(board, det.engine, "stuck_s2mm", 1)):
            for _ in range(4):
                np.testing.assert_array_equal(det(frame, 0.0).boxes, golden(frame, 0.0).boxes)
        assert det.info()["engine"]["recoveries"] == 1


def test_hardware_of_another_model_is_refused_and_nothing_left(folder: Path) -> None:
    with toy_board(Fault("wrong_model_hash")), pytest.raises(UserError, match="the manifest of toy is for abab"):
        FaceDetector(folder)


def test_the_folder_is_found_by_the_environment_and_by_the_models_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEDET_BITSTREAMS", str(folder.parent.parent))
    monkeypatch.setenv("BOARD", "Pynq-Z2")
    with toy_board():
        with FaceDetector("toy") as det:
            assert det.folder == folder
        with pytest.raises(UserError, match=r"no overlay 'pynq-z2/nosuch' in .*toy"):
            FaceDetector("nosuch")


def test_a_bitstream_of_another_build_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = toy_overlay(tmp_path, replace(MANIFEST, clock_mhz=50.0))
    (copy / "toy.bit").write_bytes(b"other")
    with toy_board(), pytest.raises(UserError, match=r"toy.bit has the SHA-256 .* another build"):
        FaceDetector(copy)
