"""Where float32 and the exact integers differ: why?

Behind each convolution of integers comes round(a n + b) with n the sum. Float32 gets a n + b wrong in its last bits;
that matters only where a n + b lies so close to the boundary between two results that those bits decide. The check
computes the network again in float64, in which n is exact, and looks for two kinds of boundary cases:

- *flips*: each layer is fed with what torch itself gave it, and torch rounded to the other side. Where there is no
  flip torch is the float64 network, so flips account for all that torch does differently, if each is as close to its
  boundary as float32 arithmetic can err.
- *ties*: sums of the float64 network within the last bits of a boundary. A threshold, whose constants were float32
  once, may lie on the other side of them. Where the other engine differs from the float64 network, the output must
  see a tie.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from fpga_facedet.network.quantizers import OUTPUT_SCALE
from fpga_facedet.network.tinyyolo import ConvBlock, TinyYolo

ULP = 2.0**-24
"""Half a unit in the last place of a float32 near 1: the most by which one operation errs, relative to its result."""

_LAST_BITS = 4.0
_OTHER_ROUNDINGS = 8
"""Operations behind the sum of a layer, in BatchNorm and the quantizer, each with its own rounding."""


@dataclass(frozen=True)
class BoundaryCases:
    """The boundary cases of one layer on one picture.

    `distance` float64 (n,) from the boundary, in steps of the layer's output; `units` the same in units of the integer
    sum; `reach` the most float32 can err there, in steps. `seen` bool (grid_height, grid_width): the head's cells
    which see one of them.
    """

    layer: str
    distance: npt.NDArray[np.float64]
    units: npt.NDArray[np.float64]
    reach: npt.NDArray[np.float64]
    seen: npt.NDArray[np.bool_]

    @property
    def within_reach(self) -> bool:
        """Whether float32 arithmetic accounts for each of them."""
        return bool((self.distance <= self.reach).all())


@dataclass(frozen=True)
class Examination:
    """The network on one picture: flips and ties of each layer that has any, and what torch and float64 put out.

    Both outputs are int8 (grid_height, grid_width, C).
    """

    flips: list[BoundaryCases]
    ties: list[BoundaryCases]
    given: npt.NDArray[np.int8]
    exact: npt.NDArray[np.int8]

    def unexplained(self, mine: npt.NDArray[np.int8], other: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
        """Return where `mine`, of torch, and `other`, both int8 as the outputs here, differ for no reason found."""
        differs = mine != other
        if not all(case.within_reach for case in self.flips):
            return differs
        sees_tie = np.zeros(self.exact.shape[:2], np.bool_)
        for case in self.ties:
            sees_tie |= case.seen
        return differs & ((mine != self.given) | ((other != self.exact) & ~sees_tie[..., None]))


@torch.no_grad()
def examine(network: TinyYolo, frame: npt.NDArray[np.uint8]) -> Examination:
    """Run `network` on `frame`, RGB uint8 (H, W, 3), in float32 and in float64 and find the boundary cases."""
    layers = _layers(network)
    pixels = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]
    flips, ties = [], []
    torch_input = exact_input = pixels.double()
    for number, (layer, given) in enumerate(zip(layers, _torch_levels(network, pixels), strict=True)):
        at_torch = layer.at(torch_input)
        flips += _cases(layers[number:], at_torch, at_torch.level != given)
        # Most often torch has not flipped anything yet, and the two inputs are one.
        at_exact = at_torch if torch_input is exact_input else layer.at(exact_input)
        ties += _cases(layers[number:], at_exact, at_exact.distance <= _LAST_BITS * ULP * at_exact.magnitude)
        same = at_exact is at_torch and torch.equal(given, at_exact.level)
        exact_input = layer.pooled(at_exact.level)
        torch_input = exact_input if same else layer.pooled(given)
    outputs = (values[0].permute(1, 2, 0).to(torch.int8).numpy() for values in (torch_input, exact_input))
    return Examination(flips, ties, *outputs)


def _cases(layers: "Sequence[_Layer]", sums: "_Sums", chosen: Tensor) -> list[BoundaryCases]:
    """Return the `chosen` (1, C, h, w) of `sums` in the first of `layers`, as a list: empty where there are none."""
    if not chosen.any():
        return []
    layer = layers[0]
    units = sums.distance / layer.unit.abs()[:, None, None].clamp(min=1e-300)
    reach = (layer.weights[0].numel() + _OTHER_ROUNDINGS) * ULP * sums.magnitude
    mask = chosen.any(dim=1, keepdim=True).double()
    for number, following in enumerate(layers):
        if number:
            kernel, stride = following.weights.shape[-1], following.stride
            mask = functional.max_pool2d(mask, kernel, stride, following.padding)
        mask = following.pooled(mask)
    case = BoundaryCases(
        layer=layer.name,
        distance=sums.distance[chosen].numpy(),
        units=units[chosen].numpy(),
        reach=reach[chosen].numpy(),
        seen=(mask[0, 0] > 0).numpy(),
    )
    return [case]


@dataclass(frozen=True)
class _Sums:
    """What a layer computes, each (1, C, h, w) float64, in steps of its output.

    `level` after rounding; `distance` of the value before it from the nearest boundary; `magnitude`: the sum of the
    magnitudes of all that float32 adds up for it.
    """

    level: Tensor
    distance: Tensor
    magnitude: Tensor


@dataclass(frozen=True)
class _Layer:
    """A layer in float64: level = round(unit * sums of integers + offset), limited to `lowest` .. `highest`.

    `unit`, `offset` and `summands` (magnitudes of what makes up the offset) are (C,), in steps of the output.
    """

    name: str
    weights: Tensor
    stride: int
    padding: int
    unit: Tensor
    offset: Tensor
    summands: Tensor
    lowest: float
    highest: float
    pool: int

    def at(self, entered: Tensor) -> _Sums:
        """Compute the layer for the integers `entered`, float64 (1, C, h, w)."""
        unit, offset, summands = (t[:, None, None] for t in (self.unit, self.offset, self.summands))
        sums = functional.conv2d(entered, self.weights, None, self.stride, self.padding)
        absolute = functional.conv2d(entered.abs(), self.weights.abs(), None, self.stride, self.padding)
        position = sums * unit + offset
        # Beyond the first and the last level there is no boundary: the distance is to the nearest that exists.
        nearest = (position - 0.5).round().clamp(self.lowest, self.highest - 1) + 0.5
        level = position.round().clamp(self.lowest, self.highest)
        return _Sums(level, (position - nearest).abs(), absolute * unit.abs() + summands)

    def pooled(self, values: Tensor) -> Tensor:
        """Return `values` after the layer's max-pool, if it has one."""
        return functional.max_pool2d(values, self.pool) if self.pool > 1 else values


