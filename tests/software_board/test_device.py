"""The real pynq on the software board: its Overlay, allocate, DMA, MMIO, Clocks and Interrupt."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpga_facedet import shell
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import Manifest
from fpga_facedet.software_board import Fault, Misuse, golden_compute
from fpga_facedet.software_board.memory import NEW
from fpga_facedet.software_board.overlay import PLACEHOLDER

from ..verification import tiny

pynq = pytest.importorskip("pynq", reason="the software board needs pynq (requirements/board.sh)")

FRAME = (tiny.HEIGHT, tiny.WIDTH, 4)
RESULT = shell.result_bytes(tiny.MANIFEST)


def wanted(pixels: np.ndarray) -> bytes:
    return tiny.TinyGolden().infer(np.ascontiguousarray(pixels[..., :3])[None]).tobytes().ljust(RESULT, b"\0")


class Driver:
    """An overlay and two buffers in the cache, driven as pynq's documentation shows it."""

    def __init__(self, bit: Path, rng: np.random.Generator) -> None:
        self.overlay, self.rng = pynq.Overlay(str(bit)), rng
        self.source = pynq.allocate(FRAME, np.uint8, cacheable=True)
        self.sink = pynq.allocate((RESULT,), np.uint8, cacheable=True)

    def start(self) -> bytes:
        """Start a random frame; return its right result."""
        self.source[:] = self.rng.integers(0, 256, FRAME, np.uint8)
        self.overlay.dma.recvchannel.transfer(self.sink)
        self.overlay.dma.sendchannel.transfer(self.source)
        return wanted(self.source)

    def frame(self) -> bool:
        """Run a frame to its end; return whether the result is right."""
        right = self.start()
        self.overlay.dma.sendchannel.wait()
        self.overlay.dma.recvchannel.wait()
        return self.sink.tobytes() == right

    def wait_for_result(self) -> None:
        """Wait until a result offers itself at the accelerator's output."""
        deadline = time.monotonic() + 10
        while not self.overlay.detector.read(shell.REG_STATUS) & shell.STATUS_OUT_PACKET:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def error_bits(self) -> int:
        return int(self.overlay.detector.read(shell.REG_ERRORS))


@pytest.fixture
def driver(board: Callable[..., Any], bit: Path, rng: np.random.Generator) -> Callable[..., Driver]:
    """Make a board with faults and options, and a driver on it."""

    def make(*faults: Fault, **options: Any) -> Driver:
        board(*faults, **options)
        return Driver(bit, rng)

    return make


def device_of(driver: Driver) -> Any:
    return driver.overlay.device


def test_frames_through_pynqs_own_dma(driver: Callable[..., Driver]) -> None:
    made = driver()
    assert type(made.overlay.dma) is pynq.lib.dma.DMA
    assert all(made.frame() for _ in range(20))
    assert made.overlay.dma.recvchannel.transferred == RESULT
    assert device_of(made).misuses == []
    assert made.overlay.detector.read(shell.REG_FRAMES_OUT) == 20


def test_overlay_folder_is_whole_and_honest(bit: Path) -> None:
    assert bit.read_bytes() == PLACEHOLDER and b"no bitstream" in PLACEHOLDER
    manifest = Manifest.load(bit.parent)
    assert manifest.model == tiny.MANIFEST.model
    assert set(manifest.files) >= {"bit_sha256", "hwh_sha256"}


def test_registers_and_clocks(driver: Callable[..., Driver]) -> None:
    made = driver()
    mmio = pynq.MMIO(shell.DETECTOR_BASE, shell.ADDRESS_RANGE)
    assert mmio.read(shell.REG_ID) == shell.ID and mmio.read(shell.REG_VERSION) == shell.VERSION
    assert mmio.read(shell.REG_FRAME_PIXELS) == tiny.HEIGHT * tiny.WIDTH
    assert mmio.read(shell.REG_OUTPUT_BYTES) == shell.output_bytes(tiny.MANIFEST)
    assert pynq.ps.Clocks.cpu_mhz == 650
    pynq.ps.Clocks.fclk0_mhz = 50
    assert pynq.ps.Clocks.fclk0_mhz == 50
    with pytest.raises(Misuse, match="nothing answers at 0x43d00000"):
        pynq.MMIO(0x43D0_0000, 4).read(0)
    assert len(device_of(made).misuses) == 1


def test_a_missing_flush_gives_wrong_data(driver: Callable[..., Driver]) -> None:
    made = driver(Fault("missing_flush", 1))
    assert [made.frame() for _ in range(3)] == [True, False, True]


