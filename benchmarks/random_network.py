"""A network of random weights, spread like trained ones: for what hardly depends on the weights."""

from pathlib import Path

import torch

from fpga_facedet.network.export import export_qonnx
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.spec import DetectorSpec

SEED = 7


def export(spec: DetectorSpec, path: Path) -> Path:
    """Write a network of random weights, BatchNorms of both signs and head biases to `path` (QONNX); returns it."""
    torch.manual_seed(SEED)
    network = TinyYolo(spec)
    with torch.no_grad():
        for block in network.blocks:
            block.norm.running_mean.normal_(0, 0.3)
            block.norm.running_var.uniform_(0.4, 1.2)
            block.norm.weight.uniform_(-1.6, 1.6)
            block.norm.bias.normal_(0.5, 0.3)
        network.head.weight.normal_(0, 0.3)
        network.head.bias.normal_(0, 0.3)
    export_qonnx(network, spec, path)
    return path
