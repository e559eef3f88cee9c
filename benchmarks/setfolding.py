"""FINN's own SetFolding beside our folding search, for one frame rate, in one table from one run.

Both fold the same graph of hardware layers, with the same width converters and the same rule for FIFOs. Ours may take
no more LUTs and block RAMs than FINN's and then as few DSPs as it can. Resources are the cost model's estimates and,
with --synthesize, yosys's counts of the finished SystemVerilog (a quarter of an hour for a whole network). The rate is
what each side says of itself, what our timing model says of both, and with --simulate what the hardware does.

    python -m benchmarks.setfolding --model lpyolo-4w4a --fps 60 --synthesize
"""

import argparse
import json
import logging
import math
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fpga_facedet import zoo
from fpga_facedet.boards import Board, get_board
from fpga_facedet.compiler import cost, fifos, flow
from fpga_facedet.compiler.choices import cycles_by_layer
from fpga_facedet.compiler.cost import Budget, Resources
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.folding import SEARCH_FILE, Request
from fpga_facedet.compiler.hls.styles import stands_between
from fpga_facedet.console import Reporter
from fpga_facedet.manifest import RTL, Manifest
from fpga_facedet.progress import Progress, unwatched

FINN, OURS, NARROW = "finn SetFolding", "facedet", "finn SetFolding, default width"
COMPARED = ("dsp", "lut", "bram18")
WIDEST = 10_000
"""Bits of weights that SetFolding may use at once for a row: no limit; with its default the target may be missed."""
DEFAULT_WIDTH = 36
MARGIN = 0.9
"""Share of FINN's estimated LUTs that ours may take: the estimates' own error must not decide."""


@dataclass(frozen=True)
class Side:
    """One side of the table: cycles a frame and resources, each by where it is from; None where nobody looked."""

    name: str
    says: int
    timed: int
    estimated: Resources
    unpriced: tuple[str, ...] = ()
    counted: Resources | None = None
    simulated: int | None = None

    def to_dict(self, clock_mhz: float) -> dict[str, Any]:
        """Return it JSON-ready, with frames a second."""
        cycles = {"itself": self.says, "timing model": self.timed, "simulated": self.simulated}
        return {
            "name": self.name,
            "cycles_per_frame": cycles,
            "fps": {who: round(clock_mhz * 1e6 / each, 1) if each else None for who, each in cycles.items()},
            "estimated": self.estimated.to_dict(),
            "synthesized": self.counted.to_dict() if self.counted else None,
            "without_price": list(self.unpriced),
        }


def finn_folding(graph: Any, board: Board, fps: float, widest: int = WIDEST) -> Any:
    """Return a specialised graph as FINN's SetFolding folds it for `fps` frames a second.

    Without its second pass, which does not know our pools; these stay at one lane, for LPYOLO enough up to 72 frames a
    second at 100 MHz.
    """
    from finn.transformation.fpgadataflow.set_folding import SetFolding

    target = int(board.clock_mhz * 1e6 / fps)
    logging.getLogger("finn").setLevel(logging.ERROR)
    return graph.transform(
        SetFolding(target_cycles_per_frame=target, mvau_wwidth_max=widest, two_pass_relaxation=False)
    )


def replace_folding(folder: Path, graph: Any) -> None:
    """Put a folded graph in the place of that which the build in `folder` saved, to go on from step converters.

    What the search found goes with the folding that it was of.
    """
    (folder / "steps" / SEARCH_FILE).unlink()
    with finn_session():
        graph.save(str(folder / "steps" / f"{flow.STEPS.index('fold') + 1:02d}_fold.onnx"))


def finn_says(graph: Any) -> int:
    """Return the cycles a frame that FINN's own estimates promise: those of its slowest layer alone."""
    from qonnx.custom_op.registry import getCustomOp

    return max(int(getCustomOp(node).get_exp_cycles()) for node in graph.graph.node)


def estimate(graph: Any, board: Board) -> tuple[Resources, tuple[str, ...]]:
    """Return what a folded graph takes with its converters and FIFOs, and the layers without a price in the model."""
    from qonnx.custom_op.registry import getCustomOp

    complete = fifos.insert_fifos(fifos.insert_converters(graph, board.part), board)
    used, unpriced = Resources(), []
    for node in complete.graph.node:
        layer = getCustomOp(node)
        if cost.converter(layer.get_instream_width(), layer.get_outstream_width()) is None and stands_between(node):
            unpriced.append(node.name)
        else:
            used += cost.resources(node, complete, board)
    return used, tuple(unpriced)


