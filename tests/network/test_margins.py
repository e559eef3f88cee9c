from collections.abc import Callable

import numpy as np
import torch

from fpga_facedet.network.margins import separate_boundaries


def boundaries(network: torch.nn.Module, block: int) -> np.ndarray:
    """Return the sums (channels, levels), computed independently of the product, at which the block's codes change."""
    layer = network.blocks[block]
    scale_in = 1 / 255 if block == 0 else network.blocks[block - 1].activation_scale.item()
    norm = layer.norm
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    unit = (layer.conv.quant_weight().scale.flatten() * scale_in * factor).detach().double().numpy()
    offset = (norm.bias - norm.running_mean * factor).detach().double().numpy()
    codes = np.arange(layer.levels) + 0.5
    return (codes[None] * layer.activation_scale.item() - offset[:, None]) / unit[:, None]


def test_no_boundary_lies_on_a_sum_that_can_occur(make_spec: Callable, make_network: Callable) -> None:
    network = make_network(make_spec())
    least = separate_boundaries(network)
    assert least > 1e-4
    for block in range(len(network.blocks)):
        place = boundaries(network, block)
        assert np.abs(place - place.round()).min() > 1e-3


def test_the_network_hardly_changes(make_spec: Callable, make_network: Callable) -> None:
    network = make_network(make_spec())
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        before = network(x)
        separate_boundaries(network)
        difference = (network(x) - before).abs()
    assert float(difference.mean()) < 2 / 128