def test_a_missing_invalidate_gives_wrong_data(driver: Callable[..., Driver]) -> None:
    made = driver(Fault("missing_invalidate", 1))
    assert [made.frame() for _ in range(3)] == [True, False, True]


@pytest.mark.parametrize(("frame", "first_is_right", "second_is_right"), [(0, False, True), (1, True, False)])
def test_a_missing_invalidate_is_that_of_its_frames_buffer(
    driver: Callable[..., Driver], frame: int, first_is_right: bool, second_is_right: bool
) -> None:
    """The result of the frame behind it has arrived by the time that a driver looks at a frame's."""
    made = driver(Fault("missing_invalidate", frame))
    other = pynq.allocate((RESULT,), np.uint8, cacheable=True)
    first = made.start()
    made.overlay.dma.sendchannel.wait()
    while not made.overlay.dma.recvchannel.idle:
        time.sleep(0.001)
    made.sink, sink = other, made.sink
    second = made.start()
    while not made.overlay.dma.recvchannel.idle:
        time.sleep(0.001)
    sink.invalidate()
    other.invalidate()
    assert (sink.tobytes() == first, other.tobytes() == second) == (first_is_right, second_is_right)


def test_zeros_that_nobody_flushed_cover_a_result(driver: Callable[..., Driver]) -> None:
    """A program clears its new buffer, as the board engine does, and leaves the flush away."""
    made = driver()
    made.sink[:] = 0
    assert not made.frame() and not made.sink.any()
    made.sink[:] = 0
    made.sink.flush()
    assert made.frame()


def test_polling_without_pynqs_wait_needs_an_invalidate(driver: Callable[..., Driver]) -> None:
    made = driver()
    right = made.start()
    while not made.overlay.dma.recvchannel.idle:
        time.sleep(0.001)
    assert made.sink.tobytes() == bytes([NEW] * RESULT) != right
    made.sink.invalidate()
    assert made.sink.tobytes() == right


def test_waiting_for_interrupts(driver: Callable[..., Driver]) -> None:
    made = driver()

    async def run() -> None:
        for _ in range(5):
            right = made.start()
            await asyncio.wait_for(made.overlay.dma.sendchannel.wait_async(), 5)
            await asyncio.wait_for(made.overlay.dma.recvchannel.wait_async(), 5)
            assert made.sink.tobytes() == right

    asyncio.get_event_loop_policy().get_event_loop().run_until_complete(run())
    assert device_of(made).misuses == []


def test_an_interrupt_wakes_a_waiter(driver: Callable[..., Driver]) -> None:
    made = driver(frame_seconds=0.2)

    async def run() -> float:
        begun = time.monotonic()
        right = made.start()
        await asyncio.wait_for(made.overlay.dma.recvchannel.wait_async(), 5)
        assert made.sink.tobytes() == right
        return time.monotonic() - begun

    assert asyncio.get_event_loop_policy().get_event_loop().run_until_complete(run()) >= 0.2


def test_a_missing_interrupt_wakes_nobody(driver: Callable[..., Driver]) -> None:
    made = driver(Fault("missing_interrupt", 0), frame_seconds=0.1)

    async def run() -> None:
        made.start()
        await asyncio.wait_for(made.overlay.dma.recvchannel.wait_async(), 0.5)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.get_event_loop_policy().get_event_loop().run_until_complete(run())
    # The result comes nevertheless: a driver that also looks finds it.
    deadline = time.monotonic() + 10
    while not made.overlay.dma.recvchannel.idle:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_board_without_interrupts(driver: Callable[..., Driver]) -> None:
    made = driver(interrupts=False)
    assert made.overlay.dma.sendchannel._interrupt is None
    assert made.frame()


@pytest.mark.parametrize(("name", "channel"), [("stuck_mm2s", "sendchannel"), ("stuck_s2mm", "recvchannel")])
def test_a_stuck_channel_and_the_way_back(driver: Callable[..., Driver], name: str, channel: str) -> None:
    made = driver(Fault(name, 1))
    assert made.frame()
    made.start()
    dma, detector = made.overlay.dma, made.overlay.detector
    if name == "stuck_s2mm":
        made.wait_for_result()
    assert not getattr(dma, channel).idle and not dma.recvchannel.idle
    dma.mmio.write(0, 4)
    while dma.mmio.read(0) & 4:
        pass
    detector.write(shell.REG_CONTROL, shell.RESET_ALL)
    while detector.read(shell.REG_CONTROL):
        pass
    dma.sendchannel.start()
    dma.recvchannel.start()
    assert made.frame() and made.frame()
    # Neither a result that waited at the output nor a frame that never went in is told as cut.
    assert made.error_bits() == 0


