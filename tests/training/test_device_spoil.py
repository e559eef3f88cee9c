import cv2
import numpy as np
import pytest
import torch

from fpga_facedet.training.device_spoil import _blur, jpeg, spoil_batch


@pytest.fixture
def photograph(astronaut_bgr: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(astronaut_bgr[:200, 100:308, ::-1])


def as_batch(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("quality", [25, 60])
def test_jpeg_loses_what_libjpeg_loses(photograph: np.ndarray, quality: int) -> None:
    encoded = cv2.imencode(".jpg", photograph[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    theirs = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    ours = jpeg(as_batch(photograph), torch.tensor([quality]))[0].permute(1, 2, 0).numpy()
    loss = np.abs(theirs - photograph).mean()
    # The two differ in how colour is enlarged again, by much less than either loses.
    assert np.abs(ours - theirs).mean() < 0.4 * loss
    assert np.abs(ours - photograph).mean() == pytest.approx(loss, rel=0.2)


def test_each_window_has_its_own_quality(photograph: np.ndarray) -> None:
    both = jpeg(as_batch(photograph, photograph), torch.tensor([20, 95]))
    poor, good = (float((x - as_batch(photograph)[0]).abs().mean()) for x in both)
    assert poor > 2 * good
    np.testing.assert_array_equal(jpeg(as_batch(photograph), torch.tensor([95]))[0], both[1])


def test_the_blur_is_opencvs(photograph: np.ndarray) -> None:
    class Fixed:
        def uniform(self, low: float, high: float, count: int) -> np.ndarray:
            return np.full(count, 1.2)

    ours = _blur(Fixed(), torch.Generator(), as_batch(photograph))[0].permute(1, 2, 0).numpy()  # type: ignore[arg-type]
    theirs = cv2.GaussianBlur(photograph.astype(np.float32), (11, 11), 1.2)
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_windows_change_each_in_its_way_and_stay_pictures(rng: np.random.Generator, photograph: np.ndarray) -> None:
    x = as_batch(*[photograph[:64, :96]] * 100)
    spoiled = spoil_batch(rng, torch.Generator().manual_seed(1), x)
    assert spoiled.shape == x.shape
    assert spoiled.min() >= 0
    assert spoiled.max() <= 255
    assert torch.equal(spoiled, spoiled.round())
    grey = (spoiled.amax(1) - spoiled.amin(1)).amax((1, 2)) == 0
    # 12 of 100 lose all colour, but for the few of them that get noise in each colour.
    assert 4 <= int(grey.sum()) <= 20
    assert len({float(mean) for mean in spoiled.mean((1, 2, 3))}) == 100
