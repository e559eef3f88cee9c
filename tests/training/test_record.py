import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fpga_facedet.errors import UserError
from fpga_facedet.training.record import LOG, TENSORBOARD, Record, append_line


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: what a full disk or a quota does to a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def steps_of(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / LOG).read_text().splitlines()]


def test_the_log_and_tensorboard_hold_the_same_numbers(tmp_path: Path) -> None:
    record = Record(tmp_path, 0)
    for step in (10, 20):
        record.write({"step": step, "loss": 5.0 - step / 10, "quantized": step > 10})
    record.close()
    assert steps_of(tmp_path) == [10, 20]
    board = EventAccumulator(str(tmp_path / TENSORBOARD))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("loss")] == [(10, 4.0), (20, 3.0)]
    assert [event.value for event in board.Scalars("quantized")] == [0.0, 1.0]


def test_a_resumed_run_drops_what_it_makes_again_and_torn_lines(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text('{"step": 10}\n{"step": 20}\n{"step": 30}\n{"st')
    Record(tmp_path, 20).close()
    assert steps_of(tmp_path) == [10, 20]


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / LOG
    append_line(log, json.dumps({"step": 1}))
    with full_after(log.stat().st_size + 5), pytest.raises(UserError, match=r"log\.jsonl: the disk is full"):
        append_line(log, json.dumps({"step": 2}))
    assert steps_of(tmp_path) == [1]
