"""Windows made on a GPU: all pictures lie in its memory, and each batch is cut, changed and given targets there.

The same windows as `augment` draws, but for three simplifications: areas are averaged over a grid of samples where a
picture is shrunk, enlarged pictures are always bilinear, and JPEG keeps only its loss. Which window shows what is drawn
on the CPU, from the seed and the step alone; only these few numbers cross to the GPU. Works on any torch device.

Tested on the CPU; not measured on a GPU.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fpga_facedet.letterbox import FILL
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.augment import (
    ASPECT,
    CROSS,
    FACE_PIXELS,
    LEAST_COVER,
    LEAST_VISIBLE,
    OWN_SCALE_SPREAD,
    PRINT,
    SCALES,
    TRIES,
    VARIED,
    Mix,
    text_page,
)
from fpga_facedet.training.batches import FULL_SHARE, Batch, window_sizes, windows_of
from fpga_facedet.training.dataset import Dataset
from fpga_facedet.training.device_spoil import spoil_batch
from fpga_facedet.training.device_targets import FACE, NOTHING, REGION, assign_batch

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_MOST_SAMPLES = 6
"""Samples along one side of a pixel of a shrunk picture, at most: 1 / (least scale and aspect)."""

_SHRUNK = 0.75
"""Below this scale a pixel is the mean of an area, as in `augment`."""


class DeviceSet:
    """All pictures of a data set as one uint8 tensor (pixels, 3) on `device`, and their boxes beside them in NumPy.

    `size` int64 (P, 2) width, height; `boxes` float64 (B, 4) of all pictures one after the other, `is_face` bool (B,),
    those of picture p from `first[p]` to `first[p + 1]`, its `faces[p]` faces before its ignored regions.
    """

    def __init__(self, pictures: Dataset, device: torch.device) -> None:
        self.device = device
        shapes = [picture.pixels.shape for picture in pictures.pictures]
        self.size: Integers = np.array([(width, height) for height, width, _ in shapes], np.int64)
        ends = np.cumsum(self.size.prod(axis=1))
        self.offset = torch.from_numpy(ends - self.size.prod(axis=1)).to(device)
        self.pixels = torch.empty((int(ends[-1]), 3), dtype=torch.uint8, device=device)
        for picture, end in zip(pictures.pictures, ends, strict=True):
            flat = torch.from_numpy(picture.pixels).view(-1, 3)
            self.pixels[int(end) - len(flat) : int(end)] = flat.to(device)
        self.faces: Integers = np.array([len(picture.faces) for picture in pictures.pictures], np.int64)
        counts = self.faces + np.array([len(picture.ignored) for picture in pictures.pictures], np.int64)
        self.first: Integers = np.concatenate([[0], np.cumsum(counts)])
        rows = [rows for picture in pictures.pictures for rows in (picture.faces, picture.ignored)]
        self.boxes: Floats = np.concatenate(rows).astype(np.float64).reshape(-1, 4)
        within = np.arange(len(self.boxes)) - np.repeat(self.first[:-1], counts)
        self.is_face = within < np.repeat(self.faces, counts)

    def __len__(self) -> int:
        return len(self.size)

    def boxes_of(self, picture: int) -> Floats:
        """Return faces and ignored regions (N, 4) of one picture, in its pixels."""
        return self.boxes[self.first[picture] : self.first[picture + 1]]


@dataclass
class Parts:
    """The rectangles that windows are put together from, each cut from one picture; arrays of length K.

    `window` its window; `place` (K, 4) left, top, width, height there; `picture`; `corner` (K, 2) the point x, y of
    the picture at its upper left, and `scale` (K, 2) window pixels for one picture pixel.
    """

    window: Integers
    place: Integers
    picture: Integers
    corner: Floats
    scale: Floats


class DeviceBatches:
    """The batch of every step, made on the device of `pictures`; a function of the seed and the step alone."""

    def __init__(
        self, pictures: DeviceSet, spec: DetectorSpec, small_batch: int, seed: tuple[int, ...], mix: Mix = VARIED
    ) -> None:
        self.pictures, self.spec, self.seed, self.mix = pictures, spec, seed, mix
        self.full, self.small = window_sizes(spec)
        self.small_batch = small_batch
        self.anchors = torch.tensor(spec.head.anchors, dtype=torch.float32, device=pictures.device)

    @torch.no_grad()
    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((*self.seed, step))
        height, width = self.full if rng.random() < FULL_SHARE[self.mix] else self.small
        count = windows_of(self.small_batch, self.small, height, width)
        device = self.pictures.device
        printed = rng.random(count) < PRINT
        parts = draw_parts(rng, self.pictures, count, (height, width), self.full, self.mix)
        flipped = rng.random(count) < 0.5
        pixels = sample(self.pictures, parts, count, (height, width), flipped)
        for window in np.flatnonzero(printed):
            page = text_page(rng, height, width).pixels
            pixels[window] = torch.from_numpy(page).to(device).permute(2, 0, 1)
        boxes, kinds = place_boxes(self.pictures, parts, count, width, flipped)
        kinds[printed] = NOTHING
        grid = (height // self.spec.stride, width // self.spec.stride)
        targets = assign_batch(
            torch.from_numpy(boxes).to(device), torch.from_numpy(kinds).to(device), self.anchors, self.spec.stride, grid
        )
        noise = torch.Generator(device).manual_seed(int(rng.integers(2**31)))
        spoiled = spoil_batch(rng, noise, pixels)
        return Batch(spoiled.to(torch.uint8).permute(0, 2, 3, 1).contiguous(), targets)

    def starting_at(self, step: int) -> Iterator[Batch]:
        """Yield the batches from `step` on, without end."""
        while True:
            yield self[step]
            step += 1


def draw_parts(
    rng: np.random.Generator,
    pictures: DeviceSet,
    count: int,
    size: tuple[int, int],
    full: tuple[int, int],
    mix: Mix,
) -> Parts:
    """Draw what `count` windows of `size` (height, width) show; `full` is the detector's whole input."""
    window, place = _divide(rng, count, size, mix)
    number = len(window)
    picture = rng.integers(len(pictures), size=number)
    extent = pictures.size[picture].astype(np.float64)
    kind = rng.random(number)
    own = (kind < mix.own_scale) | (pictures.faces[picture] == 0)
    background = ~own & (kind >= 1 - mix.background)
    around = rng.uniform(0, 1, (number, 2)) * extent
    fit = np.minimum(full[0] / extent[:, 1], full[1] / extent[:, 0])
    scale = fit * np.exp(rng.uniform(-OWN_SCALE_SPREAD, OWN_SCALE_SPREAD, number))
    chosen = np.floor(rng.random(number) * pictures.faces[picture]).astype(np.int64)
    wanted = np.exp(rng.uniform(np.log(FACE_PIXELS[0]), np.log(FACE_PIXELS[1]), number))
    for i in np.flatnonzero(~own & ~background):
        box = pictures.boxes[pictures.first[picture[i]] + chosen[i]]
        face = max(1.0, float(np.sqrt(np.prod(box[2:] - box[:2]))))
        scale[i] = np.clip(wanted[i] / face, *SCALES)
        around[i] = (box[:2] + box[2:]) / 2
    scale[background] = np.exp(rng.uniform(np.log(SCALES[0]), np.log(SCALES[1]), int(background.sum())))
    corner, scales = _lay(rng, extent, place[:, 2:], scale, around)
    for i in np.flatnonzero(background):
        for _ in range(TRIES - 1):
            if not _shows_any(pictures.boxes_of(picture[i]), corner[i], place[i, 2:] / scales[i]):
                break
            scale[i] = min(scale[i] * 1.3, SCALES[1])
            again = rng.uniform(0, 1, (1, 2)) * extent[i]
            corner[i], scales[i] = _lay(rng, extent[i : i + 1], place[i : i + 1, 2:], scale[i : i + 1], again)
    return Parts(window, place, picture, corner, scales)


