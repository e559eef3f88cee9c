"""Ranges of activations before quantization-aware training, and BatchNorm statistics after it."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpga_facedet.network.tinyyolo import ConvBlock, TinyYolo

_SAMPLES = 100_000


@torch.no_grad()
def calibrate_activations(network: TinyYolo, pixels: Tensor) -> None:
    """Set each activation's range to the one with the least squared quantization error on `pixels`.

    `pixels` float (N, 3, H, W), 0..255. The blocks are set one after the other, each on the quantized output of those
    before it.
    """
    x: Tensor = pixels
    scale: Tensor | float = 1 / 255
    for block in network.blocks:
        assert isinstance(block, ConvBlock)
        values = functional.relu(block.normalise(block.convolve(x, scale, quantized=True), 1.0)).flatten()
        values = values[:: max(1, len(values) // _SAMPLES)]
        block.set_activation_range(_best_range(values, block.levels))
        x, scale = block.fast(x, scale, quantized=True)


def _best_range(values: Tensor, levels: int) -> float:
    """Return the largest representable value that loses least when `values` (N,) become 0..levels."""
    top = float(values.max())
    best, least = top, float("inf")
    for share in torch.linspace(0.1, 1, 46).tolist():
        step = max(top * share, 1e-3) / levels
        error = float(((values / step).round().clamp(0, levels) * step - values).square().mean())
        if error < least:
            best, least = top * share, error
    return best


@torch.no_grad()
def recalibrate_norms(network: TinyYolo, batches: Iterable[Tensor]) -> None:
    """Replace BatchNorm's running statistics by plain means over `batches`, through the exact quantized network.

    Each batch is float (N, 3, H, W) of pixels 0..255. Training runs in bfloat16 and averages over a moving network;
    the exported thresholds come from these statistics and should be those of the final weights.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for pixels in batches:
        network(pixels / 255)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
