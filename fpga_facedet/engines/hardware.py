"""The overlay's hardware as the board engine uses it: two DMA channels and the shell, through the real pynq.

Registers and bits of the DMA are those of AXI DMA v7.1 in simple mode (AMD PG021, "Register Space"). pynq is imported
only when hardware is opened.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from fpga_facedet import shell
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import Figure, Manifest

SEND_TITLE = "MM2S (frame to accelerator)"
RECEIVE_TITLE = "S2MM (results)"

# Offsets within a channel, and bits.
_CONTROL, _STATUS, _LENGTH = 0x00, 0x04, 0x28
_RUN, _RESET, _DONE_INTERRUPT, _ERROR_INTERRUPT = 0x1, 0x4, 0x1000, 0x4000
_HALTED, _IDLE, _ERRORS, _ALL_INTERRUPTS = 0x1, 0x2, 0x70, 0x7000
_ALL_ONES = 0xFFFF_FFFF
"""What a bus reads where nothing answers: the status registers have bits that are always 0."""

_DMA_BITS = {
    _HALTED: "halted",
    _IDLE: "idle",
    0x10: "DMAIntErr (a write to memory failed, or the packet was longer than its buffer)",
    0x20: "DMASlvErr (memory answered with an error)",
    0x40: "DMADecErr (no memory at the buffer's address)",
}
_STATUS_BITS = {
    shell.STATUS_IN_PACKET: "a frame has begun and not ended",
    shell.STATUS_OUT_PACKET: "a result has begun and not ended",
    shell.STATUS_DROPPING: "input is being dropped",
    shell.STATUS_FILLING: "a short frame is being filled up",
}
_ERROR_BITS = {
    shell.ERROR_SHORT_FRAME: "ERROR_SHORT_FRAME (a packet ended before its frame was full)",
    shell.ERROR_LONG_FRAME: "ERROR_LONG_FRAME (a packet went on past the end of its frame)",
    shell.ERROR_CUT_INPUT: "ERROR_CUT_INPUT (a reset dropped the rest of a packet)",
    shell.ERROR_CUT_OUTPUT: "ERROR_CUT_OUTPUT (a reset completed a result with zeros)",
}
_RESET_SECONDS = 0.2
"""A reset takes microseconds; one that takes this long does not end."""


class HardwareFaultError(InternalError):
    """Something on the board went wrong that a reset may cure; the message names the channel and its state.

    `channel` is the one it happened on, if any. The message has no full stop: others take it in.
    """

    def __init__(self, message: str, channel: "Channel | None" = None) -> None:
        super().__init__(message)
        self.channel = channel


class HardwareGoneError(InternalError):
    """The accelerator that was opened does not answer any more: a reset cannot help."""


@dataclass(frozen=True)
class Channel:
    """One direction of the DMA: pynq's driver of it, and its registers from `offset` on."""

    title: str
    offset: int
    driver: Any
    registers: Any
    interrupt: Any
    """pynq's Interrupt, or None where the overlay has none or Linux offers no device for it."""

    def finished(self) -> bool:
        """Return whether the transfer that was started has ended; HardwareFaultError where it failed."""
        status = self.status()
        if status == _ALL_ONES or status & (_ERRORS | _HALTED):
            raise HardwareFaultError(f"The board's DMA channel {self.title} failed: {self.describe(status)}", self)
        return bool(status & _IDLE)

    def start(self, buffer: Any) -> None:
        """Start moving all of `buffer`, which nothing of is left in the cache. The channel must be idle."""
        try:
            self.driver.transfer(buffer)
        except RuntimeError as error:
            raise HardwareFaultError(
                f"The board's DMA channel {self.title} takes no transfer ({error}): {self.describe()}", self
            ) from error

    def run(self) -> None:
        """Let the channel run after a reset, its interrupts on where it has one."""
        interrupts = _DONE_INTERRUPT | _ERROR_INTERRUPT if self.interrupt is not None else 0
        self.registers.write(self.offset + _CONTROL, _RUN | interrupts)
        _until(lambda: not self.status() & _HALTED, f"The board's DMA channel {self.title} does not start")
        # pynq's note that the idle bit says nothing before the first transfer.
        self.driver._first_transfer = True

    def clear_interrupt(self) -> None:
        """Take the channel's interrupt line down: finished, delayed and failed alike."""
        self.registers.write(self.offset + _STATUS, _ALL_INTERRUPTS)

    def moved(self) -> int:
        """Return how many bytes the finished transfer moved (S2MM: what came in before TLAST)."""
        return int(self.registers.read(self.offset + _LENGTH))

    def status(self) -> int:
        """Return register DMASR."""
        return int(self.registers.read(self.offset + _STATUS))

    def describe(self, status: int | None = None) -> str:
        """Return the state in words, for a message."""
        status = self.status() if status is None else status
        if status == _ALL_ONES:
            return "DMASR reads 0xffffffff, nothing answers there"
        return f"DMASR {status:#x}: {_spell(status, _DMA_BITS) or 'running, not idle'}"


