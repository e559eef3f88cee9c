"""The board engine: the accelerator on the FPGA, through pynq, one frame computed while the next ones are filled in."""

import atexit
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.engines.board_worker import BoardGoneError, BoardOptions, BoardWorker
from fpga_facedet.engines.hardware import explained
from fpga_facedet.engines.overlay_folder import OverlayFolder, read_overlay_folder
from fpga_facedet.engines.protocol import Slot, check_frames
from fpga_facedet.manifest import Figure, Manifest

__all__ = ["BoardEngine", "BoardGoneError", "BoardOptions", "active_device", "close_engine_on", "open_board_engine"]


class BoardEngine:
    """Runs frames on the accelerator of a loaded overlay; a StreamingEngine.

    Args:
        overlay: the pynq.Overlay, already on the board, with the cells `dma` and `detector`.
        manifest: the accelerator's manifest, which the hardware has to match.
        depth: input buffers, at least 2: one is filled in while others are on their way. A buffer is free again when
            its result was collected.
        timeout: seconds without progress after which a channel counts as stuck, and is reset.
        attempts: how often a frame is sent at most; one that fails as often is lost, and `collect` says so.
        interrupts: False for polling even where the board offers interrupts.

    After a reset the frames on the board are sent again, in order. `close` ends it all; Python's exit does so too.
    Raises UserError where the overlay is not the manifest's, or the board has no memory left.
    """

    name = "board"

    def __init__(
        self,
        overlay: Any,
        manifest: Manifest,
        *,
        depth: int = 3,
        timeout: float = 2.0,
        attempts: int = 2,
        interrupts: bool = True,
    ) -> None:
        self.manifest = manifest
        self._depth, self._device = depth, overlay.device
        self._closing, self._closed = threading.Lock(), False
        self._worker = BoardWorker(overlay, manifest, BoardOptions(depth, timeout, attempts, interrupts))
        close_engine_on(self._device)
        self._worker.start()
        _ENGINES[self._device] = self
        atexit.register(self.close)

    def acquire(self) -> Slot:
        """Return a free slot, waiting for one; its old pixels are of no meaning.

        Raises EngineStopped after `abort`, BoardGoneError where the board is gone.
        """
        return self._worker.ring.acquire()

    def submit(self, slot: Slot) -> None:
        """Hand a filled slot over; it is sent as soon as the DMA is free. Does not wait; raises as `acquire`."""
        self._worker.ring.submit(slot)

    def release(self, slot: Slot) -> None:
        """Give back a slot that was acquired and will not be submitted."""
        self._worker.ring.release(slot)

    def collect(self) -> npt.NDArray[np.int8]:
        """Return the oldest result not collected yet, int8 (grid_h, grid_w, C), the caller's own; waits for it.

        Raises LostFrameError where that frame got none (the next ones are as good as ever), BoardGoneError where the
        board gives no more, EngineStopped after `abort`.
        """
        return self._worker.ring.collect()

    def forsake(self) -> None:
        """Let go of every slot that was acquired and every frame whose result was not collected; does not wait.

        For who is interrupted between `acquire` and `collect` and has the engine alone: the next result is that of the
        next frame submitted, and no slot is lost.
        """
        self._worker.ring.forsake()

    def abort(self) -> None:
        """Make all waits end with EngineStopped; any thread may call it. The engine can only be closed then."""
        self._worker.ring.abort()

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Run letterboxed RGB frames uint8 (N, H, W, 3); return the head's integers int8 (N, grid_h, grid_w, C).

        Raises what `collect` raises for the first frame that fails. The engine is the caller's alone: an error,
        Ctrl-C too, lets go of every slot and frame that is under way (`forsake`).
        """
        check_frames(frames, self.manifest)
        head = self.manifest.head
        raw = np.empty((len(frames), head.grid_height, head.grid_width, head.channels), np.int8)
        sent = 0
        try:
            for done in range(len(frames)):
                while sent < min(len(frames), done + self._depth):
                    slot = self.acquire()
                    slot.pixels[..., :3] = frames[sent]
                    self.submit(slot)
                    sent += 1
                raw[done] = self.collect()
        except BaseException:
            self.forsake()
            raise
        return raw

    def close(self) -> None:
        """Stop the DMA and give back the buffers; may be called twice.

        The pixels of a slot that was acquired and not handed over stay until that slot is dropped; all others are gone.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
            atexit.unregister(self.close)
            if _ENGINES.get(self._device) is self:
                del _ENGINES[self._device]
            self._worker.stop()

    def __enter__(self) -> "BoardEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether the engine was closed, by its owner or because another overlay takes its place."""
        return self._closed

    @property
    def driver(self) -> Any:
        """pynq's driver of the DMA, in use by the engine: to look at."""
        return self._worker.hardware.driver

    @property
    def shell_version(self) -> str:
        """The version of the overlay's shell, major.minor."""
        return self._worker.hardware.version()

    def figures(self) -> tuple[Figure, ...]:
        """Return `latency` and `interval` of the latest frames in cycles, as the hardware counted them, if it has."""
        return () if self._closed else self._worker.hardware.figures()

    def info(self) -> dict[str, Any]:
        """Return the engine's counters, how it waits, and the shell's counters since its last reset, JSON-ready."""
        worker = self._worker
        return {
            **worker.ring.counts,
            "results": worker.results,
            "lost": worker.lost,
            "recoveries": worker.recoveries,
            "last_fault": worker.last_fault,
            "waiting": worker.waiting,
            "shell": {} if self._closed else worker.hardware.counters(),
        }


_ENGINES: "weakref.WeakKeyDictionary[Any, BoardEngine]" = weakref.WeakKeyDictionary()
"""The engine of each device: there is one accelerator on a board."""


def close_engine_on(device: Any) -> None:
    """Close the engine that runs on `device`, if any: before another overlay takes the hardware from under its DMA."""
    engine = _ENGINES.get(device)
    if engine is not None:
        engine.close()


def active_device() -> Any:
    """Return the device pynq works on; UserError in one sentence where there is none, or it is for root alone."""
    with explained():
        import pynq
        from pynq.pl_server.embedded_device import EmbeddedDevice

        device = pynq.Device.active_device
        if isinstance(device, EmbeddedDevice) and os.geteuid() != 0:
            raise PermissionError("the hardware is for root")
        return device


def open_board_engine(folder: str | os.PathLike[str], **options: Any) -> BoardEngine:
    """Load the overlay of `folder` onto the board and return its engine; `options` are BoardEngine's.

    `folder` holds `<model>.bit`, `<model>.hwh` and `accelerator.json`. An engine that ran before is closed. Raises
    UserError where a file is missing or not the manifest's, where this is no board, or where the hardware refuses.
    """
    files = read_overlay_folder(Path(folder))
    # Wrong ones are refused while another engine still runs.
    BoardOptions(**options)
    return BoardEngine(_load(files), files.manifest, **options)


def _load(files: OverlayFolder) -> Any:
    """Load an overlay onto the board and return it as a pynq.Overlay."""
    device = active_device()
    close_engine_on(device)
    with explained():
        import pynq

        return pynq.Overlay(str(files.bit), device=device)
