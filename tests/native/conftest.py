"""The native library here and on the board's processor, and an empty cache for it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpga_facedet.native import binding as native
from tests.conftest import REPOSITORY
from tests.native.emulator import Emulated, arm_driver_in, build_driver, missing_tool


@pytest.fixture(scope="session")
def x86_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver for this machine."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    return build_driver("g++", tmp_path_factory.mktemp("host-driver"))


@pytest.fixture(scope="session")
def arm_driver(tmp_path_factory: pytest.TempPathFactory) -> Emulated:
    """The driver for the Cortex-A9, with the emulator that runs it."""
    if (missing := missing_tool()) is not None:
        pytest.skip(f"needs {missing} (Debian: g++-arm-linux-gnueabihf, qemu-user)")
    return arm_driver_in(tmp_path_factory.mktemp("arm-driver"))


@pytest.fixture(scope="session")
def armhf_root() -> Path:
    """Debian's armhf Python and numpy, unpacked by requirements/armhf.sh."""
    root = REPOSITORY / ".armhf"
    if not (root / ".ready").exists():
        pytest.skip("needs .armhf; make it with: sh requirements/armhf.sh")
    if shutil.which("qemu-arm") is None:
        pytest.skip("needs qemu-arm (Debian: qemu-user)")
    return root


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """No library found yet, an empty cache; returns the cache's folder."""
    monkeypatch.delenv("FACEDET_NATIVE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    native._found.cache_clear()
    yield tmp_path / "cache" / "facedet"
    native._found.cache_clear()
