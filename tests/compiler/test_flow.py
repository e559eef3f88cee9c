import errno
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from fpga_facedet.boards import Board
from fpga_facedet.compiler import flow
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import Manifest
from tests.compiler import nets
from tests.compiler.conftest import Built


def test_leaves_every_steps_graph_and_every_result(built: Built) -> None:
    saved = sorted(path.name for path in (built.folder / "steps").glob("*.onnx"))
    graphs = [(number, name) for number, name in enumerate(flow.STEPS, 1) if name != "rtl"]
    assert saved == [f"{number:02d}_{name}.onnx" for number, name in graphs]
    for key, name in built.manifest.files.items():
        assert key.endswith("_sha256") or (built.folder / name).is_file(), name
    assert {path.name for path in built.folder.iterdir()} == {
        "accelerator.json",
        "golden.onnx",
        "report.html",
        "report.json",
        "rtl",
        "steps",
    }
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


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of an accelerator but the steps that led to it."""
    files = [path for path in folder.rglob("*") if path.is_file() and "steps" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_frame_rate_out_of_reach_says_the_best_and_destroys_nothing(
    built: Built, board: Board, tmp_path: Path
) -> None:
    folder = copy_of(built, tmp_path / "again")
    with pytest.raises(UserError, match=r"1e\+06 frames a second are out of reach .* the best .* is \d+\."):
        flow.build(built.model, board, folder, target_fps=1e6, from_step="fold")
    assert contents(folder) == contents(built.folder)
    flow.build(built.model, board, folder, target_fps=20_000, from_step="fold")
    assert contents(folder) == contents(built.folder)


def test_a_senseless_frame_rate_is_refused_before_anything_else(model: Path, board: Board, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="A target of nan frames a second makes no sense"):
        flow.build(model, board, tmp_path / "out", target_fps=float("nan"))
    assert not (tmp_path / "out").exists()


def test_what_is_interrupted_at_the_very_end_destroys_nothing(
    built: Built, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of(built, tmp_path / "again")
    (folder / "simulator").mkdir()
    (folder / "simulator" / "kept").write_text("by its hash")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = contents(folder)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(flow.report, "write", interrupt)
        flow.build(built.model, board, folder, target_fps=5_000, from_step="fold")
    assert contents(folder) == before
    slower = flow.build(built.model, board, folder, target_fps=5_000, from_step="rtl")
    assert Manifest.load(folder) == slower != built.manifest
    assert (folder / "simulator" / "kept").is_file() and not (folder / "steps" / "finished").exists()


def test_the_golden_model_of_another_model_is_never_taken(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    other = nets.export(nets.spec(3, 3), tmp_path / "other.onnx")
    flow.build(other, board, folder, to_step="streamline")
    with pytest.raises(UserError, match="Step 'golden' left no result"):
        flow.build(other, board, folder, from_step="hardware")
    assert contents(folder) == contents(built.folder)


def test_one_build_at_a_time(model: Path, board: Board, tmp_path: Path) -> None:
    def build_again(text: str, share: float) -> None:
        with pytest.raises(UserError, match=r"Another build is writing .*again"):
            flow.build(model, board, tmp_path / "again", to_step="import")
        refused.append(text)

    refused: list[str] = []
    flow.build(model, board, tmp_path / "again", to_step="tidy", progress=build_again)
    assert len(refused) == 2


@pytest.mark.parametrize(
    ("step", "content"),
    [("01_import", "junk"), ("04_golden", "junk"), ("07_specialise", "junk"), ("07_specialise", "")],
)
def test_a_damaged_step_is_named(built: Built, board: Board, tmp_path: Path, step: str, content: str) -> None:
    folder = copy_of(built, tmp_path / "again")
    (folder / "steps" / f"{step}.onnx").write_text(content)
    with pytest.raises(UserError, match=rf"{step}\.onnx is damaged; build without --from-step"):
        flow.build(built.model, board, folder, target_fps=20_000, from_step="fold")


@pytest.mark.parametrize("about", ["[1]", "{", "null"])
def test_a_damaged_note_about_the_build_is_no_build(built: Built, board: Board, tmp_path: Path, about: str) -> None:
    folder = copy_of(built, tmp_path / "again")
    (folder / "steps" / "build.json").write_text(about)
    with pytest.raises(UserError, match="no earlier build in .* to resume"):
        flow.build(built.model, board, folder, target_fps=20_000, from_step="fold")


def test_a_full_temporary_disk_is_named(
    model: Path, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(graph: ModelWrapper) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    spoilt("tidy", monkeypatch, fill)
    with pytest.raises(UserError, match=rf"Cannot save {tmp_path}: the disk is full"):
        flow.build(model, board, tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=rf"Cannot save {tempfile.gettempdir()}: the disk is full"):
        flow.build(model, board, tmp_path)


def test_metadata_of_another_head_is_refused(model: Path, board: Board, tmp_path: Path) -> None:
    proto = onnx.load(model)
    head = next(item for item in proto.metadata_props if item.key == "facedet.head")
    said = json.loads(head.value)
    head.value = json.dumps({**said, "anchors": [[1, 2]] * 3, "channels": 18})
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(UserError, match=r"output of the model .*other\.onnx is \[4, 8, 12\], its metadata .*4, 8, 18"):
        flow.build(tmp_path / "other.onnx", board, tmp_path / "out")


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
