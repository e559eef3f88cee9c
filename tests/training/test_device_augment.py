import numpy as np
import pytest
import torch

from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.augment import CALM, VARIED, _resample
from fpga_facedet.training.dataset import Dataset, Picture
from fpga_facedet.training.device_augment import DeviceBatches, DeviceSet, Parts, draw_parts, place_boxes, sample
from fpga_facedet.training.device_targets import FACE
from fpga_facedet.training.targets import POSITIVE

NONE = np.zeros((0, 4), np.float32)
CPU = torch.device("cpu")


def smooth(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A picture without edges: two resamplers that agree on geometry agree on its pixels."""
    y, x = np.mgrid[:height, :width]
    waves = [120 + 100 * np.sin(x / rng.uniform(15, 25) + y / rng.uniform(15, 25)) for _ in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


@pytest.fixture
def squares() -> Dataset:
    """Pictures of several sizes that are black but for one bright face, one of them with an ignored region."""
    made = []
    for (height, width), (x, y, side) in (
        ((120, 160), (20, 30, 40)),
        ((200, 90), (20, 110, 60)),
        ((64, 64), (9, 9, 24)),
    ):
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[y : y + side, x : x + side] = 255
        ignored = np.array([[0, 0, 8, 8]], np.float32) if width == 160 else NONE
        made.append(Picture("face", pixels, np.array([[x, y, x + side, y + side]], np.float32), ignored))
    return Dataset(made)


def test_a_known_window_has_its_face_at_the_right_pixels(squares: Dataset) -> None:
    held = DeviceSet(squares, CPU)
    # The second picture's face (20, 110)-(80, 170) at half its size from (10, 100): (5, 5)-(35, 35), mirrored too.
    parts = Parts(
        np.array([0, 1]),
        np.array([[0, 0, 48, 40]] * 2),
        np.array([1, 1]),
        np.array([[10.0, 100.0]] * 2),
        np.array([[0.5, 0.5]] * 2),
    )
    flipped = np.array([False, True])
    pixels = sample(held, parts, 2, (40, 48), flipped)
    boxes, kinds = place_boxes(held, parts, 2, 48, flipped)
    assert kinds.tolist() == [[FACE], [FACE]]
    np.testing.assert_allclose(boxes[:, 0], [[5, 5, 35, 35], [13, 5, 43, 35]])
    for window, (left, right) in enumerate(((5, 35), (13, 43))):
        face = np.zeros((40, 48), bool)
        face[5:35, left:right] = True
        picture = np.ones((40, 48), bool)
        # The picture is 90 wide: 40 columns of the window; the rest is fill.
        picture[:, slice(40, 48) if window == 0 else slice(0, 8)] = False
        np.testing.assert_array_equal(pixels[window, 0].numpy() == 255, face)
        np.testing.assert_array_equal(pixels[window, 1].numpy() == 0, picture & ~face)


@pytest.mark.parametrize("scale", [0.3, 0.6, 0.9, 1.7])
def test_pixels_lie_where_opencv_puts_them(rng: np.random.Generator, scale: float) -> None:
    source = smooth(rng, 300, 340)
    held = DeviceSet(Dataset([Picture("smooth", source, NONE, NONE)]), CPU)
    corner, scale_xy = np.array([40.0, 20.0]), np.array([scale * 1.05, scale / 1.05])
    parts = Parts(np.array([0]), np.array([[0, 0, 80, 64]]), np.array([0]), corner[None], scale_xy[None])
    ours = sample(held, parts, 1, (64, 80), np.array([False]))[0].permute(1, 2, 0).numpy()
    theirs = _resample(rng, source, corner, scale_xy, 64, 80)
    # OpenCV's path cuts and scales to whole pixels, so it may lie half a pixel off: a few grey levels on these waves.
    limit = (
        0.5 * np.abs(np.diff(theirs.astype(float), axis=1)).max()
        + 0.5 * np.abs(np.diff(theirs.astype(float), axis=0)).max()
    )
    assert np.abs(ours - theirs).max() <= limit + 2
    assert np.abs(ours - theirs).mean() <= 0.35 * limit + 1


def test_boxes_stay_on_their_faces_in_drawn_windows(rng: np.random.Generator, squares: Dataset) -> None:
    held = DeviceSet(squares, CPU)
    seen = 0
    for mix in (VARIED, CALM):
        parts = draw_parts(rng, held, 60, (64, 96), (96, 128), mix)
        flipped = rng.random(60) < 0.5
        pixels = sample(held, parts, 60, (64, 96), flipped)
        boxes, kinds = place_boxes(held, parts, 60, 96, flipped)
        assert (boxes >= 0).all()
        assert (boxes[..., 2:] <= [96, 64]).all()
        for window in range(60):
            for x1, y1, x2, y2 in boxes[window][kinds[window] == FACE]:
                if min(x2 - x1, y2 - y1) > 8:
                    inside = pixels[window, :, int(y1) + 2 : int(y2) - 2, int(x1) + 2 : int(x2) - 2]
                    assert inside.mean() > 240
                    seen += 1
    assert seen > 40


def test_a_mosaic_covers_its_window(rng: np.random.Generator, squares: Dataset) -> None:
    held = DeviceSet(squares, CPU)
    parts = draw_parts(rng, held, 50, (64, 96), (96, 128), VARIED)
    covered = np.zeros((50, 64, 96), int)
    for window, (left, top, width, height) in zip(parts.window, parts.place, strict=True):
        covered[window, top : top + height, left : left + width] += 1
    assert (covered == 1).all()
    assert 3 < (np.bincount(parts.window) == 4).sum() < 25


def test_a_step_has_the_same_batch_every_time(squares: Dataset, small_spec: DetectorSpec) -> None:
    first, second = (DeviceBatches(DeviceSet(squares, CPU), small_spec, 12, (1, 0))[5] for _ in range(2))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.targets, second.targets)
    other = DeviceBatches(DeviceSet(squares, CPU), small_spec, 12, (1, 1))[5]
    assert other.pixels.shape != first.pixels.shape or not torch.equal(other.pixels, first.pixels)


def test_batches_have_the_form_of_the_other_path(squares: Dataset, small_spec: DetectorSpec) -> None:
    batches = DeviceBatches(DeviceSet(squares, CPU), small_spec, 8, (1, 0)).starting_at(3)
    shapes, positives = set(), 0
    for _ in range(12):
        batch = next(batches)
        count, height, width, _ = batch.pixels.shape
        assert batch.pixels.dtype == torch.uint8
        assert batch.targets.shape == (count, 2, 5, height // 16, width // 16)
        shapes.add((height, width))
        positives += int((batch.targets[:, :, 4] == POSITIVE).sum())
    assert shapes == {(32, 32), (64, 96)}
    assert positives > 10
