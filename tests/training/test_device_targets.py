import numpy as np
import pytest
import torch

from fpga_facedet.training.device_targets import FACE, NOTHING, REGION, assign_batch
from fpga_facedet.training.targets import assign

ANCHORS = np.array([[10, 14], [23, 27], [37, 58]], np.float32)
GRID = (6, 8)
STRIDE = 32


def random_boxes(rng: np.random.Generator, count: int, crowded: bool) -> np.ndarray:
    """Boxes of all sizes within the window; crowded ones share a few cells, and sizes, so that order decides."""
    width, height = GRID[1] * STRIDE, GRID[0] * STRIDE
    centre = rng.uniform(0, 1, (count, 2)) * (np.array([80, 70]) if crowded else np.array([width, height]))
    size = np.exp(rng.uniform(np.log(2), np.log(60 if crowded else 260), (count, 2)))
    if crowded:
        size = np.round(size / 6) * 6 + 2
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    return np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)


@pytest.mark.parametrize("crowded", [False, True])
def test_a_batch_equals_its_windows_one_by_one(rng: np.random.Generator, crowded: bool) -> None:
    windows = 60
    most = 40
    boxes = np.zeros((windows, most, 4), np.float32)
    kinds = np.full((windows, most), NOTHING, np.int8)
    expected = []
    for window in range(windows):
        faces, ignored = (
            random_boxes(rng, int(rng.integers(0, 32)), crowded),
            random_boxes(rng, int(rng.integers(0, 5)), False),
        )
        filled = len(faces) + len(ignored)
        boxes[window, :filled] = np.concatenate([faces, ignored])
        kinds[window, :filled] = [FACE] * len(faces) + [REGION] * len(ignored)
        expected.append(assign(faces, ignored, ANCHORS, STRIDE, GRID))
    ours = assign_batch(torch.from_numpy(boxes), torch.from_numpy(kinds), torch.from_numpy(ANCHORS), STRIDE, GRID)
    np.testing.assert_array_equal(ours.numpy(), np.stack(expected))


def test_windows_without_boxes_ask_for_nothing() -> None:
    empty = assign_batch(torch.zeros(3, 0, 4), torch.zeros(3, 0), torch.from_numpy(ANCHORS), STRIDE, GRID)
    assert empty.shape == (3, 3, 5, *GRID)
    assert not empty.any()
