"""The toy detector on a software board: what the tests of the board engine and of FaceDetector share."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpga_facedet.engines.board import BoardEngine
from fpga_facedet.manifest import Manifest

from .toy import MANIFEST, ToyEngine

TIMEOUT = 0.5
"""Seconds after which a channel counts as stuck in these tests: far more than a frame of the toy takes."""


@contextmanager
def toy_board(*faults: Any, **options: Any) -> Iterator[Any]:
    """A software board that computes the toy; at its end no buffer may be left, and no misuse have happened."""
    from fpga_facedet.software_board import SoftwareBoard, golden_compute

    with SoftwareBoard(MANIFEST, golden_compute(ToyEngine()), faults=faults, **options) as board:
        yield board
        assert board.misuses == []
        assert board.memory.live == 0


def toy_overlay(folder: Path, manifest: Manifest = MANIFEST) -> Path:
    """Write the toy's overlay folder."""
    from fpga_facedet.software_board import prepare_overlay

    return prepare_overlay(manifest, folder).parent


def run(engine: BoardEngine, pictures: npt.NDArray[np.uint8]) -> list[Any]:
    """Send `pictures` from a thread and collect as many outcomes here: results, or the errors in their place."""

    def send() -> None:
        for picture in pictures:
            try:
                slot = engine.acquire()
            except Exception:  # the engine has ended: what was sent before is collected below
                return
            slot.pixels[..., :3] = picture
            engine.submit(slot)

    sender = threading.Thread(target=send)
    sender.start()
    outcomes: list[Any] = []
    for _ in pictures:
        try:
            outcomes.append(engine.collect())
        except Exception as error:
            outcomes.append(error)
    sender.join()
    return outcomes


def right(outcomes: Sequence[Any], pictures: npt.NDArray[np.uint8]) -> list[bool]:
    """Return for each outcome whether it is the golden result of its picture."""
    golden = ToyEngine().infer(pictures)
    return [
        isinstance(outcome, np.ndarray) and np.array_equal(outcome, wanted)
        for outcome, wanted in zip(outcomes, golden, strict=True)
    ]
