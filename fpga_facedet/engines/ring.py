"""Any engine as one that streams: a thread of its own computes while the next frame is filled in."""

import threading
from typing import cast

import numpy as np
import numpy.typing as npt

from fpga_facedet.engines.protocol import Engine, Slot, StreamingEngine
from fpga_facedet.engines.slots import SlotRing
from fpga_facedet.errors import UserError
from fpga_facedet.shell import PIXEL_BYTES


def as_streaming(engine: Engine, depth: int = 2) -> StreamingEngine:
    """Return `engine` as a StreamingEngine with `depth` slots; unchanged where it streams already."""
    if all(callable(getattr(engine, name, None)) for name in ("acquire", "submit", "release", "collect", "abort")):
        return cast(StreamingEngine, engine)
    return RingEngine(engine, depth)


class RingEngine:
    """Streams through an engine that does not: `depth` slots, and a thread that runs `infer` on one after the other.

    The slots are RGBX as on the board, so whoever fills them cannot tell the difference. What the engine raises for a
    frame is raised by the `collect` of that frame, and the next one is tried. Closing it closes the engine.
    """

    def __init__(self, engine: Engine, depth: int = 2) -> None:
        if depth < 1:
            raise UserError(f"An engine cannot stream through {depth} slots; give 1 or more.")
        self.name, self.manifest = engine.name, engine.manifest
        self._engine = engine
        size = engine.manifest.input
        self._ring = SlotRing()
        for number in range(depth):
            self._ring.add(Slot(number, np.zeros((size.height, size.width, PIXEL_BYTES), np.uint8)))
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"facedet-{engine.name}", daemon=True)
        self._thread.start()

    def acquire(self) -> Slot:
        """Return a free slot, waiting for one; its old pixels are of no meaning. Raises EngineStopped."""
        return self._ring.acquire()

    def submit(self, slot: Slot) -> None:
        """Hand a filled slot over; does not wait. Raises EngineStopped."""
        self._ring.submit(slot)

    def release(self, slot: Slot) -> None:
        """Give back a slot that was acquired and will not be submitted."""
        self._ring.release(slot)

    def collect(self) -> npt.NDArray[np.int8]:
        """Return the oldest result not collected yet, int8 (grid_h, grid_w, C); waits for it.

        Raises EngineStopped, or what the engine raised for that frame.
        """
        return self._ring.collect()

    def abort(self) -> None:
        """Make all waits end with EngineStopped; any thread may call it. The engine can only be closed then."""
        self._ring.abort()

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Run frames uint8 (N, H, W, 3) at once through the engine itself, beside the slots."""
        return self._engine.infer(frames)

    def close(self) -> None:
        """End the thread, after the frame it has, and close the engine; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self.abort()
        self._thread.join()
        self._engine.close()

    def _work(self) -> None:
        """Be the thread."""
        while (job := self._ring.next(wait=True)) is not None:
            try:
                result = self._engine.infer(np.ascontiguousarray(job.slot.pixels[None, :, :, :3]))[0]
            except BaseException as error:
                self._ring.finish(job, error)
            else:
                # The caller's own: an engine may give a view of what it writes into again.
                self._ring.finish(job, result.copy())
