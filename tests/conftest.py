"""Fixtures that every room's tests share."""

import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

SMALL_SPEC: dict[str, Any] = {
    "name": "small",
    "input": {"width": 96, "height": 64},
    "bits": {"weight": 4, "activation": 4, "first_weight": 8, "last_weight": 8},
    "layers": [
        {"channels": 8, "pool": 2},
        {"channels": 12, "pool": 2},
        {"channels": 16, "pool": 2},
        {"channels": 24, "pool": 2},
    ],
    "head": {"anchors": [[12, 16], [24, 32]]},
}
"""A detector of 64x96 pixels that trains in seconds, for rooms that need only some detector."""

# A processor that others use is no failure of an example.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# A shell starts what runs in its background with Ctrl-C ignored, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The developers' pictures; a user has none, and the tests that need them are skipped visibly."""
    place = Path(os.environ.get("FACEDET_SHARED", REPOSITORY.parent / "shared"))
    if not (place / "data").is_dir():
        pytest.skip(f"needs the developers' data in {place} (set FACEDET_SHARED)")
    return place


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's wheel, built from this checkout: what a board installs."""
    pytest.importorskip("hatchling", reason="needs the build back end")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(out)]
    subprocess.run([*command, str(REPOSITORY)], check=True, capture_output=True, text=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def lpyolo_accelerator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zoo's lpyolo-4w4a, all of its 416x416 pixels, as fast as RTL is on the PYNQ-Z2: not to be changed."""
    pytest.importorskip("finn", reason="the compiler")
    from fpga_facedet import zoo
    from fpga_facedet.boards import get_board
    from fpga_facedet.compiler import flow
    from fpga_facedet.compiler.folding import Request

    folder = tmp_path_factory.mktemp("lpyolo") / "rtl"
    flow.build(zoo.model_path("lpyolo-4w4a"), get_board("pynq-z2"), folder, Request(math.inf))
    return folder


@pytest.fixture(scope="session")
def lpyolo_hls_accelerator(lpyolo_accelerator: Path) -> Path:
    """The same network with HLS layers, folded for the default frame rate: not to be changed."""
    from fpga_facedet import zoo
    from fpga_facedet.boards import get_board
    from fpga_facedet.compiler import flow
    from fpga_facedet.compiler.hls.styles import Styles

    folder = lpyolo_accelerator.parent / "hls"
    shutil.copytree(lpyolo_accelerator / "steps", folder / "steps")
    flow.build(zoo.model_path("lpyolo-4w4a"), get_board("pynq-z2"), folder, from_step="fold", layers=Styles.hls())
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(20260101)


@pytest.fixture(scope="session")
def astronaut_bgr() -> npt.NDArray[np.uint8]:
    """scikit-image's portrait of Eileen Collins, BGR uint8 (512, 512, 3)."""
    data = pytest.importorskip("skimage.data", reason="the photograph comes with scikit-image")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])
