"""The record every reader yields, and what the readers share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from fpga_facedet.detections import FloatArray
from fpga_facedet.errors import UserError

TRAIN, VAL = "train", "val"
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
FACE = "face"
"""The class that is taken where a folder names its classes and one is called so."""


@dataclass(frozen=True)
class LabelledPicture:
    """What is known of one picture before it is opened.

    `path` is relative to the data folder, with forward slashes. `faces` and `ignored` (neither to be found nor to be
    missed) are float32 (N, 4) x1, y1, x2, y2: in pixels of the picture, or shares of its sides (0..1) if `relative`.
    """

    path: str
    faces: FloatArray
    ignored: FloatArray
    relative: bool = False

    def sized(self, width: int, height: int) -> "LabelledPicture":
        """Return the record with its boxes in pixels, for a picture of `width` x `height` pixels."""
        if not self.relative:
            return self
        scale = np.array([width, height, width, height], np.float32)
        return replace(self, faces=self.faces * scale, ignored=self.ignored * scale, relative=False)


class LabelSource(Protocol):
    """A labelled folder, its format recognised.

    `splits` are those the folder keeps apart itself ("train", "val"); a folder that keeps none apart has "train" only.
    """

    format: str
    splits: tuple[str, ...]

    def read(self, split: str) -> tuple[list[LabelledPicture], list[str]]:
        """Return the pictures of one of `splits`, and remarks for the user; UserError where a label is wrong."""
        ...


def box_array(rows: Iterable[Sequence[float]]) -> FloatArray:
    """Return rows of x1, y1, x2, y2 as float32 (N, 4), (0, 4) for none."""
    return np.array(list(rows), np.float32).reshape(-1, 4)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file; UserError where it cannot be read or is no text."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read the labels {path}: {error.strerror}; check the data folder.") from error
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: this is not UTF-8 text; check the data folder.") from error


def wrong_line(path: Path, number: int, text: str, meant: str) -> UserError:
    """Return the error for line `number` (from 1) of a label file."""
    return UserError(f"{path}, line {number}: '{text.strip()}' is not {meant}; correct it.")


def finite(words: Sequence[str]) -> list[float] | None:
    """Return `words` as numbers, None where one is not a finite number."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    return values if all(math.isfinite(value) for value in values) else None


def is_picture(path: Path) -> bool:
    """Say whether the name is that of a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def relative_to(folder: Path, path: Path) -> str:
    """Return `path` as seen from the data folder, with forward slashes; an absolute path where it lies outside."""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.as_posix()


def choose_class(names: Mapping[int, str] | None) -> tuple[set[int] | None, str]:
    """Return the numbers of the classes that are faces (None: all), and a sentence that says so."""
    if not names:
        return None, "The classes have no names: all count as faces."
    chosen = {number for number, name in names.items() if name.strip().lower() == FACE}
    others = ", ".join(sorted(name for number, name in names.items() if number not in chosen))
    if chosen:
        return chosen, f"Only class '{FACE}' counts, not: {others}." if others else ""
    return None, f"No class is named '{FACE}': all count as faces ({others})."
