"""Interrupts from the DMA to pynq's coroutines: the AXI interrupt controller, and Linux' userspace I/O behind it.

The controller is that of PG099 (AXI INTC v4.1, "Register Space") with level inputs and without its vectors, priorities
and fast mode, which pynq does not use; the guide's text was not read again to check it. The device is what the kernel's
uio_pdrv_genirq driver makes of the controller's output: a write of anything but zero lets one interrupt through, and a
read tells how many there have been.

pynq reaches the device by two functions that this module replaces while a board is installed, `get_uio_irq` of
pynq.interrupt, which looks for the interrupt's number in /proc/interrupts, and `open` as pynq.uio knows it. Everything
between them and the registers, that is `Interrupt`, its controller and `UioController`, is pynq's own.
"""

import builtins
import io
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fpga_facedet.software_board.dma import Misuse

ISR, IPR, IER, IAR, SIE, CIE, MER = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x1C
MER_MASTER = 1
MER_HARDWARE = 2


class InterruptController:
    """The AXI interrupt controller; `output` is called with its level whenever something may have changed it."""

    def __init__(self, output: Callable[[bool], None]) -> None:
        self._output = output
        self.inputs = self.latched = self.enabled = self.master = 0

    def set_inputs(self, levels: int) -> None:
        """Take the levels of the inputs, a bit each."""
        self.inputs = levels
        self._update()

    def read(self, offset: int) -> int:
        """Return a register; those that can only be written, and those that are not modelled, read 0."""
        pending = self.latched & self.enabled
        registers = {ISR: self.latched, IPR: pending, IER: self.enabled, MER: self.master}
        return registers.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register; Misuse for one that is not modelled."""
        if offset == IER:
            self.enabled = value
        elif offset == IAR:
            self.latched &= ~value
        elif offset == SIE:
            self.enabled |= value
        elif offset == CIE:
            self.enabled &= ~value
        elif offset == MER:
            # Once on, hardware interrupts stay on until the controller is reset.
            self.master = value & MER_MASTER | (self.master | value) & MER_HARDWARE
        elif offset == ISR and not self.master & MER_HARDWARE:
            self.latched = value
        else:
            raise Misuse(f"interrupt controller: register 0x{offset:02x} was written with 0x{value:x}")
        self._update()

    def _update(self) -> None:
        if self.master & MER_HARDWARE:
            self.latched |= self.inputs
        self._output(bool(self.master & MER_MASTER and self.latched & self.enabled))


class UioDevice:
    """The userspace I/O device of one interrupt line; `lock` is the board's."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._level = self._wanted = False
        self._count = 0
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)

    def set_level(self, level: bool) -> None:
        """Take the level of the line; an interrupt that is let through is told, and the line masked again."""
        self._level = level
        if level and self._wanted:
            self._wanted = False
            self._count += 1
            os.write(self._writer, struct.pack("=i", self._count))

    def enable(self, wanted: bool) -> None:
        """Let the next interrupt through, or not."""
        with self._lock:
            self._wanted = wanted
            self.set_level(self._level)

    def open(self) -> "UioFile":
        """Return the device opened as a program would open its file."""
        return UioFile(self, os.dup(self._reader))

    def close(self) -> None:
        """Give back the pipe behind it."""
        with self._lock:
            self._wanted = False
            os.close(self._reader)
            os.close(self._writer)


class UioFile(io.RawIOBase):
    """The device's file: four bytes to read for interrupts that came, four to write to let the next one through."""

    def __init__(self, device: UioDevice, handle: int) -> None:
        super().__init__()
        self._device, self._handle = device, handle

    def fileno(self) -> int:
        """Return the handle that an event loop can wait for."""
        return self._handle

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def readinto(self, buffer: Any) -> "int | None":
        """Read the count of interrupts so far; None where none came since."""
        try:
            data = os.read(self._handle, len(buffer))
        except BlockingIOError:
            return None
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        """Unmask the interrupt, or mask it with a zero."""
        self._device.enable(any(bytes(data)))
        return len(data)

    def close(self) -> None:
        """Close the handle."""
        if not self.closed:
            os.close(self._handle)
        super().close()


@contextmanager
def uio_of_pynq(devices: dict[int, UioDevice]) -> Iterator[None]:
    """Let pynq find `devices`, by the number of their interrupt, until the block is left."""
    from pynq import interrupt, uio

    def find(irq: int) -> "str | None":
        return f"software-board-uio-{irq}" if irq in devices else None

    def open_device(name: str, *arguments: Any, **options: Any) -> Any:
        for irq, device in devices.items():
            if name == find(irq):
                return device.open()
        return builtins.open(name, *arguments, **options)

    search, interrupt.get_uio_irq = interrupt.get_uio_irq, find
    uio.open = open_device
    try:
        yield
    finally:
        interrupt.get_uio_irq = search
        del uio.open
