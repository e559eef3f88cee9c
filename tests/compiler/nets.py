"""Small detectors with random weights, spread like trained ones: exported once a session, built in seconds."""

from pathlib import Path

from benchmarks import random_network
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
    return random_network.export(detector, path)
