"""What is forked after decoding in threads must find OpenCV's locks free."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from fpga_facedet.training.forking import ready_to_fork, threads_gone_after

TASKS = "/proc/self/task"

pytestmark = pytest.mark.skipif(not Path(TASKS).is_dir(), reason="the system does not list a process' threads")


def shrink(_: int = 0) -> None:
    cv2.resize(np.zeros((3000, 3000, 3), np.uint8), (1000, 1000), interpolation=cv2.INTER_AREA)


def test_opencv_has_no_threads_inside_and_its_own_number_after() -> None:
    cv2.setNumThreads(4)
    try:
        shrink()
        many = len(os.listdir(TASKS))
        with ready_to_fork():
            shrink()
            assert len(os.listdir(TASKS)) < many
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(-1)


def test_the_threads_of_a_pool_are_gone() -> None:
    with ready_to_fork():
        for _ in range(20):
            before = set(os.listdir(TASKS))
            with threads_gone_after(), ThreadPoolExecutor(4) as pool:
                list(pool.map(shrink, range(4)))
                assert set(os.listdir(TASKS)) > before
            assert set(os.listdir(TASKS)) <= before
