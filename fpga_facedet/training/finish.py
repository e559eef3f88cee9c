"""From a training run to what ships: statistics recalibrated, threshold chosen, model and checkpoint written."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpga_facedet.errors import UserError
from fpga_facedet.evaluation.operating_point import OperatingPoint, choose_operating_point
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.network.export import DEFAULT_NMS_IOU, export_qonnx
from fpga_facedet.network.margins import separate_boundaries
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.training.calibrate import calibrate_activations, recalibrate_norms
from fpga_facedet.training.dataset import Dataset, load_split
from fpga_facedet.training.official import official_curves
from fpga_facedet.training.record import LOG
from fpga_facedet.training.report import Counts, write_report
from fpga_facedet.training.trainer import CHECKPOINT, network_of, read_checkpoint, save_checkpoint
from fpga_facedet.training.validate import letterbox_rgb, look_for_faces

MODEL = "model.onnx"
WEIGHTS = "checkpoint.pt"

LEAST_PRECISION = 0.9
"""The default threshold shows at most one wrong box in ten on the validation pictures."""

LEAST_FACE = 20.0
"""Faces below this (pixels of the detector's input) have no say in the default threshold."""

THRESHOLD_RULE = f"The best F1 with a precision of {LEAST_PRECISION:g} or more on faces from {LEAST_FACE:g} pixels."

_CALIBRATION_PICTURES = 256
_BATCH = 16


@dataclass(frozen=True)
class Finished:
    """What came of a run: files, the average precision on its validation pictures and the threshold."""

    model: Path
    weights: Path
    report: Path
    validation_ap: float
    point: OperatingPoint


def finish(
    run: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    progress: Progress = unwatched,
) -> Finished:
    """Make `model.onnx`, `checkpoint.pt` and `report.html` of a training run, in `out` (its own folder by default).

    BatchNorm statistics come from training pictures, the score threshold from the validation pictures of `data`, both
    as training keeps them (`training.dataset.LONGEST_SIDE`; `facedet eval` reads the files in full). `progress` is told
    what goes on and the share (0..1) that is done. UserError where the run or the data cannot be read, or the disk is
    full.
    """
    run = Path(run)
    out = Path(out) if out is not None else run
    checkpoint = read_checkpoint(run / CHECKPOINT if run.is_dir() else run)
    network = network_of(checkpoint)
    progress("measuring statistics on training pictures", 0.0)
    pictures = load_split(data, "train")
    settle(network, pictures, checkpoint["quantized"])
    counts = {"train": Counts.of(pictures)}
    pictures = load_split(data, "val")
    counts["val"] = Counts.of(pictures)
    findings = look_for_faces(network, pictures.pictures, DEFAULT_NMS_IOU, progress)
    scored, large = findings.score(), findings.score(LEAST_FACE)
    point = choose_operating_point(large, LEAST_PRECISION)
    training = _describe_training(checkpoint, scored.average_precision, large.average_precision, point)
    model, weights = write_model(network, out, training, point.score_threshold)
    size = network.spec.input
    official = official_curves(data, pictures.pictures, findings.found, (size.width, size.height))
    log = (run if run.is_dir() else run.parent) / LOG
    report = write_report(
        out, log, checkpoint, counts, pictures.pictures, findings, point, THRESHOLD_RULE, official, progress
    )
    return Finished(model, weights, report, scored.average_precision, point)


def settle(network: TinyYolo, pictures: Dataset, quantized: bool) -> None:
    """Fix what is measured, not learned: BatchNorm statistics, rounding boundaries, and ranges not learned yet."""
    if not quantized:
        calibrate_activations(network, next(_letterboxed(network, pictures)))
    recalibrate_norms(network, _letterboxed(network, pictures))
    separate_boundaries(network)


def write_model(network: TinyYolo, out: Path, training: dict[str, Any], score_threshold: float) -> tuple[Path, Path]:
    """Write the QONNX model and the float checkpoint of `network` to the folder `out`; return their paths."""
    spec = network.spec
    metadata: dict[str, Any] = {
        "training": training,
        "score_threshold": round(score_threshold, 4),
        "nms_iou": DEFAULT_NMS_IOU,
    }
    export_qonnx(network, spec, out / MODEL, metadata)
    state = {"spec": spec.to_dict(), "average": network.state_dict(), "quantized": True, **metadata}
    save_checkpoint(out / WEIGHTS, state)
    return out / MODEL, out / WEIGHTS


def record_ap(checkpoint: str | Path, ap: dict[str, Any]) -> None:
    """Note in a finished checkpoint what it scores (JSON-ready), for the models exported from it from now on."""
    state = read_checkpoint(checkpoint)
    save_checkpoint(Path(checkpoint), state | {"ap": ap})


def export_checkpoint(checkpoint: str | Path, path: str | Path) -> None:
    """Write the model of a finished checkpoint (`checkpoint.pt`) to `path`; UserError where it is not one."""
    state = read_checkpoint(checkpoint)
    if "optimizer" in state:
        raise UserError(
            f"{checkpoint} is the state of a training run, not a finished detector; bring the run to its end with "
            f"facedet train --resume and export the {WEIGHTS} it then writes."
        )
    network = network_of(state)
    metadata: dict[str, Any] = {
        key: state[key] for key in ("training", "score_threshold", "nms_iou", "ap") if key in state
    }
    export_qonnx(network, network.spec, path, metadata)


def _letterboxed(network: TinyYolo, pictures: Dataset) -> Iterator[Tensor]:
    """Yield batches of evenly chosen training pictures as the detector will see them, float (N, 3, H, W) 0..255."""
    size = network.spec.input
    chosen = np.linspace(0, len(pictures) - 1, min(_CALIBRATION_PICTURES, len(pictures))).astype(int)
    for start in range(0, len(chosen), _BATCH):
        frames = []
        for index in chosen[start : start + _BATCH]:
            pixels = pictures[int(index)].pixels
            frames.append(
                letterbox_rgb(pixels, Letterbox.fit(pixels.shape[1], pixels.shape[0], size.width, size.height))
            )
        yield torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float()


def _describe_training(
    checkpoint: dict[str, Any], all_ap: float, large_ap: float, point: OperatingPoint
) -> dict[str, Any]:
    """Return what the model's metadata says of its training."""
    return {
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "steps": checkpoint.get("step"),
        "windows": checkpoint.get("windows"),
        "minutes": round(checkpoint.get("minutes", 0.0), 1),
        "quantization_aware": checkpoint["quantized"],
        "config": _without_places(checkpoint.get("config") or {}),
        "validation": {
            "ap50": round(all_ap, 4),
            f"ap50_from_{LEAST_FACE:.0f}_pixels": round(large_ap, 4),
            "precision_at_threshold": round(point.precision, 4),
            "recall_at_threshold": round(point.recall, 4),
        },
    }


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration without the folders of the machine it ran on."""
    start = config.get("start")
    return {**config, "start": "/".join(Path(start).parts[-2:])} if start else config
