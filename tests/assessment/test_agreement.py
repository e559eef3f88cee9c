from pathlib import Path

import numpy as np
import pytest
import torch

from fpga_facedet import zoo
from fpga_facedet.assessment.agreement import Agreement, compare_outputs
from fpga_facedet.assessment.boundaries import _layers, examine
from fpga_facedet.assessment.torch_engine import TorchEngine
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.errors import UserError
from fpga_facedet.network.export import export_qonnx
from fpga_facedet.network.margins import separate_boundaries
from fpga_facedet.network.metadata import manifest_of_model
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.verification.pictures import make_frames

from .conftest import save_model, small_network

NAMES = [str(number) for number in range(6)]


def put_sums_on_boundaries(network: TinyYolo) -> None:
    """Shift each bias so that a boundary lies on a sum that occurs, as near as float32 holds it."""
    with torch.no_grad():
        for number, block in enumerate(network.blocks):
            layer = _layers(network)[number]
            often = 5 + 3 * torch.arange(len(layer.unit))
            shift = (2.5 - often * layer.unit - layer.offset) * block.activation_scale.double()
            block.norm.bias.add_(shift.float())


def both(network: TinyYolo, folder: Path) -> tuple[TorchEngine, GoldenEngine]:
    model = save_model(network, folder)
    return TorchEngine(folder / "checkpoint.pt", manifest_of_model(model)), GoldenEngine(model, threads=1)


def compared(network: TinyYolo, folder: Path) -> Agreement:
    agreement = Agreement(("torch", "golden"))
    ours, theirs = both(network, folder)
    frames = make_frames(ours.manifest.input, len(NAMES))
    compare_outputs(agreement, NAMES, frames, ours.infer(frames), theirs.infer(frames), ours.network)
    assert agreement.outputs == len(NAMES) * 4 * 6 * 12
    return agreement


def test_with_its_boundaries_apart_torch_equals_golden(tmp_path: Path) -> None:
    network = small_network()
    separate_boundaries(network)
    agreement = compared(network, tmp_path)
    assert (agreement.different, agreement.unexplained) == (0, 0)
    assert agreement.describe() == "torch and golden: 0 of 1,728 outputs differ"


def test_differences_at_boundaries_are_counted_and_explained(tmp_path: Path) -> None:
    network = small_network()
    put_sums_on_boundaries(network)
    agreement = compared(network, tmp_path)
    assert agreement.different > 100
    assert agreement.unexplained == 0
    assert 0 < agreement.farthest < 0.1
    assert "0 unexplained" in agreement.describe()
    first = agreement.to_dict()["pictures"][0]
    assert sum(first["flips"].values()) + sum(first["ties"].values()) > 0


def test_other_differences_are_not_explained_away(tmp_path: Path) -> None:
    network = small_network()
    separate_boundaries(network)
    engine, _ = both(network, tmp_path)
    frames = make_frames(engine.manifest.input, 1)
    right = engine.infer(frames)
    wrong = right.copy()
    wrong[0, 2, 3, :5] ^= 1
    for first, second, names in ((right, wrong, ("torch", "golden")), (wrong, right, ("golden", "torch"))):
        agreement = Agreement(names)
        compare_outputs(agreement, NAMES[:1], frames, first, second, network)
        assert (agreement.different, agreement.unexplained) == (5, 5)
    # Nor is what torch itself did not give.
    agreement = Agreement(("torch", "golden"))
    compare_outputs(agreement, NAMES[:1], frames, wrong, right, network)
    assert agreement.unexplained == 5


def test_a_torch_that_errs_by_more_than_float32_explains_nothing(tmp_path: Path) -> None:
    network = small_network()
    separate_boundaries(network)
    frame = make_frames(both(network, tmp_path)[0].manifest.input, 1)[0]
    hook = network.blocks[1].conv.register_forward_hook(lambda module, inputs, output: output * 1.01)
    result = examine(network, frame)
    hook.remove()
    assert [case.layer for case in result.flips] == ["convolution 2"]
    assert not result.flips[0].within_reach
    differs = result.given != result.exact
    assert differs.any()
    np.testing.assert_array_equal(result.unexplained(result.given, result.exact), differs)


def test_the_float64_network_is_the_golden_engine(tmp_path: Path) -> None:
    network = small_network(5)
    separate_boundaries(network)
    engine, golden = both(network, tmp_path)
    frames = make_frames(engine.manifest.input, 4)
    for frame, raw in zip(frames, golden.infer(frames), strict=True):
        result = examine(network, frame)
        np.testing.assert_array_equal(result.exact, raw)
        np.testing.assert_array_equal(result.given, raw)
        assert result.flips == []


def test_engines_without_torch_are_counted_alone() -> None:
    agreement = Agreement(("rtl", "golden"))
    frames, one = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 2, 2, 6), np.int8)
    two = one.copy()
    two[1, 0, 0] = [3, 0, 0, -4, 0, 0]
    compare_outputs(agreement, ["a", "b"], frames, one, two)
    assert (agreement.outputs, agreement.different, agreement.unexplained) == (48, 2, None)
    assert (agreement.differing[0].picture, agreement.differing[0].largest) == ("b", 4)
    assert agreement.describe() == "rtl and golden: 2 of 48 outputs differ, in 1 pictures"


def test_a_checkpoint_of_another_detector_is_refused(small_model: Path) -> None:
    with pytest.raises(UserError, match="has not the spec"):
        TorchEngine(small_model.parent / "checkpoint.pt", manifest_of_model(zoo.model_path("lpyolo-4w4a")))


@pytest.mark.parametrize("training", [None, {"steps": 8}])
def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, training: dict[str, int] | None) -> None:
    network, ours = small_network(), {"steps": 7, "config": {"minutes": 1.5, "start": None}}
    export_qonnx(network, network.spec, tmp_path / "model.onnx", {"training": ours})
    state = {"spec": network.spec.to_dict(), "average": network.state_dict()}
    manifest = manifest_of_model(tmp_path / "model.onnx")
    torch.save(state | {"training": ours}, tmp_path / "checkpoint.pt")
    assert TorchEngine(tmp_path / "checkpoint.pt", manifest).manifest is manifest
    torch.save(state | ({} if training is None else {"training": training}), tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match="has not the training of the model small"):
        TorchEngine(tmp_path / "checkpoint.pt", manifest)


@pytest.mark.slow
def test_the_shipped_model_agrees_on_photographs(shared_dir: Path) -> None:
    """AP cannot differ where no output does; where one does it must be explained."""
    from fpga_facedet.assessment.assess import assess

    result = assess("lpyolo-4w4a", shared_dir / "data" / "wider_dev", "torch", against="golden", limit=24)
    assert result.agreement is not None
    assert result.against is not None
    assert result.agreement.outputs == 24 * 13 * 13 * 18
    assert result.agreement.unexplained == 0
    ours, theirs = result.score.average_precisions(), result.against.average_precisions()
    assert ours == pytest.approx(theirs, abs=0.001)
