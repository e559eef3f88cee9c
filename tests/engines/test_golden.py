"""The golden engine against QONNX's execution of the exported model, and against FINN's hardware layers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from fpga_facedet import zoo
from fpga_facedet.compiler import integer
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.layers import to_hardware
from fpga_facedet.compiler.streamline import streamline
from fpga_facedet.engines import golden
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.errors import UserError
from fpga_facedet.files import saving
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.manifest import FILE_NAME, Manifest
from fpga_facedet.network.export import export_qonnx
from fpga_facedet.network.metadata import manifest_of_model
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.spec import DetectorSpec

Frames = npt.NDArray[np.uint8]


def small_spec(weight_bits: int, activation_bits: int) -> DetectorSpec:
    """Every feature of a spec at a size that runs in milliseconds; not square."""
    return DetectorSpec.from_dict(
        {
            "name": f"small-{weight_bits}w{activation_bits}a",
            "input": {"width": 96, "height": 64},
            "bits": {"weight": weight_bits, "activation": activation_bits, "first_weight": 8, "last_weight": 8},
            "layers": [
                {"channels": 4, "pool": 2},
                {"channels": 6, "stride": 2},
                {"channels": 8, "pool": 2},
                {"channels": 8, "kernel": 1, "pool": 2},
                {"channels": 5, "pool": 2},
            ],
            "head": {"kernel": 3, "anchors": [[10, 14], [23, 27]]},
        }
    )


def export(spec: DetectorSpec, path: Path) -> Path:
    """Export a network whose weights and BatchNorms, of both signs, are random but spread like trained ones."""
    torch.manual_seed(7)
    network = TinyYolo(spec)
    for block in network.blocks:
        norm = block.norm
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.4, 1.2)
        torch.nn.init.uniform_(norm.weight, -1.6, 1.6)
        torch.nn.init.normal_(norm.bias, 0.5, 0.3)
    torch.nn.init.normal_(network.head.weight, 0, 0.3)
    export_qonnx(network, spec, path)
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(small_spec(4, 4), tmp_path_factory.mktemp("golden") / "model.onnx")


@pytest.fixture(scope="session")
def golden_model(model: Path) -> bytes:
    return bytes(integer.build(streamline(model)).SerializeToString())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "facedet"


@pytest.fixture
def compiled(golden_model: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every path this test compiles; the result is that of the one real compilation all tests share."""
    paths: list[Path] = []

    def compile_again(path: Path) -> bytes:
        paths.append(path)
        return golden_model

    monkeypatch.setattr(golden, "_compile", compile_again)
    return paths


@pytest.fixture
def accelerator(model: Path, golden_model: bytes, tmp_path: Path) -> Path:
    """The part of an accelerator's folder that the golden engine reads."""
    folder = tmp_path / "accelerator"
    manifest_of_model(model).save(folder / FILE_NAME)
    (folder / "golden.onnx").write_bytes(golden_model)
    return folder


