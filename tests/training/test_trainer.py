import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.network.metadata import read_metadata
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training import trainer
from fpga_facedet.training.augment import CALM, VARIED
from fpga_facedet.training.config import DEFAULT_MINUTES
from fpga_facedet.training.dataset import load_split
from fpga_facedet.training.device_augment import DeviceBatches, DeviceSet
from fpga_facedet.training.finish import export_checkpoint, finish, record_ap
from fpga_facedet.training.record import LOG
from fpga_facedet.training.trainer import (
    CHECKPOINT,
    RunStoppedError,
    TrainingConfig,
    network_of,
    read_checkpoint,
    train,
)

from ..conftest import REPOSITORY
from .test_record import full_after

FAILING = """
import json, sys
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.batches import Batches
from fpga_facedet.training.trainer import TrainingConfig, train

spec, data, out, processes, failing = sys.argv[1:]
made = Batches.__getitem__

def fail(self, step):
    if step == 2 and self.seed[1] == int(failing):
        raise ValueError("no window")
    return made(self, step)

Batches.__getitem__ = fail
config = TrainingConfig(steps=50, batch=4, processes=int(processes), device="cpu")
train(DetectorSpec.from_dict(json.loads(spec)), data, out, config)
"""

FAST = {"batch": 8, "learning_rate": 4e-3, "average": 0.9, "warmup": 0.1}


def validation_loss(checkpoint: dict, spec: DetectorSpec, data: Path) -> float:
    from fpga_facedet.training.batches import Batches
    from fpga_facedet.training.dataset import load_split
    from fpga_facedet.training.loss import DetectionLoss

    batch = Batches(load_split(data, "val"), spec, 32, (9, 9))[0]
    network = network_of(checkpoint)
    with torch.no_grad():
        z = network.fast(batch.pixels.permute(0, 3, 1, 2).float(), checkpoint["quantized"])
    return DetectionLoss(torch.tensor(spec.head.anchors), spec.stride)(z, batch.targets).total.item()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_folder: Path, small_spec: DetectorSpec) -> Path:
    """Return the folder of a finished run of 80 steps in two processes."""
    out = tmp_path_factory.mktemp("run")
    train(small_spec, data_folder, out, TrainingConfig(steps=80, processes=2, quantize_at=0.5, **FAST))
    return out


def test_the_loss_falls(tmp_path: Path, trained: Path, data_folder: Path, small_spec: DetectorSpec) -> None:
    train(small_spec, data_folder, tmp_path, TrainingConfig(steps=1, processes=1, **FAST))
    before = validation_loss(read_checkpoint(tmp_path / CHECKPOINT), small_spec, data_folder)
    checkpoint = read_checkpoint(trained / CHECKPOINT)
    assert checkpoint["step"] == 80
    assert checkpoint["quantized"]
    assert validation_loss(checkpoint, small_spec, data_folder) < 0.7 * before


def test_a_resumed_run_ends_where_an_unbroken_one_does(
    tmp_path: Path, data_folder: Path, small_spec: DetectorSpec
) -> None:
    config = TrainingConfig(steps=8, processes=1, quantize_at=0.5, **FAST)
    train(small_spec, data_folder, tmp_path / "whole", config)
    stop_at(6, tmp_path / "parts", small_spec, data_folder, config)
    train(small_spec, data_folder, tmp_path / "parts", config, resume=True)
    assert_equal(tmp_path / "whole", tmp_path / "parts", 8)


