"""Executes all notebooks and keeps what they show in the repository: run it after a change of model or notebook.

    .venv/bin/python -m tests.notebooks.refresh

Takes some minutes. Needs `make setup` and `make boards`.
"""

import json
import sys
import tempfile
from pathlib import Path

from fpga_facedet.files import write_bytes

from ..board_python import find_board_python
from . import overlays
from .workshop import BOARD_BOOKS, NOTEBOOKS, PC_BOOK, Executed, Workshop

PYNQ = "3.1.2"


def keep(name: str, done: Executed) -> None:
    """Replace the notebook `name` by the executed one."""
    text = json.dumps(done.book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    write_bytes(NOTEBOOKS / f"{name}.ipynb", text.encode())
    print(f"{name}: {len(text):,} bytes", flush=True)


def refresh(place: Path, python: Path) -> None:
    """Execute with `python` the fifth notebook, and with what it built the others."""
    accelerators = place / "accelerators"
    shop = Workshop(place, python, accelerators)
    built = shop.execute(PC_BOOK)
    accelerators.mkdir()
    (accelerators / overlays.MODEL).symlink_to(built.folder / f"build/{overlays.MODEL}-{overlays.BOARD}")
    overlays.build(accelerators)
    done = {PC_BOOK: built, **{name: shop.execute(name) for name in BOARD_BOOKS}}
    # Only when all went well: the five belong together.
    for name, executed in done.items():
        keep(name, executed)


if __name__ == "__main__":
    python = find_board_python(PYNQ)
    if python is None:
        sys.exit(f"There is no .venv-board-{PYNQ}; make it with: make boards.")
    with tempfile.TemporaryDirectory(prefix="facedet-notebooks-") as folder:
        refresh(Path(folder), python)