def _divide(rng: np.random.Generator, count: int, size: tuple[int, int], mix: Mix) -> tuple[Integers, Integers]:
    """Return the window (K,) and the place (K, 4) of every part: one a window, or four around a mosaic's cross."""
    height, width = size
    mosaic = rng.random(count) < mix.mosaic / (1 - PRINT)
    cross = (rng.uniform(*CROSS, (count, 2)) * [width, height]).astype(np.int64)
    cross[~mosaic] = width, height
    places = []
    for bottom in (False, True):
        for right in (False, True):
            left = cross[:, 0] if right else np.zeros(count, np.int64)
            top = cross[:, 1] if bottom else np.zeros(count, np.int64)
            end_x = np.full(count, width) if right else cross[:, 0]
            end_y = np.full(count, height) if bottom else cross[:, 1]
            places.append(np.stack([left, top, end_x - left, end_y - top], axis=1))
    place = np.stack(places, axis=1)
    shown = (place[..., 2:] > 0).all(axis=2)
    return np.nonzero(shown)[0], place[shown]


def _lay(
    rng: np.random.Generator, extent: Floats, size: Integers, scale: Floats, around: Floats
) -> tuple[Floats, Floats]:
    """Return corner and scale, both (K, 2), of parts of `size` that hold the point `around`, as `augment` lays them."""
    scale = np.maximum(scale, LEAST_COVER * size.min(axis=1) / extent.max(axis=1))
    stretch = np.exp(rng.uniform(-ASPECT, ASPECT, len(scale)))
    scales = np.stack([scale * stretch, scale / stretch], axis=1)
    shown = size / scales
    corner = around - rng.uniform(0.1, 0.9, shown.shape) * shown
    return np.clip(corner, np.minimum(0, extent - shown), np.maximum(0, extent - shown)), scales


def _shows_any(boxes: Floats, corner: Floats, shown: Floats) -> bool:
    """Return whether any box (N, 4) reaches into the part of `shown` width and height at `corner`."""
    return bool(((boxes[:, 2:] > corner) & (boxes[:, :2] < corner + shown)).all(axis=1).any())


