"""A folder of labelled pictures, decoded once and kept in memory as uint8."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import FloatArray
from fpga_facedet.errors import UserError

LONGEST_SIDE = 512
"""Pictures are kept at most this long (pixels): a little more than the detectors look at."""

HEAD_BOX_SOURCES = ("fddb",)
"""Folders whose boxes cover the whole head; `face_of_head` cuts them to the face, as the others are labelled."""


@dataclass(frozen=True)
class Picture:
    """One labelled photograph.

    `pixels` RGB uint8 (height, width, 3); `faces` and `ignored` float32 (N, 4) x1, y1, x2, y2 in its pixels.
    """

    name: str
    pixels: npt.NDArray[np.uint8]
    faces: FloatArray
    ignored: FloatArray


@dataclass
class Dataset:
    """The pictures of one split, in memory, and the names of those that could not be decoded."""

    pictures: list[Picture] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Picture:
        return self.pictures[index]


def load_split(folder: str | Path, split: str) -> Dataset:
    """Read and decode `split` ("train" or "val") of a data folder.

    The folder holds `labels_<split>.txt` (for each picture its path, the count of faces, then one `x y w h` a line in
    pixels) and, where some faces are neither to be found nor to be missed, `ignore_<split>.txt` of the same form.
    UserError where a file is missing, a line is wrong, or no picture can be decoded.
    """
    folder = Path(folder)
    labels = dict(read_labels(folder / f"labels_{split}.txt"))
    ignore_file = folder / f"ignore_{split}.txt"
    ignored = dict(read_labels(ignore_file)) if ignore_file.is_file() else {}
    dataset = Dataset()
    for name, faces in labels.items():
        picture = _load_picture(folder, name, faces, ignored.get(name, np.zeros((0, 4), np.float32)))
        if picture is None:
            dataset.broken.append(name)
        else:
            dataset.pictures.append(picture)
    if not dataset.pictures:
        raise UserError(f"None of the {len(labels)} pictures of {folder} ({split}) can be read; check the folder.")
    return dataset


def read_labels(path: Path) -> Iterator[tuple[str, FloatArray]]:
    """Yield each picture's path and its boxes, float32 (N, 4) x1, y1, x2, y2; UserError with file and line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"Cannot read the labels {path}: {error.strerror}; check the data folder.") from error
    position = 0
    while position < len(lines):
        name = lines[position].strip()
        if not name:
            position += 1
            continue
        count = _parse_count(path, lines, position + 1)
        yield name, _parse_boxes(path, lines, position + 2, count)
        position += 2 + count


def _parse_count(path: Path, lines: Sequence[str], position: int) -> int:
    text = lines[position].strip() if position < len(lines) else ""
    if not text.isdigit():
        raise UserError(f"{path}, line {position + 1}: '{text}' is not a count of faces; correct the line.")
    return int(text)


def _parse_boxes(path: Path, lines: Sequence[str], position: int, count: int) -> FloatArray:
    boxes = np.zeros((count, 4), np.float32)
    for row in range(count):
        text = lines[position + row] if position + row < len(lines) else ""
        try:
            x, y, width, height = (float(value) for value in text.split()[:4])
        except ValueError:
            raise UserError(f"{path}, line {position + row + 1}: '{text}' is not 'x y w h'; correct it.") from None
        boxes[row] = x, y, x + width, y + height
    return boxes


def _load_picture(folder: Path, name: str, faces: FloatArray, ignored: FloatArray) -> Picture | None:
    try:
        encoded = np.frombuffer((folder / name).read_bytes(), np.uint8)
    except OSError:
        return None
    pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB) if encoded.size else None
    if pixels is None:
        return None
    scale = LONGEST_SIDE / max(pixels.shape[:2])
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        faces, ignored = faces * np.float32(scale), ignored * np.float32(scale)
    if set(Path(name).parts) & set(HEAD_BOX_SOURCES):
        faces = face_of_head(faces)
    return Picture(name, np.ascontiguousarray(pixels, np.uint8), faces, ignored)


def face_of_head(boxes: FloatArray) -> FloatArray:
    """Cut boxes around whole heads to the face: a tenth of the width, and hair and neck off the height.

    FDDB's boxes are half again as high as wide; the faces that WIDER labels are 1.27 times as high.
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    cut = np.stack([0.05 * width, 0.15 * height, -0.05 * width, -0.03 * height], axis=1)
    return np.asarray(boxes + cut, np.float32)
