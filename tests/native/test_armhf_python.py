"""The board's process on the board's processor: Debian's armhf Python and numpy under qemu-arm, no OpenCV, no pynq."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.manifest import HeadInfo, InputInfo, Manifest, ModelInfo
from tests.conftest import REPOSITORY
from tests.native.cases import ANCHORS, GRID, crowd
from tests.native.emulator import Emulated

SCRIPT = Path(__file__).with_name("one_frame.py")
HEAD = HeadInfo(
    grid_height=GRID,
    grid_width=GRID,
    channels=6 * len(ANCHORS),
    stride=32,
    anchors=tuple((float(w), float(h)) for w, h in ANCHORS),
    output_scale=1 / 128,
    score_threshold=0.3,
    nms_iou=0.45,
)
MANIFEST = Manifest(ModelInfo("crowd", "0" * 64, {}), InputInfo(416, 416, 3, 114), HEAD)


def environment(native: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", "FACEDET_NATIVE": native}


@pytest.mark.parametrize("shape", [(480, 640, 3), (720, 1280, 2), (333, 501)], ids=["bgr", "yuyv", "grey"])
@pytest.mark.parametrize("way", ["native", "numpy"])
def test_one_frame_gives_the_same_bytes(
    arm_driver: Emulated, armhf_root: Path, tmp_path: Path, rng: np.random.Generator, way: str, shape: tuple[int, ...]
) -> None:
    """On the board's processor with and without the library; here with OpenCV and numpy."""
    MANIFEST.save(tmp_path / "accelerator.json")
    np.save(tmp_path / "frame.npy", rng.integers(0, 256, shape, dtype=np.uint8))
    np.save(tmp_path / "output.npy", crowd(rng, 64))
    run = {"stdout": subprocess.PIPE, "check": True, "cwd": tmp_path}
    here = subprocess.run([sys.executable, SCRIPT, tmp_path], env=environment("off"), **run).stdout
    pixels = (tmp_path / "input.npy").read_bytes()
    (tmp_path / "input.npy").unlink()

    library = arm_driver.program.with_name("libfacedet_native.so") if way == "native" else "off"
    python = ("qemu-arm", "-cpu", "cortex-a9", "-L", armhf_root, armhf_root / "usr/bin/python3")
    board = subprocess.run([*python, SCRIPT, tmp_path], env=environment(str(library)), **run).stdout
    assert (tmp_path / "input.npy").read_bytes() == pixels
    assert board == here
    assert len(json.loads(here)["faces"]) > 5


def test_the_emulated_python_is_the_boards_kind(armhf_root: Path) -> None:
    """32 bits, and neither OpenCV nor pynq to lean on."""
    code = (
        "import importlib.util, platform, struct; found = [n for n in ('cv2', 'pynq') if importlib.util.find_spec(n)]; "
        "print(platform.machine(), 8 * struct.calcsize('P'), found)"
    )
    python = ("qemu-arm", "-cpu", "cortex-a9", "-L", armhf_root, armhf_root / "usr/bin/python3", "-c", code)
    assert subprocess.run(python, capture_output=True, text=True, check=True).stdout == "armv7l 32 []\n"
