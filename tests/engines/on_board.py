"""The toy detector on a software board: what the tests of the board engine and of FaceDetector share."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fpga_facedet.engines import board_worker
from fpga_facedet.engines.board import BoardEngine, open_board_engine
from fpga_facedet.files import sha256_of
from fpga_facedet.manifest import Manifest

from .toy import MANIFEST, ToyEngine

TIMEOUT = 30.0
"""Seconds after which a channel counts as stuck in these tests: more than a busy machine keeps any thread waiting.
Where one is to count as stuck, `Clock` lets that time pass at once.
"""
WAITING = pytest.mark.parametrize("interrupts", [True, False], ids=["interrupts", "polling"])


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


def damaged(overlay: Path, folder: Path) -> Path:
    """Write a copy of the toy's overlay into `folder` whose .hwh is no XML, and whose manifest agrees with it."""
    (folder / "toy.bit").write_bytes((overlay / "toy.bit").read_bytes())
    (folder / "toy.hwh").write_text("no XML")
    manifest = Manifest.load(overlay)
    files = manifest.files | {"hwh_sha256": sha256_of(folder / "toy.hwh")}
    replace(manifest, files=files).save(folder / "accelerator.json")
    return folder


def opened(folder: Path, **options: Any) -> BoardEngine:
    """Return an engine on the software board."""
    return open_board_engine(folder, **{"timeout": TIMEOUT, **options})


def submit(engine: BoardEngine, pictures: npt.NDArray[np.uint8]) -> None:
    """Submit `pictures`, no more than the engine has slots."""
    for picture in pictures:
        slot = engine.acquire()
        slot.pixels[..., :3] = picture
        engine.submit(slot)


def wait_until(true: Callable[[], Any]) -> None:
    """Look every millisecond until `true` is."""
    while not true():
        threading.Event().wait(0.001)


def stop_by_hand(call: Callable[[], Any], when: Callable[[], Any]) -> None:
    """Make `call`, and once `when` is true send what Ctrl-C and a notebook's stop button send, which has to end it."""
    ready = threading.Event()

    def press() -> None:
        ready.wait()
        wait_until(when)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    finger = threading.Thread(target=press, daemon=True)
    finger.start()
    with pytest.raises(KeyboardInterrupt):
        ready.set()
        call()
    finger.join()


@contextmanager
def not_for_ever(engine: BoardEngine) -> Iterator[None]:
    """End waits that nobody would end, with EngineStopped."""
    timer = threading.Timer(30, engine.abort)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Clock:
    """The clock of a module of the engine: the time of day, but for jumps ahead when the test says so."""

    sleep = staticmethod(time.sleep)

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any = board_worker) -> None:
        self._ahead = 0.0
        monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def jump(self) -> None:
        """Let more than TIMEOUT pass."""
        self._ahead += TIMEOUT + 1

    @contextmanager
    def jumping(self, when: Callable[[], Any]) -> Iterator[None]:
        """Jump once, as soon as `when` is true, which it has to become while the body runs."""
        over = threading.Event()
        jumped = threading.Event()

        def watch() -> None:
            wait_until(lambda: over.is_set() or when())
            if not over.is_set():
                jumped.set()
                self.jump()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        assert jumped.is_set()


def stuck(board: Any, engine: BoardEngine, name: str, frame: int) -> Callable[[], bool]:
    """Return what says whether all results before `frame` are out, and it is where the fault `name` holds it up."""
    send = board.dma.send
    return lambda: engine.info()["results"] == frame and (send.started if name == "stuck_mm2s" else send.done) > frame


def next_frame_of(board: Any) -> Callable[[], bool]:
    """Return what says whether the board's DMA has begun to send one more frame than now."""
    begun = board.dma.send.started
    return lambda: board.dma.send.started > begun


def run(engine: BoardEngine, pictures: npt.NDArray[np.uint8]) -> list[Any]:
    """Send `pictures` from a thread and collect as many outcomes here: results, or the errors in their place."""

    def send() -> None:
        for picture in pictures:
            try:
                slot = engine.acquire()
                slot.pixels[..., :3] = picture
                engine.submit(slot)
            except Exception:  # the engine has ended: what was sent before is collected below
                return

    sender = threading.Thread(target=send)
    sender.start()
    outcomes = run_out(engine, len(pictures))
    sender.join()
    return outcomes


def run_out(engine: BoardEngine, count: int) -> list[Any]:
    """Collect `count` outcomes: results, or the errors in their place."""
    outcomes: list[Any] = []
    for _ in range(count):
        try:
            outcomes.append(engine.collect())
        except Exception as error:
            outcomes.append(error)
    return outcomes


def right(outcomes: Sequence[Any], pictures: npt.NDArray[np.uint8]) -> list[bool]:
    """Return for each outcome whether it is the golden result of its picture."""
    golden = ToyEngine().infer(pictures)
    return [
        isinstance(outcome, np.ndarray) and np.array_equal(outcome, wanted)
        for outcome, wanted in zip(outcomes, golden, strict=True)
    ]
