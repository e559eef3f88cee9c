"""What goes from stage to stage of the pipeline: a frame, and what is known of it so far."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import Detections
from fpga_facedet.host.sources import Frame
from fpga_facedet.letterbox import Letterbox


@dataclass(frozen=True)
class Result:
    """One frame and its faces, in pixels of the frame as stored, best first."""

    frame: Frame
    faces: Detections

    @property
    def width(self) -> int:
        """Width of the frame, pixels."""
        return int(self.frame.image.shape[1])

    @property
    def height(self) -> int:
        """Height of the frame, pixels."""
        return int(self.frame.image.shape[0])


@dataclass(frozen=True)
class Captured:
    """A frame to preprocess; `started` is when its capture ended, in seconds of time.perf_counter."""

    frame: Frame
    started: float


@dataclass(frozen=True)
class Submitted:
    """A frame that the engine has; `submitted` is when it got it, in seconds of time.perf_counter."""

    captured: Captured
    letterbox: Letterbox
    submitted: float


@dataclass(frozen=True)
class Inferred:
    """A frame to postprocess; `output` is the head's, int8 (grid_h, grid_w, C)."""

    captured: Captured
    letterbox: Letterbox
    output: npt.NDArray[np.int8]


@dataclass(frozen=True)
class Finished:
    """A frame to send."""

    captured: Captured
    result: Result
