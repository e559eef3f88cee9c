"""The native library beside OpenCV and numpy on this machine, and its instructions on the board's processor.

The times are measured here, each way in turn so that a busy machine slows all. The instructions are counted under
qemu-arm; milliseconds of them are estimated: one instruction a cycle, no wait for memory.

    python -m benchmarks.native --repeats 200
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fpga_facedet.host.decode import faces_in_frame
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.manifest import HeadInfo, InputInfo, Manifest, ModelInfo
from fpga_facedet.native import PixelFormat, library
from tests.native.cases import ANCHORS, BYTES, GRID, crowd, faces_arguments, faces_input, letterbox_arguments
from tests.native.emulator import arm_driver_in, missing_tool

INPUT = 416
CAMERAS = ((640, 480), (1280, 720))
CANDIDATES = (0, 64)
BOARD_MHZ = 650
PAPER_MS = (35, 10)
"""Preprocessing and postprocessing of a frame on the PYNQ-Z2: LPYOLO, arXiv 2207.10482."""

HEAD = HeadInfo(
    grid_height=GRID,
    grid_width=GRID,
    channels=6 * len(ANCHORS),
    stride=32,
    anchors=tuple((float(w), float(h)) for w, h in ANCHORS),
    output_scale=1 / 128,
    score_threshold=0.3,
    nms_iou=0.45,
)
MANIFEST = Manifest(ModelInfo("benchmark", "0" * 64, {}), InputInfo(INPUT, INPUT, 3, 114), HEAD)


def compare(name: str, work: Callable[[], object], repeats: int) -> None:
    """Print the median milliseconds of `work` with the native library and without."""
    times: dict[str, list[float]] = {"": [], "off": []}
    for _ in range(repeats + 1):
        for wanted, taken in times.items():
            os.environ["FACEDET_NATIVE"] = wanted
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    native, other = (1e3 * float(np.median(taken[1:])) for taken in times.values())  # the first turn warms up
    print(f"  {name:34} {other:9.3f} {native:9.3f} {other / native:7.1f}")


def letterbox_work(box: Letterbox, pixels: PixelFormat) -> Callable[[], None]:
    """Return the letterbox of a frame of noise into a buffer."""
    rng = np.random.default_rng(0)
    shape = (box.frame_height, box.frame_width, BYTES[pixels])
    frame = rng.integers(0, 256, shape[:2] if pixels == PixelFormat.GREY else shape, dtype=np.uint8)
    out = np.empty((INPUT, INPUT, 4), np.uint8)
    return lambda: box.apply_rgbx(frame, out)


def on_this_machine(repeats: int) -> None:
    """Print the times of both ways."""
    print(f"This machine ({platform.machine()}, {os.cpu_count()} cores), medians of {repeats}, measured:")
    print(f"  {'':34} {'Python ms':>9} {'native ms':>9} {'ratio':>7}")
    for size in CAMERAS:
        for pixels in PixelFormat:
            box = Letterbox.fit(*size, INPUT, INPUT)
            compare(title(box, pixels), letterbox_work(box, pixels), repeats)
    box = Letterbox.fit(*CAMERAS[0], INPUT, INPUT)
    for candidates in CANDIDATES:
        output = crowd(np.random.default_rng(1), candidates)
        compare(faces_title(candidates), lambda output=output: faces_in_frame(output, MANIFEST, box), repeats)


def on_the_board() -> None:
    """Print the emulated instructions of the native library."""
    if (missing := missing_tool()) is not None:
        print(f"The board's instructions: not measured, {missing} is not installed.")
        return
    print(f"Cortex-A9, instructions counted under qemu-arm; ms at {BOARD_MHZ} MHz, one a cycle, estimated:")
    print(f"  {'':34} {'million':>9} {'ms':>9} {'paper ms':>9}")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="facedet-bench-") as folder:
        driver = arm_driver_in(Path(folder))
        for size in CAMERAS:
            for pixels in PixelFormat:
                box = Letterbox.fit(*size, INPUT, INPUT)
                frame = rng.integers(0, 256, size[0] * size[1] * BYTES[pixels], dtype=np.uint8).tobytes()
                count = driver.instructions(*letterbox_arguments(box, pixels), stdin=frame)
                show(title(box, pixels), count, PAPER_MS[0])
        box = Letterbox.fit(*CAMERAS[0], INPUT, INPUT)
        for candidates in CANDIDATES:
            data = faces_input(crowd(np.random.default_rng(1), candidates))
            show(faces_title(candidates), driver.instructions(*faces_arguments(box), stdin=data), PAPER_MS[1])
    print("  The paper's times are its own, measured on the board: resize, colours and normalization; boxes and NMS.")


def title(box: Letterbox, pixels: PixelFormat) -> str:
    """Name a letterbox."""
    return f"letterbox {pixels.name} {box.frame_width}x{box.frame_height} -> {INPUT}x{INPUT}"


def faces_title(candidates: int) -> str:
    """Name a decoding."""
    return f"decode and NMS, {candidates} candidates"


def show(name: str, count: int, paper_ms: int) -> None:
    """Print one count."""
    print(f"  {name:34} {count / 1e6:9.3f} {count / (1e3 * BOARD_MHZ):9.2f} {paper_ms:9}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    given = parser.parse_args()
    os.environ["FACEDET_NATIVE"] = ""
    if library() is None:
        raise SystemExit("The native library cannot be built here; install g++.")
    on_this_machine(given.repeats)
    on_the_board()


if __name__ == "__main__":
    main()