def test_early_done(driver: Callable[..., Driver]) -> None:
    made = driver(Fault("early_done", 1, 16))
    assert [made.frame() for _ in range(2)] == [True, False]
    assert made.overlay.dma.recvchannel.transferred == 16
    assert made.frame() and made.overlay.dma.recvchannel.transferred == RESULT


def test_error_bits(driver: Callable[..., Driver]) -> None:
    made = driver(Fault("error_bits", 1, shell.ERROR_LONG_FRAME))
    assert made.frame() and made.error_bits() == 0
    assert made.frame() and made.error_bits() == shell.ERROR_LONG_FRAME
    made.overlay.detector.write(shell.REG_ERRORS, shell.ERROR_LONG_FRAME)
    assert made.error_bits() == 0
    assert made.frame() and made.error_bits() == 0


def test_error_bits_stay_until_they_are_cleared(driver: Callable[..., Driver]) -> None:
    made = driver(Fault("error_bits", 0))
    assert made.frame() and made.frame()
    assert made.error_bits() == shell.ERROR_SHORT_FRAME
    made.overlay.detector.write(shell.REG_ERRORS, shell.ERROR_SHORT_FRAME)
    assert made.error_bits() == 0


def test_slow(driver: Callable[..., Driver]) -> None:
    made = driver(Fault("slow", 0, 0.3))
    begun = time.monotonic()
    assert made.frame()
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(
    ("fault", "register"),
    [
        (Fault("wrong_id"), shell.REG_ID),
        (Fault("wrong_version", value=0x0002_0000), shell.REG_VERSION),
        (Fault("wrong_model_hash"), shell.REG_MODEL_HASH + 12),
        (Fault("wrong_rtl_hash"), shell.REG_RTL_HASH),
    ],
)
def test_wrong_registers(driver: Callable[..., Driver], board: Callable[..., Any], fault: Fault, register: int) -> None:
    made = driver()
    right = [made.overlay.detector.read(offset) for offset in range(0, 0x40, 4)]
    device_of(made).inject(fault)
    wrong = [made.overlay.detector.read(offset) for offset in range(0, 0x40, 4)]
    differ = {4 * place for place in range(16) if right[place] != wrong[place]}
    assert register in differ and differ <= {register & ~0xC | word for word in (0, 4, 8, 12)}


def test_power_cut_between_frames(driver: Callable[..., Driver], bit: Path) -> None:
    made = driver(Fault("power_cut", 1))
    assert made.frame()
    made.start()
    assert made.overlay.detector.read(shell.REG_ID) == 0xFFFF_FFFF
    assert made.overlay.dma.mmio.read(4) == 0xFFFF_FFFF
    assert set(made.source.tobytes()) == {0xFF}


def test_power_cut_mid_frame_and_the_way_back(
    driver: Callable[..., Driver], bit: Path, rng: np.random.Generator
) -> None:
    made = driver(Fault("power_cut_mid_frame", 1), frame_seconds=0.05)
    assert made.frame()
    made.start()
    deadline = time.monotonic() + 5
    while made.overlay.detector.read(shell.REG_ID) == shell.ID and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made.overlay.detector.read(shell.REG_ID) == 0xFFFF_FFFF
    again = Driver(bit, rng)
    assert again.frame()


def test_soft_reset_while_frames_are_inside(driver: Callable[..., Driver]) -> None:
    made = driver(frame_seconds=0.2)
    made.start()
    made.overlay.dma.sendchannel.wait()
    made.overlay.detector.write(shell.REG_CONTROL, shell.RESET_CORE)
    # Its result had not begun: it never comes, and the receiving transfer is there for the next frame's.
    right = wanted(made.source)
    made.overlay.dma.sendchannel.transfer(made.source)
    made.overlay.dma.recvchannel.wait()
    assert made.sink.tobytes() == right
    assert made.overlay.detector.read(shell.REG_FRAMES_IN) == 2
    assert made.overlay.detector.read(shell.REG_FRAMES_OUT) == 1


def test_soft_reset_while_a_result_waits_completes_it_with_zeros(driver: Callable[..., Driver]) -> None:
    made = driver()
    made.source[:] = 200
    made.overlay.dma.sendchannel.transfer(made.source)
    made.overlay.dma.sendchannel.wait()
    made.wait_for_result()
    made.overlay.detector.write(shell.REG_CONTROL, shell.RESET_CORE)
    made.overlay.dma.recvchannel.transfer(made.sink)
    made.overlay.dma.recvchannel.wait()
    assert made.sink.tobytes() == wanted(made.source)[:8].ljust(RESULT, b"\0")
    assert made.error_bits() == shell.ERROR_CUT_OUTPUT
    assert made.frame()


