"""What the documents point at exists, and nothing in them waits to be filled in."""

import re
from pathlib import Path

import pytest

from .conftest import REPOSITORY

DOCUMENTS = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("docs/*.md"),
        *REPOSITORY.glob("hls/*.md"),
        *REPOSITORY.glob("fpga_facedet/zoo/*/*.md"),
    ]
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    text = document.read_text()
    assert not re.search(r"@[A-Z]+@|TODO|TBD", text)
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} points at {target}"


def test_the_readme_names_every_command() -> None:
    from typer.main import get_command

    from fpga_facedet.cli import app

    text = (REPOSITORY / "README.md").read_text()
    for command in get_command(app).commands:  # type: ignore[attr-defined]
        assert f"facedet {command}" in text or f"make {command}" in text, command
