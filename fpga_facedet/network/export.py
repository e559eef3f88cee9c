"""From a trained network to a QONNX model with its metadata."""

import datetime
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from brevitas.export import export_qonnx as brevitas_export
from qonnx.util.cleanup import cleanup

from fpga_facedet.files import saving
from fpga_facedet.network.metadata import write_metadata
from fpga_facedet.network.quantizers import OUTPUT_SCALE
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.spec import DetectorSpec

DEFAULT_SCORE_THRESHOLD = 0.5
DEFAULT_NMS_IOU = 0.5


def export_qonnx(net: TinyYolo, spec: DetectorSpec, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
    """Write `net` to `path` as QONNX with its metadata, as one atomic step.

    The model has one input, float32 (1, channels, height, width) in 0..1, and one output, float32 (1, 6 * anchors,
    grid_height, grid_width) in multiples of 1/128. `metadata` adds to what the spec says: `training` (dictionary),
    `ap` (dictionary, or None: not measured), `score_threshold`, `nms_iou`. UserError where `path` cannot be written.
    """
    example = torch.zeros(1, spec.input.channels, spec.input.height, spec.input.width)
    was_training = net.training
    net.eval()
    try:
        with saving(path) as target, _without_notices(), tempfile.TemporaryDirectory() as folder, torch.no_grad():
            raw, clean = Path(folder) / "raw.onnx", Path(folder) / "clean.onnx"
            brevitas_export(net, args=example, export_path=str(raw), verbose=False)
            cleanup(str(raw), out_file=str(clean))
            model = onnx.load(str(clean))
            _forget_origin(model)
            write_metadata(model, describe(spec) | (metadata or {}))
            onnx.save(model, str(target))
    finally:
        net.train(was_training)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop the stack traces that torch notes at every node: they tell where the exporting machine keeps its files."""
    for item in (*model.graph.node, *model.graph.value_info, *model.graph.initializer, model.graph):
        item.doc_string = ""
        del item.metadata_props[:]


@contextmanager
def _without_notices() -> Iterator[None]:
    """Keep the exporter's notices about packages that this program does not use off the screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def describe(spec: DetectorSpec) -> dict[str, Any]:
    """Return the metadata that needs no training: JSON-ready, with the defaults of an unmeasured model."""
    return {
        "spec": spec.to_dict(),
        "head": {
            "grid_height": spec.grid_height,
            "grid_width": spec.grid_width,
            "channels": spec.head_channels,
            "stride": spec.stride,
            "anchors": [list(anchor) for anchor in spec.head.anchors],
        },
        "normalisation": 255.0,
        "output_scale": OUTPUT_SCALE,
        "score_threshold": DEFAULT_SCORE_THRESHOLD,
        "nms_iou": DEFAULT_NMS_IOU,
        "training": None,
        "ap": None,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
