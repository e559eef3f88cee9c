"""The interface that every engine keeps: frames in, the head's integers out, bit for bit the same everywhere."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import InternalError, UserError
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


@dataclass(frozen=True, eq=False)
class Slot:
    """A place for one frame in an engine's ring of input buffers.

    `pixels` is uint8 (H, W, 4), RGBX, on a board the very memory that the DMA reads; the fourth byte is ignored.
    """

    number: int
    pixels: npt.NDArray[np.uint8]


class LostFrameError(InternalError):
    """One frame got no result; the frames after it are not concerned."""


class EngineStopped(Exception):  # noqa: N818 - a signal to leave, not an error
    """`abort` was called while somebody waited for a slot or a result."""


class StreamingEngine(Engine, Protocol):
    """An engine that works on one frame while the next is filled in.

    One thread may call `acquire`, `submit` and `release` while another calls `collect`. Results come in the order of
    submission. `infer` is not used at the same time.
    """

    def acquire(self) -> Slot:
        """Return a free slot, waiting for one; its old pixels are of no meaning. Raises EngineStopped."""
        ...

    def submit(self, slot: Slot) -> None:
        """Hand a filled slot over; the engine starts it as soon as it can, and this does not wait for the result."""
        ...

    def release(self, slot: Slot) -> None:
        """Give back a slot that was acquired and will not be submitted."""
        ...

    def collect(self) -> npt.NDArray[np.int8]:
        """Return the oldest result not collected yet, int8 (grid_h, grid_w, C), the caller's own; waits for it.

        Raises EngineStopped, and what went wrong with that frame where something did.
        """
        ...

    def abort(self) -> None:
        """Make all waits end with EngineStopped; any thread may call it. The engine can only be closed then."""
        ...


def check_frames(frames: npt.NDArray[np.uint8], manifest: Manifest) -> None:
    """Raise UserError unless `frames` are uint8 (N, H, W, 3) of the manifest's input."""
    wanted = (manifest.input.height, manifest.input.width, manifest.input.channels)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != wanted:
        raise UserError(
            f"The detector {manifest.model.name} got frames {frames.dtype} {frames.shape}; "
            f"give uint8 (N, {wanted[0]}, {wanted[1]}, {wanted[2]})."
        )
