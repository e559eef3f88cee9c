"""The board's memory for DMA: what the processor sees through its cache, and what the devices see, kept apart.

The PYNQ-Z2's processor does not snoop: a DMA reads and writes DDR, the program reads and writes cache lines (Zynq-7000
TRM UG585: 32-byte lines in L1 and L2, and no port but the ACP is coherent). So a buffer here has two arrays, and only
flush and invalidate move data between them. Where the hardware may do one thing or another, the model
does what hurts most, so that a program that forgets a flush or an invalidate gets wrong data every time:

- the devices' view of a new buffer is one pattern and the program's another: `pynq.allocate` is to be used as
  numpy.ndarray, which promises no contents, and so a program that fills a buffer with zeros has written to it;
- a line that the program has written and not flushed is evicted right after a device wrote to the same line, and
  covers what came in;
- a line that was never invalidated never shows what came in.

Written lines are recognised by their content, so that equal bytes written over equal bytes do not count as written.
"""

import bisect
import threading
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import UserError

LINE_BYTES = 32
PAGE_BYTES = 4096
POOL_BASE = 0x1800_0000
POOL_BYTES = 128 << 20
"""The pool (CMA) of the PYNQ images is 128 MiB; here it ends where the PYNQ-Z2's 512 MiB of memory end."""
NEW = 0x5A
"""What the program finds in a new buffer."""
UNWRITTEN = 0xA5
"""What the devices find in memory that nobody has flushed."""
LOST = 0xFF

Bytes = npt.NDArray[np.uint8]


class BusError(Exception):
    """A device addressed memory that no live buffer has; AXI answers with a decode error."""


