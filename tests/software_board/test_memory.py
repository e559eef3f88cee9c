"""Two views of one memory: what moves between them, and when."""

import numpy as np
import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.software_board.memory import (
    LINE_BYTES,
    NEW,
    PAGE_BYTES,
    POOL_BASE,
    POOL_BYTES,
    UNWRITTEN,
    BusError,
    Memory,
)

LINE = bytes(range(LINE_BYTES))


def as_bytes(array: np.ndarray) -> bytes:
    return array[: 2 * LINE_BYTES].tobytes()


def test_without_flush_the_device_sees_the_pattern() -> None:
    memory = Memory()
    block = memory.allocate(64, cacheable=True)
    block.host[:LINE_BYTES] = 7
    assert memory.read(block.address, 64) == bytes([UNWRITTEN] * 64)
    memory.flush(block, 0, LINE_BYTES)
    assert memory.read(block.address, 64) == bytes([7] * 32 + [UNWRITTEN] * 32)
    # Lines that were never written are flushed as well: none of them is in step with memory.
    memory.flush(block, 0, 64)
    assert memory.read(block.address, 64) == bytes([7] * 32 + [NEW] * 32)


def test_without_invalidate_the_program_sees_the_past() -> None:
    memory = Memory()
    block = memory.allocate(64, cacheable=True)
    memory.write(block.address, LINE)
    assert as_bytes(block.host) == bytes([NEW] * 64)
    memory.invalidate(block, 0, LINE_BYTES)
    assert as_bytes(block.host) == LINE + bytes([NEW] * 32)


def test_a_flush_after_the_device_wrote_spares_what_the_program_did_not_write() -> None:
    memory = Memory()
    block = memory.allocate(64, cacheable=True)
    memory.write(block.address, LINE)
    memory.flush(block, 0, 64)
    assert memory.read(block.address, LINE_BYTES) == LINE


def test_a_written_line_is_evicted_over_what_the_device_wrote() -> None:
    memory = Memory()
    block = memory.allocate(64, cacheable=True)
    block.host[5] = 99
    memory.write(block.address, LINE + LINE)
    memory.invalidate(block, 0, 64)
    wanted = bytearray([NEW] * 32)
    wanted[5] = 99
    assert as_bytes(block.host) == bytes(wanted) + LINE


def test_invalidate_drops_whole_lines_and_writes_cut_ones_back() -> None:
    memory = Memory()
    block = memory.allocate(96, cacheable=True)
    memory.flush(block, 0, 96)
    block.host[:96] = 3
    memory.invalidate(block, 40, 56)
    assert block.host[:96].tobytes() == bytes([3] * 64 + [NEW] * 32)
    assert memory.read(block.address, 96) == bytes([NEW] * 32 + [3] * 32 + [NEW] * 32)


def test_uncached_memory_needs_neither() -> None:
    memory = Memory()
    block = memory.allocate(64, cacheable=False)
    block.host[:] = 1
    assert memory.read(block.address, 4) == bytes([1] * 4)
    memory.write(block.address, LINE)
    memory.flush(block, 0, 64)
    memory.invalidate(block, 0, 64)
    assert as_bytes(block.host) == LINE + bytes([1] * 32)


def test_addresses_are_those_of_pages_in_the_pool() -> None:
    memory = Memory()
    blocks = [memory.allocate(count, True) for count in (1, PAGE_BYTES + 1, 5)]
    assert [block.address for block in blocks] == [POOL_BASE, POOL_BASE + PAGE_BYTES, POOL_BASE + 3 * PAGE_BYTES]
    assert POOL_BASE + POOL_BYTES == 512 << 20
    memory.return_pointer(blocks[1])
    memory.return_pointer(blocks[1])
    assert memory.live == 2 and memory.used_bytes == 2 * PAGE_BYTES
    assert memory.allocate(2 * PAGE_BYTES, True).address == blocks[1].address


def test_the_pool_ends() -> None:
    memory = Memory(size=4 * PAGE_BYTES)
    kept = memory.allocate(3 * PAGE_BYTES, True)
    with pytest.raises(UserError, match=r"no 8192 contiguous bytes left .* 12288 are in use by 1"):
        memory.allocate(PAGE_BYTES + 1, True)
    memory.return_pointer(kept)
    memory.allocate(4 * PAGE_BYTES, True)


@pytest.mark.parametrize("place", [-1, PAGE_BYTES - 3, 1 << 20])
def test_the_device_reaches_live_buffers_only(place: int) -> None:
    memory = Memory()
    block = memory.allocate(PAGE_BYTES, True)
    with pytest.raises(BusError, match="no live buffer holds 4 bytes"):
        memory.read(block.address + place, 4)
    with pytest.raises(BusError):
        memory.write(block.address + place, b"1234")
    memory.return_pointer(block)
    assert not memory.holds(block.address, 4)
