"""The small accelerator that the compiler's tests look at, built once in each style."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from qonnx.core.modelwrapper import ModelWrapper

from fpga_facedet.boards import Board, get_board
from fpga_facedet.compiler import flow
from fpga_facedet.compiler.folding import Request
from fpga_facedet.compiler.hls.styles import Styles
from fpga_facedet.manifest import Manifest
from tests.compiler import nets


@dataclass(frozen=True)
class Built:
    """A finished build: its folder, its model, its manifest, and what it told about its progress."""

    folder: Path
    model: Path
    manifest: Manifest
    told: list[tuple[str, float]]

    def graph(self, step: str) -> ModelWrapper:
        number = flow.STEPS.index(step) + 1
        return ModelWrapper(str(self.folder / "steps" / f"{number:02d}_{step}.onnx"))


@pytest.fixture(scope="session")
def board() -> Board:
    return get_board("pynq-z2")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nets.export(nets.spec(), tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="session")
def built(model: Path, board: Board, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder, told = tmp_path_factory.mktemp("build"), []
    manifest = flow.build(model, board, folder, request=Request(20_000), progress=lambda *news: told.append(news))
    return Built(folder, model, manifest, told)


@pytest.fixture(scope="session")
def built_hls(built: Built, board: Board, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The same accelerator with all layers in HLS."""
    folder, told = tmp_path_factory.mktemp("build-hls") / "accelerator", []
    shutil.copytree(built.folder, folder)
    manifest = flow.build(
        built.model, board, folder, request=Request(20_000), from_step="fold", layers=Styles.hls(),
        progress=lambda *news: told.append(news),
    )  # fmt: skip
    return Built(folder, built.model, manifest, told)
