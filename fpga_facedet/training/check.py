"""What is in a data folder, and what is wrong with it, before anybody trains on it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fpga_facedet.errors import UserError
from fpga_facedet.files import saving
from fpga_facedet.labels.find import find_labels
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.training.dataset import SPLITS, Dataset, Picture, WrongBoxes, load_splits
from fpga_facedet.training.duplicates import fingerprint, near_duplicates

INPUT = (416, 416)
"""Width and height of the detector's input that sizes are given for, unless another is asked for."""

EDGES = tuple(round(float(2 ** (step / 2)), 2) for step in range(21))
"""Limits of the size classes in pixels: two for each doubling, 1 to 1024."""

_SUFFIXES = (".png", ".svg", ".pdf")
_SHOWN = 10
"""Names of a list that the terminal shows."""


@dataclass(frozen=True)
class SplitCheck:
    """What one split holds.

    `background` are pictures without a face; `broken` tells for each skipped picture why; `wrong_in` counts the wrong
    boxes of each picture that has some; `sizes` float32 (faces,): square root of a face's area, in pixels of the
    detector's input.
    """

    pictures: int
    faces: int
    ignored: int
    background: int
    broken: dict[str, str]
    wrong_in: dict[str, WrongBoxes]
    sizes: npt.NDArray[np.float32]

    @property
    def wrong_boxes(self) -> WrongBoxes:
        """The wrong boxes of all pictures."""
        return sum(self.wrong_in.values(), WrongBoxes())

    def histogram(self) -> list[int]:
        """Return the count of faces in each class of EDGES; the last holds what is larger too."""
        inner = np.clip(self.sizes, EDGES[0], EDGES[-1])
        return [int(count) for count in np.histogram(inner, EDGES)[0]]


@dataclass(frozen=True)
class DataCheck:
    """The findings of `check_data`.

    `splits` by "train" and "val"; `duplicates` pairs of a training and a validation picture that show the same;
    `remarks` sentences on how the folder was understood; `picture` the histogram, where one was asked for.
    """

    folder: str
    format: str
    input_size: tuple[int, int]
    splits: dict[str, SplitCheck]
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    picture: str | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing is broken, wrong or on both sides, and both splits have faces."""
        clean = all(s.faces and not s.broken and not s.wrong_in for s in self.splits.values())
        return clean and not self.duplicates

    def to_dict(self) -> dict[str, Any]:
        """Return the findings JSON-ready; sizes as a histogram."""
        return {
            "folder": self.folder,
            "format": self.format,
            "input": list(self.input_size),
            "sound": self.sound,
            "size_edges_pixels": list(EDGES),
            "splits": {name: _split_dict(split) for name, split in self.splits.items()},
            "duplicates": [list(pair) for pair in self.duplicates],
            "remarks": self.remarks,
            "picture": self.picture,
        }


def check_data(
    folder: str | Path,
    out: str | Path | None = None,
    progress: Progress = unwatched,
    input_size: tuple[int, int] = INPUT,
) -> DataCheck:
    """Read all of a data folder and say what it holds; write the histogram of face sizes to `out` (png, svg, pdf).

    `input_size` is (width, height) of the detector, which sees pictures letterboxed. Decodes every picture, so it
    takes the time and memory that loading for training takes; `progress` is told the share (0..1) done. UserError
    where labels are missing, a line is wrong, or `out` cannot be written.
    """
    if out is not None and Path(out).suffix.lower() not in _SUFFIXES:
        raise UserError(f"Cannot draw the histogram as '{Path(out).name}'; use one of {', '.join(_SUFFIXES)}.")
    source = find_labels(folder)
    loaded = load_splits(folder, source, SPLITS, lambda text, share: progress(text, 0.9 * share))
    progress("comparing training and validation pictures", 0.9)
    check = DataCheck(
        folder=str(folder),
        format=source.format,
        input_size=input_size,
        splits={name: _check_split(dataset, input_size) for name, dataset in loaded.items()},
        duplicates=_shared(*(loaded[split] for split in SPLITS)),
        remarks=list(dict.fromkeys(remark for dataset in loaded.values() for remark in dataset.remarks)),
        picture=None if out is None else str(out),
    )
    if out is not None:
        progress("drawing the histogram", 0.98)
        draw_sizes(check, Path(out))
    progress("data checked", 1.0)
    return check


def _check_split(dataset: Dataset, input_size: tuple[int, int]) -> SplitCheck:
    sizes = [face_sizes(picture, input_size) for picture in dataset.pictures]
    return SplitCheck(
        pictures=len(dataset),
        faces=dataset.faces,
        ignored=dataset.ignored,
        background=dataset.background,
        broken=dict(dataset.faults),
        wrong_in=dict(dataset.wrong_in),
        sizes=np.concatenate([np.zeros(0, np.float32), *sizes]),
    )


def face_sizes(picture: Picture, input_size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return the square root of each face's area, in pixels of an input of (width, height)."""
    height, width = picture.pixels.shape[:2]
    boxes = Letterbox.fit(width, height, *input_size).to_input(picture.faces)
    return np.asarray(np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)), np.float32)


