"""A folder of labelled pictures, decoded once and kept in memory as uint8."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import FloatArray
from fpga_facedet.errors import UserError
from fpga_facedet.labels.find import find_labels
from fpga_facedet.labels.record import TRAIN, VAL, LabelledPicture, LabelSource
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.training.decode import BrokenPictureError, read_picture
from fpga_facedet.training.duplicates import fingerprint, group_duplicates

SPLITS = (TRAIN, VAL)

LONGEST_SIDE = 512
"""Pictures are kept at most this long (pixels): a little more than the detectors look at."""

HEAD_BOX_SOURCES = ("fddb",)
"""Folders whose boxes cover the whole head; `face_of_head` cuts them to the face, as the others are labelled."""

VALIDATION_SHARE = 0.1
"""Of a folder that keeps no validation pictures apart, about this share becomes them."""

_LEAST_INSIDE = 0.4
"""A face of which less lies inside the picture is neither a face nor background."""

_ROUNDING = 1.5
"""Labels may reach beyond the picture by this much (pixels) without being called wrong."""


@dataclass(frozen=True)
class Picture:
    """One labelled photograph.

    `pixels` RGB uint8 (height, width, 3); `faces` and `ignored` float32 (N, 4) x1, y1, x2, y2 in its pixels. `scale` is
    a side of it by that of the file, 1 or less.
    """

    name: str
    pixels: npt.NDArray[np.uint8]
    faces: FloatArray
    ignored: FloatArray
    scale: float = 1.0


@dataclass
class WrongBoxes:
    """Boxes that could not be taken as written.

    `clipped` reached beyond the picture and were cut to it; `mostly_outside` were too, but count neither way; `outside`
    lie wholly beyond it and `empty` have no width or no height: both are dropped.
    """

    clipped: int = 0
    mostly_outside: int = 0
    outside: int = 0
    empty: int = 0

    def __add__(self, other: "WrongBoxes") -> "WrongBoxes":
        return WrongBoxes(
            self.clipped + other.clipped,
            self.mostly_outside + other.mostly_outside,
            self.outside + other.outside,
            self.empty + other.empty,
        )

    @property
    def total(self) -> int:
        """How many they are together."""
        return self.clipped + self.mostly_outside + self.outside + self.empty


@dataclass
class Dataset:
    """The pictures of one split, in memory, and what was wrong with the folder.

    `faults` says for each picture that was skipped why; `wrong_in` counts the wrong boxes of each picture that has
    some; `remarks` are sentences for the user on how the folder was understood.
    """

    pictures: list[Picture] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    wrong_in: dict[str, WrongBoxes] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Picture:
        return self.pictures[index]

    @property
    def broken(self) -> list[str]:
        """The names of the pictures that were skipped."""
        return list(self.faults)

    @property
    def faces(self) -> int:
        """How many faces the pictures have."""
        return sum(len(picture.faces) for picture in self.pictures)

    @property
    def ignored(self) -> int:
        """How many regions of the pictures do not count."""
        return sum(len(picture.ignored) for picture in self.pictures)

    @property
    def background(self) -> int:
        """How many pictures have no face."""
        return sum(not len(picture.faces) for picture in self.pictures)

    @property
    def wrong_boxes(self) -> WrongBoxes:
        """The wrong boxes of all pictures."""
        return sum(self.wrong_in.values(), WrongBoxes())


def load_split(folder: str | Path, split: str, progress: Progress = unwatched) -> Dataset:
    """Read and decode `split` ("train" or "val") of a data folder.

    The folder holds labels in one of `labels.find.FORMATS`. Where it keeps no validation pictures apart, about a tenth
    of the others, chosen by name, are; near-duplicates stay on one side. `progress` is told the share (0..1) decoded.
    UserError where labels are missing, a line is wrong, or no picture can be decoded.
    """
    source = find_labels(folder)
    dataset = load_splits(folder, source, (split,), progress)[split]
    if not dataset.pictures:
        count = len(dataset.faults)
        raise UserError(
            f"None of the {count} pictures of {folder} ({split}) can be read; check the folder."
            if count
            else f"{folder} ({source.format}) names no pictures for {split}; add some."
        )
    return dataset


def load_splits(
    folder: str | Path, source: LabelSource, splits: Sequence[str] = SPLITS, progress: Progress = unwatched
) -> dict[str, Dataset]:
    """Read and decode `splits` of a folder whose labels are `source`; see `load_split`. A split may come out empty."""
    folder = Path(folder)
    kept_apart = VAL in source.splits
    needed = tuple(splits) if kept_apart else (TRAIN,)
    if TRAIN in needed and TRAIN not in source.splits:
        raise UserError(f"{folder} ({source.format}) has no pictures to train on, only {VAL}; add some.")
    read = {split: source.read(split) for split in needed}
    total = sum(len(pictures) for pictures, _ in read.values())
    done = 0
    loaded = {}
    for split, (pictures, remarks) in read.items():
        loaded[split] = Dataset(remarks=remarks)
        for outcome in _decode_all(folder, pictures):
            _file(loaded[split], *outcome)
            done += 1
            progress("decoding pictures", done / total)
    if not kept_apart:
        loaded = _split(loaded[TRAIN])
    return {split: loaded[split] for split in splits}


def _decode_all(folder: Path, labels: Sequence[LabelledPicture]) -> Iterator[tuple[str, Picture | str, WrongBoxes]]:
    """Decode in as many threads as there are processors, in order; OpenCV frees the interpreter meanwhile."""
    threads = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        yield from threads.map(lambda label: _load_picture(folder, label), labels)
    finally:
        # Ctrl-C must not wait for thousands of pictures that are still queued.
        threads.shutdown(cancel_futures=True)


def _file(dataset: Dataset, name: str, result: Picture | str, wrong: WrongBoxes) -> None:
    if isinstance(result, str):
        dataset.faults[name] = result
        return
    dataset.pictures.append(result)
    if wrong.total:
        dataset.wrong_in[name] = wrong


def _load_picture(folder: Path, label: LabelledPicture) -> tuple[str, Picture | str, WrongBoxes]:
    """Return the picture's name, the picture or what is wrong with its file, and the boxes that were wrong."""
    try:
        pixels = read_picture(folder / label.path)
    except BrokenPictureError as error:
        return label.path, str(error), WrongBoxes()
    height, width = pixels.shape[:2]
    label = label.sized(width, height)
    faces = face_of_head(label.faces) if set(Path(label.path).parts) & set(HEAD_BOX_SOURCES) else label.faces
    faces, ignored, wrong = keep_inside(faces, label.ignored, width, height)
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    if scale < 1:
        pixels = np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        faces, ignored = faces * np.float32(scale), ignored * np.float32(scale)
    return label.path, Picture(label.path, np.ascontiguousarray(pixels), faces, ignored, scale), wrong


