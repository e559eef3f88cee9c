"""The letterbox: a picture of any size into the detector's input, and boxes back."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import UserError

FILL = 114
"""Grey level of the bars (0..255): the usual one of YOLO training, in all three colours."""


@dataclass(frozen=True)
class Letterbox:
    """How one picture size fits one input size: the aspect ratio kept, centred, bars filled.

    All sizes are in pixels. Training, assessment and every host use this very class. Assessment and hosts give it the
    picture as it is in the file, and so see the same input, bit for bit; training keeps its pictures at most 512 pixels
    long, so larger ones have been shrunk before they come here.
    """

    frame_width: int
    frame_height: int
    input_width: int
    input_height: int
    width: int
    height: int
    left: int
    top: int

    @classmethod
    def fit(cls, frame_width: int, frame_height: int, input_width: int, input_height: int) -> "Letterbox":
        """Fit a picture of `frame_width` x `frame_height` into the input; UserError where it has no pixels."""
        if frame_width < 1 or frame_height < 1:
            raise UserError(f"A picture of {frame_width}x{frame_height} has no pixels; give one of at least 1x1.")
        scale = min(input_width / frame_width, input_height / frame_height)
        width = min(input_width, max(1, round(frame_width * scale)))
        height = min(input_height, max(1, round(frame_height * scale)))
        left, top = (input_width - width) // 2, (input_height - height) // 2
        return cls(frame_width, frame_height, input_width, input_height, width, height, left, top)

    def apply(self, frame: npt.NDArray[np.uint8], fill: int = FILL) -> npt.NDArray[np.uint8]:
        """Turn `frame`, BGR uint8 (frame_height, frame_width, 3), into RGB uint8 (input_height, input_width, 3).

        Pictures over twice the size are halved by 2x2 means first, so that thin detail does not alias; the rest is
        bilinear in OpenCV's integer arithmetic, equal on every processor (INTER_LINEAR_EXACT).
        """
        if frame.shape != (self.frame_height, self.frame_width, 3) or frame.dtype != np.uint8:
            raise UserError(
                f"The letterbox for {self.frame_width}x{self.frame_height} pictures got an array {frame.shape} of "
                f"{frame.dtype}; give uint8 ({self.frame_height}, {self.frame_width}, 3)."
            )
        while frame.shape[1] >= 2 * self.width and frame.shape[0] >= 2 * self.height:
            halved = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
            frame = cv2.resize(halved, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        if frame.shape[:2] != (self.height, self.width):
            size = (self.width, self.height)
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR_EXACT)  # type: ignore[assignment]
        out = np.full((self.input_height, self.input_width, 3), fill, np.uint8)
        inside = out[self.top : self.top + self.height, self.left : self.left + self.width]
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=inside)
        return out

    def _scale(self) -> npt.NDArray[np.float32]:
        x, y = self.width / self.frame_width, self.height / self.frame_height
        return np.array([x, y, x, y], np.float32)

    def _offset(self) -> npt.NDArray[np.float32]:
        return np.array([self.left, self.top, self.left, self.top], np.float32)

    def to_input(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map boxes (N, 4) x1, y1, x2, y2 from picture pixels to input pixels, float32."""
        return np.asarray(boxes, np.float32) * self._scale() + self._offset()

    def to_frame(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map boxes (N, 4) x1, y1, x2, y2 from input pixels to picture pixels, clipped to the picture, float32."""
        mapped = (np.asarray(boxes, np.float32) - self._offset()) / self._scale()
        size = np.array([self.frame_width, self.frame_height] * 2, np.float32)
        return np.clip(mapped, np.float32(0), size)
