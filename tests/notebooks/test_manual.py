"""docs/board.md, the manual of the board, says what the program says."""

import ast
import re
from collections.abc import Iterator

import pytest

from ..conftest import REPOSITORY

MANUAL = REPOSITORY / "docs/board.md"
SOURCES = (
    *("engines/board.py", "engines/board_worker.py", "engines/hardware.py", "engines/overlay_folder.py"),
    *("board/face_detector.py", "host/sources.py"),
)


def sentences() -> list[str]:
    """Return the texts of the sources that say errors, what they fill in replaced by an ellipsis."""
    texts = []
    for source in SOURCES:
        for node in ast.walk(ast.parse((REPOSITORY / "fpga_facedet" / source).read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def promised() -> Iterator[str]:
    """Yield each sentence that the manual's table quotes."""
    table = MANUAL.read_text().split("| it says | do |")[1].split("\n## ")[0]
    for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE):
        if not row.startswith("---"):
            yield from row.split(" / ")


@pytest.mark.parametrize("sentence", promised())
def test_quoted_errors_are_those_of_the_program(sentence: str) -> None:
    """An ellipsis stands for what is filled in, which may be a part of the sentence that has its own text."""
    parts = [part.strip(" ;") for part in sentence.split("…") if len(part.strip(" ;")) > 3]
    assert parts
    for part in parts:
        assert any(part in text for text in sentences()), part


def test_the_table_is_not_empty() -> None:
    assert len(list(promised())) > 20


def test_what_only_a_board_shows_is_said_to_be_open() -> None:
    text = MANUAL.read_text()
    assert "Nobody has done this on a board yet" in text
    assert "## Not measured" in text
    assert not re.search(r"\d (frames a second|FPS|fps)", text)


def test_the_packages_to_fetch_are_those_that_pip_would() -> None:
    """Typer from 0.29 on wants pydantic 2, whose core is compiled, and which pynq's own metadata may not take."""
    (asked,) = re.findall(r"^dependencies = \[(.*?)^\]", (REPOSITORY / "pyproject.toml").read_text(), re.M | re.S)
    fetched = {name for name in re.findall(r'^\s*"([^"]+)"', asked, re.M) if name.startswith(("typer", "rich"))}
    assert len(fetched) == 2
    assert fetched == set(re.findall(r'"((?:typer|rich)[^"]*)"', MANUAL.read_text()))


def test_the_variable_is_set_where_jupyter_sees_it() -> None:
    """PYNQ's start_jupyter.sh reads /etc/environment, at boot; what a shell exports never gets there."""
    book = (REPOSITORY / "fpga_facedet/notebooks/5_regenerate_the_bitstream.ipynb").read_text()
    for text in (MANUAL.read_text(), book):
        assert "FACEDET_BITSTREAMS=/home/xilinx/bitstreams >> /etc/environment" in text
        assert "systemctl restart jupyter" in text
        assert "export FACEDET_BITSTREAMS" not in text
