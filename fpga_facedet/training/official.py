"""WIDER FACE's own curves for validation pictures that are WIDER's, in a folder that holds its lists of difficulty."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from fpga_facedet.detections import Detections
from fpga_facedet.evaluation.wider import DIFFICULTIES, Curve, WiderPicture, load_truth, wider_curve
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.training.dataset import Picture

_PLACES = (".", "wider_face_split", "eval_tools/ground_truth", "ground_truth")
_ALIKE = 0.02
"""Labels and lists may differ by this share in the size of a picture's largest face, for most of the pictures."""


def official_curves(
    folder: str | Path,
    pictures: Sequence[Picture],
    found: Sequence[Detections],
    input_size: tuple[int, int],
) -> dict[str, Curve]:
    """Return the curve of each difficulty, by WIDER's protocol, for the validation `pictures` of a data folder.

    `found` are the detections of each picture in pixels of the input of `input_size` (width, height). Nothing where the
    folder lacks the lists wider_{easy,medium,hard}_val.mat, where they do not name every picture, or where the pictures
    are not of the size they were labelled in. UserError where a list is damaged.
    """
    folder = Path(folder)
    lists = next((folder / place for place in _PLACES if _has_lists(folder / place)), None)
    if lists is None:
        return {}
    truth = load_truth(lists)
    names = ["/".join(PurePosixPath(picture.name).parts[-2:]) for picture in pictures]
    if not names or not set(names) <= truth.keys():
        return {}
    if not _same_sizes(pictures, [truth[name] for name in names]):
        return {}
    detections = {}
    for name, picture, faces in zip(names, pictures, found, strict=True):
        height, width = picture.pixels.shape[:2]
        boxes = Letterbox.fit(width, height, *input_size).to_frame(faces.boxes)
        detections[name] = Detections(boxes / np.float32(picture.scale), faces.scores)
    asked = {name: truth[name] for name in names}
    return {level: wider_curve(detections, asked, level) for level in DIFFICULTIES}


def _has_lists(folder: Path) -> bool:
    return all((folder / f"wider_{level}_val.mat").is_file() for level in DIFFICULTIES)


def _same_sizes(pictures: Sequence[Picture], truth: Sequence[WiderPicture]) -> bool:
    """Tell whether labels, as the folder has them, and lists agree on how large most pictures' largest face is."""
    ratios = [
        _widest(picture.faces) / picture.scale / _widest(official.faces)
        for picture, official in zip(pictures, truth, strict=True)
        if len(picture.faces) and _widest(official.faces) > 0
    ]
    return bool(ratios) and abs(float(np.median(ratios)) - 1) <= _ALIKE


def _widest(boxes: np.ndarray) -> float:
    return float((boxes[:, 2] - boxes[:, 0]).max(initial=0))
