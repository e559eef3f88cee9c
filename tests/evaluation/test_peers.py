"""The evaluator against a detector whose figures others measured on the same pictures."""

import csv
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from fpga_facedet.detections import Detections, nms
from fpga_facedet.evaluation.wider import load_truth, wider_ap
from fpga_facedet.letterbox import Letterbox

SIDE = 416
STRIDES = (8, 16, 32)


def yunet(session: onnxruntime.InferenceSession, rgb: npt.NDArray[np.uint8]) -> Detections:
    """Run YuNet on an RGB frame and read its three scales, before suppression."""
    bgr = np.ascontiguousarray(rgb[..., ::-1].transpose(2, 0, 1)[None], np.float32)
    names = [output.name for output in session.get_outputs()]
    out = dict(zip(names, session.run(names, {session.get_inputs()[0].name: bgr}), strict=True))
    boxes, scores = [], []
    for stride in STRIDES:
        delta = out[f"bbox_{stride}"].reshape(-1, 4)
        cell = np.arange(len(delta))
        cells = SIDE // stride
        centre = (np.stack([cell % cells, cell // cells], axis=1) + delta[:, :2]) * stride
        half = np.exp(delta[:, 2:]) * stride / 2
        boxes.append(np.concatenate([centre - half, centre + half], axis=1))
        product = out[f"cls_{stride}"].clip(0, 1) * out[f"obj_{stride}"].clip(0, 1)
        scores.append(np.sqrt(product).reshape(-1))
    found = Detections(np.concatenate(boxes).astype(np.float32), np.concatenate(scores).astype(np.float32))
    return found[found.scores > 0.02]


@pytest.mark.slow
def test_yunet_scores_what_is_known_of_it(shared_dir: Path) -> None:
    data = shared_dir / "data"
    session = onnxruntime.InferenceSession(str(data / "peers" / "yunet_n_dynamic.onnx"))
    with open(data / "wider_dev" / "sizes.csv") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        frame = cv2.imread(str(data / "wider_dev" / "images" / row["image"]))
        height, width = frame.shape[:2]
        box = Letterbox.fit(width, height, SIDE, SIDE)
        faces = nms(yunet(session, box.apply(frame)), 0.45)
        # Not clipped to the picture: clipping, as our host does, adds 0.002 to 0.004 to each figure.
        scale = min(SIDE / width, SIDE / height)
        corner = np.array([box.left, box.top] * 2, np.float32)
        original = np.array([int(row["orig_w"]) / width, int(row["orig_h"]) / height] * 2, np.float32)
        found[row["image"]] = Detections((faces.boxes - corner) / np.float32(scale) * original, faces.scores)
    official = load_truth(data / "wider_official")
    result = wider_ap(found, {row["image"]: official[row["image"]] for row in rows})
    assert result == pytest.approx({"easy": 0.864, "medium": 0.803, "hard": 0.486}, abs=0.003)
