"""The board's side of the end-to-end test, a program of its own for the board's Python 3.10 and a real pynq:

    python on_board.py OVERLAY SIMULATOR MEMORIES FRAMES RESULTS [FAULT]

runs FRAMES, letterboxed RGB uint8 (N, H, W, 3) in a .npy, through the board engine on a software board whose logic is
the simulated one, and writes RESULTS, int8 (N, grid_h, grid_w, C). FAULT happens to every frame.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pynq

from fpga_facedet.engines.board import open_board_engine
from fpga_facedet.manifest import Manifest
from fpga_facedet.simulation.shell import SimulatedShell
from fpga_facedet.software_board import Fault, SoftwareBoard, shell_compute

PATIENCE_SECONDS = 300.0


def main(overlay: str, simulator: str, memories: str, frames: str, results: str, fault: str = "") -> None:
    """Run it; prints what the test checks besides the results."""
    compute = shell_compute(SimulatedShell(Path(simulator), Path(memories)), Manifest.load(overlay))
    faults = (Fault(fault),) if fault else ()
    with SoftwareBoard(compute.manifest, compute, faults=faults) as board:
        with open_board_engine(overlay, timeout=PATIENCE_SECONDS) as engine:
            np.save(results, engine.infer(np.load(frames)))
        misuses = [str(misuse) for misuse in board.misuses]
    print(json.dumps({"pynq": pynq.__version__, "misuses": misuses}))


if __name__ == "__main__":
    main(*sys.argv[1:])
