"""What the repository keeps of the notebooks: outputs with pictures, small, of no particular machine."""

import base64
import json
import re
from typing import Any

import cv2
import numpy as np
import pytest

from ..conftest import REPOSITORY
from .workshop import BOARD_BOOKS, NOTEBOOKS, PC_BOOK, outputs_of, text_of

MOST_BYTES = 300_000
PATHS = re.compile(r"(?<![\w.])/(?:work|tmp|root|home|usr|opt|var)/(?!xilinx)|site-packages|Traceback|internal error")
"""What no output may hold: a path of a machine (the board's /home/xilinx is everybody's), an error of ours."""


def book(name: str) -> dict[str, Any]:
    """Return a notebook as the repository has it."""
    loaded: dict[str, Any] = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
    return loaded


def pictures_of(name: str) -> list[Any]:
    """Return the decoded pictures in the outputs of a notebook."""
    data = [output.get("data", {}) for output in outputs_of(book(name))]
    coded = [value for item in data for kind, value in item.items() if kind in ("image/jpeg", "image/png")]
    raw = [np.frombuffer(base64.b64decode("".join(value)), np.uint8) for value in coded]
    return [cv2.imdecode(picture, cv2.IMREAD_COLOR) for picture in raw]


def test_there_are_the_five() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == [*BOARD_BOOKS, PC_BOOK]


@pytest.mark.parametrize("name", [*BOARD_BOOKS, PC_BOOK])
def test_every_cell_has_run_in_order_without_error(name: str) -> None:
    cells = [cell for cell in book(name)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output["output_type"] != "error" for output in outputs_of(book(name)))
    assert any(text_of(output).strip() for output in outputs_of(book(name)))


@pytest.mark.parametrize("name", BOARD_BOOKS)
def test_pictures_are_kept(name: str) -> None:
    pictures = pictures_of(name)
    assert pictures
    for picture in pictures:
        # Drawn on, not one colour.
        assert picture is not None and min(picture.shape[:2]) > 50 and picture.std() > 10


@pytest.mark.parametrize("name", [*BOARD_BOOKS, PC_BOOK])
def test_outputs_are_small_and_of_no_machine(name: str) -> None:
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < MOST_BYTES
    text = json.dumps([{k: v for k, v in o.items() if k != "data"} for o in outputs_of(book(name))])
    text += json.dumps(
        [{k: v for k, v in o.get("data", {}).items() if not k.startswith("image/")} for o in outputs_of(book(name))]
    )
    assert not PATHS.findall(text)
    assert str(REPOSITORY) not in text


@pytest.mark.parametrize("name", BOARD_BOOKS)
def test_the_head_says_where_the_outputs_are_from(name: str) -> None:
    head = "".join(book(name)["cells"][0]["source"])
    assert "Outputs kept in this file are from the software board" in head
    assert "not measured" in head


@pytest.mark.parametrize("name", [*BOARD_BOOKS, PC_BOOK])
def test_sources_are_what_the_linter_wants_of_scripts(name: str) -> None:
    """Each code cell is Python of the board's version, IPython's own lines left out."""
    for cell in book(name)["cells"]:
        if cell["cell_type"] == "code":
            lines = ["pass" if line.startswith(("!", "%")) else line for line in "".join(cell["source"]).split("\n")]
            compile("\n".join(lines), name, "exec", dont_inherit=True)
            assert all(len(line) <= 120 for line in lines)


def test_what_a_wrong_overlay_shows_is_a_mismatch_of_hashes() -> None:
    said = "\n".join(text_of(output) for output in outputs_of(book("4_swap_model")))
    model = re.search(
        r"hardware was built from the model ([0-9a-f]{32}), the manifest of \S+ is for ([0-9a-f]{32});", said
    )
    assert model and model[1] != model[2]


@pytest.mark.parametrize("name", [*BOARD_BOOKS, PC_BOOK])
def test_a_notebook_sends_nobody_on_a_board_to_a_file_that_is_not_there(name: str) -> None:
    """The wheel brings the notebooks and no docs/; what must be done before they run is said in them."""
    text = "".join("".join(cell["source"]) for cell in book(name)["cells"])
    assert "docs/board.md" not in text
