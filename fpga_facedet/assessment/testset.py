"""Labelled pictures to judge a detector by: validation pictures of WIDER FACE, or the val split of a data folder."""

import csv
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import UserError
from fpga_facedet.evaluation.operating_point import Truth
from fpga_facedet.evaluation.wider import DIFFICULTIES, WiderPicture, load_truth
from fpga_facedet.host.picture import PICTURE_SUFFIXES, read_picture
from fpga_facedet.labels.record import read_lines
from fpga_facedet.training import decode

SIZES = "sizes.csv"
_FIRST_LIST = f"wider_{DIFFICULTIES[0]}_val.mat"
_NO_SIZE = (0, 0)


@dataclass(frozen=True)
class Sample:
    """One labelled picture.

    `read` gives its pixels, BGR uint8 (h, w, 3), or raises UserError where the file is damaged. `truth` is in pixels of
    a picture of `labelled_size` (width, height), (0, 0) for that of the pixels: files may be stored smaller than they
    were labelled.
    """

    name: str
    read: Callable[[], npt.NDArray[np.uint8]]
    truth: Truth
    labelled_size: tuple[int, int] = _NO_SIZE

    def scale(self, width: int, height: int) -> npt.NDArray[np.float32]:
        """Return what to multiply x1, y1, x2, y2 in pixels of the file, `width` x `height`, by for labelled pixels."""
        across, down = self.labelled_size if self.labelled_size != _NO_SIZE else (width, height)
        return np.array([across / width, down / height] * 2, np.float32)


@dataclass(frozen=True)
class TestSet:
    """Pictures to judge by; `wider` is their official truth by name where the protocol of WIDER FACE applies.

    `broken` names the labelled pictures that could not be decoded.
    """

    __test__ = False  # not for pytest

    samples: Sequence[Sample]
    wider: Mapping[str, WiderPicture] | None = None
    broken: Sequence[str] = field(default_factory=tuple)

    def limited(self, limit: int | None) -> "TestSet":
        """Return the set with at most `limit` pictures, evenly chosen so that every event has its share."""
        if limit is None or limit >= len(self.samples):
            return self
        chosen = np.linspace(0, len(self.samples) - 1, limit).round().astype(int)
        return TestSet([self.samples[int(i)] for i in chosen], self.wider, self.broken)


def open_testset(folder: str | Path, truth: str | Path | None = None) -> TestSet:
    """Open the pictures of `folder`; UserError where they or their labels cannot be read.

    WIDER FACE: `images/<event>/<picture>.jpg`, and the official `wider_{easy,medium,hard}_val.mat` in `truth`, else in
    `folder`, else in a folder beside it. Where there is a `sizes.csv` (image, orig_w, orig_h) its pictures count and
    may be stored smaller than the originals; else all pictures of the truth that are there. Of any other folder it is
    the val split that training would take, with the boxes that count there; the pictures are read in full, turned
    as their EXIF says, for so the labels count (a host does not turn them).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; give one with labelled pictures.")
    if truth is not None or (folder / SIZES).is_file() or (folder / _FIRST_LIST).is_file():
        return _open_wider(folder, Path(truth) if truth is not None else _find_truth(folder))
    from fpga_facedet.training.dataset import load_split

    split = load_split(folder, "val")
    samples = []
    for picture in split.pictures:
        path, scale = folder / picture.name, np.float32(picture.scale)
        truth_ = Truth(picture.faces / scale, picture.ignored / scale)
        samples.append(Sample(picture.name, lambda path=path: _read_upright(path), truth_))  # type: ignore[misc]
    return TestSet(samples, broken=split.broken)


def _read_upright(path: Path) -> npt.NDArray[np.uint8]:
    """Return what `host.picture.read_picture` does, but turned as its EXIF says: so the labels count its pixels."""
    try:
        return np.ascontiguousarray(decode.read_picture(path)[..., ::-1])
    except decode.BrokenPictureError as error:
        raise UserError(f"Cannot read the picture {path}: {error}; give an intact file.") from error


def _find_truth(folder: Path) -> Path:
    beside = folder.resolve().parent
    try:
        places = [folder, *sorted(beside.iterdir())]
    except OSError:
        places = [folder]
    for place in places:
        # A folder that is not ours to read does not hold what we look for.
        with suppress(OSError):
            if (place / _FIRST_LIST).is_file():
                return place
    raise UserError(f"There is no {_FIRST_LIST} in {folder} or beside it; give the folder of WIDER's truth (--truth).")


def _open_wider(folder: Path, place: Path) -> TestSet:
    official = load_truth(place)
    sizes = _read_sizes(folder / SIZES) if (folder / SIZES).is_file() else _present(folder, official)
    unknown = [name for name in sizes if name not in official]
    if unknown:
        raise UserError(f"The picture {unknown[0]} of {folder} is not in WIDER's truth in {place}; check both folders.")
    if not sizes:
        raise UserError(f"None of the {len(official)} pictures of WIDER's truth is in {folder / 'images'}; check it.")
    samples = []
    for name, size in sizes.items():
        # What even "hard" leaves out (too small, or no clear face) is neither to be found nor to be missed.
        faces, asked = official[name].faces, official[name].asked["hard"]
        path = folder / "images" / name
        samples.append(Sample(name, lambda path=path: read_picture(path), Truth(faces[asked], faces[~asked]), size))  # type: ignore[misc]
    return TestSet(samples, {name: official[name] for name in sizes})


def _present(folder: Path, official: Mapping[str, WiderPicture]) -> dict[str, tuple[int, int]]:
    images = folder / "images"
    found = {p.relative_to(images).as_posix() for p in images.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES}
    return {name: _NO_SIZE for name in official if name in found}


def _read_sizes(path: Path) -> dict[str, tuple[int, int]]:
    rows = csv.DictReader(read_lines(path))
    sizes = {}
    try:
        for row in rows:
            sizes[row["image"]] = width, height = int(row["orig_w"]), int(row["orig_h"])
            if min(width, height) < 1:
                raise ValueError(f"{width} x {height}")
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}, line {rows.line_num}: no image, orig_w and orig_h ({error}); correct it.") from None
    return sizes
