"""Make a process that used OpenCV safe to fork.

A fork copies locks but not the threads that hold them. Replicas and the workers that make batches are forked from a
process that has just decoded pictures in threads, and OpenCV in them waited for ever where such a thread, or one of
OpenCV's own, held a lock at that moment.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

_PATIENCE = 5.0
"""Seconds to wait for threads that have ended to be gone."""


@contextmanager
def ready_to_fork() -> Iterator[None]:
    """Keep OpenCV from having threads of its own inside the block, which may fork at any time."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@contextmanager
def threads_gone_after() -> Iterator[None]:
    """Wait, after the block, until the threads begun in it are gone.

    A pool's shutdown is not enough: Python's part of a thread ends before the thread gives back what OpenCV keeps for
    it, under a lock. Does nothing where the system does not list a process' threads.
    """
    before = _threads()
    yield
    until = time.monotonic() + _PATIENCE
    while not _threads() <= before and time.monotonic() < until:
        time.sleep(0.002)


def _threads() -> set[str]:
    place = Path("/proc/self/task")
    return set(os.listdir(place)) if place.is_dir() else set()
