"""Small detectors, of odd shapes, that train and export in a second."""

from collections.abc import Callable

import pytest
import torch

from fpga_facedet.network.tinyyolo import ConvBlock, TinyYolo
from fpga_facedet.spec import DetectorSpec

MakeSpec = Callable[..., DetectorSpec]


@pytest.fixture(scope="session")
def make_spec() -> MakeSpec:
    """Return a function that makes a spec of four small layers with stride 16."""

    def make(weight: int = 4, activation: int = 4, width: int = 96, height: int = 64) -> DetectorSpec:
        return DetectorSpec.from_dict(
            {
                "name": f"small-{weight}w{activation}a",
                "input": {"width": width, "height": height},
                "bits": {"weight": weight, "activation": activation, "first_weight": 8, "last_weight": 8},
                "layers": [
                    {"channels": 6, "pool": 2},
                    {"channels": 8, "stride": 2},
                    {"channels": 12, "pool": 2},
                    {"channels": 10, "kernel": 1, "pool": 2},
                ],
                "head": {"anchors": [[10, 14], [30, 40]]},
            }
        )

    return make


@pytest.fixture(scope="session")
def make_network() -> Callable[[DetectorSpec], TinyYolo]:
    """Return a function that makes a network whose BatchNorms look trained: all layers and outputs are alive."""

    def make(spec: DetectorSpec, seed: int = 3) -> TinyYolo:
        torch.manual_seed(seed)
        network = TinyYolo(spec)
        with torch.no_grad():
            for block in network.blocks:
                assert isinstance(block, ConvBlock)
                block.norm.running_mean.normal_(0, 0.3)
                block.norm.running_var.uniform_(0.4, 1.2)
                block.norm.weight.uniform_(-0.5, 1.6)
                block.norm.bias.normal_(0.4, 0.3)
            network.head.weight.normal_(0, 0.1)
        return network.eval()

    return make
