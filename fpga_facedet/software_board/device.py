"""A PYNQ-Z2 in software behind the real pynq: a `pynq.Device` with the overlay's registers, memory and interrupts.

pynq's own `Overlay`, `allocate`, `pynq.lib.dma.DMA`, `MMIO`, `Clocks` and `Interrupt` run on it unchanged, in pynq
3.0.1 and 3.1.2. While a board is installed it is pynq's active device; afterwards pynq is as it was before.
"""

import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pynq.interrupt
import pynq.ps
from pynq import Device
from pynq.buffer import PynqBuffer

from fpga_facedet import shell
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import Manifest
from fpga_facedet.software_board.compute import Compute
from fpga_facedet.software_board.dma import LENGTH, AxiDma, DmaParameters, Misuse, Parts
from fpga_facedet.software_board.faults import Fault, Faults
from fpga_facedet.software_board.interrupts import InterruptController, UioDevice, uio_of_pynq
from fpga_facedet.software_board.memory import Block, Memory

ARCHITECTURE = "armv7l"
ALL_ONES = 0xFFFF_FFFF

SLCR_BASE, SLCR_RANGE = 0xF800_0000, 0x1000
# System-level control registers that pynq's Clocks use, as the PYNQ-Z2's boot leaves them (module slcr of TRM UG585,
# whose text was not read again to check them; tests check what pynq's Clocks read out of them): PLLs of 26, 21 and 20
# times 50 MHz for processor, memory and I/O; the processor at a half of its PLL; each clock of the programmable logic
# at the I/O PLL divided by 5 and 2.
_SLCR_AT_BOOT = {0x100: 26 << 12, 0x104: 21 << 12, 0x108: 20 << 12, 0x120: 0x1F00_0200} | {
    0x170 + 16 * clock: 0x0020_0500 for clock in range(4)
}