@pytest.mark.parametrize("step", [3, 6])
def test_two_processes_resume_where_they_saved(
    step: int, tmp_path: Path, data_folder: Path, small_spec: DetectorSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before BatchNorm is frozen (3), where saving makes its statistics the mean of both, and after (6)."""
    config = TrainingConfig(steps=8, processes=2, quantize_at=0.25, **FAST)
    stop_at(step, tmp_path / "parts", small_spec, data_folder, config)
    stopped = (tmp_path / "parts" / CHECKPOINT).read_bytes()
    # How long it runs, and all else, is saved too.
    train(small_spec, data_folder, tmp_path / "parts", TrainingConfig(processes=2), resume=True)

    class Saving(trainer.Run):
        def _save_is_due(self, clock):  # type: ignore[no-untyped-def]
            return self.rank == 0 and self.step == step - 1

        def save(self) -> None:
            super().save()
            if self.step == step:
                (tmp_path / "saved.pt").write_bytes((self.out / CHECKPOINT).read_bytes())

    monkeypatch.setattr(trainer, "Run", Saving)
    train(small_spec, data_folder, tmp_path / "whole", config)
    assert_equal(tmp_path / "whole", tmp_path / "parts", 8)
    (tmp_path / "stopped.pt").write_bytes(stopped)
    assert_same(read_checkpoint(tmp_path / "saved.pt")["network"], read_checkpoint(tmp_path / "stopped.pt")["network"])


def assert_equal(first: Path, second: Path, step: int) -> None:
    """Hold two finished runs to be the same to the last bit."""
    a, b = (read_checkpoint(folder / CHECKPOINT) for folder in (first, second))
    assert a["step"] == b["step"] == step
    for part in ("network", "average"):
        assert_same(a[part], b[part])
    for number, state in a["optimizer"]["state"].items():
        assert_same(state, b["optimizer"]["state"][number])
    assert a["parts"] == b["parts"]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(second[name], value), name


def stop_at(
    step: int,
    out: Path,
    spec: DetectorSpec,
    data: Path,
    config: TrainingConfig,
    number: signal.Signals = signal.SIGINT,
    resume: bool = False,
) -> None:
    """Train, and send ourselves Ctrl-C, or the signal `number`, when `step` begins."""

    class Stopping(trainer.Run):
        def _advance(self, batch, seconds, stop, save):  # type: ignore[no-untyped-def]
            if self.step == step - 1:
                os.kill(os.getpid(), number)
                stop = True
            return super()._advance(batch, seconds, stop, save)

    original, trainer.Run = trainer.Run, Stopping  # type: ignore[misc]
    try:
        with pytest.raises(RunStoppedError, match=f"step {step}.*--resume"):
            train(spec, data, out, config, resume)
    finally:
        trainer.Run = original  # type: ignore[misc]


def test_ctrl_c_saves_in_every_process(tmp_path: Path, data_folder: Path, small_spec: DetectorSpec) -> None:
    over = threading.Event()

    def press_when_it_trains() -> None:
        while not (tmp_path / CHECKPOINT).exists():
            if over.wait(0.05):
                return
        os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=press_when_it_trains)
    finger.start()
    try:
        with pytest.raises(RunStoppedError, match="--resume"):
            train(small_spec, data_folder, tmp_path, TrainingConfig(minutes=5, processes=2, save_minutes=1e-6, **FAST))
    finally:
        over.set()
        finger.join()
    assert read_checkpoint(tmp_path / CHECKPOINT)["step"] > 0


def test_a_finished_run_becomes_a_model(tmp_path: Path, trained: Path, data_folder: Path) -> None:
    finished = finish(trained, data_folder, tmp_path)
    metadata = read_metadata(finished.model)
    assert metadata["training"]["steps"] == 80
    assert metadata["training"]["quantization_aware"]
    assert 0 <= metadata["score_threshold"] <= 1
    assert metadata["ap"] is None
    json.dumps(metadata)
    record_ap(finished.weights, {"hard": 0.25})
    export_checkpoint(finished.weights, tmp_path / "again.onnx")
    again = read_metadata(tmp_path / "again.onnx")
    for key in ("spec", "training", "score_threshold", "nms_iou"):
        assert again[key] == metadata[key]
    assert again["ap"] == {"hard": 0.25}


def test_an_existing_run_is_not_overwritten(trained: Path, data_folder: Path, small_spec: DetectorSpec) -> None:
    with pytest.raises(UserError, match="--resume"):
        train(small_spec, data_folder, trained, TrainingConfig(steps=1))


def test_a_run_of_another_spec_cannot_be_resumed(trained: Path, data_folder: Path) -> None:
    with pytest.raises(UserError, match="another spec than 'lpyolo-4w4a'"):
        train(DetectorSpec.load("lpyolo-4w4a"), data_folder, trained, TrainingConfig(steps=1), resume=True)


def test_there_must_be_a_run_to_resume(tmp_path: Path, data_folder: Path, small_spec: DetectorSpec) -> None:
    with pytest.raises(UserError, match="There is no checkpoint"):
        train(small_spec, data_folder, tmp_path, TrainingConfig(steps=1), resume=True)


def test_a_corrupt_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"torn")
    with pytest.raises(UserError, match=r"training\.pt cannot be read"):
        read_checkpoint(tmp_path / CHECKPOINT)


def test_a_resumed_run_keeps_its_configuration(trained: Path, data_folder: Path, small_spec: DetectorSpec) -> None:
    # Nothing is left to do: the run is finished, and stays as it is.
    before = read_checkpoint(trained / CHECKPOINT)
    train(small_spec, data_folder, trained, TrainingConfig(processes=1, learning_rate=9.0), resume=True)
    after = read_checkpoint(trained / CHECKPOINT)
    assert after["step"] == before["step"] == 80
    assert after["config"] == before["config"]
    assert after["config"]["minutes"] == DEFAULT_MINUTES


def test_scales_are_learned_then_stay(tmp_path: Path, data_folder: Path, small_spec: DetectorSpec) -> None:
    def scales() -> list[float]:
        network = read_checkpoint(tmp_path / CHECKPOINT)["network"]
        return [float(value) for name, value in network.items() if ".activation." in name and value.numel() == 1]

    # Of 20 steps the last 10 leave the scales alone; the run is stopped at three places on the way.
    config = TrainingConfig(steps=20, processes=1, quantize_at=0.1, scales_frozen_at=0.5, **FAST)
    seen = []
    for step in (5, 10, 15):
        stop_at(step, tmp_path, small_spec, data_folder, config, resume=step > 5)
        seen.append(scales())
    assert len(seen[0]) == 4
    assert all(a != b for a, b in zip(seen[0], seen[1], strict=True))
    assert seen[1] == seen[2]


def test_progress_ends_at_one(tmp_path: Path, data_folder: Path, small_spec: DetectorSpec) -> None:
    told: list[tuple[str, float]] = []
    config = TrainingConfig(steps=3, processes=1, **FAST)
    train(small_spec, data_folder, tmp_path, config, progress=lambda text, share: told.append((text, share)))
    assert told[-1][1] == 1.0
    assert "loss" in told[-1][0]
    assert [share for _, share in told] == sorted(share for _, share in told)


def test_sigterm_saves_as_ctrl_c_does(tmp_path: Path, data_folder: Path, small_spec: DetectorSpec) -> None:
    config = TrainingConfig(steps=50, processes=1, **FAST)
    stop_at(3, tmp_path, small_spec, data_folder, config, signal.SIGTERM)
    assert read_checkpoint(tmp_path / CHECKPOINT)["step"] == 3


def test_a_disk_that_fills_up_leaves_the_checkpoint_and_the_log_before(
    tmp_path: Path, data_folder: Path, small_spec: DetectorSpec
) -> None:
    config = TrainingConfig(steps=6, processes=1, **FAST)
    stop_at(3, tmp_path, small_spec, data_folder, config)
    log = (tmp_path / LOG).read_text()
    size = (tmp_path / CHECKPOINT).stat().st_size
    with full_after(size // 2), pytest.raises(UserError, match=r"training\.pt: the disk is full"):
        train(small_spec, data_folder, tmp_path, config, resume=True)
    assert read_checkpoint(tmp_path / CHECKPOINT)["step"] == 3
    assert (tmp_path / LOG).read_text() == log
    assert not list(tmp_path.glob(".training*"))
    train(small_spec, data_folder, tmp_path, config, resume=True)
    assert read_checkpoint(tmp_path / CHECKPOINT)["step"] == 6
    assert [json.loads(line)["step"] for line in (tmp_path / LOG).read_text().splitlines()] == [3, 6]


def test_a_disk_full_for_a_while_is_said_once_and_does_not_end_the_run(
    tmp_path: Path,
    data_folder: Path,
    small_spec: DetectorSpec,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved = []

    class Crowded(trainer.Run):
        def _save_is_due(self, clock):  # type: ignore[no-untyped-def]
            return True

        def save(self) -> None:
            with full_after(100) if self.step < 4 else nullcontext():
                super().save()
            saved.append(self.step)

    monkeypatch.setattr(trainer, "Run", Crowded)
    train(small_spec, data_folder, tmp_path, TrainingConfig(steps=6, processes=1, **FAST))
    assert saved == [4, 5, 6]
    said = capsys.readouterr().err
    assert said.count("the disk is full") == said.count("the training goes on") == 1


def test_what_could_not_be_saved_is_tried_again_within_a_minute(
    tmp_path: Path, data_folder: Path, small_spec: DetectorSpec
) -> None:
    run = trainer.Run(
        0, small_spec, load_split(data_folder, "train"), tmp_path, TrainingConfig(), None, torch.device("cpu")
    )
    clock = trainer._Clock(0, 0)
    clock.now += 61
    assert not run._save_is_due(clock)
    run.unsaved = True
    assert run._save_is_due(clock)
    assert not run._save_is_due(clock)


def test_a_loss_that_is_no_number_is_neither_stepped_nor_saved(
    tmp_path: Path, data_folder: Path, small_spec: DetectorSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Diverging(trainer.Run):
        def _save_is_due(self, clock):  # type: ignore[no-untyped-def]
            return self.rank == 0

        def _backward(self, pixels, targets):  # type: ignore[no-untyped-def]
            # In one process; the other must not go on without it.
            if self.step == 3 and self.rank == 1:
                pixels = pixels * float("inf")
            return super()._backward(pixels, targets)

    monkeypatch.setattr(trainer, "Run", Diverging)
    with pytest.raises(InternalError, match="not finite after step 3"):
        train(small_spec, data_folder, tmp_path, TrainingConfig(steps=9, processes=2, **FAST))
    checkpoint = read_checkpoint(tmp_path / CHECKPOINT)
    assert checkpoint["step"] == 3
    assert all(value.isfinite().all() for value in checkpoint["network"].values())


@pytest.mark.parametrize(
    ("processes", "failing", "said"), [(1, 0, "no window"), (2, 0, "no window"), (2, 1, "is gone")]
)
def test_an_error_in_a_worker_ends_the_program(
    processes: int, failing: int, said: str, tmp_path: Path, data_folder: Path, small_spec: DetectorSpec
) -> None:
    script = tmp_path / "script.py"
    script.write_text(FAILING)
    words = (json.dumps(small_spec.to_dict()), data_folder, tmp_path / "out", processes, failing)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    # The limit is for a program that hangs, however slow the machine.
    ended = subprocess.run(
        [sys.executable, str(script), *map(str, words)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert ended.returncode == 1
    assert "no window" in ended.stderr
    assert said in ended.stderr


def labelled(folder: Path, pictures: Path, **labels: str) -> Path:
    """Write a folder with the pictures of another and its own label files."""
    folder.mkdir()
    (folder / "images").symlink_to(pictures / "images")
    for split, text in labels.items():
        (folder / f"labels_{split}.txt").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("val", "sentence"),
    [
        ("", "names no pictures for validation"),
        ("images/gone.png\n1\n1 1 9 9\n", "None of the 1 pictures"),
        ("images/val0.png\n0\n", "have no faces"),
        ("images/val1.png\n1\n1 1 9\n", r"labels_val\.txt, line 3"),
    ],
)
def test_validation_pictures_that_cannot_be_used_are_named_before_the_training(
    val: str, sentence: str, tmp_path: Path, data_folder: Path, small_spec: DetectorSpec
) -> None:
    text = "images/train1.png\n1\n10 10 30 30\n"
    data = labelled(tmp_path / "data", data_folder, train=text, val=val)
    with pytest.raises(UserError, match=sentence):
        train(small_spec, data, tmp_path / "out", TrainingConfig(steps=1, processes=1, **FAST))
    assert not (tmp_path / "out").exists()


def test_a_folder_of_near_duplicates_has_none_to_validate_on(
    tmp_path: Path, data_folder: Path, small_spec: DetectorSpec
) -> None:
    data = labelled(tmp_path / "data", data_folder)
    for index in range(12):
        (data / f"{index}.png").symlink_to(data_folder / "images/train1.png")
    (data / "labels_train.txt").write_text("".join(f"{index}.png\n1\n10 10 30 30\n" for index in range(12)))
    with pytest.raises(UserError, match="the 12 .* too alike"):
        train(small_spec, data, tmp_path / "out", TrainingConfig(steps=1, processes=1, **FAST))


def test_a_broken_picture_is_named_as_it_is_with_the_reason(
    tmp_path: Path, data_folder: Path, small_spec: DetectorSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"[bold]{'a' * 120}.png"
    text = f"images/train1.png\n1\n10 10 30 30\n{name}\n0\n"
    data = labelled(tmp_path / "data", data_folder, train=text, val="images/val1.png\n1\n10 10 30 30\n")
    (data / name).write_bytes(b"")
    train(small_spec, data, tmp_path / "out", TrainingConfig(steps=1, processes=1, **FAST))
    (why,) = load_split(data, "train").faults.values()
    assert f"the first: {name} ({why})" in capsys.readouterr().err


def test_a_start_of_another_shape_is_told_apart(
    tmp_path: Path, trained: Path, data_folder: Path, small_spec: DetectorSpec
) -> None:
    config = TrainingConfig(steps=1, processes=1, start=str(trained / CHECKPOINT), **FAST)

    def spec_with(**layer: int) -> DetectorSpec:
        spec = small_spec.to_dict()
        spec["layers"][1] |= layer
        return DetectorSpec.from_dict(spec)

    for layer, sentence in (
        ({"channels": 16}, "layer 1's channels is 12, not 16"),
        ({"activation_bits": 3}, "layer 1's activation bits is 4, not 3"),
    ):
        with pytest.raises(UserError, match=sentence):
            train(spec_with(**layer), data_folder, tmp_path, config)
    other = small_spec.to_dict()
    other["head"]["anchors"] = [[10, 14], [30, 40], [50, 60]]
    with pytest.raises(UserError, match="head's anchors is 2, not 3"):
        train(DetectorSpec.from_dict(other), data_folder, tmp_path, config)
    other["head"]["anchors"] = [[10, 14], [30, 40]]
    train(DetectorSpec.from_dict(other), data_folder, tmp_path, config)
    assert read_checkpoint(tmp_path / CHECKPOINT)["quantized"]


def test_each_tenth_is_told_with_what_is_true_then(
    tmp_path: Path, data_folder: Path, small_spec: DetectorSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, float]] = []
    monkeypatch.setattr(trainer._Clock, "due", lambda self, what, seconds: what == "show")
    config = TrainingConfig(steps=20, processes=1, **FAST)
    train(small_spec, data_folder, tmp_path, config, progress=lambda text, share: told.append((text, share)))
    texts = [text for text, _ in told if text.startswith("training")]
    changed = [step for step, (before, now) in enumerate(pairwise(texts), 2) if before != now]
    assert changed == list(range(2, 21, 2))


def test_the_device_path_trains_too(
    tmp_path: Path, data_folder: Path, small_spec: DetectorSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU's way, on the CPU: everything but the device itself."""

    def on_device(pictures, spec, config, rank, device):  # type: ignore[no-untyped-def]
        held = DeviceSet(pictures, device)
        return {mix: DeviceBatches(held, spec, config.batch, (config.seed, rank), mix) for mix in (VARIED, CALM)}

    monkeypatch.setattr(trainer, "_batches_of", on_device)
    train(small_spec, data_folder, tmp_path / "begin", TrainingConfig(steps=1, processes=1, **FAST))
    before = validation_loss(read_checkpoint(tmp_path / "begin" / CHECKPOINT), small_spec, data_folder)
    train(small_spec, data_folder, tmp_path / "run", TrainingConfig(steps=60, processes=1, quantize_at=0.5, **FAST))
    assert validation_loss(read_checkpoint(tmp_path / "run" / CHECKPOINT), small_spec, data_folder) < 0.8 * before


def test_a_full_disk_ends_the_run_with_a_sentence(data_folder: Path, small_spec: DetectorSpec) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(UserError, match="Cannot save"):
        train(small_spec, data_folder, "/dev/full", TrainingConfig(steps=1, processes=1, **FAST))
