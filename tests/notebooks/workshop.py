"""Where notebooks are executed: a working folder with overlays for the software board, and a kernel that has one."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..conftest import REPOSITORY
from . import overlays

NOTEBOOKS = REPOSITORY / "fpga_facedet/notebooks"
HERE = Path(__file__).resolve().parent
PC_BOOK = "5_regenerate_the_bitstream"
BOARD_BOOKS = ("1_first_detection", "2_live_camera", "3_stream_to_a_client", "4_swap_model")


def command(*words: Any, **environment: str) -> None:
    """Run a command in the checkout; RuntimeError with all it said where it fails."""
    done = subprocess.run(
        [str(word) for word in words], cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


@dataclass(frozen=True)
class Executed:
    """A notebook as it came back, and the folder it ran in."""

    book: dict[str, Any]
    folder: Path

    def text(self) -> str:
        """Return all that the cells printed or showed as text."""
        return "\n".join(text_of(output) for output in outputs_of(self.book))


def outputs_of(book: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the outputs of all code cells, in order."""
    return [output for cell in book["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]]


def text_of(output: dict[str, Any]) -> str:
    """Return the text of one output, empty where it is none."""
    text = output.get("text", output.get("data", {}).get("text/plain", ""))
    return text if isinstance(text, str) else "".join(text)


class Workshop:
    """Executes notebooks with the Python of `python`; `place` holds what they need and what they write.

    The software board computes with the accelerators in `accelerators`, made by overlays.py.
    """

    def __init__(self, place: Path, python: Path, accelerators: Path) -> None:
        self.place, self.python, self.accelerators = place, python, accelerators
        startup = place / "ipython/profile_default/startup"
        startup.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "startup.py", startup / "00-software-board.py")
        self._lend_photograph(place / "packages/skimage")

    def _lend_photograph(self, package: Path) -> None:
        """Put scikit-image's portrait where the kernel looks: PYNQ images have the package, this Python has not."""
        import skimage

        photograph = package / "data/astronaut.png"
        photograph.parent.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        shutil.copy(Path(skimage.__file__).parent / "data/astronaut.png", photograph)

    def execute(self, name: str, probe: str | None = None) -> Executed:
        """Execute the notebook `name` in a folder of its own; RuntimeError with the traceback where a cell raises."""
        folder = self.place / name
        folder.mkdir(parents=True)
        environment = {"JUPYTER_PLATFORM_DIRS": "1", "JUPYTER_RUNTIME_DIR": str(self.place / "runtime")}
        if name == PC_BOOK:
            # The commands of the PC, whatever Python the kernel itself has.
            environment["PATH"] = f"{REPOSITORY / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
        else:
            self._shelve(folder / f"bitstreams/{overlays.BOARD}")
            environment |= {
                "IPYTHONDIR": str(self.place / "ipython"),
                "PYTHONPATH": os.pathsep.join([str(self.place / "packages"), os.environ.get("PYTHONPATH", "")]).rstrip(
                    os.pathsep
                ),
                "FACEDET_TEST_ACCELERATORS": str(self.accelerators),
            }
        result = self.place / f"{name}.ipynb"
        words = [self.python, "-m", "tests.notebooks.execute", NOTEBOOKS / f"{name}.ipynb", result, folder]
        if probe is not None:
            words.append(self.place / f"{name}.probe.py")
            words[-1].write_text(probe)
        command(*words, **environment)
        return Executed(json.loads(result.read_text()), folder)

    def _shelve(self, shelf: Path) -> None:
        """Put the accelerators' overlays where a notebook looks for them."""
        from fpga_facedet.software_board import prepare_overlay

        for model in overlays.MODELS:
            prepare_overlay(self.accelerators / model, shelf / model)
