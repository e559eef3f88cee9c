"""Batches of windows and targets, made beside the training by a worker of each process."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.augment import CALM, VARIED, Mix, random_window
from fpga_facedet.training.dataset import Dataset as Pictures
from fpga_facedet.training.targets import assign

_SMALL_SIDE = 0.6
"""Side of the small square windows, as a share of the input's shorter side."""

FULL_SHARE = {VARIED: 0.2, CALM: 0.6}
"""Share of the batches that have the detector's full input size; the rest are small, and as many pixels."""


def window_sizes(spec: DetectorSpec) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return height and width, in pixels, of the full windows of a detector and of its small ones."""
    full = (spec.input.height, spec.input.width)
    side = round(_SMALL_SIDE * min(full) / spec.stride) * spec.stride
    return full, (max(side, 2 * spec.stride), max(side, 2 * spec.stride))


def windows_of(small_batch: int, small: tuple[int, int], height: int, width: int) -> int:
    """Return how many windows of `height` x `width` have as many pixels as `small_batch` windows of size `small`."""
    return max(2, round(small_batch * small[0] * small[1] / (height * width)))


@dataclass
class Batch:
    """pixels uint8 (N, H, W, 3) RGB; targets float32 (N, anchors, 5, grid_h, grid_w)."""

    pixels: Tensor
    targets: Tensor


class Batches(Dataset[Batch]):
    """The batch of every step, a function of the seed and the step alone: training resumes where it was."""

    def __init__(
        self, pictures: Pictures, spec: DetectorSpec, small_batch: int, seed: tuple[int, ...], mix: Mix = VARIED
    ) -> None:
        self.pictures = pictures
        self.spec = spec
        self.seed = seed
        self.mix = mix
        self.full, self.small = window_sizes(spec)
        self.small_batch = small_batch
        self.anchors = np.array(spec.head.anchors, np.float32)

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((*self.seed, step))
        height, width = self.full if rng.random() < FULL_SHARE[self.mix] else self.small
        count = windows_of(self.small_batch, self.small, height, width)
        grid = (height // self.spec.stride, width // self.spec.stride)
        pixels = np.empty((count, height, width, 3), np.uint8)
        targets = np.empty((count, len(self.anchors), 5, *grid), np.float32)
        for i in range(count):
            # OpenCV's own generator makes the noise; it must not remember the batch before.
            cv2.setRNGSeed(int(rng.integers(2**31)))
            window = random_window(rng, self.pictures.pictures, height, width, self.full, self.mix)
            pixels[i] = window.pixels
            targets[i] = assign(window.faces, window.ignored, self.anchors, self.spec.stride, grid)
        return Batch(torch.from_numpy(pixels), torch.from_numpy(targets))

    def starting_at(self, step: int) -> Iterator[Batch]:
        """Yield the batches from `step` on, without end, made ahead in a worker process that ends with the iterator."""
        made: Any = iter(
            DataLoader(
                self,
                batch_size=None,
                sampler=_Steps(step),
                num_workers=1,
                prefetch_factor=3,
                worker_init_fn=_leave_signals_to_the_trainer,
            )
        )
        try:
            yield from made
        finally:
            # At the end of the program multiprocessing sends SIGTERM and waits: for ever, since the worker ignores it.
            made._shutdown_workers()
            for worker in made._workers:
                worker.kill()


def _leave_signals_to_the_trainer(_: int) -> None:
    """Ignore Ctrl-C and SIGTERM, which often go to all processes at once: a dead worker would end the run unsaved."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class _Steps(Sampler[int]):
    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        step = self.first
        while True:
            yield step
            step += 1
