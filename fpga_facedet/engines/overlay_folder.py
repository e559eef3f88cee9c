"""The folder of an overlay: bitstream, hardware description and manifest, found and checked."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fpga_facedet.boards import BOARDS
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
    manifest = Manifest.load(folder)
    board = manifest.board or "pynq-z2"
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
        recorded = manifest.files.get(f"{path.suffix[1:]}_sha256")
        found = sha256_of(path) if recorded else None
        if found != recorded:
            raise UserError(
                f"{path} has the SHA-256 {found}, its manifest says {recorded}: one of the two is from another build; "
                "copy the whole folder again."
            )
    return OverlayFolder(folder, bit, hwh, manifest)


def find_overlay_folder(model: str | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of `model` (a name; DEFAULT_MODEL without one) for this board.

    Looked for as `<board>/<model>` in FACEDET_BITSTREAMS, `./bitstreams`, `~/bitstreams`, the checkout's and the
    package's own. Raises UserError that lists where it was looked for.
    """
    board, model = this_board(environment), model or DEFAULT_MODEL
    roots = list(_roots(environment))
    for root in roots:
        if (root / board / model / FILE_NAME).is_file():
            return root / board / model
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
    if name.lower() not in BOARDS:
        raise UserError(f"The board calls itself '{name}'; overlays are made for {', '.join(sorted(BOARDS))}.")
    return name.lower()


def _roots(environment: Mapping[str, str]) -> Iterator[Path]:
    named = environment.get("FACEDET_BITSTREAMS")
    if named:
        yield Path(named)
    yield from (
        Path("bitstreams"),
        Path.home() / "bitstreams",
        _PACKAGE.parent / "bitstreams",
        _PACKAGE / "_bitstreams",
    )
