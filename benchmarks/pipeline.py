"""Whether the host keeps up with an accelerator of 100 frames a second: every stage real but the accelerator's time.

The engine here knows the golden engine's outputs of the video's frames by their pixels, and gives each one when the
accelerator would: one interval after it got the frame, or after the frame before. All else is the product: the video
is decoded, letterboxed into the engine's slots, the outputs are decoded and suppressed, and the faces go over TCP to a
client in another process, which checks that every frame comes, in order, with the faces that it should have.

    python benchmarks/pipeline.py --frames 10000 --source street.mp4
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet.engines.protocol import Engine, EngineStopped, Slot
from fpga_facedet.errors import InternalError
from fpga_facedet.host import commands
from fpga_facedet.host.decode import faces_in_frame
from fpga_facedet.host.metrics import EVIDENCE
from fpga_facedet.host.motion import write_sequence
from fpga_facedet.host.sources import open_source
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.stream.client import watch
from fpga_facedet.stream.protocol import faces_as_json

PHOTOGRAPHS = ["astronaut", "grace_hopper"]
SEQUENCE_FRAMES = 60
WARM_UP = 500
"""Frames after which memory is looked at first: queues, percentiles and OpenCV's own buffers have filled by then."""
_STRIDE = 16
"""Every so many rows make the key of a picture; two frames of a video that agree in all of these are the same."""