class SoftwareBoard(Device):  # type: ignore[misc]
    """A board whose accelerator is `compute`: `golden_compute(engine)` or `shell_compute(simulated)`.

    Args:
        manifest: of the accelerator that is to be on the board; the registers of another one come by Fault.
        compute: what computes; stopped, not closed, when the board is left.
        faults: what is to go wrong; see faults.py.
        interrupts: without them the overlay's interrupt pins lead nowhere, and pynq's drivers have to poll.
        frame_seconds, interval_seconds: modelled time of a compute that has `set_time`; 0 leaves it as it is.

    Use as a context manager, or `install()` and `close()`:

    >>> with SoftwareBoard(manifest, golden_compute(engine)) as board:   # doctest: +SKIP
    ...     overlay = pynq.Overlay(str(folder / "model.bit"))

    `memory.live` counts buffers; `misuses` lists what a driver did that the hardware leaves undefined, each also raised
    as Misuse where it happened; `flushes` and `invalidates` count calls.
    """

    def __init__(
        self,
        manifest: Manifest,
        compute: Compute,
        *,
        faults: Iterable[Fault] = (),
        interrupts: bool = True,
        frame_seconds: float = 0.0,
        interval_seconds: float = 0.0,
    ) -> None:
        super().__init__("software_board")
        if shell.frame_bytes(manifest) != shell.frame_bytes(compute.manifest):
            raise UserError(
                f"The software board is for {manifest.model.name} and its compute runs {compute.manifest.model.name}, "
                "whose frames have another size; give both the same accelerator."
            )
        self.name, self.arch = "software_board", ARCHITECTURE
        self.capabilities = {"REGISTER_RW": True}
        self.manifest, self.compute = manifest, compute
        if frame_seconds or interval_seconds:
            compute.set_time(frame_seconds, interval_seconds)
        self.memory, self.faults = Memory(), Faults(faults)
        self.interrupts = interrupts
        self.misuses: list[Misuse] = []
        self.flushes = self.invalidates = 0
        self._lock = compute.lock
        self._slcr = dict(_SLCR_AT_BOOT)
        self.injected_errors = self._results_seen = 0
        self._state = ExitStack()
        self._uio: dict[int, UioDevice] = {}
        with self._lock:
            self._unload()

    # In and out

    def install(self) -> "SoftwareBoard":
        """Make this pynq's active device, until `close`; UserError where another software board still is."""
        if isinstance(vars(Device).get("_active_device"), SoftwareBoard):
            raise UserError("Another software board is installed; leave it (close) before you install this one.")
        self._state.enter_context(_state_of_pynq(self))
        self._state.enter_context(uio_of_pynq(self._uio))
        return self

    def close(self) -> None:
        """Stop computing and give pynq back as it was."""
        with self._lock:
            self._unload()
        self._state.close()
        for device in self._uio.values():
            device.close()
        self._uio.clear()

    def __enter__(self) -> "SoftwareBoard":
        return self.install()

    def __exit__(self, *_: object) -> None:
        self.close()

    def inject(self, fault: Fault) -> None:
        """Make one more thing go wrong from now on."""
        self.faults.add(fault)

    # Overlays

    def _unload(self) -> None:
        self.compute.stop()
        self.powered = True
        self.injected_errors = 0
        self.dma: AxiDma | None = None
        self.controller: InterruptController | None = None
        self._cells: dict[int, Any] = {}
        self._lines: dict[str, int] = {}

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
        """Parse the .hwh beside a .bit, with pynq's own parser, as pynq's device for the Zynq does."""
        from pynq.metadata.runtime_metadata_parser import RuntimeMetadataParser
        from pynqmetadata.frontends import Metadata

        hwh = Path(bitfile_name).with_suffix(".hwh")
        if partial or not hwh.is_file():
            raise UserError(f"The software board loads whole overlays with a .hwh, and there is no {hwh}; write it.")
        return RuntimeMetadataParser(Metadata(input=hwh))

    def download(self, bitstream: Any, parser: Any = None) -> None:
        """Configure the programmable logic: connect what the .hwh says is in it; the .bit itself is not read."""
        if parser is None:
            raise UserError(f"The software board knows nothing of {bitstream.bitfile_name} without its .hwh.")
        with self._lock:
            counts = self.dma.counts if self.dma else ((0, 0), (0, 0))
            self._unload()
            self._connect(parser, counts)
            self.compute.start()
        super().post_download(bitstream, parser, self.name)

    def _connect(self, parser: Any, counts: Any) -> None:
        cells = parser.ip_dict
        for name in (shell.DMA_CELL, shell.DETECTOR_CELL):
            if name not in cells:
                raise UserError(f"The overlay has no cell '{name}', it has {', '.join(cells)}; write its .hwh again.")
        parts = Parts(self.memory, self.compute, self.faults, self._changed)
        self.dma = AxiDma(DmaParameters.of_cell(cells[shell.DMA_CELL]["parameters"]), parts, counts)
        self._cells[cells[shell.DMA_CELL]["phys_addr"]] = self.dma
        self._cells[cells[shell.DETECTOR_CELL]["phys_addr"]] = _Detector(self)
        if not self.interrupts:
            parser.interrupt_pins.clear()
            for cell in cells.values():
                cell["interrupts"].clear()
            return
        for name, entry in parser.interrupt_controllers.items():
            irq = entry["raw_irq"]
            if irq not in self._uio:
                self._uio[irq] = UioDevice(self._lock)
            self.controller = InterruptController(self._uio[irq].set_level)
            self._cells[cells[name]["phys_addr"]] = self.controller
            for pin in ("mm2s_introut", "s2mm_introut"):
                self._lines[pin] = parser.interrupt_pins[f"{shell.DMA_CELL}/{pin}"]["index"]

    def gen_cache(self, bitstream: Any, parser: Any = None) -> None:
        """Keep nothing: what pynq caches beside its own code is of a board's boot."""

    def free_bitstream(self) -> None:
        """Nothing to free; pynq 3.0.1 asks."""

    # Registers

    def read_registers(self, address: int, length: int) -> bytes:
        """Read `length` bytes of registers, whole words; Misuse where nothing answers on the bus."""
        with self._lock:
            words = [self._read(address + place) for place in range(0, max(length, 4), 4)]
        # A driver that spins must not keep the lock from the threads that it waits for.
        _let_others_run()
        return struct.pack(f"<{len(words)}I", *words)[:length]

    def write_registers(self, address: int, data: Any) -> None:
        """Write registers, whole words; Misuse where nothing answers, or what is written is undefined."""
        words = struct.unpack(f"<{len(bytes(data)) // 4}I", bytes(data))
        with self._lock:
            for place, word in enumerate(words):
                self._write(address + 4 * place, word)

    def _read(self, address: int) -> int:
        if SLCR_BASE <= address < SLCR_BASE + SLCR_RANGE:
            return self._slcr.get(address - SLCR_BASE, 0)
        cell, offset = self._find(address)
        if not self.powered:
            return ALL_ONES
        if self.compute.failure is not None:
            raise self.compute.failure
        return int(cell.read(offset)) & ALL_ONES

    def _write(self, address: int, word: int) -> None:
        if SLCR_BASE <= address < SLCR_BASE + SLCR_RANGE:
            self._slcr[address - SLCR_BASE] = word
            return
        cell, offset = self._find(address)
        if cell is self.dma and offset == LENGTH and self.faults.take("power_cut", self.dma.send.started):
            self.cut_power()
        if not self.powered:
            return
        try:
            cell.write(offset, word)
        except Misuse as misuse:
            self.misuses.append(misuse)
            raise

    def _find(self, address: int) -> tuple[Any, int]:
        base = address & ~(shell.ADDRESS_RANGE - 1)
        if base not in self._cells:
            misuse = Misuse(f"nothing answers at 0x{address:08x}: the processor would take a bus error")
            self.misuses.append(misuse)
            raise misuse
        return self._cells[base], address - base

    def _changed(self) -> None:
        """A transfer has ended, or the DMA was written to: pass its interrupt lines on."""
        dma = self.dma
        if dma is None or not self.powered:
            return
        while self._results_seen < dma.receive.done:
            fault = self.faults.find("error_bits", self._results_seen)
            if fault is not None:
                self.injected_errors |= shell.ERROR_SHORT_FRAME if fault.value is None else int(fault.value)
            self._results_seen += 1
        inside = dma.send.done > dma.receive.done
        if inside and self.faults.take("power_cut_mid_frame", dma.send.done - 1):
            self.cut_power()
        elif self.controller is not None:
            send, receive = (1 << self._lines[pin] for pin in ("mm2s_introut", "s2mm_introut"))
            self.controller.set_inputs(send * dma.send.interrupt | receive * dma.receive.interrupt)

    def cut_power(self) -> None:
        """Cut the power of logic and memory: registers read all ones, contents are lost; `download` brings it back."""
        with self._lock:
            self.powered = False
            self.compute.stop()
            self.memory.lose()

    # Memory

    def allocate(self, shape: Any, dtype: Any, cacheable: int = 0, **_: Any) -> PynqBuffer:
        """Allocate a buffer as pynq's memory does; not cacheable unless asked for."""
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        block = self.memory.allocate(count, bool(cacheable))
        buffer = PynqBuffer(
            shape, dtype, buffer=block.host, device=self, device_address=block.address, bo=block, coherent=False
        )
        # These three make PynqBuffer.freebuffer, and so its end, give the block back.
        buffer.memory, buffer.pointer, buffer.return_to = self.memory, block, self.memory
        # A second time there is nothing left to unmap: it was never the kernel's.
        buffer.freed = True
        return buffer

    def flush(self, block: Block, offset: int, _: int, count: int) -> None:
        """Write a buffer's part back to memory; pynq 3.1 does the whole of it, whatever part is asked for."""
        self.flushes += 1
        frame = self.dma.send.started if self.dma else 0
        if not self.faults.find("missing_flush", frame):
            self.memory.flush(block, *_synchronised(block, offset, count))

    def invalidate(self, block: Block, offset: int, _: int, count: int) -> None:
        """Drop a buffer's part from the cache; as `flush`."""
        self.invalidates += 1
        frame = self.dma.receive.latest_in(block.address, block.size) if self.dma else None
        if not self.faults.find("missing_invalidate", frame):
            self.memory.invalidate(block, *_synchronised(block, offset, count))


