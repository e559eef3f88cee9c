"""Small detectors with random weights, spread like trained ones: exported once a session, built in seconds."""

from pathlib import Path

import torch

from fpga_facedet.network.export import export_qonnx
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.spec import DetectorSpec


def spec(
    weight_bits: int = 4, activation_bits: int = 4, width: int = 64, height: int = 32, layers: int = 4
) -> DetectorSpec:
    """A pool, a stride of 2, a 1x1 convolution, several channel counts; not square."""
    return DetectorSpec.from_dict(
        {
            "name": f"small-{weight_bits}w{activation_bits}a",
            "input": {"width": width, "height": height},
            "bits": {"weight": weight_bits, "activation": activation_bits, "first_weight": 8, "last_weight": 8},
            "layers": [
                {"channels": 4, "pool": 2},
                {"channels": 8, "stride": 2},
                {"channels": 6, "kernel": 1},
                {"channels": 12, "pool": 2},
            ][:layers],
            "head": {"kernel": 3, "anchors": [[10, 14], [23, 27]]},
        }
    )


def export(detector: DetectorSpec, path: Path) -> Path:
    """Write a network of random weights, BatchNorms of both signs and head biases to `path`; returns it."""
    torch.manual_seed(7)
    network = TinyYolo(detector)
    with torch.no_grad():
        for block in network.blocks:
            block.norm.running_mean.normal_(0, 0.3)
            block.norm.running_var.uniform_(0.4, 1.2)
            block.norm.weight.uniform_(-1.6, 1.6)
            block.norm.bias.normal_(0.5, 0.3)
        network.head.weight.normal_(0, 0.3)
        network.head.bias.normal_(0, 0.3)
    export_qonnx(network, detector, path)
    return path
