"""How weights, activations and the output become integers: three Brevitas quantizers and a rounding for training."""

import torch
from brevitas.core.restrict_val import RestrictValueType
from brevitas.quant import Int8ActPerTensorFloatMinMaxInit, Int8WeightPerTensorFloat, Uint8ActPerTensorFloatMaxInit

OUTPUT_SCALE = 1 / 128
"""One step of the 8-bit output: -128..127 stands for -1..127/128."""

_LEAST_SCALE = 2e-16


class WeightQuantizer(Int8WeightPerTensorFloat):
    """Signed narrow-range weights (4 bits: -7..7), one scale for each output channel: its largest weight.

    Narrow range keeps the most negative code out, which lets the DSP blocks pack more multiplications.
    """

    bit_width = None
    scaling_per_output_channel = True
    scaling_min_val = _LEAST_SCALE


class ActivationQuantizer(Uint8ActPerTensorFloatMaxInit):
    """Unsigned activations (4 bits: 0..15), one learned scale for the whole tensor."""

    bit_width = None
    max_val = 6.0
    restrict_scaling_type = RestrictValueType.LOG_FP
    scaling_min_val = _LEAST_SCALE


class OutputQuantizer(Int8ActPerTensorFloatMinMaxInit):
    """The head's output: the whole signed 8-bit range over -1..1, its scale a constant 1/128."""

    min_val = -1.0
    max_val = 1.0
    scaling_impl_type = "const"
    scaling_min_val = _LEAST_SCALE


class RoundStraightThrough(torch.autograd.Function):
    """Round half to even; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: torch.Tensor) -> torch.Tensor:
        """Return `values` rounded, same shape and dtype."""
        return values.round()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Return the gradient as it came."""
        return gradient