def _shared(train: Dataset, val: Dataset) -> list[tuple[str, str]]:
    """Return the pairs of names that show the same picture."""
    first, second = ([fingerprint(picture.pixels) for picture in dataset.pictures] for dataset in (train, val))
    return [(train[a].name, val[b].name) for a, b in near_duplicates(first, second)]


def draw_sizes(check: DataCheck, out: Path) -> None:
    """Draw how large the faces are at the detector's input, train beside val, in shares of each split's faces."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    edges = np.array(EDGES)
    for (name, split), style in zip(check.splits.items(), _STYLES, strict=False):
        shares = 100 * np.array(split.histogram()) / max(split.faces, 1)
        axes.stairs(shares, edges, label=f"{name}: {split.faces:,} faces in {split.pictures:,} pictures", **style)
    axes.set_xscale("log", base=2)
    ticks = [2**power for power in range(11)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlim(_span(check))
    axes.set_xlabel(
        "face size at the detector's {}x{} input, pixels (square root of the area)".format(*check.input_size)
    )
    axes.set_ylabel("share of the split's faces, %")
    axes.set_title(f"Face sizes of the data folder {Path(check.folder).name}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with saving(out) as path:
        figure.savefig(path, dpi=150)


_STYLES: tuple[dict[str, Any], ...] = (
    {"fill": True, "color": "#4477aa", "alpha": 0.45},
    {"color": "#cc3311", "linewidth": 2.0},
)


def _span(check: DataCheck) -> tuple[float, float]:
    """Return the limits of the size classes that are not empty, with one class more at both ends."""
    filled = np.flatnonzero(np.sum([split.histogram() for split in check.splits.values()], axis=0))
    if not len(filled):
        return EDGES[0], EDGES[-1]
    return EDGES[max(filled[0] - 1, 0)], EDGES[min(filled[-1] + 2, len(EDGES) - 1)]


def _split_dict(split: SplitCheck) -> dict[str, Any]:
    return {
        "pictures": split.pictures,
        "faces": split.faces,
        "ignored": split.ignored,
        "background": split.background,
        "broken": split.broken,
        "wrong_boxes": vars(split.wrong_boxes),
        "wrong_boxes_in": {name: vars(wrong) for name, wrong in split.wrong_in.items()},
        "size_counts": split.histogram(),
        "median_size_pixels": round(float(np.median(split.sizes)), 1) if split.faces else None,
    }


def describe(check: DataCheck) -> RenderableType:
    """Return the findings for a terminal: a table of counts, then what is wrong, by name."""
    parts: list[RenderableType] = [Text(f"{check.folder}: {check.format}"), _counts(check)]
    parts += [Text(remark) for remark in check.remarks]
    for name, split in check.splits.items():
        parts += _listed(f"{name}: broken pictures, skipped", [f"{n} ({why})" for n, why in split.broken.items()])
        parts += _listed(f"{name}: pictures with wrong boxes", [f"{n} ({_tell(w)})" for n, w in split.wrong_in.items()])
    parts += _listed("in train and in val (near-duplicates)", [f"{a}  =  {b}" for a, b in check.duplicates])
    parts += [Text(f"{name} has no faces; add labelled pictures.") for name, s in check.splits.items() if not s.faces]
    if check.sound:
        parts.append(Text("Nothing broken, no wrong boxes, no picture in both splits."))
    if check.picture:
        parts.append(Text(f"Histogram of face sizes: {check.picture}"))
    return Group(*parts)


def _counts(check: DataCheck) -> Table:
    table = Table("", *check.splits)
    for column in table.columns[1:]:
        column.justify = "right"
    rows: dict[str, list[str]] = {
        "pictures": [f"{s.pictures:,}" for s in check.splits.values()],
        "of them without a face": [f"{s.background:,}" for s in check.splits.values()],
        "faces": [f"{s.faces:,}" for s in check.splits.values()],
        "ignored regions": [f"{s.ignored:,}" for s in check.splits.values()],
        "broken pictures": [f"{len(s.broken):,}" for s in check.splits.values()],
        "wrong boxes": [f"{s.wrong_boxes.total:,}" for s in check.splits.values()],
        "median face at {}x{}".format(*check.input_size): [_median(s) for s in check.splits.values()],
    }
    for title, cells in rows.items():
        table.add_row(title, *cells)
    return table


def _median(split: SplitCheck) -> str:
    return f"{np.median(split.sizes):.1f} px" if split.faces else "-"


def _tell(wrong: WrongBoxes) -> str:
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in vars(wrong).items() if count)


def _listed(title: str, lines: list[str]) -> list[RenderableType]:
    if not lines:
        return []
    more = [f"  and {len(lines) - _SHOWN} more (all of them with --json)"] if len(lines) > _SHOWN else []
    return [Text("\n".join([f"{len(lines)} {title}:", *(f"  {line}" for line in lines[:_SHOWN]), *more]))]