class ModelledEngine:
    """The outputs of another engine, computed beforehand, at the pace of an accelerator: one every `interval` seconds.

    `interval` 0 gives them at once. Keeps the StreamingEngine protocol, with `depth` slots. A picture that it was not
    shown beforehand is an InternalError, so a letterbox that goes wrong does not go unnoticed.
    """

    def __init__(self, engine: Engine, interval: float, depth: int = 3) -> None:
        self.name, self.manifest = f"{engine.name}-modelled", engine.manifest
        self._engine, self._interval = engine, interval
        self._outputs: dict[bytes, npt.NDArray[np.int8]] = {}
        size = engine.manifest.input
        self._changed = threading.Condition()
        self._free = deque(Slot(number, np.zeros((size.height, size.width, 4), np.uint8)) for number in range(depth))
        self._taken: deque[tuple[Slot, float]] = deque()
        self._busy_until = 0.0
        self._stopped = False

    def learn(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Compute the output of a picture, BGR uint8 (h, w, 3), remember and return it."""
        size = self.manifest.input
        pixels = Letterbox.fit(image.shape[1], image.shape[0], size.width, size.height).apply(image, size.fill)
        return self._outputs.setdefault(_key(pixels), self._engine.infer(pixels[None])[0])

    def acquire(self) -> Slot:
        """Return a free slot."""
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._stopped)
            if self._stopped:
                raise EngineStopped
            return self._free.popleft()

    def release(self, slot: Slot) -> None:
        """Take a slot back."""
        with self._changed:
            self._free.append(slot)
            self._changed.notify_all()

    def submit(self, slot: Slot) -> None:
        """Take a frame; the accelerator begins it once the one before is done."""
        with self._changed:
            self._busy_until = max(time.perf_counter(), self._busy_until) + self._interval
            self._taken.append((slot, self._busy_until))
            self._changed.notify_all()

    def collect(self) -> npt.NDArray[np.int8]:
        """Return the oldest frame's output when the accelerator would have it."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken or self._stopped)
            if self._stopped:
                raise EngineStopped
            slot, done = self._taken.popleft()
        time.sleep(max(0.0, done - time.perf_counter()))
        output = self._outputs.get(_key(slot.pixels[..., :3]))
        self.release(slot)
        if output is None:
            raise InternalError("The letterbox gave a picture that was not learnt; the stages disturb each other.")
        return output.copy()

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Run frames through the engine whose outputs these are."""
        return self._engine.infer(frames)

    def abort(self) -> None:
        """Wake whoever waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Close the engine whose outputs these are."""
        self.abort()
        self._engine.close()


@dataclass(frozen=True)
class Outcome:
    """What a run came to, all measured here: the client's counts, memory in MiB, processor time over time."""

    summary: commands.Summary
    received: int
    missing: int
    out_of_order: int
    wrong_faces: int
    client_fps: float
    memory: tuple[float, float]
    cpu_share: float


def run(source: str, engine: ModelledEngine, frames: int) -> Outcome:
    """Serve `frames` frames of `source`, again and again from its start, to one client in another process."""
    wanted = []
    for frame in open_source(source):
        size = engine.manifest.input
        letterbox = Letterbox.fit(frame.image.shape[1], frame.image.shape[0], size.width, size.height)
        wanted.append(faces_as_json(faces_in_frame(engine.learn(frame.image), engine.manifest, letterbox)))
    with tempfile.TemporaryDirectory() as folder:
        expected = Path(folder, "faces.json")
        expected.write_text(json.dumps(wanted))
        memory: list[float] = []
        clients: list[subprocess.Popen[str]] = []

        def begin(where: commands.Listening) -> None:
            words = [sys.executable, __file__, "--client", str(where.port), "--expected", str(expected)]
            clients.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))

        def look(result: commands.Result) -> None:
            if result.frame.seq in (min(WARM_UP, frames // 2), frames - 1):
                memory.append(resident())

        began, busy = time.perf_counter(), _processor_seconds()
        summary = commands.serve(
            source, engine, port=0, loop=True, fps=0, limit=frames, wait_clients=1, on_listening=begin, on_result=look
        )
        share = (_processor_seconds() - busy) / (time.perf_counter() - began)
        said = json.loads(clients[0].communicate(timeout=60)[0])
    missing = frames - said["received"]
    return Outcome(summary=summary, memory=(memory[0], memory[-1]), cpu_share=share, missing=missing, **said)


def client(port: int, expected: Path) -> None:
    """Read the stream to its end, check every frame, print the counts as JSON."""
    wanted = json.loads(expected.read_text())
    received = out_of_order = wrong = 0
    latest = -1
    first = last = 0.0
    for message in watch("127.0.0.1", port, None):
        if message["type"] != "frame":
            continue
        last = time.perf_counter()
        first = first or last
        received += 1
        out_of_order += message["seq"] != latest + 1
        wrong += message["faces"] != wanted[message["seq"] % len(wanted)]
        latest = message["seq"]
    fps = (received - 1) / (last - first) if received > 1 else 0.0
    print(json.dumps({"received": received, "out_of_order": out_of_order, "wrong_faces": wrong, "client_fps": fps}))


def resident() -> float:
    """Return this process's memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _key(pixels: npt.NDArray[np.uint8]) -> bytes:
    return pixels[::_STRIDE].tobytes()


def report(outcome: Outcome, interval: float) -> Iterator[str]:
    """Yield the lines that say what was measured, and what was not."""
    metrics = outcome.summary.metrics
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    yield f"{machine}; the accelerator's time is modelled: {interval * 1e3:g} ms a frame"
    yield f"  {metrics.frames} frames in {metrics.seconds:.1f} s: {metrics.fps:.2f} frames a second ({EVIDENCE})"
    yield (
        f"  client: {outcome.received} received at {outcome.client_fps:.2f} a second, {outcome.missing} missing, "
        f"{outcome.out_of_order} out of order, {outcome.wrong_faces} with other faces than computed beforehand"
    )
    yield f"  dropped {metrics.dropped}, lost {metrics.lost}; processor: {outcome.cpu_share:.2f} cores"
    early = min(WARM_UP, metrics.frames // 2)
    yield f"  memory: {outcome.memory[0]:.1f} MiB after {early} frames, {outcome.memory[1]:.1f} at the end"
    for stage, times in metrics.stages.items():
        yield f"  {stage:11} {times.mean_ms:7.2f} ms mean, {times.median_ms:7.2f} median, {times.p95_ms:7.2f} p95"
    yield "On the board: not measured. The paper (arXiv 2207.10482) took 35 ms before, 52 in and 10 after the FPGA."


def board_counts() -> None:
    """Have benchmarks/native.py print the instructions that the board's processor needs, emulated, where it can."""
    counts = [sys.executable, "-c", "from benchmarks.native import on_the_board; on_the_board()"]
    subprocess.run(counts, cwd=Path(__file__).resolve().parent.parent, check=False)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", help="a video or a folder of pictures (default: two photographs, moved)")
    parser.add_argument("--model", default="lpyolo-4w4a", help="a name of the zoo, or a QONNX file")
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--accelerator-fps", type=float, default=100.0)
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--expected", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        client(given.client, given.expected)
        return
    from fpga_facedet import zoo
    from fpga_facedet.engines.golden import GoldenEngine

    engine = ModelledEngine(GoldenEngine(zoo.model_path(given.model)), 1 / given.accelerator_fps)
    with tempfile.TemporaryDirectory() as folder:
        source = given.source
        if source is None:
            write_sequence(PHOTOGRAPHS, Path(folder), SEQUENCE_FRAMES)
            source = folder
        outcome = run(source, engine, given.frames)
    engine.close()
    print("\n".join(report(outcome, 1 / given.accelerator_fps)), flush=True)
    board_counts()


if __name__ == "__main__":
    main()
