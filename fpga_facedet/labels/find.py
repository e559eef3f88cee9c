"""Which form of labels a folder holds."""

from pathlib import Path

from fpga_facedet.errors import UserError
from fpga_facedet.labels.record import LabelSource
from fpga_facedet.labels.voc import VocFolder
from fpga_facedet.labels.wider_mat import WiderMatFolder
from fpga_facedet.labels.wider_txt import PlainFolder, WiderTextFolder
from fpga_facedet.labels.yolo import YoloFolder

FORMATS = (PlainFolder, WiderTextFolder, WiderMatFolder, VocFolder, YoloFolder)


def find_labels(folder: str | Path) -> LabelSource:
    """Return the labels of a data folder in the first of FORMATS that it holds.

    UserError where there is no such folder, or none of the formats in it.

    >>> source = find_labels("faces")               # doctest: +SKIP
    >>> pictures, remarks = source.read("train")    # doctest: +SKIP
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no data folder {folder}; check the path.")
    for format_ in FORMATS:
        source = format_(folder)
        if source.splits:
            return source
    looked_for = "; ".join(format_.looked_for for format_ in FORMATS)
    raise UserError(f"{folder} holds no labels that are known; looked for {looked_for}.")
