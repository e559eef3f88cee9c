"""How many pixels a second training takes in: a plain loop beside ours, in one run on the same pictures.

The plain loop is what one writes first: pictures decoded from disk and windows cut in the loop itself, all of the
detector's full size, the exact float32 network with its fake quantizers, NCHW, one process with two threads. Ours is
`facedet train` with its measures. In between they are added one by one, in one process, so that each shows what it
pays. Pictures are made for the occasion; what they show makes no difference to the time. Four of five of our windows
have 0.6 of the side, so the ratio is of pixels, not of windows: in megapixels, and in images of the detector's full
size that these would fill.

    python benchmarks/training.py --spec lpyolo-4w4a --seconds 10
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.augment import VARIED, random_window
from fpga_facedet.training.batches import Batches, window_sizes, windows_of
from fpga_facedet.training.config import TrainingConfig
from fpga_facedet.training.dataset import Dataset, load_split
from fpga_facedet.training.loss import DetectionLoss
from fpga_facedet.training.targets import assign
from fpga_facedet.training.trainer import Run, read_checkpoint, train

PICTURES = 64
CPU = torch.device("cpu")


def make_pictures(folder: Path) -> None:
    """Write JPEG photographs of noise with ellipses for faces, and their labels."""
    rng = np.random.default_rng(1)
    lines = []
    for index in range(PICTURES):
        picture = cv2.resize(rng.integers(0, 200, (48, 64, 3)).astype(np.uint8), (1024, 768))
        boxes = []
        for _ in range(int(rng.integers(1, 8))):
            width = int(rng.integers(24, 160))
            x, y = int(rng.integers(0, 1024 - width)), int(rng.integers(0, 768 - width))
            cv2.ellipse(
                picture, (x + width // 2, y + width // 2), (width // 3, width // 2), 0, 0, 360, (170, 190, 230), -1
            )
            boxes.append(f"{x} {y} {width} {width}")
        cv2.imwrite(str(folder / f"{index}.jpg"), picture)
        lines += [f"{index}.jpg", str(len(boxes)), *boxes]
    (folder / "labels_train.txt").write_text("\n".join(lines) + "\n")


class FromDisk:
    """Stands in for the pictures in memory: each is decoded when a window is cut from it, as a plain loop does."""

    def __init__(self, folder: Path, pictures: Dataset) -> None:
        self.folder, self.pictures = folder, pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> object:
        cv2.imread(str(self.folder / self.pictures[index].name))
        return self.pictures[index]


@dataclass(frozen=True)
class Rate:
    """Windows and millions of pixels a second."""

    windows: float
    megapixels: float

    def beside(self, title: str, plain: "Rate", spec: DetectorSpec) -> str:
        """Return a line of the table: this rate, and how many times the plain one it is."""
        images = self.megapixels * 1e6 / (spec.input.width * spec.input.height)
        return (
            f"  {title:38} x {self.megapixels / plain.megapixels:5.2f}: {self.megapixels:6.2f} megapixels/s,"
            f" {images:6.1f} full-size images/s ({self.windows:6.1f} windows/s)"
        )


def rate(step: Callable[[], torch.Tensor], seconds: float) -> Rate:
    """Return the rate of `step`, which returns the pixels (N, H, W, 3) it took in; the first step warms up."""
    step()
    start, windows, pixels = time.perf_counter(), 0, 0
    while (now := time.perf_counter() - start) < seconds:
        batch = step()
        windows, pixels = windows + len(batch), pixels + batch.numel() // 3
    return Rate(windows / now, pixels / now / 1e6)


def one_process(
    spec: DetectorSpec, pictures: Dataset, source: object, seconds: float, threads: int, measures: set[str]
) -> Rate:
    """Return the rate of one process with the `measures`: fast, bf16, channels-last, frozen, sizes."""
    torch.set_num_threads(threads)
    run = Run(0, spec, pictures, Path(), TrainingConfig(), None, CPU)
    network, loss = run.network, DetectionLoss(torch.tensor(spec.head.anchors), spec.stride)
    network.to(memory_format=torch.channels_last if "channels-last" in measures else torch.contiguous_format)
    batches, rng, anchors = run.batches[VARIED], np.random.default_rng(0), np.array(spec.head.anchors, np.float32)
    assert isinstance(batches, Batches)
    full = windows_of(batches.small_batch, batches.small, *batches.full)
    network.train("frozen" not in measures)
    position = 0

    def step() -> torch.Tensor:
        nonlocal position
        position += 1
        if "sizes" in measures:
            batch = batches[position]
            pixels, targets = batch.pixels, batch.targets
        else:
            windows = [random_window(rng, source, *batches.full, batches.full) for _ in range(full)]  # type: ignore[arg-type]
            pixels = torch.from_numpy(np.stack([window.pixels for window in windows]))
            grid = (spec.grid_height, spec.grid_width)
            assigned = [assign(window.faces, window.ignored, anchors, spec.stride, grid) for window in windows]
            targets = torch.from_numpy(np.stack(assigned))
        x = pixels.permute(0, 3, 1, 2).float()
        if "channels-last" not in measures:
            x = x.contiguous()
        run.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in measures):
            z = network.fast(x) if "fast" in measures else network.head(network.blocks(x / 255))
        loss(z, targets).total.backward()  # type: ignore[no-untyped-call]
        run.optimizer.step()
        return pixels

    return rate(step, seconds)


def ours(spec: DetectorSpec, folder: Path, seconds: float, processes: int) -> Rate:
    """Return the rate of `facedet train`, quantized and with BatchNorm frozen, by its own count."""
    config = TrainingConfig(
        minutes=seconds / 60, processes=processes, quantize_at=0.0, frozen_at=0.0, calm_at=1.0, device="cpu"
    )
    with tempfile.TemporaryDirectory() as out:
        done = read_checkpoint(train(spec, folder, Path(out) / "run", config))
    taken = 60 * done["minutes"]
    _, small = window_sizes(spec)
    # All batches have as many pixels as one of small windows, but for rounding.
    pixels = done["step"] * processes * config.batch * small[0] * small[1]
    return Rate(done["windows"] / taken, pixels / taken / 1e6)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spec", default="lpyolo-4w4a", help="a detector of the zoo, or a spec file")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each of the eight measurements")
    parser.add_argument("--processes", type=int, default=2, help="cores to use")
    given = parser.parse_args()
    spec = DetectorSpec.load(given.spec)
    print(f"{spec.name}, {platform.machine()}, {given.processes} of {os.cpu_count()} cores, measured:")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder)
        pictures = load_split(folder, "train")
        disk = FromDisk(folder, pictures)
        steps: list[tuple[str, object, set[str]]] = [
            ("plain loop", disk, set()),
            ("+ pictures decoded once, in memory", pictures.pictures, set()),
            ("+ few passes over memory (`fast`)", pictures.pictures, {"fast"}),
            ("+ channels last", pictures.pictures, {"fast", "channels-last"}),
            ("+ bfloat16", pictures.pictures, {"fast", "channels-last", "bf16"}),
            ("+ BatchNorm frozen, in the weights", pictures.pictures, {"fast", "channels-last", "bf16", "frozen"}),
            (
                "+ small windows, four of five batches",
                pictures.pictures,
                {"fast", "channels-last", "bf16", "frozen", "sizes"},
            ),
        ]
        plain: Rate | None = None
        for title, source, measures in steps:
            found = one_process(spec, pictures, source, given.seconds, given.processes, measures)
            plain = plain or found
            print(found.beside(title, plain, spec), flush=True)
        assert plain is not None
        found = ours(spec, folder, given.seconds, given.processes)
        print(found.beside("ours: + a replica and a worker a core", plain, spec))
    size = f"{spec.input.width} x {spec.input.height}"
    print(f"  x: times the plain loop's pixels a second. Full-size images: pixels by {size}; small windows have fewer.")


if __name__ == "__main__":
    main()
