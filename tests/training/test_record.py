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


def test_a_resumed_run_keeps_the_point_it_goes_on_from(tmp_path: Path) -> None:
    for first, steps in ((0, (10, 20, 30)), (20, (40,))):
        record = Record(tmp_path, first)
        for step in steps:
            record.write({"step": step, "loss": float(step)})
        record.close()
    board = EventAccumulator(str(tmp_path / TENSORBOARD))
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == [10, 20, 40]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_record_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    record = Record(tmp_path, 0)
    record.write({"step": 10, "loss": 1.0})
    with full_after(60), pytest.raises(UserError, match="tensorboard: the disk is full"):
        record.write({"step": 20, "loss": 2.0})
    for step in (30, 40):
        record.write({"step": step, "loss": 3.0})
    record.close()
    assert steps_of(tmp_path) == [10, 20, 30, 40]
    board = EventAccumulator(str(tmp_path / TENSORBOARD))
    board.Reload()
    assert {10, 30, 40} <= {event.step for event in board.Scalars("loss")}


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / LOG
    append_line(log, json.dumps({"step": 1}))
    with full_after(log.stat().st_size + 5), pytest.raises(UserError, match=r"log\.jsonl: the disk is full"):
        append_line(log, json.dumps({"step": 2}))
    assert steps_of(tmp_path) == [1]
