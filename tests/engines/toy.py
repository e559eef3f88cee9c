"""A detector of 32x48 pixels in numpy whose every output depends on the pixels, so that no frame passes for another."""

import numpy as np
import numpy.typing as npt

from fpga_facedet.manifest import HeadInfo, InputInfo, Manifest, ModelInfo

HEIGHT, WIDTH, STRIDE = 32, 48, 16
GRID = (HEIGHT // STRIDE, WIDTH // STRIDE)

# 36 bytes of output: the last beat is half padding.
MANIFEST = Manifest(
    model=ModelInfo("toy", "ab" * 32, {}),
    input=InputInfo(HEIGHT, WIDTH, 3, 114),
    head=HeadInfo(*GRID, 6, STRIDE, ((12.0, 16.0),), 1 / 128, 0.3, 0.5),
    board="pynq-z2",
    clock_mhz=100.0,
    files={"rtl_sha256": "cd" * 32},
)


class ToyEngine:
    """Two sums over each cell of 16x16 pixels for each colour, folded into int8."""

    name = "golden"
    manifest = MANIFEST

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        cells = frames.reshape(len(frames), GRID[0], STRIDE, GRID[1], STRIDE, 3).astype(np.int64)
        ramp = np.arange(1, STRIDE * STRIDE + 1).reshape(1, 1, STRIDE, 1, STRIDE, 1)
        sums = np.concatenate([cells.sum(axis=(2, 4)), (cells * ramp).sum(axis=(2, 4))], axis=-1)
        return ((sums * 37) % 256 - 128).astype(np.int8)

    def close(self) -> None:
        pass


def frames(count: int, seed: int = 7) -> npt.NDArray[np.uint8]:
    """Random frames, uint8 (count, 32, 48, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)
