"""Verification: the accelerator against its golden model, byte for byte.

RTL is simulated cycle by cycle, and its cycles are counted. HLS layers run as C++, and what each puts out is compared.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fpga_facedet.boards import get_board
from fpga_facedet.compiler import report
from fpga_facedet.compiler.hls.styles import STYLES
from fpga_facedet.engines.protocol import Engine
from fpga_facedet.engines.rtl import RtlEngine
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import FILE_NAME, RTL, Figure, Manifest
from fpga_facedet.progress import Progress
from fpga_facedet.simulation.verilator import Children, StreamRun, version
from fpga_facedet.verification.hls import HlsVerifyResult, Stalls, verify_hls
from fpga_facedet.verification.pictures import make_frames, told_frames

PAUSED_SHARE = 0.3
"""Share of the cycles in which each end of the stream pauses in the stalled pass."""
MOST_SEED = 2**63
"""Seeds are 0 or more and below this: the simulator's driver takes twice a seed as 64 bits."""


@dataclass(frozen=True)
class Difference:
    """The first output value that is not the golden one, and where it is; all counts from 0."""

    stalled: bool
    frame: int
    row: int
    column: int
    channel: int
    golden: int
    rtl: int

    def describe(self) -> str:
        """Say it in one sentence."""
        return (
            f"The first difference is in frame {self.frame}, row {self.row}, column {self.column}, channel "
            f"{self.channel}, {'with' if self.stalled else 'without'} stalls: golden {self.golden}, RTL {self.rtl}."
        )


@dataclass(frozen=True)
class VerifyResult:
    """What a verification found; the cycle figures are simulated, for streams that never wait.

    `mismatched_bytes` counts the output values that differ from the golden engine's in any pass, of `total_bytes`;
    `cycles_per_frame` is from the last output of a frame to the last output of the next one, `latency_cycles` from the
    first input of the first frame to its last output, `fps` follows from the board's clock.
    """

    frames: int
    mismatched_bytes: int
    cycles_per_frame: int
    latency_cycles: int
    clock_mhz: float
    fps: float
    total_bytes: int
    stalled: bool
    first_difference: Difference | None = None

    @property
    def equal(self) -> bool:
        """Whether not a single byte differs."""
        return not self.mismatched_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the figures that `facedet verify --json` prints."""
        clock = int(self.clock_mhz) if self.clock_mhz == int(self.clock_mhz) else self.clock_mhz
        return {
            "frames": self.frames,
            "mismatched_bytes": self.mismatched_bytes,
            "cycles_per_frame": self.cycles_per_frame,
            "latency_cycles": self.latency_cycles,
            "clock_mhz": clock,
            "fps": round(self.fps, 2),
        }

    def describe(self) -> str:
        """Say the outcome in a few lines for a person."""
        passes = "with random stalls and without" if self.stalled else "without stalls"
        lines = [
            f"{told_frames(self.frames)} back to back, {passes}: "
            f"{self.mismatched_bytes:,} of {self.total_bytes:,} bytes differ from the golden engine."
        ]
        if self.first_difference:
            lines.append(self.first_difference.describe())
        microseconds = self.latency_cycles / self.clock_mhz
        lines.append(
            f"Simulated at {self.clock_mhz:g} MHz: {self.cycles_per_frame:,} cycles a frame, {self.fps:.1f} frames a "
            f"second, {microseconds / 1000:.2f} ms from the first pixel to the last result."
        )
        return "\n".join(lines)


def verify(
    accelerator: str | os.PathLike[str],
    frames: int = 3,
    stalls: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    pictures: Sequence[npt.NDArray[np.uint8]] | None = None,
    golden: Engine | None = None,
    layers: str | None = None,
) -> VerifyResult | HlsVerifyResult:
    """Run `frames` different frames back to back through the simulated accelerator and compare every output value.

    Of an accelerator with HLS layers, all that these put out is compared as well.

    Args:
        accelerator: the folder that `facedet build` wrote.
        stalls: also run them with random stalls on input and output; with HLS layers, those of every RTL segment, once.
        seed: of the frames and the stalls; 0 or more, below MOST_SEED.
        progress: told what goes on and which share of it is done.
        pictures: photographs for the frames, BGR uint8 (h, w, 3); see `pictures.make_frames`.
        golden: the reference; the accelerator's own golden model unless given. With HLS layers, a GoldenEngine.
        layers: insist on an accelerator whose layers are all "rtl" or all "hls"; None takes it as it is.

    Where all is equal, the simulated figures of RTL go into the manifest; C++ has none. Assertions of the hardware are
    on; a failed one, or a deadlock, raises SimulationError, and so does a layer in C++ that reads from an empty stream.
    """
    if frames < 1:
        raise UserError(f"Cannot verify with {frames} frames; give 1 or more.")
    if not 0 <= seed < MOST_SEED:
        raise UserError(f"Cannot verify with seed {seed}; give 0 or more, below {MOST_SEED}.")
    folder = Path(accelerator)
    manifest = Manifest.load(folder)
    if not manifest.clock_mhz:
        raise UserError(f"The manifest of {folder} has no clock; build the accelerator again (facedet build).")
    style = _style(folder, manifest, layers)
    # All that can be wrong with the accelerator is found before the simulator is compiled, which takes a minute.
    if golden is None:
        from fpga_facedet.engines.golden import GoldenEngine

        golden = GoldenEngine(folder)
    steps = Steps(progress)
    if style != RTL:
        opened = cast("GoldenEngine", golden).opened()
        inputs = make_frames(manifest.input, frames, seed, pictures)
        wanted = golden.infer(inputs)
        pauses = Stalls(PAUSED_SHARE, _longest_pause(inputs), seed) if stalls else Stalls()
        return verify_hls(folder, opened, inputs, wanted, pauses, steps.part(0.0, 0.5), steps.part(0.5, 1.0))
    # The free pass needs a second frame for its cycles; the comparison does not mind.
    inputs = make_frames(manifest.input, max(2, frames), seed, pictures)
    wanted = golden.infer(inputs)[:frames]
    engine = RtlEngine(folder, steps.part(0.0, 0.7))
    outputs, run = simulate(engine, inputs, frames, seed if stalls else None, steps.part(0.7, 1.0))
    result = result_of(manifest.clock_mhz, wanted, outputs, run)
    if not result.mismatched_bytes:
        record(folder, result)
    return result


def _style(folder: Path, manifest: Manifest, layers: str | None) -> str:
    """Return the style of the accelerator's layers; UserError where that is not the one that `layers` insists on."""
    if layers is not None and layers not in STYLES:
        raise UserError(f"Cannot verify layers of style '{layers}'; choose one of: {', '.join(STYLES)}.")
    # A manifest written by hand may say nothing: then it is of the time before HLS layers.
    style = manifest.layer_style or RTL
    if layers not in (None, style):
        raise UserError(
            f"The layers of the accelerator in {folder} are {style}, not {layers}; build it with --layers {layers}, or "
            "verify it without --layers."
        )
    return style


