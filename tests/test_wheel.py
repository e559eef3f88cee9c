"""The one thing that a board installs: a pure wheel with all that runs there in it, and nothing heavy behind it."""

import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement

from .conftest import REPOSITORY

LIGHT = {"numpy", "opencv-python", "rich", "typer"}


def test_it_is_pure_and_brings_what_the_board_needs(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        "fpga_facedet/_native/" + source.name for source in (REPOSITORY / "native").iterdir() if source.suffix == ".cpp"
    ]
    wanted += [
        f"fpga_facedet/notebooks/{path.name}" for path in (REPOSITORY / "fpga_facedet/notebooks").glob("*.ipynb")
    ]
    wanted += ["fpga_facedet/_rtl/board_shell.sv", "fpga_facedet/_bitstreams/pynq-z2/lpyolo-4w4a/accelerator.json"]
    assert len(wanted) >= 8
    assert set(wanted) <= names


def test_a_board_fetches_nothing_heavy(wheel: Path) -> None:
    """On the board's processor no OpenCV either: the image brings its own."""
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    lines = HeaderParser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist") or []
    board = {"platform_machine": "armv7l", "python_version": "3.10", "extra": ""}
    asked = {r.name for r in map(Requirement, lines) if r.marker is None or r.marker.evaluate(board)}
    assert asked == LIGHT - {"opencv-python"}
    assert wheel.stat().st_size < 5_000_000


def test_the_installed_package_finds_its_own_files(wheel: Path, tmp_path: Path) -> None:
    """Unpacked away from the checkout: sources, overlays and notebooks are those of the wheel."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import fpga_facedet, pathlib; from fpga_facedet.compiler.rtllib import own_source; "
        "here = pathlib.Path(fpga_facedet.__file__).parent; "
        "assert own_source('board_shell.sv').is_relative_to(here), own_source('board_shell.sv'); "
        "from fpga_facedet import native; print(here)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}
    )
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()) == tmp_path / "fpga_facedet"


def test_on_a_board_what_is_for_a_pc_says_so(wheel: Path, tmp_path: Path) -> None:
    """The board has none of the PC's packages: every command says that in one sentence, none is our fault."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import sys\n"
        "from fpga_facedet import cli\n"
        "sys.modules.update(dict.fromkeys(cli.PC_PACKAGES))\n"
        "sys.argv = ['facedet', *sys.argv[1:]]\n"
        "cli.main()\n"
    )
    commands = {
        "run": ["--source", str(REPOSITORY / "docs" / "demo.jpg")],
        "build": ["--out", "x"],
        "verify": ["x"],
        "export": ["--checkpoint", "lpyolo-4w4a", "--out", "x.onnx"],
        "train": ["--spec", "lpyolo-4w4a", "--data", "x", "--out", "y"],
        "eval": ["--data", "x"],
        "demo": [],
    }
    for command, options in commands.items():
        result = subprocess.run(
            [sys.executable, "-c", code, command, *options],
            capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        )  # fmt: skip
        last = result.stderr.strip().splitlines()[-1]
        assert result.returncode == 2, f"{command}: {result.stderr}"
        assert last.startswith("facedet: ") and "internal" not in last, f"{command}: {last}"
