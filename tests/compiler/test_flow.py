import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from fpga_facedet.boards import Board
from fpga_facedet.compiler import flow
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import Manifest
from tests.compiler.conftest import Built


def test_leaves_every_steps_graph_and_every_result(built: Built) -> None:
    saved = sorted(path.name for path in (built.folder / "steps").glob("*.onnx"))
    graphs = [(number, name) for number, name in enumerate(flow.STEPS, 1) if name not in ("golden", "rtl")]
    assert saved == [f"{number:02d}_{name}.onnx" for number, name in graphs]
    for name in built.manifest.files.values():
        assert (built.folder / name).is_file(), name
    assert Manifest.load(built.folder) == built.manifest


def test_tells_its_progress(built: Built) -> None:
    texts, shares = zip(*built.told, strict=True)
    assert len(texts) == len(flow.STEPS) + 1
    assert shares[0] == 0 and shares[-1] == 1 and sorted(shares) == list(shares)


def test_says_nothing_on_the_console(
    model: Path, board: Board, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flow.build(model, board, tmp_path, to_step="hardware")
    assert capfd.readouterr() == ("", "")


def test_leaves_home_and_environment_alone(
    model: Path, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = dict(os.environ)
    flow.build(model, board, tmp_path / "out", to_step="streamline")
    assert dict(os.environ) == before
    assert not list((tmp_path / "home").iterdir())


def copy_of(built: Built, place: Path) -> Path:
    """Return a copy of the small build to go on with."""
    import shutil

    shutil.copytree(built.folder, place)
    return place


def test_resumes_with_the_same_result(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    (folder / "rtl" / "top.sv").unlink()
    again = flow.build(built.model, board, folder, target_fps=20_000, from_step="specialise")
    assert again == built.manifest
    for path in (built.folder / "rtl").iterdir():
        assert (folder / "rtl" / path.name).read_bytes() == path.read_bytes(), path.name


def test_resumes_behind_a_step_that_saves_no_graph(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    flow.build(built.model, board, folder, target_fps=20_000, from_step="hardware", to_step="hardware")
    first, second = built.graph("hardware"), ModelWrapper(str(folder / "steps" / "05_hardware.onnx"))
    assert [node.op_type for node in first.graph.node] == [node.op_type for node in second.graph.node]


def test_takes_a_new_frame_rate_when_it_resumes_before_folding(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    slower = flow.build(built.model, board, folder, target_fps=5_000, from_step="fold")
    assert slower.figure("cycles_per_frame").value > built.manifest.figure("cycles_per_frame").value
    with pytest.raises(UserError, match="made with target_fps 5000, not 4000"):
        flow.build(built.model, board, folder, target_fps=4_000, from_step="fifos")


def test_stopping_early_leaves_no_accelerator(model: Path, board: Board, tmp_path: Path) -> None:
    flow.build(model, board, tmp_path, to_step="tidy")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "01_import.onnx",
        "02_tidy.onnx",
        "build.json",
    ]


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ({"from_step": "folding"}, "no build step 'folding'; choose one of: import, tidy"),
        ({"to_step": "RTL"}, "no build step 'RTL'"),
        ({"from_step": "rtl", "to_step": "fold"}, "Step 'rtl' comes after 'fold'"),
        ({"from_step": "fold"}, "left no result"),
    ],
)
def test_wrong_steps(steps: dict[str, str], says: str, model: Path, board: Board, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        flow.build(model, board, tmp_path, **steps)


def test_does_not_resume_the_build_of_another_model(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    about = folder / "steps" / "build.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "model_sha256": "0" * 64}))
    with pytest.raises(UserError, match="made with model_sha256 '0000"):
        flow.build(built.model, board, folder, target_fps=20_000, from_step="rtl")


def test_does_not_resume_where_a_result_is_missing(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    (folder / "steps" / "08_fold.onnx").unlink()
    with pytest.raises(UserError, match="Step 'fold' left no result"):
        flow.build(built.model, board, folder, target_fps=20_000, from_step="converters")


def spoilt(step: str, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[ModelWrapper], None]) -> None:
    """Let a step do its work and then spoil the graph."""
    real = flow._STEPS[step]

    def run(graph: ModelWrapper, build: object) -> ModelWrapper:
        graph = real.run(graph, build)
        spoil(graph)
        return graph

    monkeypatch.setitem(flow._STEPS, step, replace(real, run=run))


def test_a_step_that_changes_the_mathematics_is_found(
    model: Path, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_thresholds_by_one(graph: ModelWrapper) -> None:
        name = next(node for node in graph.graph.node if node.op_type.startswith("Thresholding")).input[1]
        graph.set_initializer(name, graph.get_initializer(name) + np.float32(1))

    spoilt("hardware", monkeypatch, raise_thresholds_by_one)
    with pytest.raises(InternalError, match=r"Step 'hardware' changed the mathematics: \d+ of 384 outputs differ"):
        flow.build(model, board, tmp_path)
    assert not (tmp_path / "steps" / "05_hardware.onnx").exists()
    assert not (tmp_path / "accelerator.json").exists()


def test_a_frame_rate_out_of_reach_says_the_best(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    with pytest.raises(UserError, match=r"1e\+06 frames a second are out of reach .* the best .* is \d+\."):
        flow.build(built.model, board, folder, target_fps=1e6, from_step="fold")


def test_missing_and_damaged_models(model: Path, board: Board, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing\\.onnx"):
        flow.build(tmp_path / "nothing.onnx", board, tmp_path / "out")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model.read_bytes()[:5000])
    with pytest.raises(UserError, match="broken\\.onnx"):
        flow.build(broken, board, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written(model: Path, board: Board, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot save"):
        flow.build(model, board, tmp_path / "file", to_step="import")
