"""The whole hardware of an overlay, simulated cycle by cycle behind the ports that a DMA and a processor see.

`compile_shell` needs Verilator and a compiler; what it returns runs anywhere, with neither.
"""

import contextlib
import os
import struct
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from fpga_facedet import shell
from fpga_facedet.compiler.overlay_top import write_overlay_top
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import Manifest
from fpga_facedet.progress import Progress
from fpga_facedet.simulation.verilator import EXECUTABLE, SimulationError, build_model, gist

DRIVER = Path(__file__).with_name("shell_driver.cpp")
LONGEST_PAUSE = 64

_READ, _WRITE, _SEND, _STEP, _RECEIVE, _RUN_TO_OUTPUT, _PAUSE, _FLUSH_INPUT, _OUTPUT_READY, _RESET = range(1, 11)
_REQUEST, _ANSWER = struct.Struct("<5Q"), struct.Struct("<2Q")
_SAID_BYTES = 1 << 16


def compile_shell(accelerator: Path, workdir: Path, progress: Progress | None = None) -> "SimulatedShell":
    """Build the simulator of the accelerator folder `accelerator` with its board shell, or find it built in `workdir`.

    Building takes from ten seconds to some minutes. Raises UserError where the folder is no accelerator or Verilator,
    g++ or make is missing, and InternalError with Verilator's words where the sources do not compile.
    """
    # Its sources and the memories that it reads; other accelerators may have theirs in the same place.
    digest = Manifest.load(accelerator).files.get("rtl_sha256", "")
    folder = Path(workdir) / f"overlay-{digest[:16]}"
    sources = write_overlay_top(Path(accelerator), folder)
    place = build_model(sources, shell.TOP, Path(workdir), DRIVER, {}, progress=progress)
    return SimulatedShell(place / EXECUTABLE, folder)


@dataclass(frozen=True)
class SimulatedShell:
    """A built simulator: its executable and the folder from which it reads the memories (*.dat)."""

    executable: Path
    data_dir: Path

    def start(self, seed: int = 0) -> "ShellProcess":
        """Start it, out of reset; registers and memories without a given value begin with random ones by `seed`."""
        return ShellProcess(self, seed)


