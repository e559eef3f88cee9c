"""The whole way in one go: network, hardware, proof, and faces at the other end of a TCP connection."""

import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console

from fpga_facedet import zoo
from fpga_facedet.boards import get_board
from fpga_facedet.console import Reporter
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.errors import InternalError
from fpga_facedet.host import commands
from fpga_facedet.host.annotate import save_picture
from fpga_facedet.host.motion import write_sequence
from fpga_facedet.host.picture import read_picture

PHOTOGRAPHS = ["astronaut", "grace_hopper"]
SHEET_COLUMNS = 4
SHEET_WIDTH = 320
"""Pixels of one picture in the contact sheet."""


def run_demo(model: str, board: str, out: Path, source: str | None, frames: int) -> None:
    """Build `model` for `board` under `out`, prove it on photographs, stream `source` to a client in this process.

    `source` is anything `open_source` takes; None makes a sequence of `frames` frames out of two photographs. Raises
    InternalError where the hardware and the model differ, or where the client did not get every frame.
    """
    console = Console()
    began = time.perf_counter()
    accelerator = _build(console, model, board, out / "accelerator")
    _prove(console, accelerator)
    pictures = out / "pictures"
    if source is None:
        _headline(console, "A picture sequence", "two photographs, moved and scaled into 640x480 frames")
        write_sequence(PHOTOGRAPHS, out / "frames", frames)
        source = str(out / "frames")
    received = _stream(console, accelerator, source, pictures, frames)
    sheet = _contact_sheet(pictures, out / "faces.jpg")
    faces = sum(len(line["faces"]) for line in received)
    _headline(console, "Done", f"{faces} faces in {len(received)} frames, {time.perf_counter() - began:.0f} s in all")
    console.print(f"  annotated pictures  {pictures}\n  at a glance         {sheet}", highlight=False)
    console.print(f"  build report        {accelerator / 'report.html'}", highlight=False)


def _headline(console: Console, title: str, text: str) -> None:
    console.print(f"[bold]{title}[/]: {text}", highlight=False)


def _build(console: Console, model: str, board: str, folder: Path) -> Path:
    from fpga_facedet.compiler import flow

    chosen = get_board(board)
    _headline(console, "1. Build", f"{model} for {chosen.title}, each step checked against the first")
    with Reporter() as report:
        flow.build(zoo.model_path(model), chosen, folder, progress=report)
    return folder


def _prove(console: Console, accelerator: Path) -> None:
    from fpga_facedet.verification.verify import verify

    _headline(console, "2. Prove", "simulate the hardware on real photographs, compare every byte with the model")
    with Reporter() as report:
        result = verify(accelerator, frames=len(PHOTOGRAPHS), stalls=True, progress=report)
    console.print(f"  {result.describe()}", highlight=False)
    if result.mismatched_bytes:
        raise InternalError(f"{result.mismatched_bytes} bytes of the hardware differ from the model; please report it.")


def _stream(console: Console, accelerator: Path, source: str, pictures: Path, frames: int) -> list[dict[str, Any]]:
    """Serve `source` from a thread and watch it over TCP from here; return the frame lines that arrived."""
    _headline(console, "3. Stream", f"{source} through the golden engine to a TCP client")
    listening, place, failure = threading.Event(), [], []

    def on_listening(where: commands.Listening) -> None:
        place.append(where)
        listening.set()

    def serve() -> None:
        try:
            engine = GoldenEngine(accelerator)
            commands.serve(
                source,
                engine,
                port=0,
                fps=0,
                limit=frames,
                wait_clients=1,
                annotated=pictures,
                on_listening=on_listening,
            )
        except BaseException as error:
            failure.append(error)
            listening.set()

    server = threading.Thread(target=serve, name="demo-server", daemon=True)
    server.start()
    listening.wait()
    received: list[dict[str, Any]] = []
    if not failure:

        def on_message(message: Any) -> None:
            if message["type"] == "frame":
                received.append(message)
            console.print(f"  {commands.describe_message(message)}", highlight=False, markup=False)

        commands.watch(f"127.0.0.1:{place[0].port}", on_message, reconnect=None)
    server.join()
    if failure:
        raise failure[0]
    return received


def _contact_sheet(pictures: Path, path: Path) -> Path:
    """Put up to twelve of the annotated pictures side by side into one JPEG."""
    files = sorted(pictures.glob("*.jpg")) + sorted(pictures.glob("*.png"))
    picked = [files[round(i)] for i in np.linspace(0, len(files) - 1, min(12, len(files)))]
    tiles = []
    for file in picked:
        image = read_picture(file)
        height = round(SHEET_WIDTH * image.shape[0] / image.shape[1])
        tiles.append(cv2.resize(image, (SHEET_WIDTH, height), interpolation=cv2.INTER_AREA))
    tallest = max(tile.shape[0] for tile in tiles)
    padded = [cv2.copyMakeBorder(t, 0, tallest - t.shape[0], 0, 0, cv2.BORDER_CONSTANT) for t in tiles]
    while len(padded) % SHEET_COLUMNS:
        padded.append(np.zeros_like(padded[0]))
    rows = [np.hstack(padded[i : i + SHEET_COLUMNS]) for i in range(0, len(padded), SHEET_COLUMNS)]
    save_picture(path, np.vstack(rows))
    return path
