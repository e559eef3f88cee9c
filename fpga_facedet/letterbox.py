"""The letterbox: a picture of any size into the detector's input, and boxes back."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import UserError
from fpga_facedet.native import LONGEST_SIDE, PixelFormat, library, resampling

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
        out = np.full((self.input_height, self.input_width, 3), fill, np.uint8)
        resampling.swap_colours(self._resized(frame), self._inside(out))
        return out

    def apply_rgbx(self, frame: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8], fill: int = FILL) -> None:
        """Write `frame` into `out`, uint8 (input_height, input_width, 4), as the accelerator takes it: RGBX, X = 0.

        `frame` is uint8 (frame_height, frame_width): 3 last for BGR, 2 last for YUYV (the width even), or nothing for
        grey. Every pixel of `out` is written; R, G and B are those of `apply`, grey in all three. `out` may be any
        contiguous writable memory, such as a board's DMA buffer, and must not overlap `frame`. The native library does
        the work where there is one, else OpenCV or numpy, with the same bytes. UserError where an array does not fit.
        """
        pixels = self._pixel_format(frame)
        self._check_out(out)
        if not 0 <= fill <= 255:
            raise UserError(f"The grey level {fill} of the letterbox's bars is outside 0..255; give one inside.")
        box = (self.frame_width, self.frame_height, self.input_width, self.input_height)
        native = library() if max(box) <= LONGEST_SIDE else None
        if native is not None:
            place = (self.width, self.height, self.left, self.top)
            native.letterbox((*box, *place), pixels, int(fill), np.ascontiguousarray(frame), out)
            return
        if pixels == PixelFormat.YUYV:
            frame = resampling.bgr_of_yuyv(frame)
        resized = self._resized(frame[..., None] if pixels == PixelFormat.GREY else frame)
        out[..., :3] = fill
        out[..., 3] = 0
        self._inside(out)[..., :3] = resized[..., ::-1]

    def _resized(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return `frame` (frame_height, frame_width, C) as (height, width, C)."""
        while frame.shape[1] >= 2 * self.width and frame.shape[0] >= 2 * self.height:
            frame = resampling.halve(frame)
        if frame.shape[:2] != (self.height, self.width):
            frame = resampling.resize(frame, self.width, self.height)
        return frame

    def _inside(self, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the picture's place in the input, a view."""
        return out[self.top : self.top + self.height, self.left : self.left + self.width]

    def _pixel_format(self, frame: npt.NDArray[np.uint8]) -> PixelFormat:
        """Return what the shape of `frame` says that it holds; UserError where it fits nothing."""
        size = (self.frame_height, self.frame_width)
        formats = {size: PixelFormat.GREY, (*size, 2): PixelFormat.YUYV, (*size, 3): PixelFormat.BGR}
        pixels = formats.get(frame.shape)
        if pixels is None or frame.dtype != np.uint8:
            raise UserError(
                f"The letterbox for {self.frame_width}x{self.frame_height} pictures got an array {frame.shape} of "
                f"{frame.dtype}; give uint8 {size} with 3 (BGR), 2 (YUYV) or no (grey) values a pixel."
            )
        if pixels == PixelFormat.YUYV and self.frame_width % 2:
            raise UserError(
                f"A YUYV picture of {self.frame_width} pixels' width ends in half a pair; give an even one."
            )
        return pixels

    def _check_out(self, out: npt.NDArray[np.uint8]) -> None:
        shape = (self.input_height, self.input_width, 4)
        if out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous or not out.flags.writeable:
            kind = "" if out.flags.c_contiguous else "non-contiguous "
            kind += "" if out.flags.writeable else "read-only "
            raise UserError(
                f"The letterbox cannot write into a {kind}array {out.shape} of {out.dtype}; "
                f"give a contiguous, writable uint8 array {shape}."
            )

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
