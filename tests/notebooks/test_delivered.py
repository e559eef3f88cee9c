"""pynq's own command delivers the notebooks out of the installed wheel, as on a board."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from ..board_python import PYNQS, board_python
from ..conftest import REPOSITORY
from .workshop import BOARD_BOOKS, NOTEBOOKS, PC_BOOK


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's files, as pip puts them into site-packages."""
    place = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(place)
    return place


def get_notebooks(site: Path, version: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `pynq get-notebooks` where this package is installed in `site`."""
    python = board_python(version)
    environment = {name: value for name, value in os.environ.items() if name != "BOARD"} | {"PYTHONPATH": str(site)}
    command = [str(python.with_name("pynq")), "get-notebooks", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("version", PYNQS)
def test_all_five_arrive_as_they_are(site: Path, tmp_path: Path, version: str) -> None:
    done = get_notebooks(site, version, "--ignore-overlays", "--path", str(tmp_path), "fpga-facedet")
    assert done.returncode == 0, done.stderr
    delivered = {path.name: path.read_bytes() for path in (tmp_path / "fpga-facedet").iterdir()}
    expected = {f"{name}.ipynb" for name in (*BOARD_BOOKS, PC_BOOK)}
    assert delivered == {name: (NOTEBOOKS / name).read_bytes() for name in expected}


def test_they_are_listed_under_the_name_that_the_manual_gives(site: Path) -> None:
    done = get_notebooks(site, "3.1.2", "--list")
    assert "- fpga-facedet (source: fpga_facedet)" in done.stdout
    manual = (REPOSITORY / "docs/board.md").read_text()
    assert "pynq get-notebooks --ignore-overlays" in manual
    assert "fpga-facedet" in manual


def test_without_a_board_pynq_itself_says_so(site: Path, tmp_path: Path) -> None:
    """Why the manual gives --ignore-overlays: without it pynq looks for a device, though no file here needs one."""
    done = get_notebooks(site, "3.1.2", "--path", str(tmp_path), "fpga-facedet")
    assert done.returncode != 0
    assert "No device found in the system" in done.stderr
    assert not list(tmp_path.iterdir())
