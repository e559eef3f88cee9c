"""FIFO sizing by simulation: how many beats each FIFO really holds, and the proof that so many places are enough.

The accelerator is built with FIFOs that never fill, and simulated twice. The first run, with a source that never waits,
shows its initiation interval. In the second run the source brings a frame in just that many cycles: what a FIFO then
holds is what its two sides differ by, not what a source that runs ahead of the slowest layer piles up in front of it.
Dataflow of this kind is monotonic: hardware with room for every beat of a schedule is at least as fast as the schedule.
Real layers have registers and control besides, so the result is simulated again, at full speed and with random stalls.
"""

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.beats import pack, unpack
from fpga_facedet.boards import Board, get_board
from fpga_facedet.compiler import fifos, flow, layout
from fpga_facedet.compiler.report_findings import FIFOS_FILE, SOURCES_KEY
from fpga_facedet.engines.protocol import Engine
from fpga_facedet.engines.rtl import RtlEngine
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.files import write_json
from fpga_facedet.manifest import FILE_NAME, RTL, FifoInfo, Manifest
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.simulation.verilator import DeadlockError, SimulatedStream, SimulationError, StreamRun, compile_model
from fpga_facedet.verification.pictures import make_frames
from fpga_facedet.verification.verify import Steps, VerifyResult, record, result_of, simulate

FRAMES = 3
MOST_LOSS = 0.001
"""Share of the cycles a frame that sized FIFOs may cost."""

RECORDER = Path(layout.__file__).resolve().parent.parent / "simulation" / "fifo_recorder.sv"
"""Counts the beats in each FIFO of a simulation."""

NO_MEMORY = "none"
_SEED = 0
_LATENCY = {style: registers + 1 for style, registers in fifos.REGISTERS.items()}


@dataclass(frozen=True)
class SizedFifo:
    """A place for a FIFO: in front of which layer, how wide in bits, and how deep in beats.

    `estimated` is the depth by rule, `most` what a FIFO that never fills held, `depth` what was built and `memory` what
    it lies in. Where beats pass without waiting there is no FIFO: depth 0, memory "none", no name.
    """

    name: str | None
    before: str
    width: int
    estimated: int
    most: int
    depth: int
    memory: str


