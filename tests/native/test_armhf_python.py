"""The board's process on the board's processor: Debian's armhf Python and numpy under qemu-arm, no OpenCV, no pynq."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fpga_facedet import zoo
from fpga_facedet.engines.protocol import Engine
from fpga_facedet.letterbox import Letterbox
from tests.conftest import REPOSITORY
from tests.native.emulator import Emulated

SCRIPT = Path(__file__).with_name("one_frame.py")
PORTRAIT = (slice(480, 720), slice(960, 1280))
"""The last portrait of docs/demo.jpg, rows and columns."""


def environment(native: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", "FACEDET_NATIVE": native}


@pytest.fixture(scope="module")
def golden() -> Iterator[Engine]:
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module, reason=f"the golden engine runs on a PC with {module}")
    from fpga_facedet.engines.golden import GoldenEngine

    engine = GoldenEngine(zoo.model_path("lpyolo-4w4a"))
    yield engine
    engine.close()


def frame_of(pixels: str) -> npt.NDArray[np.uint8]:
    """The README's picture, with several faces, or one portrait of it, as a camera gives it."""
    picture = cv2.imread(str(REPOSITORY / "docs" / "demo.jpg"))
    assert picture is not None
    if pixels == "bgr":
        return np.ascontiguousarray(picture[PORTRAIT])
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    if pixels == "grey":
        return np.ascontiguousarray(grey[PORTRAIT])
    # Light alone, for no colour is 128; OpenCV of before 4.9 makes no YUYV.
    return np.stack([16 + (grey.astype(np.int32) * 219 + 127) // 255, np.full(grey.shape, 128)], axis=2).astype(
        np.uint8
    )


@pytest.mark.parametrize(("pixels", "least"), [("bgr", 1), ("yuyv", 4), ("grey", 1)])
@pytest.mark.parametrize("way", ["native", "numpy"])
def test_one_frame_gives_the_same_bytes(
    golden: Engine, arm_driver: Emulated, armhf_root: Path, tmp_path: Path, way: str, pixels: str, least: int
) -> None:
    """On the board's processor with and without the library; here with OpenCV and numpy. The network runs here."""
    frame, sizes = frame_of(pixels), golden.manifest.input
    given = np.empty((sizes.height, sizes.width, 4), np.uint8)
    Letterbox.fit(frame.shape[1], frame.shape[0], sizes.width, sizes.height).apply_rgbx(frame, given, sizes.fill)
    golden.manifest.save(tmp_path / "accelerator.json")
    np.save(tmp_path / "frame.npy", frame)
    np.save(tmp_path / "output.npy", golden.infer(np.ascontiguousarray(given[None, ..., :3]))[0])
    run = {"stdout": subprocess.PIPE, "check": True, "cwd": tmp_path}
    here = subprocess.run([sys.executable, SCRIPT, tmp_path], env=environment("off"), **run).stdout
    written = (tmp_path / "input.npy").read_bytes()
    (tmp_path / "input.npy").unlink()

    library = arm_driver.program.with_name("libfacedet_native.so") if way == "native" else "off"
    python = ("qemu-arm", "-cpu", "cortex-a9", "-L", armhf_root, armhf_root / "usr/bin/python3")
    board = subprocess.run([*python, SCRIPT, tmp_path], env=environment(str(library)), **run).stdout
    assert (tmp_path / "input.npy").read_bytes() == written
    assert board == here
    np.testing.assert_array_equal(np.load(tmp_path / "input.npy"), given)
    assert len(json.loads(here)["faces"]) >= least


def test_the_emulated_python_is_the_boards_kind(armhf_root: Path) -> None:
    """32 bits, and neither OpenCV nor pynq to lean on."""
    code = (
        "import importlib.util, platform, struct; found = [n for n in ('cv2', 'pynq') if importlib.util.find_spec(n)]; "
        "print(platform.machine(), 8 * struct.calcsize('P'), found)"
    )
    python = ("qemu-arm", "-cpu", "cortex-a9", "-L", armhf_root, armhf_root / "usr/bin/python3", "-c", code)
    assert subprocess.run(python, capture_output=True, text=True, check=True).stdout == "armv7l 32 []\n"
