import numpy as np
import pytest
import torch

from fpga_facedet.host.decode import decode
from fpga_facedet.manifest import HeadInfo
from fpga_facedet.training.loss import DetectionLoss, ciou, soft_clamp
from fpga_facedet.training.targets import IGNORED, POSITIVE

ANCHORS = torch.tensor([[10.0, 14.0], [23.0, 27.0], [37.0, 58.0]])


def boxes(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def test_iou_and_its_complete_form_by_hand() -> None:
    iou, complete = ciou(boxes([0, 0, 10, 10], [0, 0, 10, 10]), boxes([0, 0, 10, 10], [5, 0, 15, 10]))
    assert iou.tolist() == pytest.approx([1, 1 / 3], abs=1e-4)
    # Same shape; centres 5 apart, the box around both 15 by 10.
    assert complete.tolist() == pytest.approx([1, 1 / 3 - 25 / 325], abs=1e-4)


def test_the_clamp_keeps_a_gradient_outside() -> None:
    t = torch.tensor([-3.0, 0.5, 2.0], requires_grad=True)
    clamped = soft_clamp(t)
    assert clamped.tolist() == pytest.approx([-1, 0.5, 127 / 128])
    clamped.sum().backward()
    assert t.grad is not None
    assert t.grad.tolist() == pytest.approx([0.1, 1, 0.1])


def test_boxes_are_decoded_as_the_host_does(rng: np.random.Generator) -> None:
    values = rng.integers(-128, 128, (4, 6, 18)).astype(np.int8)
    head = HeadInfo(4, 6, 18, 32, tuple(map(tuple, ANCHORS.tolist())), 1 / 128, 0.0, 0.5)
    z = torch.from_numpy(values.astype(np.float32) / 64).permute(2, 0, 1).reshape(1, 3, 6, 4, 6)
    ours = DetectionLoss(ANCHORS, 32).decode(z)[0].permute(1, 2, 0, 3).reshape(-1, 4).numpy()
    np.testing.assert_array_equal(ours, decode(values, head).boxes)


def test_scores_learn_from_faces_and_background_and_not_from_ignored_cells() -> None:
    z = torch.zeros(1, 18, 2, 2, requires_grad=True)
    targets = torch.zeros(1, 3, 5, 2, 2)
    targets[0, 1, :, 0, 0] = torch.tensor([4.0, 4, 27, 31, POSITIVE])
    targets[0, :, 4, 1, 1] = IGNORED
    DetectionLoss(ANCHORS, 32)(z, targets).total.backward()
    assert z.grad is not None
    gradient = z.grad.view(3, 6, 2, 2)
    assert gradient[1, 4, 0, 0] < 0
    assert gradient[0, 4, 0, 0] > 0
    assert not gradient[:, :, 1, 1].any()
    assert gradient[1, :4, 0, 0].abs().sum() > 0
    assert not gradient[0, :4].any()


def test_values_that_the_output_cuts_off_are_pulled_back() -> None:
    z = torch.full((1, 18, 2, 2), -4.0, requires_grad=True)
    losses = DetectionLoss(ANCHORS, 32)(z, torch.zeros(1, 3, 5, 2, 2))
    assert losses.range > 0
    losses.range.backward()
    assert z.grad is not None
    assert (z.grad.view(3, 6, 2, 2)[:, 4:] < 0).all()
    assert losses.numbers()[0] == pytest.approx(losses.total.item())