def build(
    model: Path, board: Board, fps: float, folder: Path, progress: Progress = unwatched, margin: float = MARGIN
) -> list[Side]:
    """Fold with both, build both accelerators in `folder` ("finn", "ours") and return the sides, estimated.

    Ours may take `margin` of FINN's LUTs, all of its block RAMs. The third is FINN's with its default limit, which is
    not built.
    """
    flow.build(model, board, folder / "ours", to_step="specialise", progress=progress)
    with finn_session():
        graph = flow.saved_graph(folder / "ours", "specialise")
        wide, narrow = (finn_folding(graph, board, fps, widest) for widest in (WIDEST, DEFAULT_WIDTH))
        sides = [_finn_side(name, graph, board) for name, graph in ((FINN, wide), (NARROW, narrow))]
    limit, least = sides[0].estimated, Budget()
    budget = Budget(
        lut=min(least.lut, margin * limit.lut / board.lut), bram18=min(least.bram18, limit.bram18 / board.bram18)
    )
    request = Request(fps, "dsp", budget)
    ours = flow.build(model, board, folder / "ours", request, from_step="fold", progress=progress)
    shutil.copytree(folder / "ours", folder / "finn")
    replace_folding(folder / "finn", wide)
    finn = flow.build(model, board, folder / "finn", request, from_step="converters", progress=progress)
    used = [Resources(**{name: _figure(each, name) for name in ("lut", "bram18", "dsp")}) for each in (finn, ours)]
    says = int(_figure(ours, "cycles_per_frame"))
    return [replace(sides[0], estimated=used[0]), Side(OURS, says, says, used[1]), sides[1]]


def _finn_side(name: str, graph: Any, board: Board) -> Side:
    timed = max(cycles_by_layer((node, RTL) for node in graph.graph.node).values())
    return Side(name, finn_says(graph), timed, *estimate(graph, board))


def _figure(manifest: Manifest, name: str) -> float:
    figure = manifest.figure(name)
    assert figure is not None, name
    return figure.value


def count(side: Side, folder: Path, progress: Progress) -> Side:
    """Add what yosys counts of the accelerator in `folder`."""
    from fpga_facedet.synthesis.counting import synthesize

    return replace(side, counted=synthesize(folder, progress).used)


def simulate(side: Side, folder: Path, frames: int, progress: Progress) -> Side:
    """Add the cycles a frame of the simulated accelerator in `folder`, whose bytes must be the golden engine's."""
    from fpga_facedet.verification.verify import VerifyResult, verify

    result = verify(folder, frames=frames, stalls=False, progress=progress)
    if not isinstance(result, VerifyResult) or not result.equal:
        raise SystemExit(f"The accelerator in {folder} is not its golden model: {result.describe()}")
    return replace(side, simulated=result.cycles_per_frame)


def verdicts(finn: Side, ours: Side) -> list[str]:
    """Return a sentence for each evidence: how the DSPs compare, and whether LUTs and block RAMs are no worse."""
    found = []
    for evidence, theirs, mine in (
        ("estimated", finn.estimated, ours.estimated), ("synthesized", finn.counted, ours.counted)
    ):  # fmt: skip
        if theirs is None or mine is None:
            found.append(f"{evidence}: not measured")
            continue
        worse = [name for name in ("lut", "bram18") if getattr(mine, name) > getattr(theirs, name)]
        share = mine.dsp / theirs.dsp if theirs.dsp else math.inf
        found.append(
            f"{evidence}: {mine.dsp:g} DSPs for FINN's {theirs.dsp:g} ({share:.0%}), "
            + (f"but more {' and '.join(worse)}" if worse else "LUTs and block RAMs no more")
        )
    return found


def show(sides: list[Side], model: str, board: Board, fps: float) -> None:
    """Print the table and what follows from it."""
    console = Console(width=160)
    console.print(f"{model} on {board.title}, folded for {fps:g} frames a second at {board.clock_mhz:g} MHz")
    table = Table("", *(side.name for side in sides))
    rates = (("says itself (estimated)", "says"), ("our timing model (estimated)", "timed"), ("simulated", "simulated"))
    for title, name in rates:
        cycles = [getattr(side, name) for side in sides]
        table.add_row(f"FPS, {title}", *(f"{board.clock_mhz * 1e6 / each:,.1f}" if each else "-" for each in cycles))
    for evidence in ("estimated", "counted"):
        for name in COMPARED:
            used = [getattr(side, evidence) for side in sides]
            title = f"{name}, {'synthesized' if evidence == 'counted' else evidence}"
            table.add_row(title, *("-" if each is None else f"{getattr(each, name):,.0f}" for each in used))
    console.print(table)
    for side in sides:
        if side.unpriced:
            console.print(f"{side.name}: without the converters that have no whole ratio: {', '.join(side.unpriced)}")
    for sentence in verdicts(*sides[:2]):
        console.print(sentence, highlight=False)


def main() -> None:
    """Build both, look at them as asked, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=zoo.DEFAULT_MODEL)
    parser.add_argument("--board", default="pynq-z2")
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--synthesize", action="store_true", help="count both with yosys")
    parser.add_argument("--simulate", action="store_true", help="simulate both")
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="keep both accelerators here")
    given = parser.parse_args()
    board = get_board(given.board)
    with tempfile.TemporaryDirectory(prefix="facedet-setfolding-") as scratch, Reporter() as progress:
        folder = given.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        sides = build(zoo.model_path(given.model), board, given.fps, folder, progress)
        for index, name in enumerate(("finn", "ours")):
            if given.simulate:
                sides[index] = simulate(sides[index], folder / name, given.frames, progress)
            if given.synthesize:
                sides[index] = count(sides[index], folder / name, progress)
    if given.json:
        about = {"model": given.model, "board": board.name, "fps": given.fps, "clock_mhz": board.clock_mhz}
        print(json.dumps(about | {"sides": [side.to_dict(board.clock_mhz) for side in sides]}, indent=2))
    else:
        show(sides, given.model, board, given.fps)


if __name__ == "__main__":
    main()
