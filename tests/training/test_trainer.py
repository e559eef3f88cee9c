import json
import os
import signal
import threading
from pathlib import Path

import pytest
import torch

from fpga_facedet.errors import UserError
from fpga_facedet.network.metadata import read_metadata
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.augment import CALM, VARIED
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

from .test_record import full_after

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
    whole, parts = (read_checkpoint(tmp_path / name / CHECKPOINT) for name in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 8
    for name, value in whole["network"].items():
        assert torch.equal(parts["network"][name], value), name
    for name, value in whole["average"].items():
        assert torch.equal(parts["average"][name], value), name
    assert whole["parts"] == parts["parts"]


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
    from fpga_facedet.training import trainer

    class Stopping(trainer.Run):
        def _advance(self, batch, seconds, stop):  # type: ignore[no-untyped-def]
            if self.step == step - 1:
                os.kill(os.getpid(), number)
                stop = True
            return super()._advance(batch, seconds, stop)

    original, trainer.Run = trainer.Run, Stopping  # type: ignore[misc]
    try:
        with pytest.raises(RunStoppedError, match=f"step {step}.*--resume"):
            train(spec, data, out, config, resume)
    finally:
        trainer.Run = original  # type: ignore[misc]


def test_ctrl_c_saves_in_every_process(tmp_path: Path, data_folder: Path, small_spec: DetectorSpec) -> None:
    timer = threading.Timer(6, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(RunStoppedError, match="--resume"):
            train(small_spec, data_folder, tmp_path, TrainingConfig(minutes=5, processes=2, **FAST))
    finally:
        timer.cancel()
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
    train(small_spec, data_folder, trained, TrainingConfig(steps=80, processes=1, learning_rate=9.0), resume=True)
    after = read_checkpoint(trained / CHECKPOINT)
    assert after["step"] == before["step"] == 80
    assert after["config"]["learning_rate"] == FAST["learning_rate"]


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


def test_the_device_path_trains_too(
    tmp_path: Path, data_folder: Path, small_spec: DetectorSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU's way, on the CPU: everything but the device itself."""
    from fpga_facedet.training import trainer

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