class Hardware:
    """The DMA and the shell of a loaded overlay that runs the manifest's accelerator.

    Made in the thread that waits for interrupts: pynq binds them to the event loop that runs there. Raises UserError
    where the overlay is not this manifest's.
    """

    def __init__(self, overlay: Any, manifest: Manifest) -> None:
        import pynq

        self._overlay, self._manifest = overlay, manifest
        self._detector = _registers(pynq, overlay, shell.DETECTOR_CELL)
        self._dma = _registers(pynq, overlay, shell.DMA_CELL)
        self.check_identity()
        # Before pynq's driver, which would wait for ever on a channel that an earlier program left halted.
        self._reset_registers()
        driver = _dma_driver(overlay, manifest)
        # pynq would flush inside `transfer`, while the accelerator waits; the engine does it earlier.
        driver.sendchannel._flush_before = False
        interrupts = (driver.sendchannel._interrupt, driver.recvchannel._interrupt)
        self.driver = driver
        self.send = Channel(SEND_TITLE, 0x00, driver.sendchannel, self._dma, interrupts[0])
        self.receive = Channel(RECEIVE_TITLE, 0x30, driver.recvchannel, self._dma, interrupts[1])
        self.send.run()
        self.receive.run()

    def allocate(self, shape: tuple[int, ...]) -> Any:
        """Return a cacheable buffer of uint8 `shape` that the DMA can reach, clean in the cache."""
        import pynq

        try:
            buffer = pynq.allocate(shape, np.uint8, target=self._overlay.device, cacheable=1)
        except (RuntimeError, MemoryError) as error:
            size = int(np.prod(shape))
            raise UserError(
                f"The board has no {size:,} bytes of contiguous memory left for a buffer ({error}); close other "
                "notebooks, or restart the board."
            ) from error
        buffer[:] = 0
        # A dirty line that the cache wrote back later would land on top of what the DMA has written.
        buffer.flush()
        return buffer

    def check_identity(self) -> None:
        """Raise UserError unless shell, sizes and hashes are the manifest's."""
        found = self._read(shell.REG_ID)
        if found != shell.ID:
            raise UserError(
                f"The hardware answers with the ID {found:#010x}, a facedet overlay has {shell.ID:#010x}; load an "
                "overlay of facedet."
            )
        version = self._read(shell.REG_VERSION)
        if version >> 16 != shell.VERSION >> 16:
            raise UserError(
                f"The overlay's shell has version {version >> 16}.{version & 0xFFFF}, this program drives "
                f"{shell.VERSION >> 16}.x; build the overlay again (facedet overlay build)."
            )
        pixels = self._manifest.input.height * self._manifest.input.width
        again = "load the overlay that belongs to this manifest, or build it again (facedet overlay build)"
        self._expect(shell.REG_FRAME_PIXELS, pixels, "takes frames of this many pixels:", again)
        self._expect(shell.REG_OUTPUT_BYTES, shell.output_bytes(self._manifest), "gives this many bytes:", again)
        self._expect_hash(shell.REG_MODEL_HASH, self._manifest.model.sha256, "model")
        rtl = self._manifest.files.get("rtl_sha256")
        if rtl is not None:
            self._expect_hash(shell.REG_RTL_HASH, rtl, "RTL")

    def reset(self) -> None:
        """Reset the DMA and the shell, and let both channels run: everything in progress is forgotten.

        Raises HardwareGoneError where the hardware is not the one that was opened, HardwareFaultError where a reset
        does not end.
        """
        self._still_there()
        self._reset_registers()
        self.send.run()
        self.receive.run()

    def stop(self) -> bool:
        """Stop both channels for good; return whether the DMA surely writes no more.

        Where another overlay is loaded its registers are left alone: there may be nothing at these addresses.
        """
        if not self._overlay.is_loaded():
            return True
        try:
            self._reset_registers()
        except HardwareFaultError:
            return not self._answers()
        return True

    def take_errors(self) -> str:
        """Return the shell's errors in words, empty without any, and clear them.

        HardwareFaultError where the register reads all ones, as one does whose power has just been cut.
        """
        errors = self._read(shell.REG_ERRORS)
        if errors == _ALL_ONES:
            raise HardwareFaultError("The overlay's shell: ERRORS reads 0xffffffff, nothing answers there")
        if errors:
            self._detector.write(shell.REG_ERRORS, errors)
        return _spell(errors, _ERROR_BITS)

    def sending_result(self) -> bool:
        """Return whether the shell is in the middle of a result."""
        return bool(self._read(shell.REG_STATUS) & shell.STATUS_OUT_PACKET)

    def describe(self) -> str:
        """Return the state of both channels and the shell in words, for a message."""
        status, errors = self._read(shell.REG_STATUS), self._read(shell.REG_ERRORS)
        return (
            f"MM2S {self.send.describe()}; S2MM {self.receive.describe()}; shell STATUS {status:#x}"
            f" ({_spell(status, _STATUS_BITS) or 'nothing in progress'}), ERRORS {errors:#x}"
            f" ({_spell(errors, _ERROR_BITS) or 'none'}), {self._read(shell.REG_FRAMES_IN)} frames in,"
            f" {self._read(shell.REG_FRAMES_OUT)} results out since reset"
        )

    def counters(self) -> dict[str, int]:
        """Return the shell's counters by their registers' names, since its last reset; none where it is gone."""
        if not self._answers():
            return {}
        cycles = self._read(shell.REG_CYCLES_LOW)
        return {
            "frames_in": self._read(shell.REG_FRAMES_IN),
            "frames_out": self._read(shell.REG_FRAMES_OUT),
            "cycles": self._read(shell.REG_CYCLES_HIGH) << 32 | cycles,
            "frame_cycles": self._read(shell.REG_FRAME_CYCLES),
            "interval_cycles": self._read(shell.REG_INTERVAL_CYCLES),
        }

    def version(self) -> str:
        """Return the shell's version, major.minor."""
        version = self._read(shell.REG_VERSION)
        return f"{version >> 16}.{version & 0xFFFF}"

    def figures(self) -> tuple[Figure, ...]:
        """Return the cycles of the latest frame and between the latest two, where something has run.

        Measured on a board; on a software board with the evidence that it claims (attribute `evidence`), if any.
        """
        from pynq.pl_server.embedded_device import EmbeddedDevice

        device = self._overlay.device
        evidence = "measured" if isinstance(device, EmbeddedDevice) else getattr(device, "evidence", None)
        counters = self.counters()
        named = (("latency", "frame_cycles"), ("interval", "interval_cycles"))
        return tuple(
            Figure(name, counters[register], "cycles", evidence)
            for name, register in named
            if evidence and counters.get(register)
        )

    def _answers(self) -> bool:
        return self._read(shell.REG_ID) == shell.ID

    def _still_there(self) -> None:
        """Raise HardwareGoneError unless the accelerator that was opened answers."""
        try:
            self.check_identity()
        except UserError as error:
            raise HardwareGoneError(
                "The accelerator vanished from the board while in use, by a power cut or another program: "
                f"{within(error)}"
            ) from error

    def _reset_registers(self) -> None:
        # The whole DMA is reset by either channel (PG021); both bits fall when it is done.
        self._dma.write(_CONTROL, _RESET)
        _until(
            lambda: not (self._dma.read(_CONTROL) | self._dma.read(0x30 + _CONTROL)) & _RESET,
            "The board's DMA does not end its reset",
        )
        # Only then: a packet that was cut off had no TLAST, and the shell would wait for it.
        self._detector.write(shell.REG_CONTROL, shell.RESET_ALL)
        _until(lambda: not self._read(shell.REG_CONTROL), "The overlay's shell does not end its reset")
        self.take_errors()

    def _read(self, register: int) -> int:
        return int(self._detector.read(register))

    def _expect(self, register: int, wanted: int, what: str, remedy: str) -> None:
        found = self._read(register)
        if found != wanted:
            raise UserError(f"The hardware {what} {found}, the manifest wants {wanted}; {remedy}.")

    def _expect_hash(self, register: int, digest: str, what: str) -> None:
        found = "".join(f"{self._read(register + 4 * word):08x}" for word in range(shell.HASH_WORDS))
        if found != digest[: 8 * shell.HASH_WORDS]:
            raise UserError(
                f"The loaded hardware was built from the {what} {found}, the manifest of {self._manifest.model.name} "
                f"is for {digest[: 8 * shell.HASH_WORDS]}; load the overlay that belongs to this manifest."
            )


