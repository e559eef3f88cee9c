"""The quantized network on labelled pictures as training keeps them: what it finds, and how well.

Those pictures are at most `dataset.LONGEST_SIDE` pixels long, shrunk before they are letterboxed. A host letterboxes
the file itself, so larger pictures look a little different there; `assessment` judges what a host sees.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fpga_facedet.detections import Detections, nms
from fpga_facedet.evaluation.operating_point import LEAST_SCORE, Scored, Truth, score_detections
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.training.dataset import Picture
from fpga_facedet.training.loss import DetectionLoss

_BATCH = 8


class TorchDetector:
    """Runs the exact quantized torch network and reads its output as the host does.

    `nms_iou`: overlap (0..1) above which the weaker of two faces goes.
    """

    def __init__(self, network: TinyYolo, nms_iou: float) -> None:
        self.network = network.eval()
        self.nms_iou = nms_iou
        self.geometry = DetectionLoss(torch.tensor(network.spec.head.anchors), network.spec.stride)

    def find(self, pictures: Iterable[npt.NDArray[np.uint8]]) -> Iterator[Detections]:
        """Yield the faces of each picture, RGB uint8 (h, w, 3), in its pixels, best first, down to LEAST_SCORE."""
        waiting: list[npt.NDArray[np.uint8]] = []
        for pixels in pictures:
            waiting.append(pixels)
            if len(waiting) == _BATCH:
                yield from self._find_batch(waiting)
                waiting = []
        if waiting:
            yield from self._find_batch(waiting)

    def _find_batch(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Iterator[Detections]:
        size = self.network.spec.input
        boxes = [Letterbox.fit(p.shape[1], p.shape[0], size.width, size.height) for p in pictures]
        frames = [letterbox_rgb(pixels, box) for pixels, box in zip(pictures, boxes, strict=True)]
        with torch.no_grad():
            output = self.network(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255)
        for values, box in zip(output, boxes, strict=True):
            yield self._read(values, box)

    def _read(self, values: torch.Tensor, box: Letterbox) -> Detections:
        t = values.view(1, -1, 6, *values.shape[-2:])
        score = (t[0, :, 4] / 2 + 0.5) * (t[0, :, 5] / 2 + 0.5)
        chosen = score >= LEAST_SCORE
        found = Detections(self.geometry.decode(2 * t)[0][chosen].numpy(), score[chosen].numpy())
        kept = nms(found, self.nms_iou)
        faces = Detections(box.to_frame(kept.boxes), kept.scores)
        return faces[np.flatnonzero((faces.boxes[:, 2:] > faces.boxes[:, :2]).all(axis=1))]


def letterbox_rgb(pixels: npt.NDArray[np.uint8], box: Letterbox) -> npt.NDArray[np.uint8]:
    """Letterbox an RGB picture; the letterbox itself takes BGR, as cameras give it."""
    return box.apply(np.ascontiguousarray(pixels[..., ::-1]))


@dataclass(frozen=True)
class Findings:
    """What a network found in labelled pictures, and their truth, all in pixels of its input."""

    found: Sequence[Detections]
    truth: Sequence[Truth]

    def score(self, least_size: float = 0.0) -> Scored:
        """Match findings and labels; faces below `least_size` pixels (square root of the area) do not count."""
        return score_detections(self.found, self.truth, least_size)


def look_for_faces(
    network: TinyYolo,
    pictures: Sequence[Picture],
    nms_iou: float,
    progress: Progress = unwatched,
) -> Findings:
    """Run the network on labelled pictures; `progress` is told the share (0..1) that is done."""
    size = network.spec.input
    found, truth = [], []
    for picture, faces in zip(pictures, TorchDetector(network, nms_iou).find(p.pixels for p in pictures), strict=True):
        box = Letterbox.fit(picture.pixels.shape[1], picture.pixels.shape[0], size.width, size.height)
        found.append(Detections(box.to_input(faces.boxes), faces.scores))
        truth.append(Truth(box.to_input(picture.faces), box.to_input(picture.ignored)))
        progress("looking for faces in the validation pictures", len(found) / len(pictures))
    return Findings(found, truth)