def place_boxes(
    pictures: DeviceSet, parts: Parts, count: int, width: int, flipped: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """Return the boxes float32 (count, F, 4) of all windows, in their pixels, and what they are, int8 (count, F).

    Clipped to their part; faces that are mostly outside become regions that do not count.
    """
    first, counts = pictures.first[parts.picture], np.diff(pictures.first)[parts.picture]
    part = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[part]
    boxes = (pictures.boxes[row] - np.tile(parts.corner[part], 2)) * np.tile(parts.scale[part], 2)
    clipped = np.clip(boxes, 0, np.tile(parts.place[part, 2:], 2))
    area, left = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes, clipped))
    kind = np.where(pictures.is_face[row] & (left >= LEAST_VISIBLE * np.maximum(area, 1e-6)), FACE, REGION)
    shown = left > 0
    clipped, kind, window = clipped[shown], kind[shown], parts.window[part[shown]]
    clipped = clipped + np.tile(parts.place[part[shown], :2], 2)
    mirror = flipped[window]
    clipped[mirror] = clipped[mirror][:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [width, 0, width, 0]
    per_window = np.bincount(window, minlength=count)
    column = np.arange(len(window)) - (np.cumsum(per_window) - per_window)[window]
    most = int(per_window.max(initial=0))
    out, kinds = np.zeros((count, most, 4), np.float32), np.full((count, most), NOTHING, np.int8)
    out[window, column], kinds[window, column] = clipped, kind
    return out, kinds


def sample(
    pictures: DeviceSet, parts: Parts, count: int, size: tuple[int, int], flipped: npt.NDArray[np.bool_]
) -> Tensor:
    """Return the windows, float (count, 3, height, width) of 0..255, on the device of the pictures."""
    device = pictures.device
    least = parts.scale.min(axis=1)
    samples = np.where(least < _SHRUNK, np.ceil(1 / least).clip(2, _MOST_SAMPLES), 1).astype(np.int64)
    out = torch.zeros((count, *size, 3), device=device)
    for side in np.unique(samples):
        chosen = np.flatnonzero(samples == side)
        # The parts of a window do not overlap: each adds to nothing.
        out.index_add_(
            0, torch.from_numpy(parts.window[chosen]).to(device), _cut(pictures, parts, chosen, size, int(side))
        )
    mirror = torch.from_numpy(flipped).to(device)
    out = torch.where(mirror[:, None, None, None], out.flip(2), out)
    return out.permute(0, 3, 1, 2).round()


def _cut(pictures: DeviceSet, parts: Parts, chosen: Integers, size: tuple[int, int], side: int) -> Tensor:
    """Return the `chosen` parts at their places in empty windows, float (G, height, width, 3), zero elsewhere.

    A pixel is the mean of `side` x `side` samples of its area, or bilinear where `side` is 1; the outside of the
    picture is filled as a letterbox is.
    """
    device = pictures.device
    picture = parts.picture[chosen]
    offset = pictures.offset[torch.from_numpy(picture).to(device)]
    axes, here = [], []
    for axis in range(2):
        place, limit = parts.place[chosen][:, [axis, 2 + axis]], pictures.size[picture, axis]
        numbers = np.column_stack([place, parts.corner[chosen, axis], parts.scale[chosen, axis], limit])
        begin, length, corner, scale, end = torch.from_numpy(numbers).to(device).T[..., None]
        index = torch.arange(size[1 - axis], device=device) - begin
        here.append((index >= 0) & (index < length))
        axes.append([(index + (i + 0.5) / side) / scale + corner for i in range(side)])
        axes[-1].append(end)
    *all_x, width = axes[0]
    *all_y, height = axes[1]
    total = torch.zeros((len(chosen), *size, 3), device=device)
    for y in all_y:
        for x in all_x:
            total += _look_up(pictures.pixels, offset, (x, width), (y, height), bilinear=side == 1)
    return total / side**2 * (here[1][:, :, None] & here[0][:, None, :])[..., None]


def _look_up(
    pixels: Tensor, offset: Tensor, horizontal: tuple[Tensor, Tensor], vertical: tuple[Tensor, Tensor], bilinear: bool
) -> Tensor:
    """Return float (G, H, W, 3): pictures at the points x (G, W) and y (G, H), their extents (G, 1) beside them."""
    (x, width), (y, height) = horizontal, vertical
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    start, stride = offset[:, None, None], width.long()[..., None]

    def at(row: Tensor, column: Tensor) -> Tensor:
        row = torch.minimum(row.clamp(min=0), height - 1).long()
        column = torch.minimum(column.clamp(min=0), width - 1).long()
        return pixels[start + row[:, :, None] * stride + column[:, None, :]].float()

    if bilinear:
        left, top = (x - 0.5).floor(), (y - 0.5).floor()
        right = (x - 0.5 - left).float()[:, None, :, None]
        down = (y - 0.5 - top).float()[:, :, None, None]
        above = torch.lerp(at(top, left), at(top, left + 1), right)
        below = torch.lerp(at(top + 1, left), at(top + 1, left + 1), right)
        values = torch.lerp(above, below, down)
    else:
        values = at(y.floor(), x.floor())
    return torch.where(inside[..., None], values, float(FILL))