@pytest.fixture
def frames(rng: np.random.Generator) -> Frames:
    """All dark, all light, a checkerboard of both, noise, and dim noise: float32 has trouble with none of them."""
    shape = (64, 96, 3)
    checkers = (np.indices(shape[:2]).sum(axis=0) % 2 * 255)[..., None] * np.ones(3)
    noise = rng.integers(0, 256, shape)
    return np.stack([np.zeros(shape), np.full(shape, 255), checkers, noise, noise // 9]).astype(np.uint8)


def assert_equals_exported(raw: npt.NDArray[np.int8], path: Path, frames: Frames) -> None:
    """Check `raw` against the exported model's own output, by QONNX in float32, in units of 1/128.

    Thresholds are exact; QONNX rounds real numbers, half to even, after float32 has rounded them. Only where such a
    number comes out half-way between two integers, to within float32's error, may they choose differently.
    """
    model = ModelWrapper(str(path))
    quantizer = model.find_producer(model.graph.output[0].name)
    for one, frame in zip(raw, frames, strict=True):
        x = frame.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        context = execute_onnx(model, {model.graph.input[0].name: x}, return_full_exec_context=True)
        rounded, real = (
            context[name][0].transpose(1, 2, 0) * 128.0 for name in (quantizer.output[0], quantizer.input[0])
        )
        half_way = np.abs(real - np.floor(real) - 0.5) < 1e-3
        np.testing.assert_array_equal(np.where(half_way, rounded, one), rounded)
        assert np.abs(rounded - one).max() <= 1


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(2, 4), (3, 5), (4, 2), (6, 4), (8, 3)])
def test_equals_the_exported_model_at_the_bits_of_the_literature(
    weight_bits: int, activation_bits: int, frames: Frames, cache: Path, tmp_path: Path
) -> None:
    path = export(small_spec(weight_bits, activation_bits), tmp_path / "model.onnx")
    raw = GoldenEngine(path).infer(frames)
    assert raw.dtype == np.int8 and raw.shape == (len(frames), 2, 3, 12)
    assert len(np.unique(raw)) > 10
    assert_equals_exported(raw, path, frames)


def test_equals_finns_hardware_layers(model: Path, accelerator: Path, frames: Frames) -> None:
    from finn.core.onnx_exec import execute_onnx as execute_finn

    engine = GoldenEngine(accelerator)
    streamlined = streamline(model)
    with finn_session():
        hardware = to_hardware(streamlined)
        for frame in frames:
            (y,) = execute_finn(hardware, {hardware.graph.input[0].name: frame[None].astype(np.float32)}).values()
            np.testing.assert_array_equal(engine.infer(frame[None]), y)


def test_equals_the_zoo_model_on_a_photograph(astronaut_bgr: Frames, cache: Path) -> None:
    path = zoo.model_path("lpyolo-4w4a")
    engine = GoldenEngine(path)
    size = engine.manifest.input
    letterbox = Letterbox.fit(astronaut_bgr.shape[1], astronaut_bgr.shape[0], size.width, size.height)
    frame = letterbox.apply(astronaut_bgr)[None]
    raw = engine.infer(frame)
    assert raw.shape == (1, 13, 13, 18)
    assert_equals_exported(raw, path, frame)
    streamlined = streamline(path)
    (exact,) = execute_onnx(streamlined, {streamlined.graph.input[0].name: frame.astype(np.float32)}).values()
    np.testing.assert_array_equal(raw, exact)


def test_an_accelerators_folder_gives_the_same_as_its_model(
    accelerator: Path, model: Path, frames: Frames, cache: Path, compiled: list[Path]
) -> None:
    engine = GoldenEngine(accelerator)
    assert engine.name == "golden"
    assert engine.manifest == Manifest.load(accelerator) == GoldenEngine(model).manifest
    np.testing.assert_array_equal(engine.infer(frames), GoldenEngine(model).infer(frames))


def test_a_batch_equals_its_frames_and_threads_change_nothing(accelerator: Path, frames: Frames) -> None:
    together = GoldenEngine(accelerator, threads=2).infer(frames)
    engine = GoldenEngine(accelerator, threads=1)
    np.testing.assert_array_equal(np.concatenate([engine.infer(frame[None]) for frame in frames]), together)
    # A view that does not lie in one piece, as a mirrored picture does.
    np.testing.assert_array_equal(engine.infer(frames[::-1, :, ::-1]), engine.infer(frames[::-1, :, ::-1].copy()))
    assert engine.infer(frames[:0]).shape == (0, 2, 3, 12)
    engine.close()
    engine.close()


