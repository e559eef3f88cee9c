"""From the head's integers to faces in the pixels of the picture."""

import math

import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import Detections, nms
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.manifest import VALUES_PER_ANCHOR, HeadInfo, Manifest
from fpga_facedet.native import MOST_STEPS, Head, library

_MOST_LEAST = (1 << 31) - 1
"""Above every product of two values and steps that the native library takes, and the largest that it can hold."""


def decode(output: npt.NDArray[np.int8], head: HeadInfo, score_threshold: float | None = None) -> Detections:
    """Read one picture's head output as boxes in pixels of the detector's input, before suppression.

    `output` is int8 (grid_height, grid_width, 6 * anchors), q; with t = q * output_scale in -1..1:

        cx = (tx + 0.5 + cell_x) * stride         w = (tw + 1)^2 * anchor_w
        cy = (ty + 0.5 + cell_y) * stride         h = (th + 1)^2 * anchor_h
        score = (t_objectness / 2 + 0.5) * (t_face / 2 + 0.5)

    Returns every candidate with score >= `score_threshold` (0..1, the head's own by default) in the order of the
    grid: rows, columns, anchors. The threshold is compared in integers and only what passes is computed, in float32;
    for whole anchors, inputs up to 512 pixels and 8-bit outputs every intermediate and result is exact, so all
    processors agree. Raises InternalError where `output` is not the head's, UserError for a threshold outside 0..1.
    """
    steps, least = _check(output, head, score_threshold)
    grid = output.reshape(head.grid_height, head.grid_width, len(head.anchors), VALUES_PER_ANCHOR)
    product = (grid[..., 4].astype(np.int64) + steps) * (grid[..., 5].astype(np.int64) + steps)
    cell_y, cell_x, anchor = np.nonzero(product >= least)
    t = grid[cell_y, cell_x, anchor, :4].astype(np.float32) / np.float32(steps)
    cells = np.stack([cell_x, cell_y], axis=1).astype(np.float32)
    centre = (t[:, :2] + np.float32(0.5) + cells) * np.float32(head.stride)
    side = t[:, 2:] + np.float32(1)
    half = side * side * np.array(head.anchors, np.float32)[anchor] * np.float32(0.5)
    scores = product[cell_y, cell_x, anchor].astype(np.float32) / np.float32(4 * steps * steps)
    return Detections(np.concatenate([centre - half, centre + half], axis=1), scores)


def faces_in_frame(
    output: npt.NDArray[np.int8],
    manifest: Manifest,
    letterbox: Letterbox,
    score_threshold: float | None = None,
    nms_iou: float | None = None,
) -> Detections:
    """Return the faces of one picture in pixels of the picture as stored, best first.

    Every face with score >= `score_threshold` after suppression at `nms_iou`; both default to the manifest's. Boxes
    are clipped to the picture, and what lies wholly in the letterbox's bars is no face of the picture and goes.
    """
    head = manifest.head
    steps, least = _check(output, head, score_threshold)
    iou = head.nms_iou if nms_iou is None else nms_iou
    native = library() if steps <= MOST_STEPS else None
    if native is not None:
        return Detections(*native.faces(_native_head(head, letterbox, steps, least, iou), output))
    kept = nms(decode(output, head, score_threshold), iou)
    faces = Detections(letterbox.to_frame(kept.boxes), kept.scores)
    return faces[np.flatnonzero((faces.boxes[:, 2:] > faces.boxes[:, :2]).all(axis=1))]


def check_threshold(value: float) -> float:
    """Return `value`, a score or an overlap, where it lies in 0..1; UserError where it does not."""
    if not 0 <= value <= 1:
        raise UserError(f"The threshold {value} is outside 0..1; give a number between 0 and 1, such as 0.3.")
    return value


def _check(output: npt.NDArray[np.int8], head: HeadInfo, score_threshold: float | None) -> tuple[int, int]:
    """Check what `decode` is given; return 1 / output_scale, and the threshold in whole numbers.

    score = product / (2 * steps)^2, product a whole number: the threshold moves to its side, rounded up.
    """
    steps = _steps(head)
    anchors = len(head.anchors)
    if output.shape != (head.grid_height, head.grid_width, VALUES_PER_ANCHOR * anchors) or output.dtype != np.int8:
        raise InternalError(
            f"The engine gave {output.dtype} {output.shape} where the manifest's head has int8 "
            f"({head.grid_height}, {head.grid_width}, {VALUES_PER_ANCHOR * anchors}); build the accelerator again."
        )
    threshold = check_threshold(head.score_threshold if score_threshold is None else score_threshold)
    return steps, math.ceil(threshold * (4 * steps * steps))


def _native_head(head: HeadInfo, letterbox: Letterbox, steps: int, least: int, iou: float) -> Head:
    """Describe head and letterbox to the native library, with the float32 values that `to_frame` uses."""
    return Head(
        grid=(head.grid_height, head.grid_width),
        anchors=np.array(head.anchors, np.float32),
        stride=head.stride,
        steps=steps,
        least=min(least, _MOST_LEAST),
        iou=float(iou),
        scale=(letterbox.width / letterbox.frame_width, letterbox.height / letterbox.frame_height),
        offset=(letterbox.left, letterbox.top),
        size=(letterbox.frame_width, letterbox.frame_height),
    )


def _steps(head: HeadInfo) -> int:
    """Return 1 / output_scale, which is whole for every HardTanh head."""
    steps = round(1 / head.output_scale) if head.output_scale > 0 else 0
    if steps < 1 or steps * head.output_scale != 1:
        raise UserError(
            f"The manifest's output scale {head.output_scale} is not one over a whole number; "
            "build the accelerator again from a model of this version."
        )
    return steps
