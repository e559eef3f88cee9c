"""Which cell and anchor shall find which face."""

import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import FloatArray

LEAST_FACE = 7.0
"""Faces smaller than this (pixels, square root of the area) are neither asked for nor punished."""

SPREAD_FROM = 16.0
"""From this size on a face is also asked of the two nearest cells and of the second-best anchor."""

MAX_GROWTH = 4.0 * 1.25
"""(t + 1)^2 ends at 4 anchors; a face a quarter longer still overlaps its largest box enough."""

POSITIVE, NEGATIVE, IGNORED = 1.0, 0.0, -1.0


def assign(
    faces: FloatArray, ignored: FloatArray, anchors: FloatArray, stride: int, grid: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Return float32 (anchors, 5, grid_height, grid_width): the face's x1, y1, x2, y2, then what is asked.

    What is asked is POSITIVE, NEGATIVE or IGNORED. `faces` and `ignored` are float32 (N, 4) x1, y1, x2, y2 in window
    pixels; `anchors` (A, 2) width, height. Large faces choose first; a face whose best anchor is taken in its own cell
    gets the next best.
    """
    targets = np.zeros((len(anchors), 5, *grid), np.float32)
    kind = targets[:, 4]
    size = faces[:, 2:] - faces[:, :2]
    mean = np.sqrt(np.prod(np.maximum(size, 0), axis=1))
    for box in np.concatenate([ignored, faces[mean < LEAST_FACE]]):
        _ignore(kind, box, stride)
    order = [i for i in np.argsort(-mean, kind="stable") if mean[i] >= LEAST_FACE]
    plans = []
    for i in order:
        growth = size[i] / anchors
        usable = [a for a in _closest_shapes(size[i], anchors) if growth[a].max() <= MAX_GROWTH]
        if not usable:
            _ignore(kind, faces[i], stride)
            continue
        plans.append((i, usable))
        column, row = _cell(faces[i], stride, grid)
        _take_first(targets, faces[i], usable, row, column)
    for i, usable in plans:
        if mean[i] >= SPREAD_FROM:
            _spread(targets, faces[i], usable, stride, grid)
    return targets


def _closest_shapes(size: FloatArray, anchors: FloatArray) -> list[int]:
    """Return the anchors by falling overlap with a box of `size` on the same centre."""
    common = np.minimum(size, anchors).prod(axis=1)
    overlap = common / (size.prod() + anchors.prod(axis=1) - common)
    return [int(a) for a in np.argsort(-overlap, kind="stable")]


def _cell(box: FloatArray, stride: int, grid: tuple[int, int]) -> tuple[int, int]:
    centre = (box[:2] + box[2:]) / (2 * stride)
    return min(int(centre[0]), grid[1] - 1), min(int(centre[1]), grid[0] - 1)


def _take_first(targets: npt.NDArray[np.float32], box: FloatArray, usable: list[int], row: int, column: int) -> None:
    for a in usable:
        if targets[a, 4, row, column] != POSITIVE:
            targets[a, :, row, column] = *box, POSITIVE
            return


def _spread(
    targets: npt.NDArray[np.float32], box: FloatArray, usable: list[int], stride: int, grid: tuple[int, int]
) -> None:
    """Ask the second-best anchor, and the nearest column and row, where nobody else is asked."""
    column, row = _cell(box, stride, grid)
    centre = (box[:2] + box[2:]) / (2 * stride)
    beside = column + (1 if centre[0] - column > 0.5 else -1)
    above = row + (1 if centre[1] - row > 0.5 else -1)
    wanted = [(usable[0], row, beside), (usable[0], above, column)]
    wanted += [(a, row, column) for a in usable[1:2]]
    for a, r, c in wanted:
        if 0 <= r < grid[0] and 0 <= c < grid[1] and targets[a, 4, r, c] != POSITIVE:
            targets[a, :, r, c] = *box, POSITIVE


def _ignore(kind: npt.NDArray[np.float32], box: FloatArray, stride: int) -> None:
    """Mark every cell whose centre the box covers, and the cell of the box's own centre."""
    rows, columns = kind.shape[1:]
    column, row = _cell(box, stride, (rows, columns))
    first = np.maximum(np.ceil(box[:2] / stride - 0.5), 0).astype(int)
    last = np.floor(box[2:] / stride - 0.5).astype(int)
    for region in (
        kind[:, first[1] : last[1] + 1, first[0] : last[0] + 1],
        kind[:, row : row + 1, column : column + 1],
    ):
        region[region == NEGATIVE] = IGNORED
