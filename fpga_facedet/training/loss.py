"""What training minimises: box overlap and score errors on the head's raw output."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fpga_facedet.training.targets import IGNORED, POSITIVE

SHARPNESS = 3.0
"""Logit of a score for one unit of z: the 8-bit range -2..2 spans probabilities of 0.0025 to 0.9975."""

_SLOPE_OUTSIDE = 0.1
_BOX_WEIGHT = 3.0
_DEVIATION_WEIGHT = 0.4
_SMOOTH = 0.1
_RANGE_WEIGHT = 0.05


@dataclass(frozen=True)
class Losses:
    """The sum to minimise and its parts, scalar tensors."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    face: Tensor
    range: Tensor

    def numbers(self) -> list[float]:
        """Return total, box, objectness, face and range as numbers."""
        return [float(part.detach()) for part in (self.total, self.box, self.objectness, self.face, self.range)]


class DetectionLoss:
    """CIoU for the boxes, binary cross-entropy for the two scores, and a penalty on what the 8-bit output cuts off.

    Box values go through the same clamp as in the exported network, with a small slope outside, since a dead gradient
    never comes back. Scores are trained as logits SHARPNESS * z, a rising function of the exported (z / 4 + 1/2).
    The face score learns how much the box overlaps its face, objectness the root of that: either ranks well-placed
    boxes first, and so does their product. (Objectness asked to be 1 whatever the box ranked worse than the face
    score alone.)
    """

    def __init__(self, anchors: Tensor, stride: int) -> None:
        self.anchors = anchors
        self.stride = stride

    def __call__(self, z: Tensor, targets: Tensor, number: Tensor | None = None) -> Losses:
        """Compare z, float (N, 6A, H, W), with targets, float (N, A, 5, H, W), as `targets.assign` makes them.

        The sums are divided by `number`, a scalar, which is `normaliser(count_asked(targets))` unless given: several
        processes that train together divide by the same one.
        """
        count, _, rows, columns = z.shape
        z = z.float().view(count, len(self.anchors), 6, rows, columns)
        kind = targets[:, :, 4]
        positive = kind == POSITIVE
        wanted = targets[:, :, :4].permute(0, 1, 3, 4, 2)[positive]
        boxes = self.decode(z)[positive]
        overlap, complete = ciou(boxes, wanted)
        importance = box_importance(wanted)
        number = normaliser(count_asked(targets)) if number is None else number
        apart = deviation(boxes, wanted)
        box = ((1 - complete + _DEVIATION_WEIGHT * apart) * importance).sum() / number
        counted = (kind != IGNORED).float()
        quality = torch.zeros_like(kind)
        quality[positive] = overlap.detach().clamp(0, 1)
        objectness = self._score_loss(z[:, :, 4], quality.sqrt(), counted) / number
        face = self._score_loss(z[:, :, 5], quality, counted) / number
        excess = (z.abs() - 2).clamp(min=0).square()
        beyond = (excess[:, :, 4:] * counted[:, :, None]).sum() + (excess[:, :, :4] * positive[:, :, None]).sum()
        beyond = beyond / number
        total = _BOX_WEIGHT * box + objectness + face + _RANGE_WEIGHT * beyond
        return Losses(total, box, objectness, face, beyond)

    @staticmethod
    def _score_loss(z: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(SHARPNESS * z, wanted, counted, reduction="sum")

    def decode(self, z: Tensor) -> Tensor:
        """Return boxes (N, A, H, W, 4) x1, y1, x2, y2 in window pixels from z (N, A, 6, H, W)."""
        t = soft_clamp(z[:, :, :4] / 2)
        rows, columns = z.shape[-2:]
        x = (t[:, :, 0] + 0.5 + torch.arange(columns, device=z.device)) * self.stride
        y = (t[:, :, 1] + 0.5 + torch.arange(rows, device=z.device)[:, None]) * self.stride
        size = (t[:, :, 2:4] + 1).square() * self.anchors[:, :, None, None] / 2
        return torch.stack([x - size[:, :, 0], y - size[:, :, 1], x + size[:, :, 0], y + size[:, :, 1]], dim=-1)


def count_asked(targets: Tensor) -> Tensor:
    """Return float (2,): how many boxes `targets` (N, A, 5, H, W) ask for, and the windows N; both add up."""
    positives = (targets[:, :, 4] == POSITIVE).sum()
    return torch.stack([positives, torch.full_like(positives, len(targets))]).float()


def normaliser(counts: Tensor) -> Tensor:
    """Return what the losses are divided by, a scalar: the boxes asked for, and at least one for four windows."""
    return torch.maximum(counts[0], counts[1] / 4)


def soft_clamp(t: Tensor) -> Tensor:
    """Return t clamped to -1..127/128 in value, with a small gradient outside."""
    inside = t.clamp(-1, 127 / 128)
    leak = _SLOPE_OUTSIDE * (t - inside)
    return inside + leak - leak.detach()


def box_importance(boxes: Tensor) -> Tensor:
    """Return the weight (N,) of each box (N, 4): small faces, whose overlap is mostly chance, count less."""
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1).sqrt()
    return (size / 12).clamp(0.5, 1)


def deviation(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Return how far boxes (N, 4) are from wanted (N, 4), (N,): shift in sizes and logarithm of the size, smooth L1.

    Overlap alone leaves small faces with boxes far too large: while the place is uncertain a larger box overlaps more,
    and inside it the overlap no longer says where the face is.
    """
    size, wanted_size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0.5), wanted[:, 2:] - wanted[:, :2]
    shift = (boxes[:, :2] + boxes[:, 2:] - wanted[:, :2] - wanted[:, 2:]) / (2 * wanted_size)
    growth = torch.log(size / wanted_size.clamp(min=0.5))
    errors = torch.cat([shift, growth], dim=1)
    return functional.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none", beta=_SMOOTH).sum(dim=1)


def ciou(boxes: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and complete IoU (arXiv 1911.08287), both (N,), of boxes (N, 4) with wanted (N, 4), x1, y1, x2, y2."""
    size, wanted_size = boxes[:, 2:] - boxes[:, :2], wanted[:, 2:] - wanted[:, :2]
    common = (torch.minimum(boxes[:, 2:], wanted[:, 2:]) - torch.maximum(boxes[:, :2], wanted[:, :2])).clamp(min=0)
    intersection = common.prod(dim=1)
    iou = intersection / (size.prod(dim=1) + wanted_size.prod(dim=1) - intersection + 1e-6)
    around = torch.maximum(boxes[:, 2:], wanted[:, 2:]) - torch.minimum(boxes[:, :2], wanted[:, :2])
    apart = ((boxes[:, :2] + boxes[:, 2:] - wanted[:, :2] - wanted[:, 2:]) / 2).square().sum(dim=1)
    distance = apart / (around.square().sum(dim=1) + 1e-6)
    angle = torch.atan(wanted_size[:, 0] / (wanted_size[:, 1] + 1e-6)) - torch.atan(size[:, 0] / (size[:, 1] + 1e-6))
    shape = 4 / math.pi**2 * angle.square()
    with torch.no_grad():
        weight = shape / (1 - iou + shape + 1e-6)
    return iou, iou - distance - weight * shape
