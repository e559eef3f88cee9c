"""The folder of an overlay: bitstream, hardware description and manifest, found and checked."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fpga_facedet.boards import WITH_SHELL
from fpga_facedet.compiler.layout import is_accelerator
from fpga_facedet.errors import UserError
from fpga_facedet.files import sha256_of
from fpga_facedet.manifest import FILE_NAME, Manifest
from fpga_facedet.zoo import DEFAULT_MODEL

BOARD_FILE = Path("/proc/device-tree/chosen/pynq_board")
"""Where PYNQ images name their board, whatever the environment."""
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class OverlayFolder:
    """An overlay's files, as `read_overlay_folder` found them right."""

    folder: Path
    bit: Path
    hwh: Path
    manifest: Manifest


def read_overlay_folder(folder: Path) -> OverlayFolder:
    """Return the files of the overlay in `folder`; UserError that names what is missing or not the manifest's."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; give an overlay's, such as bitstreams/pynq-z2/lpyolo-4w4a.")
    manifest = Manifest.load(folder)
    board = manifest.board or "pynq-z2"
    if is_accelerator(folder):
        raise UserError(
            f"{folder} is an accelerator; the board loads the overlay made of it: facedet overlay build {folder} "
            f"--board {board}."
        )
    build = (
        f"on a PC with Vivado run 'facedet overlay build ACCELERATOR --board {board}' or 'bitstreams/build.sh {board}"
    )
    build += f" {manifest.model.name}', then copy the folder to the board"
    descriptions = sorted(folder.glob("*.hwh"))
    if len(descriptions) > 1:
        names = ", ".join(path.name for path in descriptions)
        raise UserError(f"{folder} holds several overlays ({names}); give each a folder of its own.")
    stem = descriptions[0].stem if descriptions else manifest.model.name
    bit, hwh = folder / f"{stem}.bit", folder / f"{stem}.hwh"
    for path in (bit, hwh):
        if not path.is_file():
            raise UserError(f"There is no {path}; {build}.")
        key = f"{path.suffix[1:]}_sha256"
        recorded = manifest.files.get(key)
        if recorded is None:
            raise UserError(
                f"{folder / FILE_NAME} has no {key}, so it is the manifest of an accelerator and not of this overlay; "
                f"{build}."
            )
        found = sha256_of(path)
        if found != recorded:
            raise UserError(
                f"{path} has the SHA-256 {found}, its manifest says {recorded}: one of the two is from another build; "
                "copy the whole folder again."
            )
    return OverlayFolder(folder, bit, hwh, manifest)


def find_overlay_folder(model: str | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of `model` (a name; DEFAULT_MODEL without one) for this board.

    Looked for as `<board>/<model>` in FACEDET_BITSTREAMS, `./bitstreams`, `~/bitstreams`, that of the board's user
    xilinx, the checkout's and the package's own: the first with a bitstream, else the first at all. Raises UserError
    that lists where it was looked for.
    """
    board, model = this_board(environment), model or DEFAULT_MODEL
    roots = list(_roots(environment))
    found = [root / board / model for root in roots if (root / board / model / FILE_NAME).is_file()]
    # A checkout and the package have folders that wait for their bitstream; they must not hide a whole one.
    for folder in [*(folder for folder in found if any(folder.glob("*.bit"))), *found]:
        return folder
    known = sorted({path.parent.name for root in roots for path in (root / board).glob(f"*/{FILE_NAME}")})
    there = f" there is {', '.join(known)}" if known else " there is none for this board"
    places = ", ".join(str(root) for root in roots)
    raise UserError(
        f"There is no overlay '{board}/{model}' in {places};{there}: give a folder, or set FACEDET_BITSTREAMS to the "
        "one that holds it."
    )


def this_board(environment: Mapping[str, str] = os.environ) -> str:
    """Return our name of the board this runs on, from PYNQ's BOARD or the device tree; pynq-z2 where neither knows."""
    name = environment.get("BOARD", "")
    if not name and BOARD_FILE.is_file():
        name = BOARD_FILE.read_text(errors="replace").strip("\0 \n")
    if not name:
        return "pynq-z2"
    if name.lower() not in WITH_SHELL:
        raise UserError(f"The board calls itself '{name}'; overlays are made for {', '.join(WITH_SHELL)}.")
    return name.lower()


def _roots(environment: Mapping[str, str]) -> Iterator[Path]:
    named = environment.get("FACEDET_BITSTREAMS")
    if named:
        if not Path(named).is_dir():
            raise UserError(f"FACEDET_BITSTREAMS is {named}, which is no folder; correct it, or unset it.")
        yield Path(named)
    yield from (
        Path("bitstreams"),
        Path("~/bitstreams").expanduser(),
        Path("/home/xilinx/bitstreams"),
        _PACKAGE.parent / "bitstreams",
        _PACKAGE / "_bitstreams",
    )
