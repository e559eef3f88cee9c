"""A real engine that needs no network: the brightness of each cell, in integers."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fpga_facedet.engines.protocol import check_frames
from fpga_facedet.host.sources import Frame
from fpga_facedet.manifest import HeadInfo, InputInfo, Manifest, ModelInfo

MANIFEST = Manifest(
    model=ModelInfo("brightness", "0" * 64, {}),
    input=InputInfo(height=64, width=96, channels=3, fill=114),
    head=HeadInfo(
        grid_height=2,
        grid_width=3,
        channels=12,
        stride=32,
        anchors=((10.0, 14.0), (23.0, 27.0)),
        output_scale=1 / 128,
        score_threshold=0.3,
        nms_iou=0.45,
    ),
)


class BrightnessEngine:
    """Calls every bright cell a face: the means of its quarters and colours are the twelve outputs."""

    name = "brightness"
    manifest = MANIFEST

    def __init__(self) -> None:
        self.inferred = 0

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        check_frames(frames, self.manifest)
        self.inferred += len(frames)
        head = self.manifest.head
        quarters = frames.reshape(len(frames), head.grid_height, 2, 16, head.grid_width, 2, 16, 3)
        means = quarters.sum(axis=(3, 6), dtype=np.int32) // 256  # (N, gh, 2, gw, 2, 3)
        channels = means.transpose(0, 1, 3, 2, 4, 5).reshape(len(frames), head.grid_height, head.grid_width, 12)
        return (channels - 128).astype(np.int8)

    def close(self) -> None:
        pass


@pytest.fixture
def engine() -> BrightnessEngine:
    return BrightnessEngine()


def picture(seed: int, width: int = 120, height: int = 90) -> npt.NDArray[np.uint8]:
    """A smooth bright picture, BGR uint8, another one for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) // 2 + 127, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four pictures on two levels, with things beside them that are none."""
    place = tmp_path / "pictures"
    (place / "b").mkdir(parents=True)
    (place / ".cache").mkdir()
    for seed, name in enumerate(("c.jpg", "a.PNG", "b/z.bmp", "b/y.jpeg")):
        assert cv2.imwrite(str(place / name), picture(seed, 120 + 10 * seed))
    cv2.imwrite(str(place / ".cache" / "hidden.jpg"), picture(9))
    (place / "notes.txt").write_text("no picture")
    (place / "._c.jpg").write_bytes(b"what a Mac leaves behind")
    return place


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A real video of 30 frames, 25 a second."""
    path = tmp_path / "moving.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (120, 90))  # type: ignore[attr-defined]
    for seed in range(30):
        writer.write(picture(seed))
    writer.release()
    assert path.stat().st_size > 1000
    return path


@pytest.fixture
def socket_path() -> Iterator[str]:
    """A path for a socket, which may have 107 bytes: pytest's folders for several processes are longer."""
    with tempfile.TemporaryDirectory(prefix="facedet-") as folder:
        yield f"{folder}/notify"


class Camera:
    """A camera of drawn pictures that goes on for ever, or for `count` frames, `rate` a second."""

    name, live, still, total, skipped = "drawn", True, False, None, 0

    def __init__(self, rate: float = 400, count: int | None = None) -> None:
        self.rate, self.count, self.closed = rate, count, 0

    def __iter__(self) -> Iterator[Frame]:
        seq = 0
        while self.count is None or seq < self.count:
            time.sleep(1 / self.rate)
            yield Frame(seq, time.time(), picture(seq), self.name)
            seq += 1

    def close(self) -> None:
        self.closed += 1