@dataclass(eq=False)
class Block:
    """One allocated piece of memory: `host` as the program sees it, `device` as the devices do, uint8 (size,).

    `size` is rounded up to whole pages; `clean` is the program's content when it last was in step with memory, and
    `fresh` (a flag a line) says where neither side has synchronised or written yet. A buffer outside the cache has
    one array for both sides, and no `clean`.
    """

    address: int
    size: int
    host: Bytes
    device: Bytes
    clean: Bytes | None
    fresh: npt.NDArray[np.bool_]
    alive: bool = True

    def written(self, lines: slice) -> npt.NDArray[np.bool_]:
        """Return for each of `lines` whether the program has written to it since it last was in step."""
        assert self.clean is not None
        ours, then = (array.view(np.uint64).reshape(-1, LINE_BYTES // 8)[lines] for array in (self.host, self.clean))
        return np.asarray((ours != then).any(axis=1))


def _lines(array: Bytes) -> Bytes:
    return array.reshape(-1, LINE_BYTES)


@dataclass
class Memory:
    """The pool that `pynq.allocate` takes from: contiguous, page-aligned, below 512 MiB, and bounded.

    `live` counts the buffers that have not been given back and `used_bytes` their pages; a program that leaks shows.
    """

    base: int = POOL_BASE
    size: int = POOL_BYTES
    _blocks: list[Block] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def live(self) -> int:
        """Buffers allocated and not given back."""
        return len(self._blocks)

    @property
    def used_bytes(self) -> int:
        """Bytes of the pool that live buffers hold, in whole pages."""
        with self._lock:
            return sum(block.size for block in self._blocks)

    def allocate(self, count: int, cacheable: bool) -> Block:
        """Return a block of at least `count` bytes; UserError where no gap of the pool is large enough."""
        size = max(-(-count // PAGE_BYTES), 1) * PAGE_BYTES
        with self._lock:
            address = self._gap(size)
            host = np.full(size, NEW, np.uint8)
            device = np.full(size, UNWRITTEN, np.uint8) if cacheable else host
            clean = host.copy() if cacheable else None
            block = Block(address, size, host, device, clean, np.full(size // LINE_BYTES, cacheable))
            bisect.insort(self._blocks, block, key=lambda other: other.address)
        return block

    def _gap(self, size: int) -> int:
        address = self.base
        for block in self._blocks:
            if block.address - address >= size:
                return address
            address = block.address + block.size
        if self.base + self.size - address >= size:
            return address
        raise UserError(
            f"The software board has no {size} contiguous bytes left of its {self.size >> 20} MiB for buffers, "
            f"{self.used_bytes} are in use by {self.live}; give buffers back before you allocate more."
        )

    def return_pointer(self, block: Block) -> None:
        """Take a block back; pynq's buffers call this when they are freed (`PynqBuffer.freebuffer`)."""
        with self._lock:
            if block.alive:
                block.alive = False
                self._blocks.remove(block)

    def flush(self, block: Block, offset: int, count: int) -> None:
        """Write the program's lines that hold bytes `offset` to `offset + count` back to memory, where written."""
        if block.clean is None:
            return
        lines = slice(offset // LINE_BYTES, -(-(offset + count) // LINE_BYTES))
        with self._lock:
            stale = block.written(lines) | block.fresh[lines]
            host, device, clean = (_lines(array)[lines] for array in (block.host, block.device, block.clean))
            if stale.all():
                device[:] = clean[:] = host
            else:
                device[stale] = clean[stale] = host[stale]
            block.fresh[lines] = False

    def invalidate(self, block: Block, offset: int, count: int) -> None:
        """Drop the program's lines of bytes `offset` to `offset + count`, so that it sees memory again.

        What it had written and not flushed in them is lost, except in a line at either end that the range only cuts:
        that is written back first (as the kernel's dma_unmap does on ARMv7, `v7_dma_inv_range`).
        """
        if block.clean is None:
            return
        end = offset + count
        for edge in (offset, end):
            if edge % LINE_BYTES:
                self._write_back(block, edge // LINE_BYTES)
        inside = slice(offset // LINE_BYTES * LINE_BYTES, -(-end // LINE_BYTES) * LINE_BYTES)
        with self._lock:
            block.host[inside] = block.device[inside]
            block.clean[inside] = block.device[inside]
            block.fresh[inside.start // LINE_BYTES : inside.stop // LINE_BYTES] = False

    def _write_back(self, block: Block, line: int) -> None:
        with self._lock:
            if block.written(slice(line, line + 1))[0]:
                part = slice(line * LINE_BYTES, (line + 1) * LINE_BYTES)
                block.device[part] = block.host[part]

    def read(self, address: int, count: int) -> bytes:
        """Return what a device reads; BusError where one live buffer does not hold all of it."""
        with self._lock:
            block, offset = self._at(address, count)
            return block.device[offset : offset + count].tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Write as a device does, then evict the program's own written lines over it; BusError as for `read`."""
        with self._lock:
            block, offset = self._at(address, len(data))
            lines = slice(offset // LINE_BYTES, -(-(offset + len(data)) // LINE_BYTES))
            dirty = None if block.clean is None else block.written(lines)
            block.device[offset : offset + len(data)] = np.frombuffer(data, np.uint8)
            if block.clean is not None and dirty is not None and dirty.any():
                host, device, clean = (_lines(array)[lines] for array in (block.host, block.device, block.clean))
                device[dirty] = clean[dirty] = host[dirty]
            block.fresh[lines] = False

    def holds(self, address: int, count: int) -> bool:
        """Return whether one live buffer holds all of `count` bytes from `address`."""
        try:
            self._at(address, count)
        except BusError:
            return False
        return True

    def _at(self, address: int, count: int) -> tuple[Block, int]:
        with self._lock:
            place = bisect.bisect_right(self._blocks, address, key=lambda block: block.address) - 1
            if place >= 0:
                block = self._blocks[place]
                if address + count <= block.address + block.size:
                    return block, address - block.address
        raise BusError(f"no live buffer holds {count} bytes from 0x{address:08x}")

    def lose(self) -> None:
        """Forget all contents, on both sides: the power was cut."""
        with self._lock:
            for block in self._blocks:
                for array in (block.host, block.device, block.clean):
                    if array is not None:
                        array[:] = LOST
                block.fresh[:] = False
