from pathlib import Path

import numpy as np
import torch

from fpga_facedet.evaluation.operating_point import LEAST_SCORE
from fpga_facedet.host.decode import faces_in_frame
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.network.export import export_qonnx
from fpga_facedet.network.metadata import manifest_of_model
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.dataset import load_split
from fpga_facedet.training.validate import TorchDetector, letterbox_rgb, look_for_faces


def make(spec: DetectorSpec) -> TinyYolo:
    torch.manual_seed(2)
    network = TinyYolo(spec)
    with torch.no_grad():
        network.head.weight.normal_(0, 0.03)
    return network.eval()


def test_faces_are_those_that_the_host_reads(tmp_path: Path, data_folder: Path, small_spec: DetectorSpec) -> None:
    network = make(small_spec)
    export_qonnx(network, small_spec, tmp_path / "model.onnx")
    manifest = manifest_of_model(tmp_path / "model.onnx")
    pictures = [p.pixels for p in load_split(data_folder, "val").pictures[:3]]
    for pixels, faces in zip(pictures, TorchDetector(network, 0.4).find(pictures), strict=True):
        box = Letterbox.fit(pixels.shape[1], pixels.shape[0], 96, 64)
        with torch.no_grad():
            x = torch.from_numpy(letterbox_rgb(pixels, box)).permute(2, 0, 1)[None].float() / 255
            output = (network(x)[0].permute(1, 2, 0).numpy() * 128).astype(np.int8)
        expected = faces_in_frame(output, manifest, box, LEAST_SCORE, 0.4)
        assert len(expected) > 0
        order, ours = expected.best_first(), faces.best_first()
        np.testing.assert_array_equal(ours.scores, order.scores)
        np.testing.assert_allclose(np.sort(ours.boxes, axis=0), np.sort(order.boxes, axis=0), atol=1e-4)


def test_validation_counts_the_labelled_faces(data_folder: Path, small_spec: DetectorSpec) -> None:
    pictures = load_split(data_folder, "val").pictures
    findings = look_for_faces(make(small_spec), pictures, 0.4)
    scored = findings.score()
    assert scored.faces == sum(len(p.faces) for p in pictures)
    assert 0 <= scored.average_precision <= 1
    assert findings.score(least_size=1000).faces == 0
