"""The manifest survives its file and says what is wrong with a bad one."""

import json
from pathlib import Path

import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.manifest import (
    FILE_NAME,
    FifoInfo,
    Figure,
    HeadInfo,
    InputInfo,
    LayerInfo,
    Manifest,
    ModelInfo,
    SegmentInfo,
    StreamInfo,
)


def example() -> Manifest:
    return Manifest(
        model=ModelInfo("small", "0" * 64, {"name": "small"}, {"steps": 3}, None),
        input=InputInfo(64, 96, 3, 114),
        head=HeadInfo(2, 3, 6, 32, ((10.0, 14.5),), 1 / 128, 0.4, 0.45),
        board="pynq-z2",
        part="xc7z020clg400-1",
        clock_mhz=100.0,
        layer_style="hls",
        stream=StreamInfo(6144, 3, 8, 36, 1, 8),
        layers=(LayerInfo("MVAU_rtl_0", "MVAU_rtl", {"PE": 2}, {"weight": 4}, 100, {"dsp": 3.0}, style="hls"),),
        fifos=(FifoInfo("StreamingFIFO_rtl_0", "MVAU_rtl_0", 2, 8),),
        segments=(SegmentInfo("facedet_hls_0", "hls", StreamInfo(6144, 3, 8, 36, 1, 8)),),
        figures=(Figure("fps", 100.0, "1/s", "estimated"), Figure("fps", 99.0, "1/s", "simulated")),
        files={"top": "rtl/top.sv"},
        versions={"finn-plus": "1.6.1"},
    )


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    example().save(tmp_path / FILE_NAME)
    assert Manifest.load(tmp_path) == example()
    assert Manifest.load(tmp_path / FILE_NAME) == example()


def test_the_figure_with_the_best_evidence_wins() -> None:
    figure = example().figure("fps")
    assert figure is not None and (figure.value, figure.evidence) == (99.0, "simulated")
    assert example().figure("power") is None


def test_a_figure_needs_known_evidence() -> None:
    with pytest.raises(UserError, match="evidence 'guessed'"):
        Figure("fps", 1.0, "1/s", "guessed")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "has format 'list'"),
        ('{"format": "other/9"}', "has format 'other/9'"),
        ('{"format": "facedet-accelerator/1"}', r"accelerator\.json: model is missing; build"),
        ('{"format": "facedet-accelerator/1", "model": {}}', r"accelerator\.json: model\.name is missing"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_bad_manifest_is_explained(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(UserError, match=message):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("model", 5, "model is 5 where it should be an object"),
        ("model.name", None, "model.name is null where it should be a text"),
        ("input", None, "input is null where it should be an object"),
        ("input.fill", 999, "input.fill is 999 where it should be 0 to 255"),
        ("input.fill", -1, "input.fill is -1 where it should be 0 to 255"),
        ("input.channels", 4, "input.channels is 4 where it should be 3"),
        ("input.width", True, "input.width is true where it should be a whole number"),
        ("input.width", 96.5, "input.width is 96.5 where it should be a whole number"),
        ("input.width", 128, "head.grid_width is 3, which with head.stride 32 is not input.width 128"),
        ("head.anchors", [], "head.channels is 6 where 0 anchors take 0"),
        ("head.anchors", [[10, 14], [1, 2]], "head.channels is 6 where 2 anchors take 12"),
        ("head.anchors", "10", 'head.anchors is "10" where it should be a list'),
        ("head.anchors", [[10]], "head.anchors.0 is [10] where it should be a list of 2"),
        ("head.anchors", [[10, -1]], "head.anchors.0.1 is -1 where it should be 1e-06 to 1e+09"),
        ("head.anchors", [[10, float("nan")]], "head.anchors.0.1 is NaN where it should be a number"),
        ("head.stride", None, "head.stride is null where it should be a whole number"),
        ("head.stride", 0, "head.stride is 0 where it should be 1 to 1e+09"),
        ("head.output_scale", 10**400, "where it should be a number"),
        ("head.score_threshold", 1.5, "head.score_threshold is 1.5 where it should be 0 to 1"),
        ("stream", 7, "stream is 7 where it should be an object"),
        ("stream.lanes_in", 0, "stream.lanes_in is 0 where it should be 1 to 1e+09"),
        ("layers", {}, "layers is {} where it should be a list"),
        ("layers.0.folding", {"PE": "x"}, 'layers.0.folding.PE is "x" where it should be a whole number'),
        ("figures.0.evidence", "guessed", "evidence 'guessed'"),
        ("layers.0.style", None, "layers.0.style is null where it should be a text"),
        ("segments", 1, "segments is 1 where it should be a list"),
        ("segments.0.stream", None, "segments.0.stream is null where it should be an object"),
        ("segments.0.stream.beats_in", 0, "segments.0.stream.beats_in is 0 where it should be 1 to 1e+09"),
        ("files", ["top"], 'files is ["top"] where it should be an object'),
        ("versions", "1", 'versions is "1" where it should be an object'),
    ],
)
def test_a_wrong_value_of_a_manifest_is_named(tmp_path: Path, place: str, value: object, message: str) -> None:
    data = json.loads(json.dumps(example().to_dict()))
    *parents, key = place.split(".")
    target = data
    for parent in parents:
        target = target[int(parent)] if isinstance(target, list) else target[parent]
    target[key] = value
    (tmp_path / FILE_NAME).write_text(json.dumps(data))
    with pytest.raises(UserError) as raised:
        Manifest.load(tmp_path)
    text = str(raised.value)
    assert f"{tmp_path / FILE_NAME}: " in text and message in text and text.count("; build the accelerator again.") == 1


def test_keys_of_a_newer_version_are_ignored(tmp_path: Path) -> None:
    data = example().to_dict()
    data["weather"] = data["head"]["colour"] = 1
    assert Manifest.from_dict(json.loads(json.dumps(data))) == example()


def test_a_manifest_from_before_there_was_hls_is_all_rtl() -> None:
    data = json.loads(json.dumps(example().to_dict()))
    del data["segments"], data["layers"][0]["style"]
    manifest = Manifest.from_dict(data)
    assert manifest.segments == () and manifest.layers[0].style == "rtl"


def test_a_missing_manifest_says_build_first(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="build the accelerator first"):
        Manifest.load(tmp_path)