def simulate(
    engine: RtlEngine, inputs: npt.NDArray[np.uint8], frames: int, stall_seed: int | None, progress: Progress
) -> tuple[dict[bool, npt.NDArray[np.int8]], StreamRun]:
    """Run the free pass, and side by side with it, given `stall_seed`, the stalled one.

    Returns the outputs of the first `frames` frames, by whether the pass was stalled, and the run of the free pass.
    """
    children = Children()
    with ThreadPoolExecutor(2, initializer=children.adopt_thread) as pool:
        try:
            free_pass = pool.submit(engine.simulate, inputs, progress=progress)
            stalled_pass = None
            if stall_seed is not None:
                stalled_pass = pool.submit(_stalled, engine, inputs[:frames], stall_seed, progress)
            free, run = free_pass.result()
            outputs = {False: free[:frames]}
            if stalled_pass:
                outputs[True] = stalled_pass.result()
        except BaseException:
            # Else leaving the pool would wait for the simulations, after a Ctrl-C too.
            children.kill()
            raise
    return outputs, run


def _stalled(engine: RtlEngine, frames: npt.NDArray[np.uint8], seed: int, progress: Progress) -> npt.NDArray[np.int8]:
    longest = _longest_pause(frames)
    return engine.simulate(frames, pause=PAUSED_SHARE, longest_pause=longest, seed=seed, progress=progress)[0]


def _longest_pause(frames: npt.NDArray[np.uint8]) -> int:
    """Return a third of a frame's pixels: the deep line buffers of late layers fill up and stop earlier ones too."""
    return max(64, frames.shape[1] * frames.shape[2] // 3)


class Steps:
    """Maps the progress of parts that may run side by side onto one bar that never goes back."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._reached = 0.0

    def part(self, begin: float, end: float) -> Progress:
        """Return what a part reports to that fills the bar from `begin` to `end`, shares of 0 to 1."""

        def report(what: str, share: float) -> None:
            with self._lock:
                self._reached = max(self._reached, begin + (end - begin) * share)
                if self._progress:
                    self._progress(what, self._reached)

        return report


def result_of(
    clock_mhz: float, wanted: npt.NDArray[np.int8], outputs: dict[bool, npt.NDArray[np.int8]], run: StreamRun
) -> VerifyResult:
    """Compare what came out, by whether the pass was stalled, with what should; cycles are those of the free `run`."""
    differs = {stalled: output != wanted for stalled, output in outputs.items()}
    first = None
    for stalled, where in differs.items():
        if first is None and where.any():
            frame, row, column, channel = (int(i) for i in np.argwhere(where)[0])
            place = frame, row, column, channel
            first = Difference(stalled, *place, int(wanted[place]), int(outputs[stalled][place]))
    cycles = int(run.last_output[-1] - run.last_output[-2])
    return VerifyResult(
        frames=len(wanted),
        mismatched_bytes=int(np.logical_or.reduce(list(differs.values())).sum()),
        cycles_per_frame=cycles,
        latency_cycles=int(run.last_output[0] - run.first_input[0]),
        clock_mhz=clock_mhz,
        fps=clock_mhz * 1e6 / cycles,
        total_bytes=wanted.size,
        stalled=True in outputs,
        first_difference=first,
    )


def record(folder: Path, result: VerifyResult) -> None:
    """Put the simulated figures into the manifest and the report, in place of older simulated ones."""
    manifest = Manifest.load(folder)
    figures = (
        Figure("cycles_per_frame", result.cycles_per_frame, "cycles", "simulated"),
        Figure("latency", result.latency_cycles, "cycles", "simulated"),
        Figure("fps", round(result.fps, 2), "frames/s", "simulated"),
    )
    names = {figure.name for figure in figures}
    kept = tuple(f for f in manifest.figures if f.evidence != "simulated" or f.name not in names)
    proven = replace(manifest, figures=kept + figures, versions=manifest.versions | {"verilator": version()})
    proven.save(folder / FILE_NAME)
    report.write(proven, get_board(str(manifest.board)), folder)
