from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from fpga_facedet import zoo
from fpga_facedet.errors import UserError
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.network.export import export_qonnx
from fpga_facedet.network.margins import separate_boundaries
from fpga_facedet.network.metadata import manifest_of_model, read_metadata
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.trainer import network_of, read_checkpoint


def run_qonnx(path: Path, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    model = ModelWrapper(str(path))
    (first,), (last,) = model.graph.input, model.graph.output
    return np.asarray(execute_onnx(model, {first.name: x})[last.name])


def run_torch(network: TinyYolo, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        return network.eval()(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize(
    ("weight", "activation", "width", "height"),
    [(4, 4, 96, 64), (2, 4, 64, 64), (3, 5, 64, 128), (4, 2, 64, 64), (6, 4, 64, 64), (8, 3, 128, 32)],
)
def test_torch_and_qonnx_agree_bit_for_bit(
    tmp_path: Path,
    make_spec: Callable,
    make_network: Callable,
    rng: np.random.Generator,
    weight: int,
    activation: int,
    width: int,
    height: int,
) -> None:
    spec = make_spec(weight, activation, width, height)
    network = make_network(spec)
    separate_boundaries(network)
    export_qonnx(network, spec, tmp_path / "model.onnx")
    for _ in range(3):
        x = rng.integers(0, 256, (1, 3, height, width)).astype(np.float32) / np.float32(255)
        expected = run_torch(network, x)
        assert len(np.unique(expected)) > 20
        np.testing.assert_array_equal(run_qonnx(tmp_path / "model.onnx", x), expected)


def photographs() -> list[tuple[str, npt.NDArray[np.uint8]]]:
    data = pytest.importorskip("skimage.data", reason="the photograph comes with scikit-image")
    cbook = pytest.importorskip("matplotlib.cbook", reason="the photograph comes with matplotlib")
    import cv2

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        hopper = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    return [("astronaut", np.ascontiguousarray(data.astronaut()[..., ::-1])), ("grace_hopper", hopper)]


def test_the_shipped_model_is_its_checkpoint_bit_for_bit_on_photographs() -> None:
    path = zoo.model_path("lpyolo-4w4a")
    network = network_of(read_checkpoint(path.with_name("checkpoint.pt")))
    for _, frame in photographs():
        box = Letterbox.fit(frame.shape[1], frame.shape[0], 416, 416)
        x = box.apply(frame).transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(run_qonnx(path, x), run_torch(network, x))


def test_the_model_says_what_it_is(tmp_path: Path, make_spec: Callable, make_network: Callable) -> None:
    spec = make_spec()
    path = tmp_path / "model.onnx"
    export_qonnx(make_network(spec), spec, path, {"training": {"steps": 7}, "score_threshold": 0.3, "nms_iou": 0.4})
    metadata = read_metadata(path)
    assert DetectorSpec.from_dict(metadata["spec"]) == spec
    assert metadata["head"]["anchors"] == [[10, 14], [30, 40]]
    assert metadata["normalisation"] == 255
    assert metadata["training"] == {"steps": 7}
    assert metadata["ap"] is None
    assert metadata["date"][:2] == "20"
    manifest = manifest_of_model(path)
    assert manifest.head.score_threshold == 0.3
    assert (manifest.head.grid_height, manifest.head.grid_width, manifest.head.channels) == (4, 6, 12)
    assert manifest.head.stride == 16
    assert manifest.head.anchors == ((10, 14), (30, 40))
    assert manifest.head.output_scale == 1 / 128
    assert manifest.input.width == 96
    assert manifest.figures == ()


def test_the_model_does_not_tell_where_it_was_made(tmp_path: Path, make_spec: Callable, make_network: Callable) -> None:
    spec = make_spec()
    path = tmp_path / "model.onnx"
    export_qonnx(make_network(spec), spec, path)
    content = path.read_bytes()
    assert b".py" not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_the_export_leaves_the_network_as_it_was(tmp_path: Path, make_spec: Callable, make_network: Callable) -> None:
    spec = make_spec()
    network = make_network(spec).train()
    export_qonnx(network, spec, tmp_path / "model.onnx")
    assert network.training


def test_a_full_disk_is_the_user_s_to_mend(make_spec: Callable, make_network: Callable) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    spec = make_spec()
    with pytest.raises(UserError, match="Cannot save"):
        export_qonnx(make_network(spec), spec, "/dev/full/model.onnx")
