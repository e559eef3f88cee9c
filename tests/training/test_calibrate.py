import torch

from fpga_facedet.network.tinyyolo import ConvBlock, TinyYolo
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.calibrate import calibrate_activations, recalibrate_norms


def test_ranges_follow_the_values(small_spec: DetectorSpec) -> None:
    torch.manual_seed(1)
    network = TinyYolo(small_spec)
    pixels = torch.randint(0, 256, (4, 3, 64, 96)).float()
    calibrate_activations(network, pixels)
    for block in network.blocks:
        assert isinstance(block, ConvBlock)
        # BatchNorm makes unit variance: the best 15 steps end between 1.5 and 5 standard deviations.
        assert 1.5 < 15 * block.activation_scale.item() < 5


def test_statistics_become_plain_means(small_spec: DetectorSpec) -> None:
    torch.manual_seed(1)
    network = TinyYolo(small_spec)
    pixels = [torch.randint(0, 256, (2, 3, 64, 96)).float() for _ in range(3)]
    recalibrate_norms(network, pixels)
    block = network.blocks[0]
    assert isinstance(block, ConvBlock)
    with torch.no_grad():
        sums = [block.conv(p / 255).mean(dim=(0, 2, 3)) for p in pixels]
    torch.testing.assert_close(block.norm.running_mean, torch.stack(sums).mean(dim=0))
    assert not network.training
    assert block.norm.momentum == 0.1
