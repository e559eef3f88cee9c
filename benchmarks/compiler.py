"""The compiler and what it makes, in one run: seconds to build and to search, simulated speed, and how near the floors.

The floors of the cycles a frame: one pixel a cycle, since the input stream brings no more; and all multiplications on
the DSPs that the budget allows, each DSP busy in every cycle with as many lanes as the bits of a layer give it. The
second is no floor for a design that multiplies in LUTs or adder graphs as well: that is what those are for.

    python -m benchmarks.compiler --model lpyolo-4w4a --fps max --frames 3
"""

import argparse
import json
import math
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fpga_facedet import zoo
from fpga_facedet.boards import Board, get_board
from fpga_facedet.compiler import cost, flow
from fpga_facedet.compiler.cost_shapes import lanes
from fpga_facedet.compiler.folding import SEARCH_FILE, Request
from fpga_facedet.console import Reporter
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.engines.rtl import RtlEngine
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.verification.pictures import make_frames

HERE = "measured on this machine"


@dataclass(frozen=True)
class Floors:
    """The fewest cycles a frame: for the `pixels` of the input, and for `dsp_cycles` of the budgeted DSPs alone."""

    pixels: int
    dsps: int
    dsp_cycles: int


@dataclass(frozen=True)
class Measured:
    """What one run found; seconds are of this machine, cycles those of the simulated hardware."""

    build_seconds: float
    search_seconds: float
    compile_seconds: float
    simulate_seconds: float
    simulated_cycles: int
    cycles_per_frame: int
    predicted_cycles: int
    wrong_bytes: int
    total_bytes: int
    clock_mhz: float
    floors: Floors

    @property
    def fps(self) -> float:
        """Simulated frames a second at the board's clock."""
        return self.clock_mhz * 1e6 / self.cycles_per_frame

    @property
    def cycles_a_second(self) -> float:
        """Clock cycles of the hardware that the simulator does in a second."""
        return self.simulated_cycles / self.simulate_seconds

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        return asdict(self) | {"fps": round(self.fps, 2), "cycles_a_second": round(self.cycles_a_second)}


def floors(folder: Path, board: Board, request: Request) -> Floors:
    """Return the floors of the network that was built in `folder`."""
    from qonnx.custom_op.registry import getCustomOp

    from fpga_facedet.compiler.layers import matrix_units

    graph = flow.saved_graph(folder, "specialise")
    _, height, width, _ = graph.get_tensor_shape(graph.graph.input[0].name)
    busy = 0.0
    for node in matrix_units(graph):
        layer = getCustomOp(node)
        vectors = math.prod(layer.get_nodeattr("numInputVectors"))
        products = vectors * layer.get_nodeattr("MW") * layer.get_nodeattr("MH")
        weights, values = (layer.get_input_datatype(index).bitwidth() for index in (1, 0))
        busy += products / lanes(weights, values, cost.dsp_slice(board), cost.has_narrow_weights(node, graph))
    dsps = math.floor(board.dsp * request.budget.dsp)
    return Floors(height * width, dsps, math.ceil(busy / dsps))


def measure(
    model: Path, board: Board, request: Request, frames: int, folder: Path, progress: Progress = unwatched
) -> Measured:
    """Build `model` in `folder`, simulate `frames` different frames, at least 2, back to back, and time all of it."""
    begun = time.perf_counter()
    manifest = flow.build(model, board, folder, request, progress=progress)
    built = time.perf_counter()
    engine = RtlEngine(folder, progress)
    compiled = time.perf_counter()
    pictures = make_frames(manifest.input, max(2, frames))
    outputs, run = engine.simulate(pictures)
    simulated = time.perf_counter()
    wanted = GoldenEngine(folder).infer(pictures)
    predicted = manifest.figure("cycles_per_frame")
    assert predicted is not None
    return Measured(
        build_seconds=built - begun,
        search_seconds=json.loads((folder / SEARCH_FILE).read_text(encoding="utf-8"))["seconds"],
        compile_seconds=compiled - built,
        simulate_seconds=simulated - compiled,
        simulated_cycles=int(run.last_output[-1]),
        cycles_per_frame=int(run.last_output[-1] - run.last_output[-2]),
        predicted_cycles=int(predicted.value),
        wrong_bytes=int(np.count_nonzero(outputs != wanted)),
        total_bytes=int(wanted.size),
        clock_mhz=board.clock_mhz,
        floors=floors(folder, board, request),
    )


def show(found: Measured, model: str, board: Board) -> None:
    """Print the figures, each with its evidence."""
    fps, bounds = found.fps, found.floors
    by_pixels, by_dsps = (found.clock_mhz * 1e6 / cycles for cycles in (bounds.pixels, bounds.dsp_cycles))
    rows = (
        ("QONNX to RTL, every step proven", f"{found.build_seconds:.1f} s", HERE),
        ("of that the folding search", f"{found.search_seconds:.1f} s", HERE),
        ("Verilator compiles the simulator", f"{found.compile_seconds:.1f} s", HERE),
        ("simulated cycles a second", f"{found.cycles_a_second:,.0f}", HERE),
        ("bytes that differ from golden", f"{found.wrong_bytes} of {found.total_bytes}", "simulated"),
        ("cycles a frame", f"{found.cycles_per_frame:,}", "simulated"),
        ("cycles a frame, predicted", f"{found.predicted_cycles:,}", "estimated"),
        (f"frames a second at {found.clock_mhz:g} MHz", f"{fps:.1f}", "simulated"),
        ("floor: one pixel a cycle", f"{bounds.pixels:,} cycles, {by_pixels:.1f} FPS; reached {fps / by_pixels:.1%}",
         "computed"),
        (f"floor: {bounds.dsps} DSPs alone", f"{bounds.dsp_cycles:,} cycles, {by_dsps:.1f} FPS; reached "
         f"{fps / by_dsps:.1%}", "computed"),
    )  # fmt: skip
    table = Table("figure", "value", "evidence")
    for row in rows:
        table.add_row(*row)
    console = Console(width=120)
    console.print(f"{model} on {board.title}; Python {platform.python_version()} on {platform.machine()}")
    console.print(table)


def main() -> None:
    """Measure in a temporary folder and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=zoo.DEFAULT_MODEL)
    parser.add_argument("--board", default="pynq-z2")
    parser.add_argument("--fps", default="max", help="frames a second to fold for, or max")
    parser.add_argument("--minimise", default="share")
    parser.add_argument("--budget", help="as in lut=85,bram=90,dsp=95")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    board, request = get_board(given.board), Request.parse(given.fps, given.minimise, given.budget)
    with tempfile.TemporaryDirectory(prefix="facedet-compiler-benchmark-") as folder, Reporter() as progress:
        found = measure(
            zoo.model_path(given.model), board, request, given.frames, Path(folder) / "accelerator", progress
        )
    if given.json:
        print(json.dumps({"model": given.model, "board": board.name} | found.to_dict(), indent=2))
    else:
        show(found, given.model, board)


if __name__ == "__main__":
    main()
