import multiprocessing
import os
import signal
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.augment import CALM, VARIED
from fpga_facedet.training.batches import Batches
from fpga_facedet.training.dataset import Dataset, load_split


@pytest.fixture(scope="module")
def pictures(data_folder: Path) -> Dataset:
    return load_split(data_folder, "train")


def test_a_step_has_the_same_batch_every_time(pictures: Dataset, small_spec: DetectorSpec) -> None:
    first, second = (Batches(pictures, small_spec, 6, (1, 0))[7] for _ in range(2))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.targets, second.targets)


def test_steps_and_processes_differ(pictures: Dataset, small_spec: DetectorSpec) -> None:
    here, there = Batches(pictures, small_spec, 6, (1, 0)), Batches(pictures, small_spec, 6, (1, 1))
    assert not np.array_equal(here[0].pixels, here[3].pixels) or here[0].pixels.shape != here[3].pixels.shape
    assert not np.array_equal(here[0].pixels, there[0].pixels) or here[0].pixels.shape != there[0].pixels.shape


def test_batches_are_small_or_full_and_calm_ones_mostly_full(pictures: Dataset, small_spec: DetectorSpec) -> None:
    full = {}
    for mix in (VARIED, CALM):
        batches = Batches(pictures, small_spec, 4, (1, 0), mix)
        shapes = [tuple(batches[step].pixels.shape[1:3]) for step in range(40)]
        assert set(shapes) == {(32, 32), (64, 96)}
        full[mix] = shapes.count((64, 96))
    assert full[VARIED] < 16 < full[CALM]


def test_the_worker_begins_at_the_asked_step(pictures: Dataset, small_spec: DetectorSpec) -> None:
    batches = Batches(pictures, small_spec, 4, (1, 0))
    made = list(islice(batches.starting_at(5), 2))
    for step, batch in zip((5, 6), made, strict=True):
        np.testing.assert_array_equal(batch.pixels, batches[step].pixels)
        assert batch.targets.shape[1:3] == (2, 5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_worker_outlives_a_signal_to_all_processes(
    pictures: Dataset, small_spec: DetectorSpec, number: signal.Signals
) -> None:
    others = set(multiprocessing.active_children())
    made = Batches(pictures, small_spec, 4, (1, 0)).starting_at(0)
    next(made)
    (worker,) = set(multiprocessing.active_children()) - others
    os.kill(worker.pid or 0, number)
    for _ in range(8):
        next(made)
    assert worker.is_alive()
