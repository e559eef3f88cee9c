"""The csim engine: the accelerator's own C++ for Vitis HLS, compiled for this machine; its RTL layers simulated."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet.beats import pack, unpack
from fpga_facedet.compiler import layout
from fpga_facedet.engines.protocol import check_frames
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import HLS, RTL, Manifest, SegmentInfo, StreamInfo
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.simulation.csim import CSimulation
from fpga_facedet.simulation.verilator import SimulatedStream, compile_model

Words = npt.NDArray[np.uint8]
"""Words of a stream, (frames, beats, bytes a beat), little-endian."""


class CsimEngine:
    """Runs the HLS layers of an accelerator as a program, frame after frame, in exact integers and without cycles.

    Args:
        path: the folder of an accelerator, whose `accelerator.json` and `hls/` it uses, and `rtl/` where some layers
            are RTL. The C++ is compiled at first use, in a minute or two, and kept in the user's cache; the simulator
            of the RTL segment k is kept in the folder `simulator-k`.
        progress: told what goes on while things are compiled and while frames run.

    `segments` are the parts of the pipeline, in its order. A frame of 416x416 takes seconds. Raises UserError where the
    folder is no accelerator or has no HLS layers, where its sources are not those its manifest was written with, or
    where a tool is missing.
    """

    name = "csim"

    def __init__(self, path: str | os.PathLike[str], progress: Progress | None = None) -> None:
        folder = Path(path)
        self.manifest = Manifest.load(folder)
        if self.manifest.stream is None:
            raise UserError(f"The manifest of {folder} describes no hardware; build the accelerator (facedet build).")
        self._stream: StreamInfo = self.manifest.stream
        self._progress = progress or unwatched
        self.segments = self.manifest.segments
        if all(segment.style == RTL for segment in self.segments):
            raise UserError(f"The accelerator in {folder} has RTL layers only; simulate it with the engine rtl.")
        layout.check_hls(folder, self.manifest)
        layout.check_rtl(folder, self.manifest)
        self.simulation = CSimulation(folder, self._progress)
        self._models = self._verilated(folder)

    def _verilated(self, folder: Path) -> dict[str, SimulatedStream]:
        """Return the Verilator models of the RTL segments, by name."""
        numbers = [number for number, segment in enumerate(self.segments) if segment.style == RTL]
        if not numbers:
            return {}
        # The top joins the segments, and those of HLS are no SystemVerilog yet.
        sources = [source for source in layout.sources(folder) if source.name != layout.TOP_FILE]
        models = {}
        for number in numbers:
            name = self.segments[number].name
            place, data = folder / f"simulator-{number}", folder / layout.RTL
            model = compile_model(sources, name, place, data_dir=data, progress=self._progress)
            models[name] = replace(model, called=f"The RTL segment {name}")
        return models

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Run letterboxed RGB frames uint8 (N, H, W, 3); return the head's integers int8 (N, grid_h, grid_w, C)."""
        words = self.words_in(frames)
        for segment in self.segments:
            words = self.run(segment, words)
        return self.values_out(words)

    def words_in(self, frames: npt.NDArray[np.uint8]) -> Words:
        """Return the words of letterboxed RGB frames uint8 (N, H, W, 3) as the first segment takes them."""
        check_frames(frames, self.manifest)
        values = frames.reshape(len(frames), self._stream.beats_in, self._stream.lanes_in)
        return pack(values, self._stream.bits_in)

    def values_out(self, words: Words) -> npt.NDArray[np.int8]:
        """Return the head's integers int8 (N, grid_h, grid_w, C) of the words that the last segment gives."""
        head = self.manifest.head
        values = unpack(words, self._stream.lanes_out, self._stream.bits_out, signed=True)
        return values.astype(np.int8).reshape(len(words), head.grid_height, head.grid_width, head.channels)

    def run(
        self,
        segment: SegmentInfo,
        words: Words,
        *,
        pause: float = 0.0,
        longest_pause: int = 256,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Words:
        """Run the words of frames through one segment; an RTL segment takes them back to back, from reset.

        `pause` is the share of cycles (0 <= pause < 1) in which the source and the sink of an RTL segment pause, for 1
        to `longest_pause` cycles at a time, at random by `seed`.
        """
        progress = progress or self._progress
        if segment.style == HLS:
            return self.simulation.run(segment.name, words, progress=progress).words
        run = self._models[segment.name].run(
            words,
            segment.stream.beats_out,
            pause_in=pause,
            pause_out=pause,
            longest_pause=longest_pause,
            seed=seed,
            # A segment may end in a padding, which begins the next frame before that comes.
            begins_early=True,
            progress=progress,
        )
        return run.words

    def close(self) -> None:
        """Do nothing: the library stays loaded, and each run of Verilator ends its own process."""
