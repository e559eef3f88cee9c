"""The manifest survives its file and says what is wrong with a bad one."""

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
        layer_style="rtl",
        stream=StreamInfo(6144, 3, 8, 36, 1, 8),
        layers=(LayerInfo("MVAU_rtl_0", "MVAU_rtl", {"PE": 2}, {"weight": 4}, 100, {"dsp": 3.0}),),
        fifos=(FifoInfo("StreamingFIFO_rtl_0", "MVAU_rtl_0", 2, 8),),
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
        ('{"format": "facedet-accelerator/1"}', "lacks or garbles 'head'"),
        ('{"format": "facedet-accelerator/1", "model": {}}', "lacks or garbles"),
    ],
)
def test_a_bad_manifest_is_explained(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(UserError, match=message):
        Manifest.load(tmp_path)


def test_a_missing_manifest_says_build_first(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="build the accelerator first"):
        Manifest.load(tmp_path)