def test_a_cut_packet_shifts_the_next_until_reset(driver: Callable[..., Driver]) -> None:
    made = driver(interval_seconds=24.0)
    made.start()
    # One of the frame's 24 beats goes in each second: some are to be in, and by far not all.
    deadline = time.monotonic() + 10
    while not made.overlay.detector.read(shell.REG_STATUS) & shell.STATUS_IN_PACKET:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    made.overlay.dma.mmio.write(0, 4)
    device_of(made).compute.set_time(0.0, 0.0)
    assert made.overlay.detector.read(shell.REG_STATUS) & shell.STATUS_IN_PACKET
    made.overlay.dma.sendchannel.start()
    made.overlay.dma.recvchannel.start()
    assert not made.frame() and made.error_bits() == shell.ERROR_LONG_FRAME
    assert made.frame()


def test_frames_follow_each_other_in_the_pipeline(driver: Callable[..., Driver]) -> None:
    made = driver(frame_seconds=0.4, interval_seconds=0.1)
    rights = []
    for _ in range(4):
        made.source[:] = made.rng.integers(0, 256, FRAME, np.uint8)
        rights.append(wanted(made.source))
        made.overlay.dma.sendchannel.transfer(made.source)
        made.overlay.dma.sendchannel.wait()
    # All four are inside before the first has come out.
    assert made.overlay.detector.read(shell.REG_FRAMES_IN) == 4
    assert made.overlay.detector.read(shell.REG_FRAMES_OUT) == 0
    for right in rights:
        made.overlay.dma.recvchannel.transfer(made.sink)
        made.overlay.dma.recvchannel.wait()
        assert made.sink.tobytes() == right
    assert made.overlay.detector.read(shell.REG_FRAME_CYCLES) >= 0.4e8


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_buffers_are_counted_and_bounded(board: Callable[..., Any]) -> None:
    device = board()
    buffer = pynq.allocate((1 << 20,), np.uint8)
    assert buffer.physical_address % 4096 == 0 and buffer.physical_address < 512 << 20
    part = buffer[4096:]
    assert part.physical_address == buffer.physical_address + 4096
    assert device.memory.live == 1 and device.memory.used_bytes == 1 << 20
    del buffer, part
    assert device.memory.live == 0
    with pytest.raises(UserError, match="128 MiB"):
        pynq.allocate((129 << 20,), np.uint8)
    with pynq.allocate((8,), np.uint8) as buffer:
        assert device.memory.live == 1
    assert device.memory.live == 0
    buffer.freebuffer()
    del buffer
    assert device.memory.live == 0


def test_a_freed_buffer_is_no_memory(driver: Callable[..., Driver]) -> None:
    made = driver()
    made.sink.freebuffer()
    made.overlay.dma.recvchannel.transfer(made.sink)
    assert made.overlay.dma.recvchannel.error
    with pytest.raises(RuntimeError, match="DMA channel not started"):
        made.overlay.dma.recvchannel.wait()


def test_pynq_is_as_before(board: Callable[..., Any], bit: Path, rng: np.random.Generator) -> None:
    from fpga_facedet.software_board import SoftwareBoard

    places = (pynq.Device, pynq.ps, pynq.ps.Clocks, pynq.interrupt._InterruptController, pynq.interrupt, pynq.uio)
    before = [dict(vars(place)) for place in places]
    for _ in range(3):
        with SoftwareBoard(tiny.MANIFEST, golden_compute(tiny.TinyGolden())):
            assert Driver(bit, rng).frame()
            with pytest.raises(UserError, match="Another software board is installed"):
                SoftwareBoard(tiny.MANIFEST, golden_compute(tiny.TinyGolden())).install()
    assert [dict(vars(place)) for place in places] == before


def test_an_engine_that_fails_is_told(board: Callable[..., Any], bit: Path, rng: np.random.Generator) -> None:
    from fpga_facedet.software_board import SoftwareBoard

    class Failing(tiny.TinyGolden):
        def infer(self, frames: np.ndarray) -> np.ndarray:
            raise ValueError("no idea")

    with (
        SoftwareBoard(tiny.MANIFEST, golden_compute(Failing())),
        pytest.raises(InternalError, match="engine golden failed: no idea"),
    ):
        Driver(bit, rng).frame()


def test_unknown_faults() -> None:
    with pytest.raises(UserError, match="There is no fault 'sleepy' of the board; choose one of: stuck_mm2s"):
        Fault("sleepy")
    with pytest.raises(UserError, match="'wrong_id' has no frame, and was given frame 3"):
        Fault("wrong_id", 3)
    with pytest.raises(UserError, match="counts its frames from 0, and was given frame -1"):
        Fault("slow", -1)
