"""`augment`'s changes of light, colour and quality for a whole batch of windows, on the CPU or a GPU."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fpga_facedet.training.augment import BLUR, BRIGHTNESS, CAST, DEFECT, GAIN, GAMMA, GREY, JPEG_QUALITY, NOISE

_LUMA = (0.299, 0.587, 0.114)
_BLUR_RADIUS = 5
_BLOCK = 8

_QUANTIZATION = (
    # ITU-T T.81, Annex K: luminance, then chrominance.
    (
        (16, 11, 10, 16, 24, 40, 51, 61),
        (12, 12, 14, 19, 26, 58, 60, 55),
        (14, 13, 16, 24, 40, 57, 69, 56),
        (14, 17, 22, 29, 51, 87, 80, 62),
        (18, 22, 37, 56, 68, 109, 103, 77),
        (24, 35, 55, 64, 81, 104, 113, 92),
        (49, 64, 78, 87, 103, 121, 120, 101),
        (72, 92, 95, 98, 112, 100, 103, 99),
    ),
    (
        (17, 18, 24, 47, 99, 99, 99, 99),
        (18, 21, 26, 66, 99, 99, 99, 99),
        (24, 26, 56, 99, 99, 99, 99, 99),
        (47, 66, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
    ),
)


def spoil_batch(rng: np.random.Generator, noise: torch.Generator, x: Tensor) -> Tensor:
    """Return the windows x, float (N, 3, H, W) of 0..255 RGB, changed as `augment` changes single ones.

    `rng` draws what happens to which window, `noise` (on x's device) the noise.
    """
    count = len(x)
    x = _light(rng, x)
    grey = rng.random(count)
    share = np.where(grey < GREY[0], 1.0, np.where(grey < GREY[1], rng.uniform(0, 1, count), 0.0))
    x = torch.lerp(x, _luma(x), _on(x, share)).round()
    defect = rng.random(count)
    for kind, change in enumerate((_blur, _jpeg, _noise)):
        chosen = np.flatnonzero((defect >= kind * DEFECT) & (defect < (kind + 1) * DEFECT))
        if len(chosen):
            index = torch.from_numpy(chosen).to(x.device)
            x[index] = change(rng, noise, x[index])
    return x.round().clamp(0, 255)


def _on(x: Tensor, values: np.ndarray) -> Tensor:
    """Return `values` (N,) or (N, 3) beside x: on its device, of shape (N, 1 or 3, 1, 1)."""
    return torch.from_numpy(values).to(x.device, torch.float32).view(len(x), -1, 1, 1)


def _luma(x: Tensor) -> Tensor:
    return (x * torch.tensor(_LUMA, device=x.device)[:, None, None]).sum(1, keepdim=True)


def _light(rng: np.random.Generator, x: Tensor) -> Tensor:
    """Change gamma, gain of all and of each colour, and brightness."""
    count = len(x)
    gain = np.exp(rng.uniform(*GAIN, (count, 1)) + rng.uniform(-CAST, CAST, (count, 3)))
    gamma = _on(x, np.exp(rng.uniform(-GAMMA, GAMMA, count)))
    offset = _on(x, rng.uniform(-BRIGHTNESS, BRIGHTNESS, count))
    return (((x / 255) ** gamma * _on(x, gain) + offset).clamp(0, 1) * 255).floor()


def _blur(rng: np.random.Generator, noise: torch.Generator, x: Tensor) -> Tensor:
    """Blur each window by its own Gaussian."""
    sigma = _on(x, rng.uniform(*BLUR, len(x)))[:, 0, 0]
    place = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, device=x.device)
    kernel = torch.exp(-(place**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None]
    groups = 3 * len(x)
    padded = functional.pad(x, (_BLUR_RADIUS,) * 4, mode="reflect").reshape(
        1, groups, *(2 * _BLUR_RADIUS + s for s in x.shape[2:])
    )
    rows = functional.conv2d(padded, kernel[:, :, None], groups=groups)
    return functional.conv2d(rows, kernel[:, :, :, None], groups=groups).view_as(x)


def _noise(rng: np.random.Generator, noise: torch.Generator, x: Tensor) -> Tensor:
    strength = _on(x, rng.uniform(*NOISE, len(x)))
    return x + torch.randn(x.shape, generator=noise, device=x.device) * strength


def _jpeg(rng: np.random.Generator, noise: torch.Generator, x: Tensor) -> Tensor:
    return jpeg(x, torch.from_numpy(rng.integers(*JPEG_QUALITY, len(x))).to(x.device))


def jpeg(x: Tensor, quality: Tensor) -> Tensor:
    """Return x, float (N, 3, H, W) RGB of 0..255, after JPEG of `quality` (N,) 1..100: its loss without its bits.

    Colour at half resolution (4:2:0), 8x8 cosine transforms quantized by the tables of ITU-T T.81 scaled as libjpeg
    does; height and width are padded with their edge to whole blocks.
    """
    height, width = x.shape[2:]
    x = functional.pad(x, (0, -width % (2 * _BLOCK), 0, -height % (2 * _BLOCK)), mode="replicate")
    luma = _luma(x)
    blue, red = (x[:, 2:] - luma) / 1.772, (x[:, :1] - luma) / 1.402
    quality = quality.float()
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    luma = _quantize_blocks(luma - 128, 0, scale) + 128
    colours = functional.avg_pool2d(torch.cat([blue, red], 1), 2)
    colours = functional.interpolate(_quantize_blocks(colours, 1, scale), scale_factor=2, mode="nearest")
    blue, red = colours[:, :1], colours[:, 1:]
    green = luma - (_LUMA[2] * 1.772 * blue + _LUMA[0] * 1.402 * red) / _LUMA[1]
    out = torch.cat([luma + 1.402 * red, green, luma + 1.772 * blue], 1)
    return out[:, :, :height, :width].round().clamp(0, 255)


def _quantize_blocks(x: Tensor, table: int, scale: Tensor) -> Tensor:
    """Return x (N, C, H, W) with the coefficients of its 8x8 blocks rounded to steps of the table scaled to percent."""
    step = torch.tensor(_QUANTIZATION[table], device=x.device, dtype=torch.float32)
    step = ((step * scale[:, None, None] + 50) / 100).floor().clamp(1, 255)[:, None, None, None]
    blocks = x.unfold(2, _BLOCK, _BLOCK).unfold(3, _BLOCK, _BLOCK)
    basis = _cosines().to(x.device)
    coefficients = basis @ blocks @ basis.T
    coefficients = (coefficients / step).round() * step
    blocks = basis.T @ coefficients @ basis
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(x.shape)


def _cosines() -> Tensor:
    """Return the orthonormal basis (8, 8) of the discrete cosine transform."""
    index = torch.arange(_BLOCK, dtype=torch.float32)
    basis = torch.cos(math.pi / _BLOCK * (index + 0.5) * index[:, None]) * math.sqrt(2 / _BLOCK)
    basis[0] /= math.sqrt(2)
    return basis
