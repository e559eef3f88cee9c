"""The text forms of WIDER FACE: a picture's path, the count of its faces, then a line for each.

Two forms, told apart line by line: the plain one (`x y w h`; a count of 0 has no line behind it) and the official
`wider_face_train_bbx_gt.txt` (`x y w h blur expression illumination invalid occlusion pose`; a count of 0 is followed
by one line of zeros). Pixels, corner and size.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fpga_facedet.errors import UserError
from fpga_facedet.labels.record import (
    TRAIN,
    VAL,
    LabelledPicture,
    box_array,
    finite,
    read_lines,
    wrong_line,
)

PLAIN = "labels_{split}.txt"
PLAIN_IGNORED = "ignore_{split}.txt"
OFFICIAL = "wider_face_{split}_bbx_gt.txt"

_INVALID = 7
"""Column of the official form: WIDER's own annotators could not tell whether this is a face."""


def read_wider_txt(path: Path) -> Iterator[LabelledPicture]:
    """Yield each picture of the file, paths as written there; UserError with file and line.

    Boxes that WIDER calls invalid, or that have no size, are `ignored`.
    """
    lines = read_lines(path)
    seen: set[str] = set()
    position = 0
    while position < len(lines):
        name = lines[position].strip()
        if not name:
            position += 1
            continue
        _check_name(path, position + 1, name, seen)
        count = _parse_count(path, lines, position + 1)
        rows = [_parse_box(path, lines, position + 2 + row) for row in range(count)]
        position += 2 + count
        if not count and position < len(lines) and _is_zeros(lines[position]):
            position += 1
        yield _picture(name, rows)


def _picture(name: str, rows: Sequence[Sequence[float]]) -> LabelledPicture:
    faces: list[Sequence[float]] = []
    ignored: list[Sequence[float]] = []
    for row in rows:
        x, y, width, height = row[:4]
        unsure = len(row) > _INVALID and row[_INVALID] != 0
        (ignored if unsure or width <= 0 or height <= 0 else faces).append((x, y, x + width, y + height))
    return LabelledPicture(name, box_array(faces), box_array(ignored))


def _check_name(path: Path, number: int, name: str, seen: set[str]) -> None:
    words = name.split()
    if len(words) >= 4 and finite(words):
        raise wrong_line(path, number, name, "the path of a picture (is the count before it too small?)")
    if name in seen:
        raise UserError(f"{path}, line {number}: '{name}' stands there a second time; put its faces together.")
    seen.add(name)


def _parse_count(path: Path, lines: Sequence[str], position: int) -> int:
    text = lines[position].strip() if position < len(lines) else ""
    if not text.isdecimal():
        raise wrong_line(path, position + 1, text, "a count of faces")
    return int(text)


def _parse_box(path: Path, lines: Sequence[str], position: int) -> list[float]:
    text = lines[position] if position < len(lines) else ""
    values = finite(text.split())
    # WIDER itself has a width of -2 in val; in a form without its other columns it is a slip of the user's.
    if values is None or len(values) < 4 or (len(values) <= _INVALID and min(values[2:4]) < 0):
        raise wrong_line(path, position + 1, text, "'x y w h'")
    return values


def _is_zeros(line: str) -> bool:
    values = finite(line.split())
    return values is not None and len(values) >= 4 and not any(values)


class PlainFolder:
    """`labels_train.txt`, `labels_val.txt`, and beside them `ignore_train.txt`, `ignore_val.txt` of the same form."""

    format = "plain text (labels_train.txt)"
    looked_for = "labels_train.txt"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.splits: tuple[str, ...] = tuple(s for s in (TRAIN, VAL) if (folder / PLAIN.format(split=s)).is_file())

    def read(self, split: str) -> tuple[list[LabelledPicture], list[str]]:
        """See `LabelSource.read`."""
        ignore_file = self.folder / PLAIN_IGNORED.format(split=split)
        extra = {p.path: p.faces for p in read_wider_txt(ignore_file)} if ignore_file.is_file() else {}
        none = np.zeros((0, 4), np.float32)
        pictures = [
            LabelledPicture(p.path, p.faces, np.concatenate([p.ignored, extra.get(p.path, none)]))
            for p in read_wider_txt(self.folder / PLAIN.format(split=split))
        ]
        return pictures, []


class WiderTextFolder:
    """WIDER FACE as unpacked from its archives, with the official text files."""

    format = "WIDER FACE text"
    looked_for = "wider_face_split/wider_face_train_bbx_gt.txt"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = find_split_files(folder, OFFICIAL)
        self.splits: tuple[str, ...] = tuple(self.files)

    def read(self, split: str) -> tuple[list[LabelledPicture], list[str]]:
        """See `LabelSource.read`."""
        return under_pictures(self.folder, split, list(read_wider_txt(self.files[split]))), []


def find_split_files(folder: Path, pattern: str) -> dict[str, Path]:
    """Return the label file of each split, named by `pattern`, in `folder` or its `wider_face_split`."""
    places = (folder, folder / "wider_face_split")
    candidates = {split: [place / pattern.format(split=split) for place in places] for split in (TRAIN, VAL)}
    return {split: file for split, files in candidates.items() for file in files if file.is_file()}


def under_pictures(folder: Path, split: str, pictures: Sequence[LabelledPicture]) -> list[LabelledPicture]:
    """Put the folder that holds WIDER's events before each path; UserError where no picture is anywhere."""
    archive = f"WIDER_{split}"
    places = (f"{archive}/images", f"{archive}/{archive}/images", f"images/{split}", f"{split}/images", "images", ".")
    probe = [pictures[int(i)].path for i in np.linspace(0, len(pictures) - 1, min(50, len(pictures)))]
    for place in places:
        if any((folder / place / name).is_file() for name in probe):
            return [LabelledPicture(str(Path(place, p.path).as_posix()), p.faces, p.ignored) for p in pictures]
    if not pictures:
        return []
    raise UserError(
        f"{folder} has labels of '{probe[0]}' but no such picture in {', '.join(places[:-1])} or the folder itself; "
        f"unpack {archive}.zip there."
    )
