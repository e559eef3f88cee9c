"""How long the HLS layers take to compile and to run as a program, beside the RTL of the same folded graph.

One run builds both accelerators (or takes folders that hold them), compiles the C++ anew and the SystemVerilog with
Verilator, and sends the same frames through both and through the golden engine, in turn, each on one thread. The bytes
must be equal; what is printed are seconds and their ratios.

    python -m benchmarks.csim --model lpyolo-4w4a --frames 3
"""

import argparse
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from fpga_facedet import zoo
from fpga_facedet.boards import get_board
from fpga_facedet.engines.csim import CsimEngine
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.engines.rtl import RtlEngine
from fpga_facedet.verification.pictures import make_frames

Result = TypeVar("Result")


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """Return what `work` returns and the seconds it took."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def build(model: str, folder: Path) -> tuple[Path, Path]:
    """Build `model` as RTL and, from the same folded graph, as HLS; return both folders."""
    from fpga_facedet.compiler.flow import build as build_accelerator
    from fpga_facedet.compiler.hls.styles import Styles

    file, board = zoo.model_path(model), get_board("pynq-z2")
    build_accelerator(file, board, folder / "rtl")
    shutil.copytree(folder / "rtl", folder / "hls")
    build_accelerator(file, board, folder / "hls", layers=Styles.hls(), from_step="fold")
    return folder / "rtl", folder / "hls"


def peak_mib() -> float:
    """Return the most memory that this process or a child of it ever held, in MiB."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def measure(model: str, frames: int, folder: Path) -> dict[str, Any]:
    """Build, compile and run; return seconds by name. `folder` is scratch space and holds the cache of libraries."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    (rtl, hls), building = timed(lambda: build(model, folder))
    golden = GoldenEngine(rtl, threads=1)
    pictures = make_frames(golden.manifest.input, frames)
    csim, compiling_csim = timed(lambda: CsimEngine(hls))
    hardware, compiling_rtl = timed(lambda: RtlEngine(rtl))
    seconds: dict[str, list[float]] = {"golden": [], "csim": [], "rtl": []}
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in seconds}
    for picture in pictures:
        for name, engine in (("golden", golden), ("csim", csim), ("rtl", hardware)):
            raw, took = timed(lambda engine=engine, picture=picture: engine.infer(picture[None]))  # type: ignore[misc]
            seconds[name].append(took)
            outputs[name].append(raw)
    wrong = {name: int((np.concatenate(outputs[name]) != np.concatenate(outputs["golden"])).sum()) for name in seconds}
    return {
        "building": building,
        "compiling": {"csim": compiling_csim, "rtl": compiling_rtl},
        "frame": {name: float(np.median(times)) for name, times in seconds.items()},
        "wrong": wrong,
        "bytes": sum(raw.size for raw in outputs["golden"]),
        "peak": peak_mib(),
    }


def show(found: dict[str, Any], model: str, frames: int) -> None:
    """Print the table and the ratios."""
    table = Table("engine", "compiled in", "a frame (median)", "bytes that differ from golden")
    for name in ("csim", "rtl", "golden"):
        compiling = found["compiling"].get(name)
        table.add_row(
            name,
            f"{compiling:.1f} s" if compiling else "",
            f"{found['frame'][name]:.3f} s",
            f"{found['wrong'][name]} of {found['bytes']}",
        )
    console = Console()
    console.print(f"{model}, {frames} frames, one thread each, on {platform.machine()}; measured on this machine")
    console.print(table)
    console.print(
        f"csim to rtl: {found['compiling']['csim'] / found['compiling']['rtl']:.2f} times the seconds to compile, "
        f"{found['frame']['csim'] / found['frame']['rtl']:.2f} times the seconds a frame (rtl counts cycles, csim does "
        f"not). csim to golden: {found['frame']['csim'] / found['frame']['golden']:.0f} times. Most memory of one "
        f"process: {found['peak']:.0f} MiB.",
        highlight=False,
    )


def main() -> None:
    """Measure in a temporary folder and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=zoo.DEFAULT_MODEL)
    parser.add_argument("--frames", type=int, default=3)
    arguments = parser.parse_args()
    # One core for everything, compilers included: what a frame takes on two cores is not what is asked.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="facedet-csim-benchmark-") as folder:
        show(measure(arguments.model, arguments.frames, Path(folder)), arguments.model, arguments.frames)


if __name__ == "__main__":
    main()