def result_of(buffer: Any, manifest: Manifest) -> npt.NDArray[np.int8]:
    """Return a copy of the result in an output buffer, int8 (grid_h, grid_w, C), its padding left out."""
    head = manifest.head
    raw = np.asarray(buffer)[: shell.output_bytes(manifest)].view(np.int8)
    return raw.reshape(head.grid_height, head.grid_width, head.channels).copy()


def within(error: Exception) -> str:
    """Return an error's sentence as the end of another one."""
    text = str(error)
    return text[:1].lower() + text[1:]


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what pynq raises where there is no board, no permission, or no sound overlay, into one sentence."""
    try:
        yield
    except ImportError as error:
        if error.name != "pynq":
            raise UserError(f"This board's pynq does not import ({error}); install pynq again.") from error
        raise UserError(
            "The engine board needs a PYNQ board: there is no package pynq here; on a board use its image's Python "
            "(sudo -i), on a PC the engine golden."
        ) from None
    except ElementTree.ParseError as error:
        raise UserError(
            f"pynq cannot read the overlay's hardware description, its .hwh ({error}); copy the whole folder again."
        ) from error
    except PermissionError as error:
        raise _not_root() from error
    except (OSError, RuntimeError) as error:
        if "Root permissions" in str(error):
            raise _not_root() from error
        if "No Devices Found" in str(error):
            raise UserError(
                "pynq finds no board here; on a PYNQ board use a root shell with its environment (sudo -i), on a PC "
                "the engine golden."
            ) from None
        raise InternalError(f"pynq failed: {error}; restart the board, then load the overlay again.") from error


def _not_root() -> UserError:
    return UserError("The board's hardware is for root alone; use a root shell (sudo -i), or the board's Jupyter.")


def _registers(pynq: Any, overlay: Any, cell: str) -> Any:
    """Return the MMIO of one cell of the overlay."""
    found = overlay.ip_dict.get(cell)
    if found is None:
        names = ", ".join(sorted(overlay.ip_dict)) or "none"
        raise UserError(
            f"The overlay {overlay.bitfile_name} has no cell '{cell}' (its cells: {names}); load an overlay that "
            "facedet overlay build made."
        )
    return pynq.MMIO(found["phys_addr"], found["addr_range"], device=overlay.device)


def _dma_driver(overlay: Any, manifest: Manifest) -> Any:
    """Return pynq's own driver of the DMA, made in this thread; UserError where it cannot carry a frame."""
    from pynq.lib.dma import DMA

    description = {**overlay.ip_dict[shell.DMA_CELL], "device": overlay.device}
    parameters = description.get("parameters", {})
    for name, wanted in (("c_include_mm2s", "1"), ("c_include_s2mm", "1"), ("c_include_sg", "0")):
        if str(parameters.get(name)) != wanted:
            raise UserError(
                f"The overlay's DMA has {name} = {parameters.get(name)} where this program needs {wanted}; build the "
                "overlay again (facedet overlay build)."
            )
    driver = DMA(description)
    size = shell.frame_bytes(manifest)
    if size > driver.buffer_max_size:
        raise UserError(
            f"The overlay's DMA moves at most {driver.buffer_max_size:,} bytes at a time, a frame of "
            f"{manifest.model.name} has {size:,}; build the overlay again (facedet overlay build)."
        )
    return driver


def _until(done: Callable[[], bool], what: str) -> None:
    """Wait for `done`; HardwareFaultError that begins with `what` after _RESET_SECONDS."""
    end = time.monotonic() + _RESET_SECONDS
    while True:
        # Read before the look: where Linux lets this thread wait after it, what was seen says nothing about now.
        late = time.monotonic() > end
        if done():
            return
        if late:
            raise HardwareFaultError(f"{what} within {_RESET_SECONDS} s")
        time.sleep(0.0001)


def _spell(value: int, names: dict[int, str]) -> str:
    return ", ".join(name for bit, name in names.items() if value & bit)
