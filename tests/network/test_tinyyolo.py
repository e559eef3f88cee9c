from collections.abc import Callable

import numpy as np
import pytest
import torch

from fpga_facedet.errors import UserError
from fpga_facedet.network.tinyyolo import ConvBlock, TinyYolo
from fpga_facedet.spec import DetectorSpec

BITS = [(4, 4), (2, 4), (3, 5), (4, 2), (6, 4), (8, 3)]


def test_the_paper_network_has_the_paper_s_weights() -> None:
    network = TinyYolo(DetectorSpec.load("lpyolo-4w4a"))
    weights = sum(p.numel() for name, p in network.named_parameters() if name.endswith("conv.weight"))
    assert weights + network.head.weight.numel() == 350_696
    assert network.head.bias.numel() == 18


@pytest.mark.parametrize(("weight", "activation"), BITS)
def test_every_bit_width_gives_integers_of_that_width(
    make_spec: Callable, make_network: Callable, weight: int, activation: int
) -> None:
    network = make_network(make_spec(weight, activation))
    for block in network.blocks:
        quantized = block.conv.quant_weight()
        codes = (quantized.value / quantized.scale).round().detach().numpy()
        bits = 8 if block is network.blocks[0] else weight
        assert np.abs(codes).max() == 2 ** (bits - 1) - 1
    x = torch.rand(2, 3, 64, 96)
    network.blocks[0].set_activation_range(0.5)
    first = network.blocks[0](x)
    codes = np.unique((first.value / first.scale).round().detach().numpy())
    assert codes.min() == 0
    assert codes.max() == 2**activation - 1


def test_the_output_is_128ths_on_the_grid_of_the_spec(make_spec: Callable, make_network: Callable) -> None:
    spec = make_spec(width=96, height=64)
    output = make_network(spec)(torch.rand(2, 3, 64, 96)).detach().numpy() * 128
    assert output.shape == (2, 12, spec.grid_height, spec.grid_width) == (2, 12, 4, 6)
    np.testing.assert_array_equal(output, output.round())
    assert -128 <= output.min() < output.max() <= 127


@pytest.mark.parametrize(("weight", "activation"), BITS)
def test_the_training_pass_computes_what_the_exact_one_does(
    make_spec: Callable, make_network: Callable, weight: int, activation: int
) -> None:
    network = make_network(make_spec(weight, activation))
    pixels = torch.randint(0, 256, (2, 3, 64, 96)).float()
    with torch.no_grad():
        exact = network(pixels / 255) * 128
        fast = (network.fast(pixels) * 64).round().clamp(-128, 127)
    # Sums in another order may fall to the other side of a rounding boundary, one step away.
    assert (exact != fast).float().mean() < 0.01


@pytest.mark.parametrize("quantized", [True, False])
def test_frozen_statistics_are_folded_without_changing_the_output(
    make_spec: Callable, make_network: Callable, quantized: bool
) -> None:
    network = make_network(make_spec())
    pixels = torch.randint(0, 256, (2, 3, 64, 96)).float()
    folded = network.eval().fast(pixels, quantized)
    for block in network.blocks:
        block.fold = lambda x, scale, divisor, q, b=block: b.normalise(b.convolve(x, scale, q), divisor)
    plain = network.fast(pixels, quantized)
    assert (plain - folded).abs().max() < (0.2 if quantized else 1e-3)  # a sum on a rounding boundary moves a step
    assert (plain - folded).abs().mean() < 1e-3


def test_frozen_statistics_let_every_gradient_through(make_spec: Callable, make_network: Callable) -> None:
    network = make_network(make_spec()).eval()
    before = {name: value.clone() for name, value in network.named_buffers()}
    network.fast(torch.rand(2, 3, 64, 96) * 255).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


def test_without_quantization_the_gradient_is_plain(make_spec: Callable, make_network: Callable) -> None:
    network = make_network(make_spec()).train()
    network.fast(torch.rand(2, 3, 64, 96) * 255, quantized=False).square().mean().backward()
    assert all(p.grad is not None for name, p in network.named_parameters() if "activation" not in name)
    assert all(p.grad is None for name, p in network.named_parameters() if "activation" in name)


def test_with_quantization_the_gradient_reaches_weights_and_scales(make_spec: Callable, make_network: Callable) -> None:
    network = make_network(make_spec()).train()
    network.fast(torch.rand(2, 3, 64, 96) * 255).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_activation_range_can_be_set(make_spec: Callable) -> None:
    block = TinyYolo(make_spec()).blocks[0]
    assert isinstance(block, ConvBlock)
    block.set_activation_range(3.0)
    assert float(block.activation_scale) == pytest.approx(3.0 / 15)


def test_a_network_of_unsupported_bits_cannot_be_described(make_spec: Callable) -> None:
    with pytest.raises(UserError, match="16 bits"):
        make_spec(weight=16)
