from pathlib import Path

import pytest
import torch

from fpga_facedet.errors import UserError
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.finish import export_checkpoint


def test_the_state_of_a_run_is_no_detector_to_export(tmp_path: Path, small_spec: DetectorSpec) -> None:
    """Its ranges and statistics are not settled yet; the model would look whole and find little."""
    state = {"spec": small_spec.to_dict(), "average": TinyYolo(small_spec).state_dict()}
    torch.save(state | {"optimizer": {}}, tmp_path / "training.pt")
    with pytest.raises(UserError, match=r"training\.pt is the state of a training run.*--resume.*checkpoint\.pt"):
        export_checkpoint(tmp_path / "training.pt", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
