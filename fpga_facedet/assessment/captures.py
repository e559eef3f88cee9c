"""What an engine put out for each picture, as files: a board writes them, a PC judges them.

A folder of captures holds, for each picture `event/name.jpg`, `event/name.jpg.npy`: the head's integers as NumPy saves
them, int8 (grid_height, grid_width, channels). `captures.json` says which model they are of; where it is missing they
are taken for the asked model's.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import UserError
from fpga_facedet.files import saving, write_json
from fpga_facedet.manifest import Manifest

NOTE = "captures.json"
FORMAT = "facedet-captures/1"


def save_note(folder: Path, manifest: Manifest, engine: str) -> None:
    """Say in `folder` which model and engine its captures are of."""
    model = {"name": manifest.model.name, "sha256": manifest.model.sha256}
    write_json(folder / NOTE, {"format": FORMAT, "model": model, "engine": engine})


def save_capture(folder: Path, picture: str, output: npt.NDArray[np.int8]) -> None:
    """Write the output int8 (grid_height, grid_width, channels) for `picture`; UserError where that fails."""
    with saving(capture_path(folder, picture)) as temporary:
        np.save(temporary, output)


def capture_path(folder: Path, picture: str) -> Path:
    """Return the file of a picture's capture; UserError where its name leads out of `folder`."""
    path = folder / f"{picture}.npy"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"The picture name {picture} leads out of the folder {folder}; correct the labels.")
    return path


class Captures:
    """Reads captures of `manifest`'s model from `folder`; UserError where they are another model's."""

    name = "captures"

    def __init__(self, folder: str | Path, manifest: Manifest) -> None:
        self.folder = Path(folder)
        self.manifest = manifest
        if not self.folder.is_dir():
            raise UserError(f"There is no folder of captures {folder}; give the one that --save-outputs wrote.")
        note = self.folder / NOTE
        try:
            model = json.loads(note.read_text(encoding="utf-8"))["model"]["sha256"] if note.is_file() else None
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{note} is damaged; write the captures again, or remove it.") from None
        if model not in (None, manifest.model.sha256):
            raise UserError(
                f"The captures in {folder} are not of this model {manifest.model.name} ({model[:12]} is not "
                f"{manifest.model.sha256[:12]}); give the model they were made with."
            )

    def outputs(self, pictures: Iterable[str]) -> npt.NDArray[np.int8]:
        """Return the outputs for the named pictures, int8 (N, grid_height, grid_width, channels)."""
        return np.stack([self._read(picture) for picture in pictures])

    def _read(self, picture: str) -> npt.NDArray[np.int8]:
        path, head = capture_path(self.folder, picture), self.manifest.head
        wanted = (head.grid_height, head.grid_width, head.channels)
        try:
            output = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            raise UserError(f"There is no capture {path}; run the engine on that picture too.") from None
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"The capture {path} is damaged ({error}); write it again.") from None
        if not isinstance(output, np.ndarray) or output.dtype != np.int8 or output.shape != wanted:
            kind = f"{output.dtype} {output.shape}" if isinstance(output, np.ndarray) else type(output).__name__
            raise UserError(f"The capture {path} holds {kind} where the model gives int8 {wanted}; write it again.")
        return output
