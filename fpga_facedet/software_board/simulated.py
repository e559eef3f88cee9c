"""The board shell as it is: the overlay's Verilog with its accelerator, simulated cycle by cycle by Verilator."""

import threading
import time
from typing import TYPE_CHECKING

from fpga_facedet import shell
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import Manifest
from fpga_facedet.software_board.compute import Accepted, Take

if TYPE_CHECKING:
    from fpga_facedet.simulation.shell import ShellProcess, SimulatedShell

CHUNK_CYCLES = 2000
"""Cycles simulated at a stretch; a register can be read in between."""
_BREATH_SECONDS = 1e-4


def shell_compute(simulated: "SimulatedShell", manifest: Manifest) -> "ShellCompute":
    """Return a compute that simulates the shell and the accelerator of `manifest`, built by `compile_shell`.

    Time passes where somebody waits for it: while a packet goes in, and while a result that is due may come out.
    """
    return ShellCompute(simulated, manifest)


class ShellCompute:
    """The simulated hardware between the DMA's two channels; see Compute. One thread lets its cycles pass."""

    def __init__(self, simulated: "SimulatedShell", manifest: Manifest) -> None:
        self.manifest = manifest
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._simulated = simulated
        self._process: ShellProcess | None = None
        self._run = 0
        self.failure: BaseException | None = None
        self._forget()

    def _forget(self) -> None:
        self._accepted: Accepted | None = None
        self._take: Take | None = None
        self._armed_at = 0.0
        self._frames_in = self._inside = 0

    def set_time(self, frame_seconds: float, interval_seconds: float) -> None:
        """Refuse: the simulated hardware has its own time."""
        raise UserError(
            f"A simulated shell takes its own time, not {frame_seconds:g} s a frame or {interval_seconds:g} s between "
            "frames; leave both away, or use golden_compute."
        )

    def start(self) -> None:
        """Configure: start the simulator, from its reset; see Compute."""
        self.stop()
        self._forget()
        self.failure = None
        self._run += 1
        self._process = self._simulated.start()
        # Results come out in `_step` alone, so that none lies between the hardware and a DMA that is then reset.
        self._process.output_ready(False)
        threading.Thread(target=self._simulate, args=(self._run,), daemon=True, name="simulated shell").start()

    def stop(self) -> None:
        """End the simulator; see Compute."""
        self._run += 1
        if self._process is not None:
            self._process.close()
            self._process = None
        self._changed.notify_all()

    @property
    def _running(self) -> "ShellProcess":
        if self._process is None:
            raise InternalError("The simulated shell was used before an overlay was loaded.")
        return self._process

    def read(self, offset: int) -> int:
        """Read a register over AXI-Lite, which takes some cycles; see Compute."""
        return self._running.read(offset)

    def write(self, offset: int, value: int) -> None:
        """Write a register over AXI-Lite; see Compute."""
        self._running.write(offset, value)
        if offset == shell.REG_CONTROL and value & (shell.RESET_CORE | shell.RESET_ALL):
            # All frames inside are lost, but for a result that has begun and is to be completed.
            self._inside = int(bool(self._running.read(shell.REG_STATUS) & shell.STATUS_OUT_PACKET))
            self._changed.notify_all()

    def send(self, packet: bytes, accepted: Accepted) -> None:
        """Queue a packet; see Compute."""
        self._running.send(packet)
        self._accepted = accepted
        self._changed.notify_all()

    def cut_input(self) -> None:
        """Take the rest of the packet away; see Compute."""
        self._accepted = None
        if self._process is not None:
            self._process.flush_input()

    def arm(self, take: Take, delay: float = 0.0) -> None:
        """Let results out; see Compute."""
        self._take, self._armed_at = take, time.monotonic() + delay
        self._changed.notify_all()

    def disarm(self) -> None:
        """Hold results back; see Compute."""
        self._take = None

    def _simulate(self, run: int) -> None:
        """Let cycles pass while somebody waits for them."""
        try:
            while self._run == run:
                with self.lock:
                    if self._run == run and not self._step():
                        self._changed.wait()
                # Else this thread would have the lock again before one that waits for it.
                time.sleep(_BREATH_SECONDS)
        except BaseException as error:
            if self._run == run:
                self.failure = error

    def _step(self) -> bool:
        """Simulate a chunk, pass on what comes of it, and return whether there was anything to wait for."""
        due = self._take is not None and self._inside > 0
        if self._accepted is None and not due:
            return False
        process = self._running
        process.output_ready(due and time.monotonic() >= self._armed_at)
        # Stops behind the end of a packet: nothing of the next one comes out before the DMA is told to take it.
        process.run_until_output(CHUNK_CYCLES)
        process.output_ready(False)
        self._note_input(process)
        self._pass_on(process)
        return True

    def _note_input(self, process: "ShellProcess") -> None:
        """Tell of a packet that has gone in, before any result of the same chunk: a frame goes in, then comes out."""
        # Packets taken to their end, whether or not we knew of them.
        ended = process.read(shell.REG_FRAMES_IN)
        if ended != self._frames_in:
            self._inside += ended - self._frames_in & 0xFFFF_FFFF
            self._frames_in = ended
            accepted, self._accepted = self._accepted, None
            if accepted is not None:
                accepted()

    def _pass_on(self, process: "ShellProcess") -> None:
        # What was told of the input, or of a result, may have cut the power.
        while self._take is not None and self._process is process:
            data, last = process.receive(shell.result_bytes(self.manifest))
            if not data:
                return
            self._inside -= last
            self._take(data, last)
