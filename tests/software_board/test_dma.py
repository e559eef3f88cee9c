"""The DMA's registers, one rule of PG021 after the other, with the tiny accelerator behind it."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fpga_facedet import shell
from fpga_facedet.software_board import dma as registers
from fpga_facedet.software_board.dma import AxiDma, DmaParameters, Misuse, Parts
from fpga_facedet.software_board.faults import Fault, Faults
from fpga_facedet.software_board.golden import GoldenCompute
from fpga_facedet.software_board.memory import NEW, Memory

from ..verification import tiny

MM2S, S2MM = 0x00, 0x30
FRAME, RESULT = shell.frame_bytes(tiny.MANIFEST), shell.result_bytes(tiny.MANIFEST)


class Bench:
    """A DMA with memory and compute, and a driver's few moves; all under the board's lock, as the device does it."""

    def __init__(self, *faults: Fault, **parameters: int) -> None:
        self.compute = GoldenCompute(tiny.TinyGolden(), 0.0, 0.0)
        self.memory = Memory()
        self.changes = 0
        parts = Parts(self.memory, self.compute, Faults(faults), self._changed)
        self.dma = AxiDma(DmaParameters(**{"length_bits": 23, "beat_bytes": 8, **parameters}), parts)
        with self.compute.lock:
            self.compute.start()
        self.source = self.memory.allocate(FRAME, cacheable=False)
        self.sink = self.memory.allocate(RESULT, cacheable=False)

    def _changed(self) -> None:
        self.changes += 1

    def read(self, offset: int) -> int:
        with self.compute.lock:
            return self.dma.read(offset)

    def write(self, offset: int, value: int) -> None:
        with self.compute.lock:
            self.dma.write(offset, value)

    def start(self, channel: int, address: int, length: int) -> None:
        self.write(channel + registers.ADDRESS, address)
        self.write(channel + registers.LENGTH, length)

    def wait(self, holds: Callable[[], bool]) -> None:
        for _ in range(5000):
            if holds():
                return
            time.sleep(0.001)
        raise AssertionError("it does not come")

    def idle(self, channel: int) -> None:
        self.wait(lambda: bool(self.read(channel + registers.DMASR) & registers.SR_IDLE))


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    with made.compute.lock:
        made.compute.stop()


def frame_of(rng: np.random.Generator) -> tuple[np.ndarray, bytes]:
    """Return RGBX pixels and the result that the tiny accelerator makes of them, padded."""
    pixels = rng.integers(0, 256, (1, tiny.HEIGHT, tiny.WIDTH, 4), np.uint8)
    raw = tiny.TinyGolden().infer(pixels[..., :3])
    return pixels, raw.tobytes().ljust(RESULT, b"\0")


def test_reset_values(bench: Bench) -> None:
    for channel in (MM2S, S2MM):
        assert bench.read(channel + registers.DMACR) == 0x00010002
        assert bench.read(channel + registers.DMASR) == 0x00010001
        for offset in (registers.ADDRESS, registers.ADDRESS_MSB, registers.LENGTH, 0x08):
            assert bench.read(channel + offset) == 0


def test_a_frame_goes_through(bench: Bench, rng: np.random.Generator) -> None:
    for channel in (MM2S, S2MM):
        bench.write(channel + registers.DMACR, registers.CR_RUN)
        # Running, and not idle before the first transfer.
        assert bench.read(channel + registers.DMASR) & 3 == 0
    for _ in range(3):
        pixels, wanted = frame_of(rng)
        bench.source.host[:FRAME] = pixels.ravel()
        bench.start(S2MM, bench.sink.address, RESULT + 40)
        bench.start(MM2S, bench.source.address, FRAME)
        bench.idle(MM2S)
        bench.idle(S2MM)
        assert bench.sink.device[:RESULT].tobytes() == wanted
        # What was received, not what there was room for; what was sent stays.
        assert bench.read(S2MM + registers.LENGTH) == RESULT
        assert bench.read(MM2S + registers.LENGTH) == FRAME
        for channel in (MM2S, S2MM):
            assert bench.read(channel + registers.DMASR) & registers.SR_IOC
            bench.write(channel + registers.DMASR, registers.SR_IOC)
            assert not bench.read(channel + registers.DMASR) & registers.SR_IOC
    assert bench.dma.counts == ((3, 3), (3, 3))


def test_interrupts_follow_status_and_enable(bench: Bench) -> None:
    bench.write(MM2S + registers.DMACR, registers.CR_RUN)
    bench.start(MM2S, bench.source.address, FRAME)
    bench.idle(MM2S)
    assert not bench.dma.send.interrupt
    bench.write(MM2S + registers.DMACR, registers.CR_RUN | registers.CR_IOC_ENABLE)
    assert bench.dma.send.interrupt and not bench.dma.receive.interrupt
    bench.write(MM2S + registers.DMASR, registers.SR_IOC)
    assert not bench.dma.send.interrupt


@pytest.mark.parametrize(
    ("channel", "words"),
    [(MM2S, "MM2S: LENGTH was written while the channel was halted"), (S2MM, "S2MM: LENGTH was written while")],
)
def test_start_while_halted(bench: Bench, channel: int, words: str) -> None:
    with pytest.raises(Misuse, match=words):
        bench.start(channel, bench.source.address, 64)


@pytest.mark.parametrize("length", [0, 1 << 23])
def test_no_length(bench: Bench, length: int) -> None:
    bench.write(MM2S, registers.CR_RUN)
    with pytest.raises(Misuse, match=f"LENGTH was written as {length}, in 23 bits 0"):
        bench.start(MM2S, bench.source.address, length)


def test_length_loses_its_upper_bits(bench: Bench) -> None:
    bench.write(MM2S, registers.CR_RUN)
    bench.start(MM2S, bench.source.address, (1 << 23) + 16)
    bench.idle(MM2S)
    assert bench.read(MM2S + registers.LENGTH) == 16
    with bench.compute.lock:
        assert bench.compute.read(shell.REG_ERRORS) == shell.ERROR_SHORT_FRAME


def test_writing_during_a_transfer(bench: Bench) -> None:
    bench.write(S2MM, registers.CR_RUN)
    bench.start(S2MM, bench.sink.address, RESULT)
    for offset in (registers.ADDRESS, registers.ADDRESS_MSB, registers.LENGTH):
        with pytest.raises(Misuse, match="during a transfer"):
            bench.write(S2MM + offset, 8)
    with pytest.raises(Misuse, match="0x08 was written, which simple mode does not have"):
        bench.write(S2MM + 0x08, 8)


def test_alignment(bench: Bench) -> None:
    bench.write(MM2S, registers.CR_RUN)
    with pytest.raises(Misuse, match="not aligned to 8 bytes"):
        bench.start(MM2S, bench.source.address + 4, 64)
    realigning = Bench(send_realigns=True)
    realigning.write(MM2S, registers.CR_RUN)
    realigning.start(MM2S, realigning.source.address + 4, 64)
    realigning.idle(MM2S)


@pytest.mark.parametrize("channel", [MM2S, S2MM])
def test_address_without_memory(bench: Bench, channel: int) -> None:
    bench.write(channel, registers.CR_RUN | registers.CR_ERROR_ENABLE)
    bench.write(channel + registers.ADDRESS_MSB, 1)
    bench.start(channel, bench.source.address, 64)
    status = bench.read(channel + registers.DMASR)
    assert status & registers.SR_DECODE_ERROR and status & registers.SR_ERROR and status & registers.SR_HALTED
    assert not bench.read(channel) & registers.CR_RUN
    with pytest.raises(Misuse, match="from which only a reset leads back"):
        bench.write(channel, registers.CR_RUN)
    bench.write(channel, registers.CR_RESET)
    assert bench.read(channel) & registers.CR_RESET and not bench.read(channel) & registers.CR_RESET
    bench.write(channel, registers.CR_RUN)
    bench.write(channel + registers.ADDRESS_MSB, 0)
    bench.start(channel, bench.source.address, 64)


def test_a_packet_larger_than_the_buffer(bench: Bench, rng: np.random.Generator) -> None:
    pixels, wanted = frame_of(rng)
    bench.source.host[:FRAME] = pixels.ravel()
    for channel in (MM2S, S2MM):
        bench.write(channel, registers.CR_RUN)
    bench.start(S2MM, bench.sink.address, RESULT - 8)
    bench.start(MM2S, bench.source.address, FRAME)
    bench.wait(lambda: bool(bench.read(S2MM + registers.DMASR) & registers.SR_HALTED))
    assert bench.read(S2MM + registers.DMASR) & registers.SR_INTERNAL_ERROR
    assert bench.sink.device[:RESULT].tobytes() == wanted[:-8] + bytes([NEW] * 8)


@pytest.mark.parametrize("room", [RESULT, RESULT - 8])
def test_a_transfer_that_failed_is_not_done(bench: Bench, room: int) -> None:
    """Its buffer is given back while it waits: what comes in finds no memory, whether it fits or not."""
    bench.write(S2MM, registers.CR_RUN)
    bench.start(S2MM, bench.sink.address, room)
    bench.memory.return_pointer(bench.sink)
    with bench.compute.lock:
        bench.dma.receive.take(bytes(RESULT), True)
    status = bench.read(S2MM + registers.DMASR)
    assert status == 0x0001_0000 | registers.SR_ERROR | registers.SR_DECODE_ERROR | registers.SR_HALTED
    assert bench.dma.receive.done == 0 and bench.read(S2MM + registers.LENGTH) == room


@pytest.mark.parametrize("channel", [MM2S, S2MM])
def test_an_interrupt_threshold_of_zero_is_none(bench: Bench, channel: int) -> None:
    bench.write(channel, registers.CR_RUN)
    assert bench.read(channel) == 0x0001_0003
    bench.write(channel, registers.CR_RUN | 5 << 16)
    bench.write(channel, registers.CR_RUN)
    assert bench.read(channel) == 0x0005_0003


@pytest.mark.parametrize("channel", [MM2S, S2MM])
def test_either_reset_bit_resets_both(bench: Bench, channel: int) -> None:
    for other in (MM2S, S2MM):
        bench.write(other, registers.CR_RUN)
    bench.start(S2MM, bench.sink.address, RESULT)
    bench.write(channel, registers.CR_RESET)
    for other in (MM2S, S2MM):
        assert bench.read(other + registers.DMASR) == 0x00010001
        assert bench.read(other + registers.ADDRESS) == bench.read(other + registers.LENGTH) == 0


def test_stop_gives_the_transfer_up(bench: Bench, rng: np.random.Generator) -> None:
    bench.write(S2MM, registers.CR_RUN)
    bench.start(S2MM, bench.sink.address, RESULT)
    bench.write(S2MM, 0)
    assert bench.read(S2MM + registers.DMASR) & 3 == registers.SR_HALTED
    pixels, wanted = frame_of(rng)
    bench.source.host[:FRAME] = pixels.ravel()
    for channel in (MM2S, S2MM):
        bench.write(channel, registers.CR_RUN)
    bench.start(MM2S, bench.source.address, FRAME)
    bench.idle(MM2S)
    assert (bench.sink.device[:RESULT] == NEW).all()
    bench.start(S2MM, bench.sink.address, RESULT)
    bench.idle(S2MM)
    assert bench.sink.device[:RESULT].tobytes() == wanted


def test_early_end_leaves_the_next_result_whole(rng: np.random.Generator) -> None:
    bench = Bench(Fault("early_done", 0, 16))
    for channel in (MM2S, S2MM):
        bench.write(channel, registers.CR_RUN)
    for length in (16, RESULT):
        pixels, wanted = frame_of(rng)
        bench.source.host[:FRAME] = pixels.ravel()
        bench.sink.device[:] = 0
        bench.start(S2MM, bench.sink.address, RESULT)
        bench.start(MM2S, bench.source.address, FRAME)
        bench.idle(S2MM)
        assert bench.read(S2MM + registers.LENGTH) == length
        assert bench.sink.device[:RESULT].tobytes() == wanted[:length].ljust(RESULT, b"\0")