class _Detector:
    """The detector's registers: those of the compute, but for what faults make of them."""

    def __init__(self, board: SoftwareBoard) -> None:
        self._board = board

    def read(self, offset: int) -> int:
        value = self._board.compute.read(offset)
        if offset == shell.REG_ERRORS:
            return value | self._board.injected_errors
        for name, (first, words) in _FAULTY.items():
            fault = self._board.faults.find(name)
            if fault and first <= offset < first + 4 * words:
                return int(_wrong(name) if fault.value is None else fault.value) if words == 1 else value ^ ALL_ONES
        return value

    def write(self, offset: int, value: int) -> None:
        if offset == shell.REG_ERRORS:
            self._board.injected_errors &= ~value
        self._board.compute.write(offset, value)


_FAULTY = {
    "wrong_id": (shell.REG_ID, 1),
    "wrong_version": (shell.REG_VERSION, 1),
    "wrong_model_hash": (shell.REG_MODEL_HASH, shell.HASH_WORDS),
    "wrong_rtl_hash": (shell.REG_RTL_HASH, shell.HASH_WORDS),
}


def _wrong(name: str) -> int:
    return shell.VERSION + 0x1_0000 if name == "wrong_version" else 0


def _synchronised(block: Block, offset: int, count: int) -> tuple[int, int]:
    """Return the part of a buffer that this pynq synchronises: 3.0 what it was asked for, 3.1 all of it."""
    part = (offset, count)
    return part if pynq.__version__.startswith("3.0.") else (0, block.size)


def _let_others_run() -> None:
    time.sleep(0)


@contextmanager
def _state_of_pynq(board: SoftwareBoard) -> Iterator[None]:
    """Make `board` pynq's device of a Zynq-7000; put everything back that pynq keeps for a process."""
    controller = pynq.interrupt._InterruptController
    missing = object()
    places = [
        (Device, "_active_device", board),
        (pynq.ps, "CPU_ARCH", ARCHITECTURE),  # what pynq 3.0.1 chooses its clocks by; 3.1 asks the device
        (pynq.ps.Clocks, "_real_instance", missing),
        (pynq.ps.Clocks, "device", board),
        (controller, "_controllers", []),
        (controller, "_uio_devices", {}),
        (controller, "_last_timestamp", None),
    ]
    before = [(owner, name, vars(owner).get(name, missing)) for owner, name, _ in places]
    try:
        for owner, name, value in places:
            _set(owner, name, value, missing)
        yield
    finally:
        for owner, name, value in before:
            _set(owner, name, value, missing)


def _set(owner: Any, name: str, value: Any, missing: object) -> None:
    if value is not missing:
        setattr(owner, name, value)
    elif name in vars(owner):
        delattr(owner, name)