def test_a_built_accelerator_needs_neither_compiler_nor_torch(accelerator: Path) -> None:
    program = f"""
import sys
import numpy as np
from fpga_facedet.engines.golden import GoldenEngine
GoldenEngine({str(accelerator)!r}).infer(np.zeros((1, 64, 96, 3), np.uint8))
print(sorted({{"torch", "brevitas", "finn", "qonnx", "onnx", "pydantic"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


# --- the cache -----------------------------------------------------------------------------------------------------


def test_a_model_is_compiled_once(model: Path, frames: Frames, cache: Path, compiled: list[Path]) -> None:
    first = GoldenEngine(model).infer(frames)
    np.testing.assert_array_equal(GoldenEngine(model).infer(frames), first)
    assert compiled == [model]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_cache_is_rebuilt(
    damage: str, model: Path, frames: Frames, cache: Path, compiled: list[Path]
) -> None:
    first = GoldenEngine(model).infer(frames)
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    entry.write_bytes({"truncated": whole[:middle], "flipped": flipped, "empty": b""}[damage])
    np.testing.assert_array_equal(GoldenEngine(model).infer(frames), first)
    assert compiled == [model, model]
    assert entry.read_bytes() == whole


def test_another_model_or_another_compiler_gets_its_own_entry(
    model: Path, cache: Path, compiled: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.onnx"
    proto = onnx.load(str(model))
    proto.doc_string = "another"
    onnx.save(proto, str(copy))
    GoldenEngine(model)
    GoldenEngine(copy)
    monkeypatch.setattr(golden, "_build_version", lambda: "another")
    GoldenEngine(model)
    assert compiled == [model, copy, model]
    assert len(list(cache.iterdir())) == 3


def test_a_cache_that_cannot_be_written_does_no_harm(
    model: Path, frames: Frames, compiled: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert_equals_exported(GoldenEngine(model).infer(frames), model, frames)


def test_the_cache_is_in_the_home_folder_where_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    assert golden.cache_folder() == Path("/home/someone/.cache/facedet")


def test_a_user_without_a_home_directory_compiles_each_time(
    model: Path, frames: Frames, compiled: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    for _ in range(2):
        assert_equals_exported(GoldenEngine(model).infer(frames), model, frames)
    assert compiled == [model, model]


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 64, 96, 3), np.float32), np.zeros((64, 96, 3), np.uint8), np.zeros((1, 96, 64, 3), np.uint8)],
    ids=["dtype", "no batch", "turned"],
)
def test_other_frames_are_refused(wrong: npt.NDArray[np.uint8], accelerator: Path) -> None:
    with pytest.raises(UserError, match=r"give uint8 \(N, 64, 96, 3\)"):
        GoldenEngine(accelerator).infer(wrong)


def test_no_threads_are_refused(accelerator: Path) -> None:
    with pytest.raises(UserError, match="0 threads"):
        GoldenEngine(accelerator, threads=0)


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere.onnx"):
        GoldenEngine(tmp_path / "nowhere.onnx")


def test_a_folder_without_a_manifest_or_a_golden_model_is_refused(accelerator: Path, tmp_path: Path) -> None:
    (accelerator / "golden.onnx").unlink()
    with pytest.raises(UserError, match=r"There is no .*golden\.onnx; build the accelerator again"):
        GoldenEngine(accelerator)
    with pytest.raises(UserError, match="There is no manifest"):
        GoldenEngine(tmp_path)


def test_a_damaged_golden_model_is_refused(accelerator: Path) -> None:
    with saving(accelerator / "golden.onnx") as path:
        path.write_bytes((accelerator / "golden.onnx").read_bytes()[:1000])
    with pytest.raises(UserError, match="is damaged; build the accelerator again"):
        GoldenEngine(accelerator)


def test_a_golden_model_of_another_detector_is_refused(accelerator: Path) -> None:
    text = (accelerator / FILE_NAME).read_text()
    text = text.replace('"height": 64', '"height": 128').replace('"grid_height": 2', '"grid_height": 4')
    (accelerator / FILE_NAME).write_text(text)
    says = r"maps \[64, 96, 3\] to \[2, 3, 12\], its manifest says \[128, 96, 3\] to \[4, 3, 12\]"
    with pytest.raises(UserError, match=says):
        GoldenEngine(accelerator)