def _layers(network: TinyYolo) -> list[_Layer]:
    """Return the network's layers in float64."""
    layers = []
    input_scale = torch.tensor(1 / 255, dtype=torch.float64)
    for number, module in enumerate(network.blocks):
        block = cast(ConvBlock, module)
        norm, step = block.norm, block.activation_scale.double()
        mean, variance = (cast(Tensor, t).double() for t in (norm.running_mean, norm.running_var))
        factor = norm.weight.double() / (variance + norm.eps).sqrt()
        bias, shift = norm.bias.double(), mean * factor
        weights, unit = _integer_weights(block.conv, input_scale * factor / step)
        layers.append(
            _Layer(
                name=f"convolution {number + 1}",
                weights=weights,
                stride=block.conv.stride[0],
                padding=cast(int, block.conv.padding[0]),
                unit=unit,
                offset=(bias - shift) / step,
                summands=(bias.abs() + shift.abs()) / step,
                lowest=0.0,
                highest=float(block.levels),
                pool=block.pool,
            )
        )
        input_scale = step
    head = cast(Any, network.head)
    # The output is z / 2 in steps of OUTPUT_SCALE.
    weights, unit = _integer_weights(head, input_scale / (2 * OUTPUT_SCALE))
    offset = head.bias.double() / (2 * OUTPUT_SCALE)
    layers.append(
        _Layer("head", weights, head.stride[0], head.padding[0], unit, offset, offset.abs(), -128.0, 127.0, pool=1)
    )
    return layers


def _integer_weights(convolution: Any, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Return a convolution's weights as integers in float64, and what one unit of their sums is: scale * `factor`."""
    quantized = convolution.quant_weight()
    scale = quantized.scale.double()
    weights = (quantized.value.double() / scale).round()
    return weights, (scale.reshape(-1) * factor).broadcast_to(len(weights))


def _torch_levels(network: TinyYolo, pixels: Tensor) -> list[Tensor]:
    """Run the network in float32; return what each layer gave, before its max-pool, as integers in float64."""
    given: list[Tensor] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        value, scale = (output.value, output.scale) if hasattr(output, "scale") else (output, OUTPUT_SCALE)
        given.append((value.double() / scale).round())

    watched = [*(cast(ConvBlock, block).activation for block in network.blocks), network.output]
    hooks = [module.register_forward_hook(keep) for module in watched]
    try:
        network(pixels.float() / 255)
    finally:
        for hook in hooks:
            hook.remove()
    return given
