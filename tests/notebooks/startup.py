"""Runs in the notebook's kernel before its first cell: makes a software board with the accelerators of a folder.

IPython runs it as a startup file; the notebook knows nothing of it. Python 3.10, the real pynq.
FACEDET_TEST_ACCELERATORS names the folder.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.manifest import Manifest
from fpga_facedet.software_board import SoftwareBoard, golden_compute


class LoadedEngine:
    """The golden engine of the accelerator that is on the board."""

    name = "golden"

    def __init__(self, accelerators: Path) -> None:
        self._engines = {path.parent.name: GoldenEngine(path.parent) for path in accelerators.glob("*/golden.onnx")}
        self.choose(sorted(self._engines)[0])

    def choose(self, model: str) -> None:
        """Make `model` the one that runs from now on."""
        self._chosen = self._engines[model]

    @property
    def manifest(self) -> Manifest:
        """Of the accelerator that was chosen."""
        return self._chosen.manifest

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Run frames; see Engine."""
        return self._chosen.infer(frames)

    def close(self) -> None:
        """Close all engines."""
        for engine in self._engines.values():
            engine.close()


class BoardOfOverlays(SoftwareBoard):
    """A software board on which the model named by an overlay's manifest runs once that overlay is loaded."""

    def __init__(self, engine: LoadedEngine) -> None:
        super().__init__(engine.manifest, golden_compute(engine))
        self._engine = engine

    def download(self, bitstream: Any, parser: Any = None) -> None:
        """Load an overlay, and with it the engine of its model."""
        self._engine.choose(Manifest.load(Path(bitstream.bitfile_name).parent).model.name)
        self.manifest = self.compute.manifest = self._engine.manifest
        super().download(bitstream, parser)


BoardOfOverlays(LoadedEngine(Path(os.environ["FACEDET_TEST_ACCELERATORS"]))).install()