class ShellProcess:
    """A running simulator. Time passes only in its methods, and while a register is read or written.

    All methods wait until what they ask for is done. Several threads may call them; the calls go one after the other.
    The process checks the rules of AXI at all ports, and the hardware's own assertions. Where one fails, and where the
    process ends for whatever reason, that call and all later ones raise SimulationError with its words.
    """

    def __init__(self, simulated: SimulatedShell, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._failure = ""
        command = [os.fspath(Path(simulated.executable).resolve()), str(seed % 1_000_000_007)]
        try:
            self._child = subprocess.Popen(
                command,
                cwd=simulated.data_dir,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        except OSError as error:
            self._said.close()
            raise UserError(
                f"Cannot start {error.filename or command[0]}: {error.strerror}; build the simulator again."
            ) from error
        # It says at once what memory it cannot read.
        try:
            self.step(0)
        except BaseException:
            self.close()
            raise
        if "$readmem" in (said := gist(self._words())):
            self.close()
            raise SimulationError(f"The simulated shell failed: {said}.")

    def read(self, offset: int, *, answer_delay: int = 0) -> int:
        """Return the register at `offset` bytes; the answer is taken after `answer_delay` cycles."""
        return self._ask(_READ, offset, answer_delay)[0]

    def write(
        self,
        offset: int,
        value: int,
        *,
        strobes: int = 0b1111,
        address_delay: int = 0,
        data_delay: int = 0,
        answer_delay: int = 0,
    ) -> None:
        """Write 32 bits to the register at `offset` bytes, of them the bytes that `strobes` has a bit for.

        Address and data come after as many cycles of their own, the answer is taken after `answer_delay` more.
        """
        self._ask(_WRITE, offset, value | strobes << 32, address_delay | data_delay << 32, answer_delay)

    def send(self, data: bytes, last: bool = True, *, keeps: "bytes | None" = None) -> None:
        """Queue bytes for the input, 8 a beat, TLAST with the last of them if `last`; no time passes.

        TKEEP is all ones, in the last beat for the bytes that there are; or `keeps`, a byte for each beat.
        """
        if last and not data:
            raise InternalError("A packet of no bytes has no beat to end with.")
        if keeps is not None and len(keeps) != -(-len(data) // shell.BEAT_BYTES):
            raise InternalError(f"There are {len(keeps)} keeps for the beats of {len(data)} bytes.")
        self._ask(_SEND, len(data), int(last), len(keeps or b""), payload=data + (keeps or b""))

    def step(self, cycles: int) -> None:
        """Let so many clock cycles pass."""
        self._ask(_STEP, cycles)

    def receive(self, max_bytes: int) -> tuple[bytes, bool]:
        """Return at most `max_bytes` of what has come out, up to the end of a packet, and whether that was its end."""
        ended, data = self._ask(_RECEIVE, max_bytes)
        return data, bool(ended)

    def run_until_output(self, max_cycles: int) -> bool:
        """Let cycles pass until a packet that has come out to its end waits to be received; return whether one does."""
        return bool(self._ask(_RUN_TO_OUTPUT, max_cycles)[0])

    def pause(self, in_share: float, out_share: float, seed: int = 0) -> None:
        """Let the input offer nothing, and the output take nothing, in these shares of the cycles from now on.

        0 <= share < 1. Pauses last 1 to LONGEST_PAUSE cycles and follow from `seed` alone.
        """
        if not (0 <= in_share < 1 and 0 <= out_share < 1):
            raise InternalError(f"The streams cannot pause for {in_share} and {out_share} of the time.")
        self._ask(_PAUSE, int(in_share * 2**32), int(out_share * 2**32), seed, LONGEST_PAUSE)

    def flush_input(self) -> None:
        """Do what a reset of the DMA does to the input: the beats that are queued vanish, and so does one on offer."""
        self._ask(_FLUSH_INPUT)

    def output_ready(self, ready: bool) -> None:
        """Say whether the DMA takes what comes out, which it does at first."""
        self._ask(_OUTPUT_READY, int(ready))

    def reset(self) -> None:
        """Reset the hardware; what was queued and what was not received yet is gone."""
        self._ask(_RESET)

    def close(self) -> None:
        """End the process; harmless when it has ended."""
        with self._lock:
            self._failure = self._failure or "The simulated shell was closed."
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                # What the process has not read stays in the buffer, and closing would try to write it.
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            self._said.close()

    def __enter__(self) -> "ShellProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, operation: int, *arguments: int, payload: bytes = b"") -> tuple[int, bytes]:
        """Send a request and return its answer: a value and bytes."""
        request = _REQUEST.pack(operation, *arguments, *(4 - len(arguments)) * (0,))
        with self._lock:
            if self._failure:
                raise SimulationError(self._failure)
            whole = False
            try:
                answer = self._exchange(request, payload)
                whole = answer is not None
            finally:
                # After an interrupt, answers would belong to other requests.
                if not whole:
                    self._give_up()
            if answer is None:
                raise SimulationError(self._failure)
            return answer

    def _exchange(self, request: bytes, payload: bytes) -> "tuple[int, bytes] | None":
        """Send a request and return its answer, None where the process has ended."""
        to_child, from_child = self._child.stdin, self._child.stdout
        assert to_child and from_child
        with contextlib.suppress(BrokenPipeError):
            to_child.write(request)
            to_child.write(payload)
            to_child.flush()
        head = from_child.read(_ANSWER.size)
        if len(head) < _ANSWER.size:
            return None
        value, length = _ANSWER.unpack(head)
        data = from_child.read(length)
        return (value, data) if len(data) == length else None

    def _give_up(self) -> None:
        """End the process and keep why it failed."""
        self._child.kill()
        code = self._child.wait()
        message = gist(self._words()) or f"it ended with code {code} and said nothing"
        self._failure = f"The simulated shell failed: {message}."

    def _words(self) -> "list[str]":
        """Return what the process has said, of which the first and the last lines are enough."""
        size = os.fstat(self._said.fileno()).st_size
        said = os.pread(self._said.fileno(), _SAID_BYTES, 0)
        if size > _SAID_BYTES:
            said += os.pread(self._said.fileno(), _SAID_BYTES, max(_SAID_BYTES, size - _SAID_BYTES))
        return said.decode(errors="replace").splitlines()
