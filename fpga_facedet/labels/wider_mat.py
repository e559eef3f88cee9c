"""The Matlab form of WIDER FACE: `wider_face_train.mat` and `wider_face_val.mat`."""

import io
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fpga_facedet.errors import UserError
from fpga_facedet.labels.record import LabelledPicture
from fpga_facedet.labels.wider_txt import find_split_files, under_pictures

OFFICIAL = "wider_face_{split}.mat"
_LISTS = frozenset({"event_list", "file_list", "face_bbx_list"})
_INVALID = "invalid_label_list"
_HEADER_BYTES, _COMPRESSED = 128, 15
_NOT_MATLAB = (
    ValueError,
    TypeError,
    NotImplementedError,
    LookupError,
    NameError,
    OSError,
    EOFError,
    MemoryError,
    OverflowError,
    struct.error,
    zlib.error,
)
"""What scipy's reader raises over content that is not what it says."""


def load_mat(path: Path, lists: Collection[str]) -> dict[str, Any]:
    """Read a Matlab file of WIDER FACE that holds `lists`; UserError where it cannot be read or lacks one."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read WIDER's labels {path}: {error.strerror or error}; check the folder.") from error
    try:
        _check_whole(content)
        data = loadmat(io.BytesIO(content))
    except (*_NOT_MATLAB, MatReadError) as error:
        raise UserError(f"{path} is not a whole Matlab file ({error}); download WIDER's labels again.") from error
    if not set(lists) <= data.keys():
        missing = ", ".join(sorted(set(lists) - data.keys()))
        raise UserError(f"{path} lacks WIDER's lists ({missing}); download WIDER's labels again.")
    return dict(data)


def _check_whole(content: bytes) -> None:
    """Raise ValueError or zlib.error where a Matlab 5 file ends early or a compressed element is damaged.

    scipy parses an element before its check sum is known, and a damaged one can end the whole process.
    """
    order: Literal["little", "big"] = "big" if content[126:128] == b"MI" else "little"
    position = _HEADER_BYTES
    while position < len(content):
        kind, size = (int.from_bytes(content[position + at : position + at + 4], order) for at in (0, 4))
        element = content[position + 8 : position + 8 + size]
        if len(element) < size:
            raise ValueError("it ends early")
        if kind == _COMPRESSED:
            zlib.decompress(element)
        position += 8 + size


def read_wider_mat(path: Path) -> Iterator[LabelledPicture]:
    """Yield each picture as "event/picture.jpg"; UserError with file, event and picture.

    Boxes that WIDER calls invalid, or that have no size (a side of 0 or, once in val, -2), are `ignored`.
    """
    data = load_mat(path, _LISTS)
    try:
        yield from _pictures_of(path, data)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"The lists of {path} are not WIDER's ({error}); download WIDER's labels again.") from error


def _pictures_of(path: Path, data: Mapping[str, Any]) -> Iterator[LabelledPicture]:
    for e, event in enumerate(data["event_list"][:, 0]):
        names = data["file_list"][e, 0][:, 0]
        for p, name in enumerate(names):
            label = f"{event[0]}/{name[0]}.jpg"
            try:
                boxes = np.asarray(data["face_bbx_list"][e, 0][p, 0], np.float32).reshape(-1, 4)
                unsure = np.zeros(len(boxes), np.bool_)
                if _INVALID in data:
                    unsure = np.asarray(data[_INVALID][e, 0][p, 0]).reshape(len(boxes)) != 0
                # One row of zeros stands for no face at all.
                boxes, unsure = boxes[boxes.any(axis=1)], unsure[boxes.any(axis=1)]
            except (IndexError, ValueError, TypeError) as error:
                raise UserError(
                    f"{path}: the boxes of '{label}' are not rows of x, y, w, h ({error}); download it again."
                ) from error
            if not np.isfinite(boxes).all():
                raise UserError(f"{path}: a box of '{label}' is not 'x y w h'; download it again.")
            ignored = unsure | (boxes[:, 2:] <= 0).any(axis=1)
            corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
            yield LabelledPicture(label, corners[~ignored], corners[ignored])


class WiderMatFolder:
    """WIDER FACE as unpacked from its archives, with the Matlab files."""

    format = "WIDER FACE Matlab"
    looked_for = "wider_face_split/wider_face_train.mat"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = find_split_files(folder, OFFICIAL)
        self.splits: tuple[str, ...] = tuple(self.files)

    def read(self, split: str) -> tuple[list[LabelledPicture], list[str]]:
        """See `LabelSource.read`."""
        return under_pictures(self.folder, split, list(read_wider_mat(self.files[split]))), []
