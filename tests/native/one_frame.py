"""One frame from pixels to a line of the stream, run by the tests on this machine and on the emulated board.

python one_frame.py FOLDER > line    FOLDER holds accelerator.json, frame.npy and output.npy; gets input.npy
"""

import importlib
import pkgutil
import sys
from pathlib import Path

import numpy as np


def import_the_board_rooms() -> None:
    """Import each module that the board's process runs."""
    for name in ("fpga_facedet.host", "fpga_facedet.stream"):
        for found in pkgutil.iter_modules(importlib.import_module(name).__path__):
            importlib.import_module(f"{name}.{found.name}")
    importlib.import_module("fpga_facedet.engines.board")


def main(folder: Path) -> None:
    """Do what the pipeline does between camera and socket, the network's own integers given."""
    import_the_board_rooms()
    from fpga_facedet.host.decode import faces_in_frame
    from fpga_facedet.letterbox import Letterbox
    from fpga_facedet.manifest import Manifest
    from fpga_facedet.stream.protocol import frame_line

    manifest = Manifest.load(folder)
    frame, output = np.load(folder / "frame.npy"), np.load(folder / "output.npy")
    height, width = frame.shape[:2]
    box = Letterbox.fit(width, height, manifest.input.width, manifest.input.height)
    pixels = np.full((manifest.input.height, manifest.input.width, 4), 0xA5, np.uint8)
    box.apply_rgbx(frame, pixels, manifest.input.fill)
    np.save(folder / "input.npy", pixels)
    faces = faces_in_frame(output, manifest, box)
    sys.stdout.buffer.write(frame_line(1, 1234.5, "camera", width, height, faces))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
