"""The library on the board's processor: same bytes, few instructions, nothing newer than the board's C library."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.letterbox import Letterbox
from fpga_facedet.native import PixelFormat
from tests.native.cases import crowd, faces_arguments, faces_input, frame_bytes, letterbox_arguments
from tests.native.emulator import Emulated

BOARD_GLIBC = (2, 35)
MOST_FOR_LETTERBOX = 2_500_000
MOST_FOR_FACES = 150_000
SIZES = [
    (640, 480, 416, 416),
    (1280, 720, 416, 416),
    (1, 1, 32, 32),
    (2, 1, 17, 9),
    (1002, 37, 96, 64),
    (38, 1001, 96, 64),
    (46, 35, 416, 416),
    (416, 416, 416, 416),
]


@pytest.mark.parametrize("pixels", PixelFormat)
@pytest.mark.parametrize("sizes", SIZES, ids=lambda s: "x".join(map(str, s)))
def test_both_processors_write_the_same_pixels(
    x86_driver: Path, arm_driver: Emulated, rng: np.random.Generator, sizes: tuple[int, ...], pixels: PixelFormat
) -> None:
    width, height = sizes[0] + (sizes[0] % 2 if pixels == PixelFormat.YUYV else 0), sizes[1]
    arguments = (*letterbox_arguments(Letterbox.fit(width, height, *sizes[2:]), pixels), 1)
    frame = frame_bytes(rng, width, height, pixels)
    here = subprocess.run([x86_driver, *map(str, arguments)], input=frame, stdout=subprocess.PIPE, check=True).stdout
    assert arm_driver.run(*arguments, stdin=frame) == here
    assert len(here) == sizes[2] * sizes[3] * 4


def test_both_processors_see_the_same_colours(x86_driver: Path, arm_driver: Emulated) -> None:
    """All Y and U with sixteen V, the extremes among them; the letterbox's own test compares all with OpenCV."""
    y, u, v = np.meshgrid(np.arange(256), np.arange(256), np.arange(0, 256, 17), indexing="ij")
    pixels = np.empty((256 * 16, 512, 2), np.uint8)
    for channel, plane in ((pixels[:, 0::2, 0], y), (pixels[:, 1::2, 0], 255 - y), (pixels[:, 0::2, 1], u)):
        channel[...] = plane.reshape(256 * 16, 256)
    pixels[:, 1::2, 1] = v.reshape(256 * 16, 256)
    arguments = (*letterbox_arguments(Letterbox.fit(512, 256 * 16, 512, 256 * 16), PixelFormat.YUYV), 1)
    here = subprocess.run([x86_driver, *map(str, arguments)], input=pixels.tobytes(), capture_output=True, check=True)
    assert arm_driver.run(*arguments, stdin=pixels.tobytes()) == here.stdout


@pytest.mark.parametrize("candidates", [0, 1, 64, 507])
def test_both_processors_find_the_same_faces(
    x86_driver: Path, arm_driver: Emulated, rng: np.random.Generator, candidates: int
) -> None:
    arguments = (*faces_arguments(Letterbox.fit(641, 479, 416, 416), 0.3), 1)
    data = faces_input(crowd(rng, candidates))
    here = subprocess.run([x86_driver, *map(str, arguments)], input=data, stdout=subprocess.PIPE, check=True).stdout
    assert arm_driver.run(*arguments, stdin=data) == here
    assert bool(here) == bool(candidates)


@pytest.mark.parametrize("pixels", PixelFormat)
def test_a_letterbox_stays_below_its_instructions(
    arm_driver: Emulated, rng: np.random.Generator, pixels: PixelFormat
) -> None:
    arguments = letterbox_arguments(Letterbox.fit(640, 480, 416, 416), pixels)
    count = arm_driver.instructions(*arguments, stdin=frame_bytes(rng, 640, 480, pixels))
    # A count below one instruction for four pixels of the output would mean that nothing was counted.
    assert 416 * 416 / 4 < count <= MOST_FOR_LETTERBOX


def test_decode_and_suppression_stay_below_their_instructions(arm_driver: Emulated, rng: np.random.Generator) -> None:
    arguments = faces_arguments(Letterbox.fit(640, 480, 416, 416))
    count = arm_driver.instructions(*arguments, stdin=faces_input(crowd(rng, 64)))
    assert 507 < count <= MOST_FOR_FACES
    # 64 boxes far from one another are the most work: each is compared with all that stay.
    output = crowd(rng, 64)
    output[..., 2::6] = output[..., 3::6] = -120
    count = arm_driver.instructions(*arguments, stdin=faces_input(output))
    assert 507 < count <= MOST_FOR_FACES


def test_counting_is_deterministic(arm_driver: Emulated, rng: np.random.Generator) -> None:
    arguments, data = faces_arguments(Letterbox.fit(640, 480, 416, 416)), faces_input(crowd(rng, 8))
    assert arm_driver.instructions(*arguments, stdin=data) == arm_driver.instructions(*arguments, stdin=data)


def test_the_library_asks_for_nothing_newer_than_the_board(arm_driver: Emulated) -> None:
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("needs readelf (binutils)")
    library = arm_driver.program.with_name("libfacedet_native.so")
    shown = subprocess.run([readelf, "--version-info", library], capture_output=True, text=True, check=True).stdout
    versions = [tuple(map(int, v.split("."))) for v in re.findall(r"Name: GLIBC_([\d.]+)", shown)]
    assert versions and max(versions) <= BOARD_GLIBC
    needed = subprocess.run([readelf, "-d", library], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"NEEDED.*\[(.+?)\]", needed)) <= {"libc.so.6", "libgcc_s.so.1"}
