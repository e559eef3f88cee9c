"""The AXI DMA in direct register mode, as its product guide says: PG021, AXI DMA v7.1, "Register Space" and
"Programming Sequence, Direct Register Mode (Simple DMA)".

Modelled strictly: what the guide leaves undefined, or says has no effect so that a driver would wait for ever, raises
Misuse. Not modelled: keyhole, scatter-gather, the few beats that the real S2MM channel takes in before it is told to.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fpga_facedet.software_board.compute import Compute
from fpga_facedet.software_board.faults import Faults
from fpga_facedet.software_board.memory import BusError, Memory

# Offsets in a channel's half of the register space: MM2S begins at 0x00, S2MM at 0x30.
DMACR, DMASR, ADDRESS, ADDRESS_MSB, LENGTH = 0x00, 0x04, 0x18, 0x1C, 0x28
S2MM_OFFSET = 0x30

CR_RUN = 1 << 0
CR_RESET = 1 << 2
CR_IOC_ENABLE = 1 << 12
CR_ERROR_ENABLE = 1 << 14
_CR_RESET_VALUE = 0x0001_0002
_CR_THRESHOLD = 0xFF << 16
"""The interrupt threshold, at least 1: writing 0 leaves it as it is."""
_CR_WRITABLE = CR_RUN | CR_IOC_ENABLE | 1 << 13 | CR_ERROR_ENABLE | _CR_THRESHOLD | 0xFF << 24

SR_HALTED = 1 << 0
SR_IDLE = 1 << 1
SR_INTERNAL_ERROR = 1 << 4
SR_SLAVE_ERROR = 1 << 5
SR_DECODE_ERROR = 1 << 6
SR_IOC = 1 << 12
SR_ERROR = 1 << 14
_SR_ERRORS = SR_INTERNAL_ERROR | SR_SLAVE_ERROR | SR_DECODE_ERROR
_SR_RESET_VALUE = 0x0001_0000 | SR_HALTED
_SR_WRITE_TO_CLEAR = SR_IOC | 1 << 13 | SR_ERROR


class Misuse(Exception):  # noqa: N818 - what a driver did, not what the model could not do
    """A driver did what the hardware's documents leave undefined, or what would make it wait for ever."""


@dataclass(frozen=True)
class DmaParameters:
    """How the DMA was configured: bits of its length registers, bytes of a beat, and whether it has a realignment
    engine for each channel (DRE).
    """

    length_bits: int
    beat_bytes: int
    send_realigns: bool = False
    receive_realigns: bool = False

    @classmethod
    def of_cell(cls, parameters: dict[str, Any]) -> "DmaParameters":
        """Read a cell's parameters as pynq gives them from the .hwh, lower-case names to texts."""
        return cls(
            int(parameters["c_sg_length_width"]),
            int(parameters["c_m_axi_mm2s_data_width"]) // 8,
            bool(int(parameters.get("c_include_mm2s_dre", 0))),
            bool(int(parameters.get("c_include_s2mm_dre", 0))),
        )


@dataclass(frozen=True)
class Parts:
    """What the DMA is connected to; `changed` is called when a transfer ends, on whatever thread ends it."""

    memory: Memory
    compute: Compute
    faults: Faults
    changed: Callable[[], None]