@dataclass(frozen=True)
class FifoSizes:
    """What a sizing found, simulated: cycles a frame with FIFOs that never fill, as sized, and as sized under stalls.

    `restored` says of each earlier proof why it failed; the FIFOs were deepened then. `seconds` is how long all took.
    """

    frames: int
    fifos: tuple[SizedFifo, ...]
    full: int
    sized: int
    stalled: int
    restored: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return what `fifos.json` holds."""
        return {
            "evidence": "simulated",
            "frames": self.frames,
            "fifos": [vars(fifo) for fifo in self.fifos],
            "cycles_per_frame": {"full": self.full, "sized": self.sized, "stalled": self.stalled},
            "restored": list(self.restored),
            "seconds": round(self.seconds, 1),
        }

    def describe(self) -> str:
        """Say the outcome in a few lines for a person."""
        kept = [fifo for fifo in self.fifos if fifo.depth]
        lines = [
            f"{len(kept)} FIFOs of {sum(fifo.depth for fifo in kept):,} beats; by rule they were {len(self.fifos)} of "
            f"{sum(fifo.estimated for fifo in self.fifos):,} (simulated, {self.frames} frames).",
            f"Cycles a frame: {self.full:,} with FIFOs that never fill, {self.sized:,} with these, "
            f"{self.stalled:,} with random stalls of source and sink; all bytes are the golden engine's.",
        ]
        return "\n".join([*lines, *(f"Deepened, because {why}" for why in self.restored)])


@dataclass(frozen=True)
class _Task:
    """What is simulated: frames, and what must come out."""

    board: Board
    inputs: npt.NDArray[np.uint8]
    wanted: npt.NDArray[np.int8]


def size_fifos(folder: str | Path, progress: Progress = unwatched, golden: Engine | None = None) -> FifoSizes:
    """Give the accelerator in `folder` FIFOs as deep as they have to be, and prove it; write `fifos.json`.

    Args:
        progress: told what goes on and which share of it is done.
        golden: what the outputs are compared with; the accelerator's own golden model unless given.

    It takes two to four minutes for 416x416 pixels. Until all is proven the accelerator stays as it is; a sizing that
    is interrupted leaves nothing. Raises UserError where the folder is no accelerator of RTL layers with the steps of
    its build, and SimulationError where the hardware fails an assertion, stops for ever (naming where its beats wait),
    or is wrong however deep its FIFOs are.
    """
    began, folder, bar = time.monotonic(), Path(folder), Steps(progress)
    manifest = Manifest.load(folder)
    if (manifest.layer_style or RTL) != RTL:
        raise UserError(f"The accelerator in {folder} has HLS layers, whose cycles only Vitis knows; size one of RTL.")
    layout.check_rtl(folder, manifest)
    board = get_board(str(manifest.board))
    graph = flow.saved_graph(folder, "converters")
    estimated, deep = fifos.estimated_depths(graph, board), fifos.deep_depths(graph, board)
    task = _task(folder, manifest, board, golden)
    with tempfile.TemporaryDirectory(prefix=".fifos.", dir=folder) as place:
        work = Path(place) / "accelerator"
        shutil.copytree(folder / "steps", work / "steps")
        shutil.copyfile(folder / FILE_NAME, work / FILE_NAME)
        seen = _watch(flow.resize_fifos(work, deep, bar.part(0.0, 0.1)), work, task, bar.part(0.1, 0.45))
        proof = _prove_deepening(work, task, seen, deep, bar.part(0.45, 0.9))
        sized = flow.resize_fifos(folder, proof.depths, bar.part(0.9, 1.0))
        if layout.digests(folder) != layout.digests(work):
            raise InternalError(f"The accelerator in {folder} is not the one that was proven; size its FIFOs again.")
        _keep_simulators(work, folder)
    found = FifoSizes(
        frames=len(task.inputs),
        fifos=tuple(_sized(each, estimated, sized, board) for each in seen.fifos),
        full=seen.cycles,
        sized=proof.result.cycles_per_frame,
        stalled=proof.stalled,
        restored=proof.failures,
        seconds=time.monotonic() - began,
    )
    write_json(folder / FIFOS_FILE, {**found.to_dict(), SOURCES_KEY: sized.files[SOURCES_KEY]})
    # The report shows the sizes beside the figures.
    record(folder, proof.result)
    return found


def _task(folder: Path, manifest: Manifest, board: Board, golden: Engine | None) -> _Task:
    if golden is None:
        from fpga_facedet.engines.golden import GoldenEngine

        golden = GoldenEngine(folder)
    inputs = make_frames(manifest.input, FRAMES, _SEED)
    return _Task(board, inputs, golden.infer(inputs))


# --- What FIFOs that never fill hold ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Occupancy:
    """What a recorder said of a FIFO: the most beats that it held, those that it holds at the end, its places."""

    fifo: FifoInfo
    most: int
    held: int
    places: int


@dataclass(frozen=True)
class _Seen:
    """Cycles a frame at full speed, and what the FIFOs, along the pipeline, held of frames that come at that pace."""

    cycles: int
    fifos: list[_Occupancy]


def _watch(manifest: Manifest, work: Path, task: _Task, progress: Progress) -> _Seen:
    """Simulate the accelerator in `work` with a recorder beside each FIFO."""
    model = compile_model(
        [RECORDER, *layout.sources(work)], layout.TOP, work / "recorded", data_dir=work / layout.RTL, progress=progress
    )
    cycles = _cycles(_run(model, manifest, task, 0, progress))
    paced = _run(model, manifest, task, cycles, progress)
    return _Seen(cycles, _occupancies(manifest, paced.records))


def _run(model: SimulatedStream, manifest: Manifest, task: _Task, pace: int, progress: Progress) -> StreamRun:
    """Run the frames at a pace in cycles a frame, 0 for full speed; SimulationError where the outputs are wrong."""
    stream = manifest.stream
    assert stream
    values = task.inputs.reshape(len(task.inputs), stream.beats_in, stream.lanes_in)
    try:
        run = model.run(pack(values, stream.bits_in), stream.beats_out, pace=pace, progress=progress)
    except DeadlockError as error:
        raise DeadlockError(f"{error} {_where(_occupancies(manifest, error.records))}") from error
    found = unpack(run.words, stream.lanes_out, stream.bits_out, signed=True).reshape(task.wanted.shape)
    if wrong := np.count_nonzero(found != task.wanted):
        raise SimulationError(
            f"{wrong} of {found.size} bytes differ from the golden engine's with FIFOs that never fill; build the "
            "accelerator again (facedet build)."
        )
    return run


def _cycles(run: StreamRun) -> int:
    return int(run.last_output[-1] - run.last_output[-2])


def _occupancies(manifest: Manifest, records: tuple[str, ...]) -> list[_Occupancy]:
    """Return what the recorders said ("TOP.INSTANCE... most M held H places P"), in the order of the pipeline."""
    told: dict[str, list[int]] = {}
    for line in records:
        path, *words = line.split()
        told[path.split(".")[-3]] = [int(word) for word in words[1::2]]
    missing = [fifo.name for fifo in manifest.fifos if fifo.name not in told]
    if missing:
        raise InternalError(f"The simulation said nothing of the FIFO {missing[0]}.")
    return [_Occupancy(fifo, *told[fifo.name]) for fifo in manifest.fifos]


def _where(held: list[_Occupancy]) -> str:
    """Say in a sentence where beats wait that nobody takes: in front of the last FIFO that is not empty."""
    last = next((index for index in reversed(range(len(held))) if held[index].held), None)
    if last is None:
        return f"All FIFOs are empty: the layers in front of {held[0].fifo.before} put nothing out." if held else ""
    waiting, behind = held[last], held[last + 1 :]
    end = f", and the FIFO in front of {behind[0].fifo.before} is empty" if behind else ""
    return f"{waiting.held} beats wait in the FIFO in front of {waiting.fifo.before} ({waiting.places} places){end}."


# --- As deep as they have to be --------------------------------------------------------------------------------------


def _places(each: _Occupancy, board: Board) -> int:
    """Return the places that a FIFO needs never to be full, and those that cost no more; 0 for no FIFO.

    Beats that pass without waiting are as many as the cycles that a beat takes to pass.
    """
    width = each.fifo.width
    if each.most <= _LATENCY[fifos.cheapest_memory(each.places, width, board)]:
        return 0
    needed = each.most + 1
    memory = fifos.cheapest_memory(needed + fifos.REGISTERS[fifos.BLOCK], width, board)
    return fifos.roomiest(max(needed + fifos.REGISTERS[memory], fifos.SHALLOWEST + 1), width, board)


@dataclass(frozen=True)
class _Proof:
    """Depths that were proven, the result of the proof, its cycles under stalls, and why earlier ones failed."""

    depths: Mapping[str, int]
    result: VerifyResult
    stalled: int
    failures: tuple[str, ...]


def _prove_deepening(work: Path, task: _Task, seen: _Seen, deep: Mapping[str, int], progress: Progress) -> _Proof:
    """Prove the depths that were seen to be needed; where that fails twice as many, then FIFOs that never fill."""
    depths = {each.fifo.before: _places(each, task.board) for each in seen.fifos}
    failures: list[str] = []
    for tried in (depths, {name: min(deep[name], max(2 * depths[name], 32)) for name in depths}, deep):
        result, stalled, failure = _prove(work, tried, task, seen.cycles, progress)
        if result and not failure:
            return _Proof(tried, result, stalled, tuple(failures))
        failures.append(failure)
    raise SimulationError(f"The accelerator fails with FIFOs that never fill, too: {failures[-1]}")


def _prove(
    work: Path, depths: Mapping[str, int], task: _Task, cycles: int, progress: Progress
) -> tuple[VerifyResult | None, int, str]:
    """Build and simulate with these depths; return the result, the cycles a frame under stalls, and what is wrong."""
    manifest = flow.resize_fifos(work, depths)
    # Only the simulator of what is proven is worth keeping.
    shutil.rmtree(work / "simulator", ignore_errors=True)
    engine = _Engine(work, progress)
    try:
        outputs, run = simulate(engine, task.inputs, len(task.inputs), _SEED, progress)
    except DeadlockError as error:
        return None, 0, str(error)
    assert manifest.clock_mhz
    result = result_of(manifest.clock_mhz, task.wanted, outputs, run)
    stalled = engine.runs[True].last_output
    each = int((stalled[-1] - stalled[0]) // (len(stalled) - 1))
    if result.first_difference:
        return result, each, result.first_difference.describe()
    if result.cycles_per_frame > cycles * (1 + MOST_LOSS):
        return result, each, f"a frame took {result.cycles_per_frame:,} cycles, not {cycles:,}."
    return result, each, ""


class _Engine(RtlEngine):
    """Keeps the runs that it made, by whether they were stalled."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(path, progress)
        self.runs: dict[bool, StreamRun] = {}

    def simulate(self, frames: npt.NDArray[np.uint8], **options: Any) -> tuple[npt.NDArray[np.int8], StreamRun]:
        """Do what the engine does."""
        values, run = super().simulate(frames, **options)
        self.runs[bool(options.get("pause"))] = run
        return values, run


def _keep_simulators(work: Path, folder: Path) -> None:
    """Leave the simulator of the proven accelerator where a verification looks for it."""
    for simulator in (work / "simulator").iterdir():
        place = folder / "simulator" / simulator.name
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            simulator.rename(place)


def _sized(each: _Occupancy, estimated: Mapping[str, int], sized: Manifest, board: Board) -> SizedFifo:
    """Return the outcome for one place of a FIFO."""
    built = next((fifo for fifo in sized.fifos if fifo.before == each.fifo.before), None)
    return SizedFifo(
        name=built.name if built else None,
        before=each.fifo.before,
        width=each.fifo.width,
        estimated=estimated[each.fifo.before],
        most=each.most,
        depth=built.depth if built else 0,
        memory=fifos.cheapest_memory(built.depth, built.width, board) if built else NO_MEMORY,
    )
