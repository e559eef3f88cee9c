"""The house keeps its order: imports run down the floors, and heavy packages stay where they are used."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import REPOSITORY

PACKAGE = REPOSITORY / "fpga_facedet"
FLOORS = {
    "cli": 10,
    "__main__": 11,
    "demo": 9,
    "notebooks": 9,
    "assessment": 8,
    "board": 8,
    "console": 8,
    "doctor": 8,
    "host": 7,
    "software_board": 8,
    "synthesis": 7,
    "verification": 7,
    "engines": 6,
    "training": 6,
    "simulation": 5,
    "compiler": 4,
    "evaluation": 4,
    "network": 3,
    "stream": 3,
}
GROUND = 1
BOARD_ENGINES = ("board", "board_worker", "dma_wait", "hardware", "overlay_folder", "protocol", "ring", "slots")
BOARD_ROOMS = ("host", "stream", "native", *(f"engines/{name}.py" for name in BOARD_ENGINES))
BOARD_GROUND = ("errors.py", "files.py", "manifest.py", "boards.py", "shell.py", "detections.py", "letterbox.py")
PYNQ_ROOMS = ("board", "software_board")
"""They too run on the board's Python, and import pynq."""
HEAVY = ("torch", "brevitas", "finn", "qonnx", "onnx", "onnxruntime", "pydantic", "tomllib", "scipy", "matplotlib")


def room_of(module: str) -> str:
    """`fpga_facedet.host.decode` -> `host`; a ground-floor module gives its own name."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def floor_of(module: str) -> int:
    return FLOORS.get(room_of(module), GROUND)


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 11))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module == "fpga_facedet" else [node.module]


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_imports_run_down_the_house(path: Path) -> None:
    here = module_of(path)
    for name in imports(path):
        if name.startswith("fpga_facedet"):
            same_room = room_of(name) == room_of(here)
            assert same_room or floor_of(name) < floor_of(here) or floor_of(here) == floor_of(name) == GROUND, (
                f"{here} (floor {floor_of(here)}) imports {name} (floor {floor_of(name)})"
            )


def board_modules(*rooms: str) -> list[str]:
    files = [
        path
        for name in rooms
        for path in ([PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*.py"))
    ]
    return sorted(module_of(path) for path in files)


def test_the_board_needs_numpy_alone() -> None:
    """All that runs on the board imports with every heavy package, OpenCV and pynq made unimportable.

    OpenCV is what reads cameras and pictures there, pynq what reaches the hardware: both come with the board's image,
    and only what uses them imports them.
    """
    block = f"import sys; sys.modules.update(dict.fromkeys({(*HEAVY, 'cv2', 'pynq')!r}))"
    code = "; ".join([block, *(f"import {module}" for module in board_modules(*BOARD_ROOMS, *BOARD_GROUND))])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert result.returncode == 0, result.stderr


def test_the_board_rooms_are_python_3_10() -> None:
    for module in board_modules(*BOARD_ROOMS, *BOARD_GROUND, *PYNQ_ROOMS):
        path = REPOSITORY / Path(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        ast.parse(path.read_text(), feature_version=(3, 10))


def test_help_and_the_package_itself_import_nothing_heavy() -> None:
    code = (
        "import sys, fpga_facedet.cli; "
        f"loaded = [name for name in {(*HEAVY, 'cv2', 'numpy')!r} if name in sys.modules]; "
        "assert not loaded, loaded"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert result.returncode == 0, result.stderr
