import errno
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from fpga_facedet.boards import Board
from fpga_facedet.compiler import flow
from fpga_facedet.compiler.folding import Request
from fpga_facedet.compiler.hls.styles import Styles
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import Figure, Manifest
from tests.compiler import nets, report_case
from tests.compiler.conftest import Built
from tests.folders import contents


def test_leaves_every_steps_graph_and_every_result(built: Built) -> None:
    saved = sorted(path.name for path in (built.folder / "steps").glob("*.onnx"))
    graphs = [(number, name) for number, name in enumerate(flow.STEPS, 1) if name != "sources"]
    assert saved == [f"{number:02d}_{name}.onnx" for number, name in graphs]
    for key, name in built.manifest.files.items():
        assert key.endswith("_sha256") or (built.folder / name).is_file(), name
    assert {path.name for path in built.folder.iterdir()} == {
        "accelerator.json",
        "golden.onnx",
        "report.html",
        "report.json",
        "rtl",
        "search.json",
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
    again = flow.build(built.model, board, folder, request=Request(20_000), from_step="specialise")
    assert again == built.manifest
    for path in (built.folder / "rtl").iterdir():
        assert (folder / "rtl" / path.name).read_bytes() == path.read_bytes(), path.name


def test_resumes_behind_a_step_that_saves_no_graph(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    (folder / "accelerator.json").unlink()
    flow.build(built.model, board, folder, request=Request(20_000), from_step="hardware", to_step="hardware")
    first, second = built.graph("hardware"), ModelWrapper(str(folder / "steps" / "05_hardware.onnx"))
    assert [node.op_type for node in first.graph.node] == [node.op_type for node in second.graph.node]


def test_takes_a_new_frame_rate_when_it_resumes_before_folding(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    slower = flow.build(built.model, board, folder, request=Request(5_000), from_step="fold")
    assert slower.figure("cycles_per_frame").value > built.manifest.figure("cycles_per_frame").value
    with pytest.raises(UserError, match="made with target_fps 5000, not 4000"):
        flow.build(built.model, board, folder, request=Request(4_000), from_step="fifos")


def test_stopping_early_leaves_no_accelerator(model: Path, board: Board, tmp_path: Path) -> None:
    flow.build(model, board, tmp_path, to_step="tidy")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "01_import.onnx",
        "02_tidy.onnx",
        "build.json",
    ]


def test_stopping_early_leaves_an_accelerator_its_own_steps(built: Built, board: Board, tmp_path: Path) -> None:
    """FIFO sizing goes on from them: those of another folding would quietly make it another accelerator."""
    folder = copy_of(built, tmp_path / "again")
    before = contents(folder)
    for request in (Request(5_000), Request(20_000)):
        with pytest.raises(UserError, match="holds an accelerator, .* stop at 'fold' in another folder"):
            flow.build(built.model, board, folder, request=request, from_step="fold", to_step="fold")
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ({"from_step": "folding"}, "no build step 'folding'; choose one of: import, tidy"),
        ({"to_step": "RTL"}, "no build step 'RTL'"),
        ({"from_step": "sources", "to_step": "fold"}, "Step 'sources' comes after 'fold'"),
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
        flow.build(built.model, board, folder, request=Request(20_000), from_step="sources")


def test_does_not_resume_where_a_result_is_missing(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    (folder / "steps" / "08_fold.onnx").unlink()
    with pytest.raises(UserError, match="Step 'fold' left no result"):
        flow.build(built.model, board, folder, request=Request(20_000), from_step="converters")


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


def results(folder: Path) -> dict[str, bytes]:
    """Every file of an accelerator but the steps that led to it."""
    return contents(folder, without="steps")


def built_alike(folder: Path) -> dict[str, bytes]:
    """Every file of an accelerator but those that say how many seconds the search took."""
    return {name: data for name, data in results(folder).items() if name not in ("search.json", "report.html")}


def test_a_frame_rate_out_of_reach_says_the_best_and_destroys_nothing(
    built: Built, board: Board, tmp_path: Path
) -> None:
    folder = copy_of(built, tmp_path / "again")
    with pytest.raises(UserError, match=r"1e\+06 frames a second are out of reach .*; the nearest .* is [\d.]+\."):
        flow.build(built.model, board, folder, request=Request(1e6), from_step="fold")
    assert results(folder) == results(built.folder)
    flow.build(built.model, board, folder, request=Request(20_000), from_step="fold")
    assert built_alike(folder) == built_alike(built.folder)


def test_a_senseless_frame_rate_is_refused_before_anything_else(model: Path, board: Board, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="A target of nan frames a second makes no sense"):
        flow.build(model, board, tmp_path / "out", request=Request(float("nan")))
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
        flow.build(built.model, board, folder, request=Request(5_000), from_step="fold")
    assert contents(folder) == before
    slower = flow.build(built.model, board, folder, request=Request(5_000), from_step="fold")
    assert Manifest.load(folder) == slower != built.manifest
    assert (folder / "simulator" / "kept").is_file() and not (folder / "steps" / "finished").exists()


def test_what_was_found_out_stays_with_the_same_hardware_alone(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    found = Figure("lut", 7.0, "LUTs", "synthesized")
    known = replace(
        built.manifest,
        figures=(*built.manifest.figures, found),
        versions={**built.manifest.versions, "yosys": "Yosys 0"},
    )
    known.save(folder / "accelerator.json")
    sha = known.files["rtl_sha256"]
    (folder / "fifos.json").write_text(json.dumps(report_case.FIFOS | {"rtl_sha256": sha}))
    same = flow.build(built.model, board, folder, from_step="sources", request=Request(20_000))
    assert same == known and (folder / "fifos.json").is_file()
    assert "most held" in (folder / "report.html").read_text()
    other = flow.build(built.model, board, folder, request=Request(5_000), from_step="fold")
    assert other.files["rtl_sha256"] != sha and found not in other.figures and "yosys" not in other.versions
    assert not (folder / "fifos.json").exists()


def test_a_folding_from_elsewhere_has_no_findings_of_the_search(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    (folder / "steps" / "search.json").unlink()
    flow.build(built.model, board, folder, from_step="converters", request=Request(20_000))
    assert not (folder / "search.json").exists()
    assert "no result of the folding search" in (folder / "report.html").read_text()


def test_the_golden_model_of_another_model_is_never_taken(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    (folder / "accelerator.json").unlink()  # beside it the early stop is refused
    before = results(folder)
    other = nets.export(nets.spec(3, 3), tmp_path / "other.onnx")
    flow.build(other, board, folder, to_step="streamline")
    with pytest.raises(UserError, match="Step 'golden' left no result"):
        flow.build(other, board, folder, from_step="hardware")
    assert results(folder) == before


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
        flow.build(built.model, board, folder, request=Request(20_000), from_step="fold")


@pytest.mark.parametrize("about", ["[1]", "{", "null"])
def test_a_damaged_note_about_the_build_is_no_build(built: Built, board: Board, tmp_path: Path, about: str) -> None:
    folder = copy_of(built, tmp_path / "again")
    (folder / "steps" / "build.json").write_text(about)
    with pytest.raises(UserError, match="no earlier build in .* to resume"):
        flow.build(built.model, board, folder, request=Request(20_000), from_step="fold")


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


def test_an_hls_build_differs_from_the_folding_on(built: Built, built_hls: Built) -> None:
    """The same steps before and the same golden model, the same keys in the manifest; `hls/` and another top."""
    before, after = results(built.folder), results(built_hls.folder)
    assert {name for name in after if name not in before} == {name for name in after if name.startswith("hls/")}
    assert {name for name in after if name.startswith("rtl/")} == {"rtl/top.sv", "rtl/files.txt"}
    assert after["golden.onnx"] == before["golden.onnx"]
    for path in sorted((built.folder / "steps").glob("*.onnx"))[: flow.STEPS.index("fold")]:
        assert (built_hls.folder / "steps" / path.name).read_bytes() == path.read_bytes(), path.name
    rtl, hls = built.manifest.to_dict(), built_hls.manifest.to_dict()
    assert rtl.keys() == hls.keys()
    same = rtl.keys() - {"layer_style", "layers", "segments", "figures", "files", "fifos", "stream", "versions"}
    assert {key: rtl[key] for key in same} == {key: hls[key] for key in same}
    assert rtl["layers"][0].keys() == hls["layers"][0].keys()
    assert [{**figure, "value": 0} for figure in rtl["figures"]] == [
        {**figure, "value": 0} for figure in hls["figures"]
    ]


def test_another_style_is_welcome_before_folding(built_hls: Built, built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built_hls, tmp_path / "again")
    (folder / "hls" / "verilog").mkdir()
    (folder / "hls" / "verilog" / "made.v").write_text("by Vitis HLS, in an hour")
    again = flow.build(
        built.model, board, folder, request=Request(20_000), from_step="fold", layers=Styles.parse("hls")
    )
    assert again == built_hls.manifest and (folder / "hls" / "verilog" / "made.v").is_file()
    assert json.loads((folder / "steps" / "build.json").read_text())["layers"] == "hls"
    plain = flow.build(built.model, board, folder, request=Request(20_000), from_step="fold")
    assert plain == built.manifest and built_alike(folder) == built_alike(built.folder)
    with pytest.raises(UserError, match="made with layers 'rtl', not 'hls'"):
        flow.build(
            built.model, board, folder, request=Request(20_000), from_step="converters", layers=Styles.parse("hls")
        )


def test_a_mixed_build_describes_its_segments(built: Built, board: Board, tmp_path: Path) -> None:
    folder, styles = copy_of(built, tmp_path / "again"), tmp_path / "styles.toml"
    styles.write_text('[layers]\n"*_4" = "hls"\nMVAU_1 = "hls"\n')
    manifest = flow.build(
        built.model, board, folder, request=Request(20_000), from_step="fold", layers=Styles.parse(styles)
    )
    assert Manifest.load(folder) == manifest and manifest.layer_style == "mixed"
    assert [part.name for part in manifest.segments] == [
        "facedet_rtl_0", "facedet_hls_1", "facedet_rtl_2", "facedet_hls_3",
    ]  # fmt: skip
    for before, behind in pairwise(manifest.segments):
        left, entered = before.stream, behind.stream
        assert (left.beats_out, left.lanes_out, left.bits_out) == (entered.beats_in, entered.lanes_in, entered.bits_in)
    first, last, whole = manifest.segments[0].stream, manifest.segments[-1].stream, manifest.stream
    assert (first.beats_in, first.lanes_in, first.bits_in) == (whole.beats_in, whole.lanes_in, whole.bits_in)
    assert (last.beats_out, last.lanes_out, last.bits_out) == (whole.beats_out, whole.lanes_out, whole.bits_out)
    assert {layer.name: layer.style for layer in manifest.layers}["MVAU_rtl_1"] == "hls"


@pytest.mark.parametrize("bits_of", ["weights", "activations"])
def test_bits_that_no_hls_layer_has_are_refused_before_the_folder_is_made(
    bits_of: str, model: Path, board: Board, tmp_path: Path
) -> None:
    proto = onnx.load(model)
    quantizers = [node for node in proto.graph.node if node.op_type == "Quant"]
    chosen = quantizers[0 if bits_of == "weights" else -1]
    chosen.input[3] = "many"
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([17]), "many"))
    onnx.save(proto, tmp_path / "wide.onnx")
    with pytest.raises(UserError, match=rf"The quantizer {chosen.name} of .*wide\.onnx has 17 bits, .* at most 16; "):
        flow.build(tmp_path / "wide.onnx", board, tmp_path / "out", layers=Styles.hls())
    assert not (tmp_path / "out").exists()


def test_layers_without_a_form_in_hls_leave_everything_as_it_was(
    built: Built, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(graph: ModelWrapper, styles: dict[str, str]) -> None:
        assert set(styles.values()) == {"hls"} and {node.name for node in graph.graph.node} == styles.keys()
        raise UserError("Layer MVAU_0 has no HLS form.")

    monkeypatch.setattr(flow, "check_supported", refuse)
    folder = copy_of(built, tmp_path / "again")
    everything = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="MVAU_0 has no HLS form"):
        flow.build(built.model, board, folder, request=Request(20_000), from_step="fold", layers=Styles.hls())
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == everything
    with pytest.raises(UserError, match="MVAU_0 has no HLS form"):
        flow.build(built.model, board, folder, request=Request(20_000), from_step="specialise", layers=Styles.hls())
    assert results(folder) == results(built.folder)


def test_a_pattern_without_a_layer_is_refused_before_folding(built: Built, board: Board, tmp_path: Path) -> None:
    folder = copy_of(built, tmp_path / "again")
    with pytest.raises(UserError, match="No layer is called 'MVAU_9'"):
        flow.build(
            built.model, board, folder, request=Request(5_000), from_step="specialise",
            layers=Styles("rtl", (("MVAU_9", "hls"),)),
        )  # fmt: skip
    assert (folder / "steps" / "08_fold.onnx").exists() and results(folder) == results(built.folder)


def test_hls_layers_that_do_not_fit_are_refused(built: Built, board: Board, tmp_path: Path) -> None:
    folder, small = copy_of(built, tmp_path / "again"), replace(board, lut=2_000)
    with pytest.raises(UserError, match=r"does not fit TUL PYNQ-Z2 at any speed: it needs [\d,]+ LUTs of 1,700"):
        flow.build(built.model, small, folder, request=Request(20_000), from_step="fold", layers=Styles.hls())
    assert results(folder) == results(built.folder)
