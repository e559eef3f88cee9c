"""The RTL engine: the accelerator's own SystemVerilog, simulated cycle by cycle, assertions on."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet.beats import pack, unpack
from fpga_facedet.compiler import layout
from fpga_facedet.engines.protocol import check_frames
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import RTL, Manifest, StreamInfo
from fpga_facedet.progress import Progress
from fpga_facedet.simulation.verilator import StreamRun, compile_model


class RtlEngine:
    """Simulates an accelerator with Verilator; frames run back to back through the hardware, from reset.

    Args:
        path: the folder of an accelerator, whose `accelerator.json` and `rtl/` it uses. The simulator is built at first
            use, in one to three minutes, and kept in its folder `simulator`.
        progress: told what goes on while the simulator is built and while it runs.

    A frame of 416x416 takes seconds. Raises UserError where the folder is no accelerator or has HLS layers, where its
    RTL is not the one its manifest was written with, or where a tool is missing.
    """

    name = "rtl"

    def __init__(self, path: str | os.PathLike[str], progress: Progress | None = None) -> None:
        folder = Path(path)
        self.manifest = Manifest.load(folder)
        if self.manifest.stream is None:
            raise UserError(f"The manifest of {folder} describes no hardware; build the accelerator (facedet build).")
        if any(segment.style != RTL for segment in self.manifest.segments):
            raise UserError(f"The accelerator in {folder} has HLS layers; simulate it with the engine csim.")
        self._stream: StreamInfo = self.manifest.stream
        self._progress = progress
        sources = layout.sources(folder)
        layout.check_rtl(folder, self.manifest)
        self._model = compile_model(
            sources, layout.TOP, folder / "simulator", data_dir=folder / layout.RTL, progress=progress
        )

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Run letterboxed RGB frames uint8 (N, H, W, 3); return the head's integers int8 (N, grid_h, grid_w, C)."""
        return self.simulate(frames)[0]

    def simulate(
        self,
        frames: npt.NDArray[np.uint8],
        *,
        pause: float = 0.0,
        longest_pause: int = 256,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> tuple[npt.NDArray[np.int8], StreamRun]:
        """Do what `infer` does and also return the run with its cycle stamps.

        `pause` is the share of cycles (0 <= pause < 1) in which the source, and independently the sink, pauses, for 1
        to `longest_pause` cycles at a time, at random by `seed`. Raises SimulationError where the hardware fails an
        assertion or deadlocks.
        """
        check_frames(frames, self.manifest)
        stream, head = self._stream, self.manifest.head
        shape = (len(frames), head.grid_height, head.grid_width, head.channels)
        values = frames.reshape(len(frames), stream.beats_in, stream.lanes_in)
        run = self._model.run(
            pack(values, stream.bits_in),
            stream.beats_out,
            pause_in=pause,
            pause_out=pause,
            longest_pause=longest_pause,
            seed=seed,
            progress=progress or self._progress,
        )
        raw = unpack(run.words, stream.lanes_out, stream.bits_out, signed=True)
        return raw.astype(np.int8).reshape(shape), run

    def close(self) -> None:
        """Do nothing: each run ends its own process."""
