"""YOLO folders: beside each picture, or under `labels/` instead of `images/`, a text file of its objects.

A line is `class cx cy w h`, centre and size as shares (0..1) of the picture's sides. `data.yaml`, where there is one,
names splits and classes; `classes.txt` or `obj.names` names classes alone. A picture without a text file is
background, as YOLO's own tools take it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fpga_facedet.errors import UserError
from fpga_facedet.labels.record import (
    TRAIN,
    VAL,
    LabelledPicture,
    box_array,
    choose_class,
    finite,
    is_picture,
    read_lines,
    relative_to,
    wrong_line,
)

_MEANT = "'class cx cy w h' with shares of the picture (0..1)"
_SETTINGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_CLASS_FILES = ("classes.txt", "obj.names")
_VAL_NAMES = (VAL, "valid", "validation")
_ROUNDING = 1e-3
"""Shares are written with few digits; this much beyond 0..1 is no mistake."""


class YoloFolder:
    """A YOLO folder, with splits kept apart as `images/train`, as `train/images`, by `data.yaml`, or not at all."""

    format = "YOLO"
    looked_for = "data.yaml, labels/ beside images/, or a .txt beside each picture"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = next((folder / name for name in _SETTINGS if (folder / name).is_file()), None)
        content = _read_yaml(self.settings) if self.settings else {}
        self.names = _class_names(folder, self.settings, content)
        self.pictures = self._named_splits(content) if self.settings else self._usual_splits()
        self.splits: tuple[str, ...] = tuple(self.pictures)

    def read(self, split: str) -> tuple[list[LabelledPicture], list[str]]:
        """See `LabelSource.read`."""
        chosen, remark = choose_class(self.names)
        read, unlabelled = [], 0
        for picture in _list_pictures(self.pictures[split]):
            labels = _labels_of(picture)
            unlabelled += labels is None
            boxes = read_yolo_txt(labels, self.names) if labels else []
            faces = box_array(box for number, box in boxes if chosen is None or number in chosen)
            read.append(LabelledPicture(relative_to(self.folder, picture), faces, box_array(()), relative=True))
        remarks = [remark] if remark else []
        if unlabelled:
            remarks.append(f"{unlabelled} pictures ({split}) have no label file: taken as background.")
        return read, remarks

    def _usual_splits(self) -> dict[str, Path]:
        for pattern in ("images/{}", "{}/images", "{}"):
            train = self.folder / pattern.format(TRAIN)
            if train.is_dir() and _has_labels(train):
                others = [self.folder / pattern.format(name) for name in _VAL_NAMES]
                val = next((place for place in others if place.is_dir()), None)
                return {TRAIN: train} | ({VAL: val} if val else {})
        for place in (self.folder / "images", self.folder):
            if place.is_dir() and _has_labels(place):
                return {TRAIN: place}
        return {}

    def _named_splits(self, content: Mapping[str, Any]) -> dict[str, Path]:
        """Return the places that the settings name for train and val; what they lack is looked for as usual."""
        found = {}
        for split, keys in ((TRAIN, (TRAIN,)), (VAL, _VAL_NAMES)):
            key = next((key for key in keys if content.get(key)), None)
            if key is None:
                continue
            value = content[key]
            if not isinstance(value, str):
                line = _line_of(self.settings, key)
                raise UserError(f"{self.settings}{line}: {key} is {value!r}; name one folder or one list file.")
            found[split] = self._resolve(split, value, str(content.get("path") or "."))
        return found or self._usual_splits()

    def _resolve(self, split: str, value: str, base: str) -> Path:
        # Settings travel: their base path is often one of another machine, and Roboflow's leads one up too far.
        inside = value.removeprefix("../").removeprefix("./")
        for place in (self.folder / base / value, self.folder / value, self.folder / inside):
            if place.exists():
                return place
        raise UserError(f"{self.settings}: {split} names '{value}', which is not in {self.folder}; correct the file.")


def read_yolo_txt(
    path: Path, names: Mapping[int, str] | None = None
) -> list[tuple[int, tuple[float, float, float, float]]]:
    """Return (class, (x1, y1, x2, y2) as shares) of each line; UserError with file and line.

    Where classes have `names`, a class without one is an error.
    """
    objects = []
    for number, line in enumerate(read_lines(path), 1):
        words = line.split()
        if not words:
            continue
        values = finite(words)
        if values is None or len(values) != 5 or not values[0].is_integer() or values[0] < 0:
            raise wrong_line(path, number, line, _MEANT)
        kind, (cx, cy, width, height) = int(values[0]), values[1:]
        if not all(-_ROUNDING <= value <= 1 + _ROUNDING for value in values[1:]):
            raise wrong_line(path, number, line, _MEANT)
        if names is not None and kind not in names:
            raise UserError(f"{path}, line {number}: class {kind} has no name among {len(names)}; correct it.")
        width, height = max(width, 0.0), max(height, 0.0)
        objects.append((kind, (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)))
    return objects


def _labels_of(picture: Path) -> Path | None:
    """Return the label file of a picture: `labels` for the last `images` of its path, or beside it."""
    parts = list(picture.parts)
    beside = picture.with_suffix(".txt")
    candidates = [beside]
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        candidates.insert(0, Path(*parts[:last], "labels", *parts[last + 1 :]).with_suffix(".txt"))
    return next((path for path in candidates if path.is_file()), None)


def _list_pictures(place: Path) -> list[Path]:
    """Return the pictures of a folder, or those that a list file names, sorted."""
    if place.is_dir():
        return sorted(path for path in place.rglob("*") if is_picture(path))
    lines = [line.strip() for line in read_lines(place)]
    return [place.parent / line for line in lines if line]


def _has_labels(place: Path) -> bool:
    return any(is_picture(path) and _labels_of(path) for path in place.rglob("*"))


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]

    try:
        content = yaml.safe_load("\n".join(read_lines(path)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: this is no YAML; correct it.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: there are no settings such as 'train: images/train'; correct it.")
    return content


def _line_of(settings: Path | None, key: str) -> str:
    """Return ", line N" of the line that sets `key`, nothing where it is not written at a line's beginning."""
    lines = read_lines(settings) if settings else []
    return next((f", line {number}" for number, line in enumerate(lines, 1) if line.split(":")[0].strip() == key), "")


def _class_names(folder: Path, settings: Path | None, content: Mapping[str, Any]) -> dict[int, str] | None:
    names = content.get("names")
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)} or None
    if isinstance(names, dict):
        if not all(isinstance(number, int) for number in names):
            raise UserError(f"{settings}: names has a class that is no number; write '0: face'.")
        return {number: str(name) for number, name in names.items()} or None
    if names is not None:
        raise UserError(f"{settings}: names is {names!r}; write a list such as [face].")
    for file in (folder / name for name in _CLASS_FILES):
        if file.is_file():
            return {number: line.strip() for number, line in enumerate(read_lines(file)) if line.strip()} or None
    return None
