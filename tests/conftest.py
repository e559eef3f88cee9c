"""Fixtures that every room's tests share."""

import os
import signal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

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


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(20260101)


@pytest.fixture(scope="session")
def astronaut_bgr() -> npt.NDArray[np.uint8]:
    """scikit-image's portrait of Eileen Collins, BGR uint8 (512, 512, 3)."""
    data = pytest.importorskip("skimage.data", reason="the photograph comes with scikit-image")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])
