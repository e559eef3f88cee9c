"""How long the golden engine takes for a frame, beside QONNX's own execution of the same model in the same run.

Each runs in a process of its own, so that memory is told apart; frames go to them in turn, so that a busy machine slows
both. The outputs are compared: they may differ by one where QONNX, which rounds real numbers in float32, meets a tie.

    python benchmarks/golden.py --model lpyolo-4w4a --frames 20 --threads 2
"""

import argparse
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet import zoo

Frames = npt.NDArray[np.uint8]
Infer = Callable[[Frames], npt.NDArray[np.int8]]


def golden(path: Path, threads: int) -> Infer:
    """Return the golden engine's `infer`."""
    from fpga_facedet.engines.golden import GoldenEngine

    return GoldenEngine(path, threads).infer


def qonnx(path: Path, _: int) -> Infer:
    """Return QONNX's execution of the model as exported, with the same input and output as an engine."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    model = ModelWrapper(str(path))
    name = model.graph.input[0].name

    def infer(frames: Frames) -> npt.NDArray[np.int8]:
        x = frames.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        (y,) = execute_onnx(model, {name: x}).values()
        return np.asarray(y.transpose(0, 2, 3, 1) * 128).astype(np.int8)

    return infer


def serve(pipe: Connection, make: Callable[[Path, int], Infer], path: Path, threads: int) -> None:
    """Answer each frame with its output, the milliseconds it took, and this process's peak memory in MiB."""
    infer = make(path, threads)
    pipe.send("ready")
    while (frame := pipe.recv()) is not None:
        start = time.perf_counter()
        raw = infer(frame)
        elapsed = time.perf_counter() - start
        pipe.send((raw, elapsed * 1e3, peak_memory()))


def peak_memory() -> float:
    """Return the most memory this process ever held, in MiB (getrusage would count the parent's before the start)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def start(make: Callable[[Path, int], Infer], path: Path, threads: int) -> Connection:
    """Start a process that serves `make`'s engine and return the pipe to it, once it is ready."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=serve, args=(theirs, make, path, threads), daemon=True).start()
    ours.recv()
    return ours


def pictures(path: Path, count: int) -> Iterator[Frames]:
    """Yield noise, uint8 (1, H, W, 3): what the pixels show makes no difference to the time."""
    from fpga_facedet.network.metadata import manifest_of_model

    size = manifest_of_model(path).input
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 256, (1, size.height, size.width, size.channels), dtype=np.uint8)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lpyolo-4w4a", help="a name of the zoo, or a QONNX file")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2, help="threads of the golden engine")
    given = parser.parse_args()
    path = zoo.model_path(given.model)
    golden(path, given.threads)  # compiles the model, if need be, outside the processes that are measured
    pipes = {"golden": start(golden, path, given.threads), "qonnx": start(qonnx, path, given.threads)}
    times: dict[str, list[float]] = {name: [] for name in pipes}
    memory = dict.fromkeys(pipes, 0.0)
    ties = total = 0
    for frame in pictures(path, given.frames + 1):
        outputs = []
        for name, pipe in pipes.items():
            pipe.send(frame)
            raw, milliseconds, memory[name] = pipe.recv()
            times[name].append(milliseconds)
            outputs.append(raw)
        difference = np.abs(np.subtract(*outputs, dtype=np.int64))
        if difference.max() > 1:
            raise SystemExit(f"The outputs differ by up to {difference.max()}: the golden engine is not exact.")
        ties += int(np.count_nonzero(difference))
        total += difference.size
    print(f"{given.model}, {given.frames} frames, {platform.machine()}, {os.cpu_count()} cores, measured:")
    for name, taken in times.items():
        after = taken[1:]  # the first frame warms up
        print(
            f"  {name:6} {min(after):8.2f} ms a frame at best, {np.median(after):8.2f} median, "
            f"{memory[name]:5.0f} MiB peak"
        )
    print(f"  golden is {np.median(times['qonnx'][1:]) / np.median(times['golden'][1:]):.0f} times faster (medians)")
    print(f"  {ties} of {total} outputs differ, by one, where float32 meets a tie")
    for pipe in pipes.values():
        pipe.send(None)


if __name__ == "__main__":
    main()