def keep_inside(
    faces: FloatArray, ignored: FloatArray, width: int, height: int
) -> tuple[FloatArray, FloatArray, WrongBoxes]:
    """Cut boxes, both (N, 4) xyxy, to a picture of `width` x `height` pixels.

    Faces mostly outside become ignored, boxes wholly outside or without size are dropped; the third value counts them.
    """
    limit = np.array([width, height, width, height], np.float32)

    def look(boxes: FloatArray) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
        """Return the boxes cut, the share of each that is left, and which have no size."""
        cut = np.clip(boxes, 0, limit)
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        inside = np.prod(cut[:, 2:] - cut[:, :2], axis=1) / np.maximum(area, np.float32(1e-6))
        return cut, np.asarray(inside, np.float32), np.asarray((boxes[:, 2:] <= boxes[:, :2]).any(axis=1))

    cut, inside, empty = look(faces)
    kept_ignored, ignored_inside, ignored_empty = look(ignored)
    beyond = (np.abs(faces - cut) > _ROUNDING).any(axis=1) & ~empty
    kept, partly = inside >= _LEAST_INSIDE, (inside > 0) & (inside < _LEAST_INSIDE) & ~empty
    wrong = WrongBoxes(
        clipped=int((beyond & kept).sum()),
        mostly_outside=int(partly.sum()),
        outside=int(((inside <= 0) & ~empty).sum() + ((ignored_inside <= 0) & ~ignored_empty).sum()),
        empty=int(empty.sum() + ignored_empty.sum()),
    )
    regions = np.concatenate([kept_ignored[(ignored_inside > 0) & ~ignored_empty], cut[partly]])
    return np.asarray(cut[kept & ~empty], np.float32), np.asarray(regions, np.float32), wrong


def _split(whole: Dataset) -> dict[str, Dataset]:
    """Choose validation pictures by name, so that a folder that grows keeps its own; near-duplicates stay together."""
    order = sorted(range(len(whole)), key=lambda index: whole[index].name)
    leaders = group_duplicates([fingerprint(whole[index].pixels) for index in order])
    sides = [_side_of(whole[order[leader]].name) for leader in leaders]
    if len(set(leaders)) > 1 and len(set(sides)) == 1:
        # So few pictures that chance left one side empty: the last group changes over.
        sides = [VAL if leader == max(leaders) else TRAIN for leader in leaders]
    parts = {split: Dataset(remarks=list(whole.remarks)) for split in SPLITS}
    for index, side in sorted(zip(order, sides, strict=True)):
        parts[side].pictures.append(whole[index])
    for name, fault in whole.faults.items():
        parts[_side_of(name)].faults[name] = fault
    for part in parts.values():
        part.wrong_in = {p.name: whole.wrong_in[p.name] for p in part.pictures if p.name in whole.wrong_in}
    parts[VAL].remarks.append(
        f"The folder keeps no validation pictures apart: {len(parts[VAL])} of {len(whole)} were chosen by their names."
    )
    return parts


def _side_of(name: str) -> str:
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    return VAL if share < VALIDATION_SHARE else TRAIN


def face_of_head(boxes: FloatArray) -> FloatArray:
    """Cut boxes around whole heads to the face: a tenth of the width, and hair and neck off the height.

    FDDB's boxes are half again as high as wide; the faces that WIDER labels are 1.27 times as high.
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    cut = np.stack([0.05 * width, 0.15 * height, -0.05 * width, -0.03 * height], axis=1)
    return np.asarray(boxes + cut, np.float32)
