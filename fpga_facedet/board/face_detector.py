"""The overlay as a person meets it in a notebook: pictures in, faces out."""

import html
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pynq

from fpga_facedet.detections import Detections
from fpga_facedet.engines.board import BoardEngine, BoardOptions, active_device, close_engine_on
from fpga_facedet.engines.hardware import explained
from fpga_facedet.engines.overlay_folder import find_overlay_folder, read_overlay_folder
from fpga_facedet.errors import UserError
from fpga_facedet.host.decode import faces_in_frame
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.manifest import Manifest


class FaceDetector(pynq.Overlay):  # type: ignore[misc]
    """A face detector on the FPGA.

    Args:
        folder: the overlay's folder, or the name of a model whose overlay is looked for (see `find_overlay_folder`);
            None for the default model.
        options: those of BoardEngine (depth, timeout, attempts, interrupts).

    >>> det = FaceDetector()                    # doctest: +SKIP
    >>> faces = det(frame)                      # doctest: +SKIP
    >>> picture = det.annotate(frame, faces)    # doctest: +SKIP

    Making one loads its bitstream; a FaceDetector made before is closed by that. Raises UserError in one sentence where
    the overlay is not found or not complete, where this is no board, or where hardware and manifest differ.
    """

    engine: BoardEngine
    """The engine that runs the accelerator: for a Pipeline, or for raw frames."""
    manifest: Manifest
    """Shapes, scale, anchors, hashes and figures of the detector."""
    folder: Path
    """The overlay's folder."""

    def __init__(self, folder: str | os.PathLike[str] | None = None, **options: Any) -> None:
        files = read_overlay_folder(_folder_of(folder))
        # Wrong ones are refused while another FaceDetector still runs.
        BoardOptions(**options)
        device = active_device()
        # Its DMA must be at rest before the bitstream under it is replaced.
        close_engine_on(device)
        with explained():
            super().__init__(str(files.bit), device=device)
        self.folder, self.manifest = files.folder, files.manifest
        self._letterbox: Letterbox | None = None
        self._one_at_a_time = threading.Lock()
        self.engine = BoardEngine(self, files.manifest, **options)

    def __call__(
        self, frame: npt.NDArray[np.uint8], min_score: float | None = None, nms_iou: float | None = None
    ) -> Detections:
        """Return the faces in `frame`, BGR uint8 (h, w, 3) of any size, in its pixels, best first.

        `min_score` and `nms_iou` (0..1) default to the manifest's. Raises UserError for another shape or type, or where
        another overlay was loaded meanwhile; LostFrameError where the board gave no result for this frame.
        """
        self._check_loaded()
        _check_frame(frame)
        size = self.manifest.input
        with self._one_at_a_time:
            letterbox = self._letterbox
            if letterbox is None or (letterbox.frame_height, letterbox.frame_width) != frame.shape[:2]:
                letterbox = Letterbox.fit(frame.shape[1], frame.shape[0], size.width, size.height)
                self._letterbox = letterbox
            try:
                slot = self.engine.acquire()
                letterbox.apply_rgbx(frame, slot.pixels, size.fill)
                self.engine.submit(slot)
                output = self.engine.collect()
            except BaseException:
                # A notebook's stop button gets here too; the next call would get this frame's result.
                self.engine.forsake()
                raise
        return faces_in_frame(output, self.manifest, letterbox, min_score, nms_iou)

    @property
    def dma(self) -> Any:
        """pynq's driver of the DMA, as the engine uses it; to look at: the engine alone starts transfers."""
        self._check_loaded()
        return self.engine.driver

    def annotate(self, frame: npt.NDArray[np.uint8], faces: Detections) -> npt.NDArray[np.uint8]:
        """Return a copy of `frame`, BGR uint8 (h, w, 3), with a box and a score at each of `faces`."""
        from fpga_facedet.host.annotate import annotate

        _check_frame(frame)
        return annotate(frame, faces)

    def info(self) -> dict[str, Any]:
        """Return what runs here, JSON-ready: model, board, versions, hashes, counters, figures with their evidence.

        The cycles come from counters in the hardware. Raises UserError where another overlay was loaded meanwhile.
        """
        self._check_loaded()
        manifest = self.manifest
        return {
            "model": manifest.model.name,
            "board": manifest.board,
            "folder": str(self.folder),
            "versions": {**manifest.versions, "pynq": pynq.__version__, "shell": self.engine.shell_version},
            "hashes": {"model": manifest.model.sha256, **manifest.files},
            "engine": self.engine.info(),
            "figures": [
                {"name": figure.name, "value": figure.value, "unit": figure.unit, "evidence": figure.evidence}
                for figure in (*self.engine.figures(), *manifest.figures)
            ],
        }

    def close(self) -> None:
        """Stop the hardware and give back its buffers; may be called twice. The bitstream stays on the board."""
        self.engine.close()

    def __enter__(self) -> "FaceDetector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        size = self.manifest.input
        return (
            f"FaceDetector({self.manifest.model.name}, {size.width}x{size.height}, {self.manifest.board}, "
            f"{'closed' if self.engine.closed else 'on the board'})"
        )

    def _repr_html_(self) -> str:
        size = self.manifest.input
        rows = [
            ("model", self.manifest.model.name),
            ("input", f"{size.width}x{size.height} RGB"),
            ("board", self.manifest.board or "unknown"),
            ("state", "closed" if self.engine.closed else "on the board"),
        ]
        if not self.engine.closed:
            measured = [f"{figure.value:,.0f} {figure.unit} ({figure.evidence})" for figure in self.engine.figures()]
            rows.append(("latency, interval", ", ".join(measured) or "not measured: no frame has run"))
        cells = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows)
        return f"<table><caption>FaceDetector</caption>{cells}</table>"

    def _check_loaded(self) -> None:
        """Raise UserError where this overlay is not on the board any more."""
        name = self.manifest.model.name
        if not self.is_loaded():
            raise UserError(
                f"This FaceDetector ({name}) is no longer on the board: {Path(self.device.bitfile_name).name} was "
                "loaded after it; make a new FaceDetector."
            )
        if self.engine.closed:
            raise UserError(f"This FaceDetector ({name}) was closed; make a new one.")


def _folder_of(folder: str | os.PathLike[str] | None) -> Path:
    """Return the folder that a person meant: a folder, or the name of a model."""
    if folder is None:
        return find_overlay_folder()
    path = Path(folder)
    named = not path.exists() and len(path.parts) == 1
    return find_overlay_folder(str(folder)) if named else path


def _check_frame(frame: Any) -> None:
    """Raise UserError unless `frame` is a BGR picture."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        got = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise UserError(
            f"The face detector takes a picture as uint8 (height, width, 3) in BGR, got {got}; read it with cv2.imread."
        )
