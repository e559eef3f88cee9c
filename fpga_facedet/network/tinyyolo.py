"""The detector: convolutions, BatchNorm, quantized ReLU and max-pools, built from a DetectorSpec alone."""

import math
from typing import Any, cast

import torch
from brevitas.nn import QuantConv2d, QuantHardTanh, QuantReLU
from torch import Tensor, nn
from torch.nn import functional

from fpga_facedet.manifest import VALUES_PER_ANCHOR
from fpga_facedet.network.pooling import pool_and_quantize
from fpga_facedet.network.quantizers import (
    ActivationQuantizer,
    OutputQuantizer,
    WeightQuantizer,
)
from fpga_facedet.spec import ConvSpec, DetectorSpec

PRIOR_LOGIT = -1.0
"""Start of the score biases, in the head's units (-2..2): at first nothing looks like a face."""

_SCORE_CHANNELS = (4, 5)


class ConvBlock(nn.Module):
    """Convolution, BatchNorm, quantized ReLU and, where the spec has one, a 2x2 max-pool."""

    def __init__(self, in_channels: int, spec: ConvSpec) -> None:
        super().__init__()
        self.pool = spec.pool
        self.levels = 2**spec.activation_bits - 1
        self.conv = QuantConv2d(
            in_channels,
            spec.channels,
            spec.kernel,
            stride=spec.stride,
            padding=spec.kernel // 2,
            bias=False,
            weight_quant=WeightQuantizer,
            weight_bit_width=spec.weight_bits,
        )
        self.norm = nn.BatchNorm2d(spec.channels)
        self.activation = QuantReLU(
            act_quant=ActivationQuantizer, bit_width=spec.activation_bits, return_quant_tensor=True
        )
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    @property
    def activation_scale(self) -> Tensor:
        """The learned step of the activation, a scalar tensor with its gradient."""
        return cast(Tensor, self.activation.act_quant.scale())

    def set_activation_range(self, largest: float) -> None:
        """Make `largest` the value of the highest activation code."""
        scaling = self.activation.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl
        with torch.no_grad():
            scaling.value.fill_(math.log2(max(largest, 1e-3)))

    def forward(self, x: Any) -> Any:
        """The exact network, as it is exported: real-valued (N, C, H, W), or Brevitas' quantized tensor, in and out."""
        x = self.activation(self.norm(self.conv(x)))
        return functional.max_pool2d(x, self.pool) if self.pool > 1 else x

    def fold(self, x: Tensor, input_scale: Tensor | float, divisor: Tensor | float, quantized: bool) -> Tensor:
        """Return BatchNorm(convolution of `x` times `input_scale`) / divisor with the statistics as they stand.

        Everything that BatchNorm does is carried by the convolution's weights and bias: no pass over memory, forward
        or backward.
        """
        norm = self.norm
        factor = norm.weight * torch.rsqrt(cast(Tensor, norm.running_var) + norm.eps) / divisor
        weight = self.conv.quant_weight().value if quantized else self.conv.weight
        bias = norm.bias / divisor - cast(Tensor, norm.running_mean) * factor
        weight = weight * (factor[:, None, None, None] * input_scale)
        return functional.conv2d(x, weight, bias, self.conv.stride, self.conv.padding)

    def convolve(self, x: Tensor, input_scale: Tensor | float, quantized: bool) -> Tensor:
        """Return the BatchNorm's input for `x` times `input_scale`, the scale carried by the (small) weights."""
        weight = self.conv.quant_weight().value if quantized else self.conv.weight
        return functional.conv2d(x, weight * input_scale, None, self.conv.stride, self.conv.padding)

    def normalise(self, x: Tensor, divisor: Tensor | float) -> Tensor:
        """Return BatchNorm(x) / divisor, the division carried by BatchNorm's own factors."""
        norm = self.norm
        return functional.batch_norm(
            x,
            norm.running_mean,
            norm.running_var,
            norm.weight / divisor,
            norm.bias / divisor,
            norm.training,
            cast(float, norm.momentum),
            norm.eps,
        )

    def fast(self, x: Tensor, input_scale: Tensor | float, quantized: bool) -> tuple[Tensor, Tensor | float]:
        """The same mathematics for training, in few passes over memory: return the output and the scale it lacks.

        Pooling comes before the activation: both are monotone, so they commute, and a quarter of the values is left
        to quantize. Quantized outputs are integers, exact in bfloat16. Where BatchNorm is in evaluation mode its fixed
        factors go into the weights.
        """
        scale = self.activation_scale if quantized else 1.0
        if self.norm.training:
            x = self.normalise(self.convolve(x, input_scale, quantized), scale)
        else:
            x = self.fold(x, input_scale, scale, quantized)
        if not quantized:
            return functional.relu(functional.max_pool2d(x, self.pool) if self.pool > 1 else x), 1.0
        return pool_and_quantize(x, self.levels, self.pool), scale


class TinyYolo(nn.Module):
    """A detector as its spec says; the weights are the only state.

    `forward` is the exact quantized network that `export_qonnx` writes. `fast` computes the head's input from uint8
    pixels for training, with or without quantization.

    >>> network = TinyYolo(DetectorSpec.load("lpyolo-4w4a"))
    >>> sum(block.conv.weight.numel() for block in network.blocks) + network.head.weight.numel()
    350696
    """

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        self.spec = spec
        channels = spec.input.channels
        blocks = []
        for layer in spec.layers:
            blocks.append(ConvBlock(channels, layer))
            channels = layer.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = QuantConv2d(
            channels,
            spec.head_channels,
            spec.head.kernel,
            padding=spec.head.kernel // 2,
            bias=True,
            weight_quant=WeightQuantizer,
            weight_bit_width=spec.head.weight_bits,
        )
        self.output = QuantHardTanh(
            min_val=-1.0, max_val=1.0, act_quant=OutputQuantizer, bit_width=spec.head.output_bits
        )
        nn.init.normal_(self.head.weight, 0, 0.1 / math.sqrt(channels))
        with torch.no_grad():
            bias = self.head.bias.view(-1, VALUES_PER_ANCHOR).zero_()
            bias[:, _SCORE_CHANNELS] = PRIOR_LOGIT

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, 3, H, W) in 0..1 to float32 (N, 6 * anchors, H / stride, W / stride), multiples of 1/128."""
        return cast(Tensor, self.output(self.head(self.blocks(x)) * 0.5))

    def fast(self, pixels: Tensor, quantized: bool = True) -> Tensor:
        """Map float (N, 3, H, W) pixels of 0..255 to the head's float output z, before z/2 and the clamp.

        The values equal those that `forward` clamps, up to float rounding, when `quantized`.
        """
        x, scale = pixels, 1 / 255
        for block in self.blocks:
            x, scale = cast(ConvBlock, block).fast(x, scale, quantized)  # type: ignore[assignment]
        weight = self.head.quant_weight().value if quantized else self.head.weight
        return functional.conv2d(x, weight * scale, self.head.bias, 1, self.head.padding)
