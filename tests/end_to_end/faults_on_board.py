"""The board's side of the test of faults, a program of its own for the board's Python 3.10 and a real pynq:

    python faults_on_board.py OVERLAY SIMULATOR MEMORIES FRAMES WANTED FRAME FAULT...

runs FRAMES, RGB uint8 (N, H, W, 3) in a .npy, through the board engine on a software board whose logic is the simulated
one, once for each FAULT (`none` for none) with interrupts and once without. The fault happens to the frame of number
FRAME. Prints what became of each run as JSON; WANTED is a .npy of the right results, int8 (N, grid_h, grid_w, C).
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pynq

from fpga_facedet.engines.board import BoardEngine, open_board_engine
from fpga_facedet.engines.protocol import EngineStopped
from fpga_facedet.errors import FacedetError
from fpga_facedet.manifest import Manifest
from fpga_facedet.simulation.shell import SimulatedShell
from fpga_facedet.software_board import SILENT, Fault, SoftwareBoard, shell_compute

TIMEOUT, PATIENCE = 2.5, 60.0
"""Seconds after which a channel counts as stuck, with silent faults and without."""
SLOW_SECONDS = 6.0
"""How late a result comes that the engine is not to wait for."""

Frames = npt.NDArray[np.uint8]


def feed(engine: BoardEngine, frames: Frames) -> None:
    """Submit the frames, until the engine takes no more."""
    try:
        for frame in frames:
            slot = engine.acquire()
            slot.pixels[..., :3] = frame
            engine.submit(slot)
    except (FacedetError, EngineStopped):
        # The results say so too.
        return


def outcomes(engine: BoardEngine, frames: Frames, wanted: npt.NDArray[np.int8]) -> list[str]:
    """Return what became of each frame: right, wrong, or the name of the error."""
    thread = threading.Thread(target=feed, args=(engine, frames))
    thread.start()
    found = []
    for result in wanted:
        try:
            found.append("right" if np.array_equal(engine.collect(), result) else "wrong")
        except (FacedetError, EngineStopped) as error:
            found.append(type(error).__name__)
    engine.close()
    thread.join()
    return found


def main(overlay: str, simulator: str, memories: str, frames: str, wanted: str, frame: str, *faults: str) -> None:
    """Run it."""
    pixels, results = np.load(frames), np.load(wanted)
    told: list[dict[str, Any]] = []
    for name in faults:
        for interrupts in (True, False):
            value = SLOW_SECONDS if name == "slow" else None
            chosen = () if name == "none" else (Fault(name, int(frame), value),)
            compute = shell_compute(SimulatedShell(Path(simulator), Path(memories)), Manifest.load(overlay))
            with SoftwareBoard(compute.manifest, compute, faults=chosen, interrupts=interrupts) as board:
                engine = open_board_engine(overlay, timeout=TIMEOUT if name in SILENT else PATIENCE)
                found = outcomes(engine, pixels, results)
                info = engine.info()
                told.append(
                    {
                        "fault": name,
                        "interrupts": interrupts,
                        "outcomes": found,
                        "recoveries": info["recoveries"],
                        "last_fault": info["last_fault"],
                        "powered": board.powered,
                        "misuses": [str(misuse) for misuse in board.misuses],
                        "live": board.memory.live,
                    }
                )
    print(json.dumps({"pynq": pynq.__version__, "runs": told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
