"""The compiled pooling has the bits of PyTorch's kernels, forward and backward."""

import shutil

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fpga_facedet.native import building
from fpga_facedet.network import pooling
from fpga_facedet.network.pooling import pool_and_quantize
from fpga_facedet.network.quantizers import RoundStraightThrough

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="the kernel is compiled by g++")


def by_torch(x: Tensor, levels: int, pool: int) -> Tensor:
    x = functional.max_pool2d(x, pool) if pool > 1 else x
    return RoundStraightThrough.apply(functional.hardtanh(x, 0.0, float(levels)))


def values(channels: int, height: int, width: int, spread: float) -> Tensor:
    torch.manual_seed(channels * height)
    x = (torch.randn(3, channels, height, width) * spread).bfloat16()
    # Ties within a window, ties of the rounding, both ends of the clamp, both zeros.
    x[0, :, :2] = torch.tensor([2.5, 2.5, -1.0, 15.0, 15.5, 0.0, -0.0, 3.5]).bfloat16().repeat(width // 8 + 1)[:width]
    return x.contiguous(memory_format=torch.channels_last)


@needs_compiler
@pytest.mark.parametrize("levels", [1, 3, 15, 31, 255])
@pytest.mark.parametrize(("channels", "height", "width"), [(8, 16, 24), (16, 4, 6), (56, 2, 2), (24, 10, 34)])
def test_the_kernel_has_the_bits_of_torch(levels: int, channels: int, height: int, width: int) -> None:
    assert pooling._library() is not None, "g++ is there, so the kernel compiles"
    results = []
    for function in (pool_and_quantize, by_torch):
        x = values(channels, height, width, levels).requires_grad_()
        y = function(x, levels, 2)
        torch.manual_seed(1)
        y.backward(torch.randn(y.shape).bfloat16())
        results.append((y.detach(), x.grad))
    for ours, theirs in zip(*results, strict=True):
        assert ours is not None and theirs is not None
        assert ours.abs().sum() > 0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "dtype", "pool"),
    [
        ((2, 6, 8, 8), torch.bfloat16, 2),
        ((2, 8, 8, 8), torch.float32, 2),
        ((2, 8, 9, 8), torch.bfloat16, 2),
        ((2, 8, 9, 9), torch.bfloat16, 3),
        ((2, 8, 8, 8), torch.bfloat16, 1),
    ],
)
def test_what_the_kernel_does_not_know_goes_to_torch(
    shape: tuple[int, ...], dtype: torch.dtype, pool: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling._PoolQuantize, "apply", None)
    x = torch.randn(shape).to(dtype) * 9
    torch.testing.assert_close(pool_and_quantize(x, 15, pool), by_torch(x, 15, pool), rtol=0, atol=0)


@pytest.mark.parametrize("lacking", ["a compiler", "a folder that runs programs"])
def test_without_what_the_kernel_needs_torch_does_it(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise OSError(f"{path}: failed to map segment from shared object")

    if lacking == "a compiler":
        monkeypatch.setattr(building.shutil, "which", lambda program: None)
    else:
        monkeypatch.setattr(building.ctypes, "CDLL", refuse)
    pooling._library.cache_clear()
    try:
        x = values(8, 8, 8, 15.0)
        torch.testing.assert_close(pool_and_quantize(x, 15, 2), by_torch(x, 15, 2), rtol=0, atol=0)
        assert pooling._library() is None
    finally:
        pooling._library.cache_clear()
