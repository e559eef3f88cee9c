"""The fast end of a quantized layer while it trains: max-pool, clamp and rounding in one pass over memory.

The first layers have few channels and many pixels, so on a CPU their time goes to memory. `pooling.cpp` does in one
pass what PyTorch's kernels do in six, with the same bits of finite numbers; it is compiled by g++ at first use, and
where that or the layout does not fit, PyTorch's kernels do the work.
"""

import ctypes
import functools
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from fpga_facedet.native.building import CannotBuildError, compiled_library
from fpga_facedet.network.quantizers import RoundStraightThrough

_SOURCE = Path(__file__).with_name("pooling.cpp")
_LANES = 8


def pool_and_quantize(x: Tensor, levels: int, pool: int) -> Tensor:
    """Return round(clamp(max-pool of `x`, 0, levels)), float (N, C, H / pool, W / pool) of integers.

    `x` float (N, C, H, W). The rounding passes gradients unchanged (straight-through), the clamp only inside.
    """
    if pool == 2 and _fits(x) and _library() is not None:
        return cast(Tensor, _PoolQuantize.apply(x, levels))  # type: ignore[no-untyped-call]
    if pool > 1:
        x = functional.max_pool2d(x, pool)
    return cast(Tensor, RoundStraightThrough.apply(functional.hardtanh(x, 0.0, float(levels))))  # type: ignore[no-untyped-call]


def _fits(x: Tensor) -> bool:
    even = x.shape[1] % _LANES == 0 and x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0
    return even and x.dtype == torch.bfloat16 and x.device.type == "cpu" and not torch.jit.is_tracing()


class _PoolQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, levels: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        count, channels, height, width = x.shape
        shape = (count, channels, height // 2, width // 2)
        y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        source = torch.empty(shape, dtype=torch.int8, memory_format=torch.channels_last)
        top = int(torch.tensor(float(levels), dtype=x.dtype).view(torch.int16))
        library = cast(ctypes.CDLL, _library())
        library.pool_forward(
            x.data_ptr(), y.data_ptr(), source.data_ptr(), count * height // 2, width // 2, channels, top
        )
        ctx.save_for_backward(source)
        return y

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (source,) = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        count, channels, height, width = gradient.shape
        x = torch.empty(
            (count, channels, 2 * height, 2 * width), dtype=gradient.dtype, memory_format=torch.channels_last
        )
        library = cast(ctypes.CDLL, _library())
        library.pool_backward(gradient.data_ptr(), source.data_ptr(), x.data_ptr(), count * height, width, channels)
        return x, None


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Compile `pooling.cpp`, or find it compiled, and load it; None where that cannot be."""
    try:
        library = compiled_library("pooling", [_SOURCE], [], ("-std=c++17", "-O3", "-march=native"))
    except CannotBuildError:
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.pool_forward.argtypes = [pointer, pointer, pointer, number, number, number, ctypes.c_int16]
    library.pool_backward.argtypes = [pointer, pointer, pointer, number, number, number]
    library.pool_forward.restype = library.pool_backward.restype = None
    return library
