from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fpga_facedet.training.dataset import load_split
from fpga_facedet.training.duplicates import fingerprint, group_duplicates, near_duplicates

Pixels = npt.NDArray[np.uint8]


def scenes(count: int) -> list[Pixels]:
    """Soft random landscapes, each another."""
    rng = np.random.default_rng(11)
    coarse = rng.integers(0, 256, (count, 9, 12, 3)).astype(np.uint8)
    return [np.asarray(cv2.resize(c, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8) for c in coarse]


def recompress(pixels: Pixels) -> Pixels:
    small = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, 40))[1], 1), np.uint8)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda p: p,
    "small and recompressed": recompress,
    "brighter": lambda p: np.clip(p * 1.15 + 12, 0, 255).astype(np.uint8),
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "stretched": lambda p: np.asarray(cv2.resize(p, (416, 416)), np.uint8),
    "cropped": lambda p: np.ascontiguousarray(p[4:, 5:]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(change: str) -> None:
    pictures = scenes(40)
    first = [fingerprint(p) for p in pictures]
    second = [fingerprint(CHANGES[change](p)) for p in pictures[10:20]]
    assert near_duplicates(first, second) == [(10 + index, index) for index in range(10)]


def test_blank_pictures_are_not_called_alike() -> None:
    blank = [fingerprint(np.full((60, 80, 3), grey, np.uint8)) for grey in (0, 90, 90)]
    assert near_duplicates(blank, blank) == []
    assert near_duplicates([], blank) == []


def test_groups_join_by_way_of_others() -> None:
    a, b, c = scenes(3)
    prints = [fingerprint(p) for p in (a, b, recompress(a), c, np.ascontiguousarray(a[:, ::-1]))]
    assert group_duplicates(prints) == [0, 1, 0, 3, 0]


def test_the_developers_pictures_share_five_across_the_splits(shared_dir: object) -> None:
    """Of 5.2 million pairs five are called alike; each was looked at and shows one scene, shot or cropped twice."""
    folder = f"{shared_dir}/data/faces"
    train, val = ([fingerprint(p.pixels) for p in load_split(folder, split).pictures] for split in ("train", "val"))
    assert len(near_duplicates(train, val)) == 5
