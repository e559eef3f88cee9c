"""The shipped model, held to what it is shipped for: faces in well-known photographs, and hardware that equals it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet import zoo
from fpga_facedet.detections import Detections, iou_matrix
from fpga_facedet.engines.csim import CsimEngine
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.engines.protocol import Engine
from fpga_facedet.engines.rtl import RtlEngine
from fpga_facedet.host import commands
from fpga_facedet.host.sources import open_source
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.manifest import Manifest
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.verification.hls import HlsVerifyResult
from fpga_facedet.verification.verify import VerifyResult, verify

MODEL = zoo.model_path("lpyolo-4w4a")
PORTRAITS = {"astronaut": (178, 65, 270, 176), "grace_hopper": (177, 123, 356, 336)}
FACELESS = ("coffee", "chelsea", "page")

pytest.importorskip("skimage", reason="the photographs come with scikit-image and matplotlib")


@pytest.fixture(scope="module")
def golden() -> Engine:
    return GoldenEngine(MODEL)


def faces(photograph: str, engine: Engine, min_score: float | None = None) -> Detections:
    """The faces that `facedet run --source photograph` reports."""
    found: list[Detections] = []
    commands.run(photograph, engine, min_score=min_score, on_result=lambda result: found.append(result.faces))
    return found[0]


def test_the_model_is_of_the_zoos_spec(golden: Engine) -> None:
    assert DetectorSpec.from_dict(golden.manifest.model.spec) == DetectorSpec.load("lpyolo-4w4a")
    assert golden.manifest.model.training, "the metadata says how it was trained"


@pytest.mark.parametrize("photograph", PORTRAITS)
def test_the_face_of_a_portrait_is_found(photograph: str, golden: Engine) -> None:
    truth = np.array([PORTRAITS[photograph]], np.float32)
    assert iou_matrix(faces(photograph, golden).boxes, truth).max(initial=0) >= 0.5


@pytest.mark.parametrize("photograph", FACELESS)
def test_no_face_is_seen_where_there_is_none(photograph: str, golden: Engine) -> None:
    assert len(faces(photograph, golden)) == 0


def letterboxed(golden: Engine, *photographs: str) -> np.ndarray:
    """The photographs as the detector gets them, uint8 (N, 416, 416, 3)."""
    sizes = golden.manifest.input
    frames = []
    for name in photographs:
        (frame,) = open_source(name)
        picture = frame.image
        height, width = picture.shape[:2]
        frames.append(Letterbox.fit(width, height, sizes.width, sizes.height).apply(picture, sizes.fill))
    return np.stack(frames)


@pytest.mark.slow
def test_the_hardware_is_the_model_and_fast(lpyolo_accelerator: Path, tmp_path: Path, golden: Engine) -> None:
    """The whole 416x416 network: several frames with stalls, every byte; its speed; and both engines' faces."""
    accelerator = shutil.copytree(lpyolo_accelerator, tmp_path / "accelerator")
    result = verify(accelerator, frames=3, stalls=True)
    assert isinstance(result, VerifyResult)
    assert (result.total_bytes, result.mismatched_bytes, result.stalled) == (9126, 0, True)
    # What was asked of this network on this chip; one pixel a cycle would be 578.
    assert result.fps >= 500
    estimated = Manifest.load(lpyolo_accelerator).figure("fps")
    assert estimated is not None and (estimated.evidence, estimated.value) == (
        "estimated",
        pytest.approx(result.fps, rel=0.02),
    )
    proven = Manifest.load(accelerator).figure("fps")
    assert proven is not None and (proven.evidence, proven.value) == ("simulated", pytest.approx(result.fps, abs=0.01))
    rtl = RtlEngine(accelerator)
    for photograph in PORTRAITS:
        ours, theirs = faces(photograph, rtl, 0.01), faces(photograph, golden, 0.01)
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
    rtl.close()


@pytest.mark.slow
def test_its_hls_layers_are_the_model(lpyolo_hls_accelerator: Path, tmp_path: Path, golden: Engine) -> None:
    """The same network in C++: three photographs, every byte; and one frame through every layer, every value."""
    accelerator = shutil.copytree(lpyolo_hls_accelerator, tmp_path / "accelerator")
    frames = letterboxed(golden, *PORTRAITS, "coffee")
    raw = CsimEngine(accelerator).infer(frames)
    assert raw.size == 9126 and len(np.unique(raw)) > 100
    np.testing.assert_array_equal(raw, golden.infer(frames))
    result = verify(accelerator, frames=1, layers="hls")
    assert result.equal and result.total_bytes == 3042
    assert isinstance(result, HlsVerifyResult) and result.values > 15e6
