"""Keep rounding boundaries away from the sums that can occur, so that every way of adding them gives one result.

A convolution of integers is an integer n; behind it comes round(a n + b). In floating point two programs add in
different orders and differ in the last bit of a n + b, which matters only where a boundary lies (nearly) on an n.
Moving b by less than the effect of one unit of n puts all boundaries of a channel between the integers, and changes
the network less than any rounding of its weights did.
"""

from typing import cast

import torch
from torch import Tensor

from fpga_facedet.network.quantizers import OUTPUT_SCALE
from fpga_facedet.network.tinyyolo import ConvBlock, TinyYolo

_CANDIDATES = 257


@torch.no_grad()
def separate_boundaries(network: TinyYolo) -> float:
    """Shift the biases of `network` in place; return the least distance of a boundary to an integer (0..0.5).

    Call it once, after training, on the network that is exported.
    """
    network.eval()
    input_scale = torch.tensor(1 / 255, dtype=torch.float64)
    least = 0.5
    for block in network.blocks:
        block = cast(ConvBlock, block)
        norm = block.norm
        factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # type: ignore[union-attr]
        unit = block.conv.quant_weight().scale.double().flatten() * input_scale * factor
        offset = norm.bias.double() - norm.running_mean.double() * factor  # type: ignore[union-attr]
        step = block.activation_scale.double()
        boundaries = (torch.arange(block.levels, dtype=torch.float64) + 0.5) * step
        shift, distance = _best_shift(unit, offset, boundaries)
        norm.bias.add_(shift.to(norm.bias.dtype))
        least, input_scale = min(least, distance), step
    head = network.head
    unit = head.quant_weight().scale.double().flatten() * input_scale
    # The output is z / 2 in steps of OUTPUT_SCALE; -128 to 127 have 255 boundaries between them.
    boundaries = (torch.arange(-128, 127, dtype=torch.float64) + 0.5) * (2 * OUTPUT_SCALE)
    shift, distance = _best_shift(unit, head.bias.double(), boundaries)
    head.bias.add_(shift.to(head.bias.dtype))
    return min(least, distance)


def _best_shift(unit: Tensor, offset: Tensor, boundaries: Tensor) -> tuple[Tensor, float]:
    """Return for each channel the change of `offset` (C,) that keeps all boundaries farthest from whole sums.

    `unit` (C,) is what one unit of the sum adds; a channel whose unit is 0 never changes and stays as it is.
    """
    alive = unit.abs() > 1e-12
    safe = torch.where(alive, unit, torch.ones_like(unit))
    position = (boundaries[None] - offset[:, None]) / safe[:, None]
    candidates = torch.linspace(-0.5, 0.5, _CANDIDATES, dtype=torch.float64)
    moved = position[:, None, :] - candidates[None, :, None]
    distance = (moved - moved.round()).abs().amin(dim=2)
    best = distance.argmax(dim=1)
    shift = torch.where(alive, candidates[best] * safe, torch.zeros_like(unit))
    chosen = distance.gather(1, best[:, None])[:, 0][alive]
    return shift, float(chosen.min()) if len(chosen) else 0.5
