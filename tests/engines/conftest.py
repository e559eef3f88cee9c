from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy's overlay folder."""
    from .on_board import toy_overlay

    return toy_overlay(tmp_path_factory.mktemp("toy"))
