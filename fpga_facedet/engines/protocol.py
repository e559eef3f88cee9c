"""The interface that every engine keeps: frames in, the head's integers out, bit for bit the same everywhere."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import UserError
from fpga_facedet.manifest import Manifest


class Engine(Protocol):
    """Runs one accelerator.

    `name` says which engine it is (golden, rtl, csim, board); `manifest` carries shapes, scale and anchors.
    """

    name: str
    manifest: Manifest

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Run letterboxed RGB frames uint8 (N, H, W, 3); return the head's integers int8 (N, grid_h, grid_w, C)."""
        ...

    def close(self) -> None:
        """Give back processes, buffers and threads; a closed engine is not used again."""
        ...


def check_frames(frames: npt.NDArray[np.uint8], manifest: Manifest) -> None:
    """Raise UserError unless `frames` are uint8 (N, H, W, 3) of the manifest's input."""
    wanted = (manifest.input.height, manifest.input.width, manifest.input.channels)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != wanted:
        raise UserError(
            f"The detector {manifest.model.name} got frames {frames.dtype} {frames.shape}; "
            f"give uint8 (N, {wanted[0]}, {wanted[1]}, {wanted[2]})."
        )
