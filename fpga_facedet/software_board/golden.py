"""The board shell modelled in software around any engine, with the time of an accelerator that works as a pipeline."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from fpga_facedet import shell
from fpga_facedet.engines.protocol import Engine
from fpga_facedet.errors import InternalError
from fpga_facedet.manifest import Manifest
from fpga_facedet.software_board.compute import Accepted, Take

_ASSUMED_CLOCK_MHZ = 100.0
_RESET_SECONDS = 0.001
"""How long CONTROL tells of a reset: the hardware's 32 cycles are over before a program could look."""
_WAITING_BEATS = 2
"""Beats that the register in front of the shell takes in of a packet that has not begun (rtl/axis_skid.sv)."""


def golden_compute(engine: Engine, *, frame_seconds: float = 0.0, interval_seconds: float = 0.0) -> "GoldenCompute":
    """Return a compute whose frames `engine` computes; it is not closed with the board.

    A frame's result begins `frame_seconds` after its first beat, and the results of frames that come close upon each
    other `interval_seconds` apart, where the engine is fast enough: modelled time, no evidence of any hardware's.
    """
    return GoldenCompute(engine, frame_seconds, interval_seconds)


@dataclass(eq=False)
class _Frame:
    pixels: bytes
    begun: float


class GoldenCompute:
    """The shell's rules (docs/shell.md) without its cycles: a packet goes in evenly, a result comes out at once.

    A test compares it with the shell's RTL. Two threads: one takes packets in, one computes; both end with `stop`.
    """

    def __init__(self, engine: Engine, frame_seconds: float, interval_seconds: float) -> None:
        self.manifest: Manifest = engine.manifest
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._engine = engine
        self._threads: list[threading.Thread] = []
        self._run = 0
        self.failure: BaseException | None = None
        self.set_time(frame_seconds, interval_seconds)
        self._forget()

    def set_time(self, frame_seconds: float, interval_seconds: float) -> None:
        """Change the modelled time of a frame and the interval between frames, both in seconds."""
        with self.lock:
            self.frame_seconds, self.interval_seconds = frame_seconds, interval_seconds
            # What is inside while the pipeline is full, and the result that waits at its end.
            self._room = 1 + max(1, math.ceil(frame_seconds / interval_seconds) if interval_seconds else 1)
            self._changed.notify_all()

    def _forget(self) -> None:
        self._packet, self._passed, self._feeding = b"", 0, False
        self._waiting = b""
        self._accepted: Accepted | None = None
        self._frame, self._begun_at, self._feeding_since = bytearray(), 0.0, 0.0
        self._in_packet = self._dropping = False
        self._filling_until = self._resetting_until = -math.inf
        self._inside: deque[_Frame] = deque()
        self._result: bytes | None = None
        self._owner: _Frame | None = None
        self._take: Take | None = None
        self._armed_at = 0.0
        self._errors = self._frames_in = self._frames_out = 0
        self._frame_cycles = self._interval_cycles = self._high = 0
        self._last_in = self._last_out = -math.inf
        self._zero = time.monotonic()

    def start(self) -> None:
        """Begin anew; see Compute."""
        self.stop()
        self._forget()
        self._run += 1
        for work in (self._feed, self._work):
            thread = threading.Thread(target=self._guard, args=(work, self._run), daemon=True, name=work.__name__)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End both threads; see Compute. They notice when they next get the lock."""
        self._run += 1
        self._threads.clear()
        self._changed.notify_all()

    # Registers

    def read(self, offset: int) -> int:
        """Return a register; see Compute."""
        if offset == shell.REG_CONTROL:
            return int(self._resetting)
        if offset == shell.REG_CYCLES_LOW:
            cycles = self._cycles(time.monotonic() - self._zero)
            self._high = cycles >> 32
            return cycles & 0xFFFF_FFFF
        for base, digest in self._hashes().items():
            if base <= offset < base + 4 * shell.HASH_WORDS:
                return shell.hash_words(digest)[(offset - base) // 4]
        registers = {
            shell.REG_ID: shell.ID,
            shell.REG_VERSION: shell.VERSION,
            shell.REG_STATUS: self._status(),
            shell.REG_ERRORS: self._errors,
            shell.REG_FRAME_PIXELS: shell.frame_bytes(self.manifest) // shell.PIXEL_BYTES,
            shell.REG_OUTPUT_BYTES: shell.output_bytes(self.manifest),
            shell.REG_FRAMES_IN: self._frames_in & 0xFFFF_FFFF,
            shell.REG_FRAMES_OUT: self._frames_out & 0xFFFF_FFFF,
            shell.REG_CYCLES_HIGH: self._high,
            shell.REG_FRAME_CYCLES: self._frame_cycles,
            shell.REG_INTERVAL_CYCLES: self._interval_cycles,
        }
        return registers.get(offset, 0)

    def _hashes(self) -> dict[int, str]:
        files = self.manifest.files
        return {
            shell.REG_MODEL_HASH: self.manifest.model.sha256,
            shell.REG_RTL_HASH: files.get("rtl_sha256", "0" * 64),
        }

    def _cycles(self, seconds: float) -> int:
        return round(seconds * (self.manifest.clock_mhz or _ASSUMED_CLOCK_MHZ) * 1e6)

    @property
    def _resetting(self) -> bool:
        return time.monotonic() < self._resetting_until

    def _status(self) -> int:
        self._pass()
        return (
            shell.STATUS_IN_PACKET * self._in_packet
            | shell.STATUS_OUT_PACKET * (self._result is not None)
            | shell.STATUS_DROPPING * self._dropping
            | shell.STATUS_FILLING * (time.monotonic() < self._filling_until)
        )

    def write(self, offset: int, value: int) -> None:
        """Write a register; see Compute."""
        if offset == shell.REG_ERRORS:
            self._errors &= ~value
        elif offset == shell.REG_CONTROL and value & (shell.RESET_CORE | shell.RESET_ALL):
            self._reset(forget=bool(value & shell.RESET_ALL))
            self._changed.notify_all()

    def _reset(self, forget: bool) -> None:
        self._pass()
        self._resetting_until = time.monotonic() + _RESET_SECONDS
        self._inside.clear()
        self._frame.clear()
        self._filling_until = self._last_out = -math.inf
        if forget:
            self._in_packet = self._dropping = False
            self._waiting, self._result = b"", None
            return
        if self._in_packet:
            self._errors |= shell.ERROR_CUT_INPUT
        self._dropping = self._in_packet
        # Its first beat waits at the output, and a beat that is offered may not change; some results are one beat.
        if self._result is not None and self._owner is not None and len(self._result) > shell.BEAT_BYTES:
            self._errors |= shell.ERROR_CUT_OUTPUT
            self._result = self._result[: shell.BEAT_BYTES].ljust(len(self._result), b"\0")
        self._owner = None

    # Input

    def send(self, packet: bytes, accepted: Accepted) -> None:
        """Offer a packet; see Compute."""
        self._packet, self._accepted = self._waiting + packet, accepted
        self._passed, self._feeding, self._waiting = 0, False, b""
        self._changed.notify_all()

    def cut_input(self) -> None:
        """Keep what has gone in by now, in whole beats; see Compute."""
        if self._accepted is not None:
            self._pass()
            if not self._feeding:
                self._waiting = self._packet[: _WAITING_BEATS * shell.BEAT_BYTES]
        self._packet, self._accepted, self._feeding = b"", None, False
        self._changed.notify_all()

    def _pass(self) -> None:
        """Take in what has gone in by now of the packet that goes in evenly, in whole beats, but not its last one."""
        if not self._feeding or not self.interval_seconds or (self._resetting and not self._dropping):
            return
        share = (time.monotonic() - self._feeding_since) / self.interval_seconds
        beats = min(int(share * len(self._packet) / shell.BEAT_BYTES), (len(self._packet) - 1) // shell.BEAT_BYTES)
        passed = max(beats * shell.BEAT_BYTES, self._passed)
        self._put(self._packet[self._passed : passed], False)
        self._passed = passed

    def _put(self, data: bytes, last: bool) -> None:
        """Take beats in, whole ones but for the last of a packet, by the rules of rtl/shell_input.sv."""
        if not data:
            return
        size = shell.frame_bytes(self.manifest)
        if not self._dropping:
            room = -(-size // shell.BEAT_BYTES) * shell.BEAT_BYTES - len(self._frame)
            self._frame += data[:room]
            ended = last and len(data) <= room
            # The fourth byte of a pixel is nobody's loss.
            pixels_bytes = (len(self._frame) + 1) // shell.PIXEL_BYTES * shell.PIXEL_BYTES
            if pixels_bytes >= size:
                if not ended or pixels_bytes > size:
                    self._errors |= shell.ERROR_LONG_FRAME
                self._dropping = not ended
                self._begin(size)
            elif ended:
                self._errors |= shell.ERROR_SHORT_FRAME
                self._filling_until = time.monotonic() + self.interval_seconds * (size - pixels_bytes) / size
                self._begin(pixels_bytes)
        self._in_packet = not last
        self._dropping = self._dropping and not last
        self._frames_in += last

    def _begin(self, count: int) -> None:
        """Let the frame in: `count` bytes of what has been gathered, and zeros where that is not all."""
        pixels = bytes(self._frame[:count]).ljust(shell.frame_bytes(self.manifest), b"\0")
        self._inside.append(_Frame(pixels, self._begun_at))
        self._frame.clear()
        self._changed.notify_all()

    def _feed(self, run: int) -> None:
        """Take packets in, each over `interval_seconds`, while the shell does."""
        while self._run == run:
            accepted, now = self._accepted, time.monotonic()
            offered = accepted is not None or self._waiting
            if not offered or (len(self._inside) >= self._room and not self._in_packet):
                self._changed.wait()
                continue
            # What is dropped goes on in a reset.
            closed = max(self._filling_until, -math.inf if self._dropping else self._resetting_until)
            begun = max(self._last_in + self.interval_seconds, closed)
            if now < begun:
                self._changed.wait(begun - now)
                continue
            if not self._in_packet:
                self._begun_at = now
            if accepted is None:
                waiting, self._waiting = self._waiting, b""
                self._put(waiting, False)
                continue
            self._last_in = self._feeding_since = now
            self._feeding = True
            if self._wait_until(now + self.interval_seconds, partial(self._offers, accepted), run):
                rest = self._packet[self._passed :]
                self._packet, self._accepted, self._feeding = b"", None, False
                self._put(rest, True)
                accepted()
                self._changed.notify_all()

    def _offers(self, accepted: Accepted) -> bool:
        return self._accepted is accepted and self._feeding

    # Output

    def arm(self, take: Take, delay: float = 0.0) -> None:
        """Let results out; see Compute."""
        self._take, self._armed_at = take, time.monotonic() + delay
        self._changed.notify_all()

    def disarm(self) -> None:
        """Hold results back; see Compute."""
        self._take = None

    def _work(self, run: int) -> None:
        """Compute the frames inside, oldest first, and let each result out in its time."""
        while self._run == run:
            if not self._inside and self._result is None:
                self._changed.wait()
                continue
            if self._result is None:
                self._compute(self._inside[0], run)
            else:
                self._let_out(run)

    def _compute(self, frame: _Frame, run: int) -> None:
        pixels = np.frombuffer(frame.pixels, np.uint8).reshape(
            1, self.manifest.input.height, self.manifest.input.width, shell.PIXEL_BYTES
        )
        self.lock.release()
        try:
            raw = self._engine.infer(np.ascontiguousarray(pixels[..., :3]))
        finally:
            self.lock.acquire()

        ready = max(frame.begun + self.frame_seconds, self._last_out + self.interval_seconds)
        if self._wait_until(ready, lambda: bool(self._inside) and self._inside[0] is frame, run):
            self._owner = frame
            self._result = raw.tobytes().ljust(shell.result_bytes(self.manifest), b"\0")

    def _let_out(self, run: int) -> None:
        while self._take is None and self._result is not None and self._run == run:
            self._changed.wait()
        take, result = self._take, self._result
        if (
            result is None
            or take is None
            or not self._wait_until(self._armed_at, lambda: self._take is take and self._result is result, run)
        ):
            return
        self._result = None
        self._frames_out += 1
        now = time.monotonic()
        # A reset empties the inside: what is completed after it is nobody's and is not measured.
        if self._inside and self._inside[0] is self._owner:
            frame = self._inside.popleft()
            self._frame_cycles = self._cycles(now - frame.begun) & 0xFFFF_FFFF
            since = now - self._last_out
            if math.isfinite(since):
                self._interval_cycles = self._cycles(since) & 0xFFFF_FFFF
            self._last_out = now
        take(result, True)
        self._changed.notify_all()

    # Threads

    def _wait_until(self, moment: float, wanted: Callable[[], bool], run: int) -> bool:
        """Wait with the lock given up; return whether `moment` came while `wanted()` still held."""
        while self._run == run and wanted():
            left = moment - time.monotonic()
            if left <= 0:
                return True
            self._changed.wait(left)
        return False

    def _guard(self, work: Callable[[int], None], run: int) -> None:
        try:
            with self.lock:
                work(run)
        except BaseException as error:
            self.failure = InternalError(f"The software board's engine {self._engine.name} failed: {error}")
            self.failure.__cause__ = error