class Channel(ABC):
    """What both channels have in common: the registers, starting, completing and failing.

    `started` and `done` count transfers since the board was made, and so number the frames. Callers hold the board's
    lock, but for reading the status, which a spinning driver does without end.
    """

    name = ""

    def __init__(
        self, parameters: DmaParameters, realigns: bool, parts: "Parts", counts: tuple[int, int] = (0, 0)
    ) -> None:
        self.parameters, self.realigns = parameters, realigns
        self.memory, self.compute, self.faults, self.changed = parts.memory, parts.compute, parts.faults, parts.changed
        self.started, self.done = counts
        self.reset()

    def reset(self) -> None:
        """Take all registers to their reset state; a transfer in progress is forgotten."""
        self.control, self.status = _CR_RESET_VALUE, _SR_RESET_VALUE
        self.address = self.address_msb = self.length = 0
        self.busy = self.muted = self.tells_reset = False

    @property
    def interrupt(self) -> bool:
        """The level of the channel's introut."""
        wanted = (self.status & SR_IOC and self.control & CR_IOC_ENABLE) or (
            self.status & SR_ERROR and self.control & CR_ERROR_ENABLE
        )
        return bool(wanted) and not self.muted

    def read(self, offset: int) -> int:
        """Return a register; those that direct register mode does not have read 0."""
        if offset == DMACR:
            # The first look after a reset still finds it going on, so that a driver has to wait for its end.
            told, self.tells_reset = self.tells_reset, False
            return self.control | (CR_RESET if told else 0)
        registers = {DMASR: self.status, ADDRESS: self.address, ADDRESS_MSB: self.address_msb, LENGTH: self.length}
        return registers.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register but for the reset bit, which is the whole DMA's; Misuse where that is undefined."""
        if offset == DMACR:
            self._control(value)
        elif offset == DMASR:
            self.status &= ~(value & _SR_WRITE_TO_CLEAR)
            self.muted = self.muted and bool(self.status & SR_IOC)
        elif offset in (ADDRESS, ADDRESS_MSB, LENGTH):
            if self.busy:
                raise Misuse(f"{self.name}: register 0x{offset:02x} was written during a transfer")
            if offset == LENGTH:
                self._start(value)
            else:
                setattr(self, "address" if offset == ADDRESS else "address_msb", value)
        else:
            raise Misuse(f"{self.name}: register 0x{offset:02x} was written, which simple mode does not have")

    def _control(self, value: int) -> None:
        if value & CR_RUN and self.status & _SR_ERRORS:
            raise Misuse(f"{self.name}: started after an error, from which only a reset leads back")
        if not value & _CR_THRESHOLD:
            value |= self.control & _CR_THRESHOLD
        self.control = _CR_RESET_VALUE & ~_CR_WRITABLE | value & _CR_WRITABLE
        if value & CR_RUN:
            self.status &= ~SR_HALTED
        elif not self.status & SR_HALTED:
            # PG021, DMACR.RS: in direct register mode what is pending may be finished or thrown away, and a packet
            # may be broken off. Here it is always broken off.
            self.status = self.status & ~SR_IDLE | SR_HALTED
            self.abort()

    def _start(self, value: int) -> None:
        """A write to LENGTH starts the transfer; it is as wide as C_SG_LENGTH_WIDTH and loses what is above."""
        length = value & (1 << self.parameters.length_bits) - 1
        address = self.address_msb << 32 | self.address
        if self.status & SR_HALTED:
            raise Misuse(f"{self.name}: LENGTH was written while the channel was halted, which has no effect")
        if not length:
            raise Misuse(
                f"{self.name}: LENGTH was written as {value}, in {self.parameters.length_bits} bits 0: has no effect"
            )
        if not self.realigns and address % self.parameters.beat_bytes:
            raise Misuse(f"{self.name}: address 0x{address:x} is not aligned to {self.parameters.beat_bytes} bytes")
        self.length, self.busy = length, True
        self.status &= ~SR_IDLE
        frame, self.started = self.started, self.started + 1
        self.begin(frame, address, length)

    def complete(self) -> None:
        """End the transfer in progress well."""
        self.busy = False
        self.done += 1
        self.status |= SR_IDLE | SR_IOC
        self.changed()

    def fail(self, error: int) -> None:
        """End the transfer in progress with one of the error bits: the channel halts."""
        self.busy = False
        self.control &= ~CR_RUN
        self.status = self.status & ~SR_IDLE | error | SR_ERROR | SR_HALTED
        self.abort()
        self.changed()

    @abstractmethod
    def begin(self, frame: int, address: int, length: int) -> None:
        """Start to move `length` bytes from or to `address`."""

    @abstractmethod
    def abort(self) -> None:
        """Leave the stream where it is."""


class SendChannel(Channel):
    """MM2S: memory to the accelerator; a transfer is a packet with TLAST on its last beat."""

    name = "MM2S"

    def begin(self, frame: int, address: int, length: int) -> None:
        """Read the packet and offer it to the accelerator."""
        try:
            packet = self.memory.read(address, length)
        except BusError:
            self.fail(SR_DECODE_ERROR)
            return
        if not self.faults.find("stuck_mm2s", frame):
            self.compute.send(packet, self.complete)

    def abort(self) -> None:
        """Take back what the accelerator has not accepted; its packet ends without TLAST."""
        self.busy = False
        self.compute.cut_input()


class ReceiveChannel(Channel):
    """S2MM: the accelerator to memory; a transfer ends with the packet, at its TLAST."""

    name = "S2MM"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._landed: dict[int, int] = {}

    def latest_in(self, address: int, size: int) -> int | None:
        """Return the number of the latest result that was received into this memory, None where there was none."""
        return max((frame for at, frame in self._landed.items() if address <= at < address + size), default=None)

    def reset(self) -> None:
        """Also forget the packet that the fault `early_done` drops the rest of."""
        super().reset()
        self._dropping = False

    def begin(self, frame: int, address: int, length: int) -> None:
        """Take beats from now on, late where the fault `slow` says so."""
        self._frame, self._address, self._room, self._received = frame, address, length, 0
        if not self.memory.holds(address, length):
            self.fail(SR_DECODE_ERROR)
        elif not self.faults.find("stuck_s2mm", frame):
            late = self.faults.find("slow", frame)
            self.compute.arm(self.take, 0.0 if late is None else 1.0 if late.value is None else late.value)

    def abort(self) -> None:
        """Take no more beats."""
        self.busy = False
        self.compute.disarm()

    def take(self, data: bytes, last: bool) -> None:
        """Write beats to memory; `last` says that they end the packet."""
        if self._dropping or not self.busy:
            self._dropping = self._dropping and not last
            return
        early = self.faults.find("early_done", self._frame)
        end = 8 if early is None or early.value is None else int(early.value)
        if early and self._received + len(data) >= end:
            data, self._dropping, last = data[: end - self._received], not last, True
        if self._received + len(data) > self._room or (self._received + len(data) == self._room and not last):
            # PG021 says two things of a packet longer than S2MM_LENGTH: DMASR.DMAIntErr is set (description of that
            # bit), and the behaviour is undefined (note on the length register). Here it is the error.
            if self._write(data[: self._room - self._received]):
                self.fail(SR_INTERNAL_ERROR)
            return
        if self._write(data) and last:
            self.length = self._received
            self._landed[self._address] = self._frame
            self.muted = self.faults.find("missing_interrupt", self._frame) is not None
            self.complete()
            if not self._dropping:
                self.compute.disarm()

    def _write(self, data: bytes) -> bool:
        """Write beats to memory; False where nothing answers there, and the transfer has failed."""
        try:
            self.memory.write(self._address + self._received, data)
        except BusError:
            self.fail(SR_DECODE_ERROR)
            return False
        self._received += len(data)
        return True


class AxiDma:
    """The core: two channels, and a reset bit in each that resets both.

    Callers of `read` and `write` hold the board's lock. `counts` are the transfers that an earlier overlay's DMA
    started and ended, of both channels: frames are numbered on from there.
    """

    def __init__(
        self,
        parameters: DmaParameters,
        parts: Parts,
        counts: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
    ) -> None:
        self.send = SendChannel(parameters, parameters.send_realigns, parts, counts[0])
        self.receive = ReceiveChannel(parameters, parameters.receive_realigns, parts, counts[1])
        self._changed = parts.changed

    @property
    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Transfers started and ended well: of MM2S, of S2MM."""
        return (self.send.started, self.send.done), (self.receive.started, self.receive.done)

    def read(self, offset: int) -> int:
        """Return the register at `offset`."""
        channel, place = self._channel(offset)
        return channel.read(place)

    def write(self, offset: int, value: int) -> None:
        """Write the register at `offset`; Misuse where PG021 leaves undefined what then happens."""
        channel, place = self._channel(offset)
        if place == DMACR and value & CR_RESET:
            self.reset()
            channel.tells_reset = True
        else:
            channel.write(place, value)
        self._changed()

    def reset(self) -> None:
        """Reset both channels: streams are cut off where they are."""
        for channel in (self.send, self.receive):
            channel.abort()
            channel.reset()

    def _channel(self, offset: int) -> tuple[Channel, int]:
        return (self.receive, offset - S2MM_OFFSET) if offset >= S2MM_OFFSET else (self.send, offset)
