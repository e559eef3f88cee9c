"""The board shell with accelerators of many shapes, its assertions on: the bytes that a DMA sends and reads."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpga_facedet import shell
from fpga_facedet.compiler.overlay_top import write_overlay_top
from fpga_facedet.compiler.rtllib import own_source
from fpga_facedet.errors import InternalError
from fpga_facedet.simulation.shell import DRIVER, ShellProcess, SimulatedShell
from fpga_facedet.simulation.verilator import EXECUTABLE, build_model, compile_model

from ..conftest import REPOSITORY
from .shell_cores import Core, packets, rest, simulate

CORES = {
    "as shipped": Core(),
    "single values": Core(lanes_in=1, lanes_out=1, anchors=1),
    "an anchor a beat": Core(lanes_out=6),
    "a cell a beat": Core(lanes_out=18),
    "two pixels a beat": Core(lanes_in=6, lanes_out=18),
    "odd lanes": Core(lanes_out=9),
    "whole beats": Core(lanes_out=8, anchors=2),
    "several beats at once": Core(lanes_out=24, anchors=2),
    "odd pixels": Core(height=3, width=5, stride=1, lanes_out=6, anchors=1),
    "one beat out": Core(height=2, width=2, stride=2, lanes_out=2, anchors=1),
    "restless in reset": Core(lanes_out=6, restless=True),
}
SHIPPED = CORES["as shipped"]
STALLS = [(0.0, 0.0), (0.5, 0.5), (0.0, 0.9), (0.9, 0.0)]


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> Core:
    return CORES[request.param]


@pytest.fixture
def process(core: Core) -> Iterator[ShellProcess]:
    with simulate(core).start(seed=7) as process:
        yield process


@pytest.fixture
def shipped() -> Iterator[ShellProcess]:
    with simulate(SHIPPED).start(seed=5) as process:
        yield process


def errors(process: ShellProcess) -> int:
    """The sticky errors, which are cleared."""
    found = process.read(shell.REG_ERRORS)
    process.write(shell.REG_ERRORS, found)
    assert process.read(shell.REG_ERRORS) == 0
    return found


@pytest.mark.parametrize("stalls", STALLS)
def test_every_byte_of_several_frames(
    core: Core, process: ShellProcess, rng: np.random.Generator, stalls: tuple[float, float]
) -> None:
    process.pause(*stalls, seed=3)
    frames = core.frames(rng, 9)
    for frame in frames:
        process.send(frame.tobytes())
    assert packets(process, 9) == [core.result(frame) for frame in frames]
    assert rest(process) == []
    assert errors(process) == 0
    assert process.read(shell.REG_STATUS) == 0
    assert (process.read(shell.REG_FRAMES_IN), process.read(shell.REG_FRAMES_OUT)) == (9, 9)


def test_a_packet_of_any_shorter_length(core: Core, process: ShellProcess, rng: np.random.Generator) -> None:
    """It is completed with zeros, and a pixel that is cut apart does not count; the next packet is a frame."""
    frames = core.frames(rng, 2)
    whole = frames[0].tobytes()
    for length in range(1, len(whole)):
        beginning = whole[:length]
        # The fourth byte of a pixel is nobody's loss.
        pixels = beginning + b"\0" if length % 4 == 3 else beginning
        process.send(beginning)
        process.send(frames[1].tobytes())
        assert packets(process, 2) == [core.zero_filled(pixels), core.result(frames[1])], length
        assert errors(process) == (shell.ERROR_SHORT_FRAME if length < len(whole) - 1 else 0), length
    assert process.read(shell.REG_FRAMES_OUT) == process.read(shell.REG_FRAMES_IN) == 2 * (len(whole) - 1)


@pytest.mark.parametrize("more", [4, 8, 12, 100, 1000])
def test_a_packet_that_is_too_long(core: Core, process: ShellProcess, rng: np.random.Generator, more: int) -> None:
    frames = core.frames(rng, 3)
    process.pause(0.3, 0.3)
    process.send(frames[0].tobytes() + bytes(more))
    process.send(frames[1].tobytes())
    process.send(frames[2].tobytes() + rng.bytes(more))
    assert packets(process, 3) == [core.result(frame) for frame in frames]
    assert rest(process) == []
    assert errors(process) == shell.ERROR_LONG_FRAME
    assert process.read(shell.REG_FRAMES_OUT) == process.read(shell.REG_FRAMES_IN) == 3


def test_a_packet_of_half_beats(core: Core, process: ShellProcess, rng: np.random.Generator) -> None:
    """No DMA sends them, but a pixel that is not there is none."""
    frames = core.frames(rng, 2)
    data = frames[0].tobytes()
    for place in range(0, len(data), 4):
        process.send(data[place : place + 4], last=place + 4 == len(data))
    process.send(frames[1].tobytes())
    assert packets(process, 2) == [core.result(frame) for frame in frames]
    assert errors(process) == 0


def check_after_reset(
    core: Core, process: ShellProcess, frames: np.ndarray, found: list[bytes], cut_output: bool
) -> None:
    """Every packet is a frame's result, in order; one at most, where the errors say so, is completed with zeros."""
    results = [core.result(frame) for frame in frames]
    cut = [packet for packet in found if packet not in results]
    assert len(cut) == cut_output
    for packet in cut:
        beats = max(index for index in range(len(packet) // 8) if any(packet[8 * index :]))
        begun = packet[: 8 * beats + 8]
        assert len(packet) == shell.result_bytes(core.manifest)
        assert any(result.startswith(begun) for result in results)
    order = [results.index(packet) for packet in found if packet in results]
    assert order == sorted(set(order))


@pytest.mark.parametrize("stalls", STALLS[:3])
def test_reset_of_the_core_in_any_cycle(
    core: Core, process: ShellProcess, rng: np.random.Generator, stalls: tuple[float, float]
) -> None:
    """Three frames are on their way; whatever of them is lost, the packets after the next one's end are right."""
    seen = 0
    cycles = 3 * core.height * core.width * (4 if core.lanes_in == 1 else 2)
    for cycle in range(0, cycles, 1 if stalls == (0.0, 0.0) else 3):
        process.pause(*stalls, seed=cycle)
        frames = core.frames(rng, 5)
        for frame in frames[:3]:
            process.send(frame.tobytes())
        process.step(cycle)
        process.write(shell.REG_CONTROL, shell.RESET_CORE)
        while process.read(shell.REG_CONTROL):
            pass
        for frame in frames[3:]:
            process.send(frame.tobytes())
        # The last two come out after all others, whatever those are.
        found: list[bytes] = []
        while found[-2:] != [core.result(frame) for frame in frames[3:]]:
            found += packets(process, 1)
        assert rest(process, 300) == []
        happened = errors(process)
        assert happened & (shell.ERROR_SHORT_FRAME | shell.ERROR_LONG_FRAME) == 0
        check_after_reset(core, process, frames, found, bool(happened & shell.ERROR_CUT_OUTPUT))
        assert len(found) <= 5 and process.read(shell.REG_STATUS) == 0
        seen |= happened
    several_beats = shell.result_bytes(core.manifest) > 8
    assert seen == shell.ERROR_CUT_INPUT | (shell.ERROR_CUT_OUTPUT if several_beats else 0)
    assert process.read(shell.REG_FRAMES_IN) == 5 * len(range(0, cycles, 1 if stalls == (0.0, 0.0) else 3))


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("ready", [True, False])
def test_reset_of_everything_in_any_cycle(
    core: Core, process: ShellProcess, rng: np.random.Generator, hard: bool, ready: bool
) -> None:
    """The DMA was reset in mid-packet, both ways; the next packet is a frame, the next bytes are its result."""
    for cycle in range(0, 3 * core.height * core.width * 2, 2):
        frames = core.frames(rng, 5)
        for frame in frames[:3]:
            process.send(frame.tobytes())
        process.output_ready(ready)
        process.step(cycle)
        process.flush_input()
        process.output_ready(False)
        if hard:
            process.reset()
        else:
            process.write(shell.REG_CONTROL, shell.RESET_ALL)
            while process.receive(1 << 20)[0]:
                pass
        assert process.read(shell.REG_STATUS) == 0
        process.output_ready(True)
        for frame in frames[3:]:
            process.send(frame.tobytes())
        assert packets(process, 2) == [core.result(frame) for frame in frames[3:]], cycle
        assert rest(process, 100) == []
        assert errors(process) == 0


def test_a_waiting_beat_is_held_and_its_packet_completed(shipped: ShellProcess, rng: np.random.Generator) -> None:
    """The DMA is not armed; the driver resets the core, twice, then sends a frame and arms it."""
    frames = SHIPPED.frames(rng, 2)
    shipped.output_ready(False)
    shipped.send(frames[0].tobytes())
    shipped.step(500)
    assert shipped.read(shell.REG_STATUS) == shell.STATUS_OUT_PACKET
    shipped.write(shell.REG_CONTROL, shell.RESET_CORE)
    shipped.write(shell.REG_CONTROL, shell.RESET_CORE)
    shipped.step(500)
    assert shipped.read(shell.REG_CONTROL) == 0
    assert shipped.read(shell.REG_STATUS) == shell.STATUS_OUT_PACKET
    shipped.send(frames[1].tobytes())
    shipped.step(500)
    shipped.output_ready(True)
    result = SHIPPED.result(frames[0])
    assert packets(shipped, 2) == [result[:8].ljust(len(result), b"\0"), SHIPPED.result(frames[1])]
    assert errors(shipped) == shell.ERROR_CUT_OUTPUT
    assert shipped.read(shell.REG_FRAMES_OUT) == 2


def test_a_whole_result_that_waits_outlives_a_reset(rng: np.random.Generator) -> None:
    """All of it had come out of the accelerator; its figures went with the frames inside."""
    core = CORES["one beat out"]
    frames = core.frames(rng, 3)
    with simulate(core).start() as process:
        process.output_ready(False)
        process.send(frames[0].tobytes())
        process.step(100)
        process.write(shell.REG_CONTROL, shell.RESET_CORE)
        process.step(100)
        process.output_ready(True)
        assert packets(process, 1) == [core.result(frames[0])]
        assert process.read(shell.REG_FRAME_CYCLES) == 0
        for frame in frames[1:]:
            process.send(frame.tobytes())
        assert packets(process, 2) == [core.result(frame) for frame in frames[1:]]
        assert 0 < process.read(shell.REG_FRAME_CYCLES) < 100
        assert errors(process) == 0


def test_a_cut_packet_is_dropped_to_its_end(shipped: ShellProcess, rng: np.random.Generator) -> None:
    frames = SHIPPED.frames(rng, 2)
    data = frames[0].tobytes()
    shipped.send(data[:40], last=False)
    shipped.step(100)
    assert shipped.read(shell.REG_STATUS) == shell.STATUS_IN_PACKET
    shipped.write(shell.REG_CONTROL, shell.RESET_CORE)
    shipped.step(100)
    assert shipped.read(shell.REG_STATUS) == shell.STATUS_IN_PACKET | shell.STATUS_DROPPING
    shipped.write(shell.REG_CONTROL, shell.RESET_CORE)
    shipped.send(data[40:] + bytes(400))
    shipped.step(100)
    assert shipped.read(shell.REG_STATUS) == 0
    shipped.send(frames[1].tobytes())
    assert packets(shipped, 1) == [SHIPPED.result(frames[1])]
    assert rest(shipped) == []
    assert errors(shipped) == shell.ERROR_CUT_INPUT
    assert (shipped.read(shell.REG_FRAMES_IN), shipped.read(shell.REG_FRAMES_OUT)) == (2, 1)


def test_a_reset_ends_filling(rng: np.random.Generator) -> None:
    core = CORES["single values"]
    with simulate(core).start() as process:
        frame = core.frames(rng, 1)[0]
        process.send(frame.tobytes()[:4])
        process.step(60)
        assert process.read(shell.REG_STATUS) == shell.STATUS_FILLING
        process.write(shell.REG_CONTROL, shell.RESET_CORE)
        assert process.read(shell.REG_STATUS) == 0
        process.send(frame.tobytes())
        assert packets(process, 1) == [core.result(frame)]
        assert errors(process) == shell.ERROR_SHORT_FRAME


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(["frame", "short", "long", "core", "all", "arm", "disarm", "wait"]), st.integers(0, 200)
        ),
        max_size=25,
    ),
    stalls=st.sampled_from(STALLS),
)
def test_whatever_happens_a_driver_gets_back_to_right_frames(
    events: list[tuple[str, int]], stalls: tuple[float, float]
) -> None:
    core = CORES["an anchor a beat"]
    rng = np.random.default_rng(len(events))
    with simulate(core).start() as process:
        process.pause(*stalls, seed=len(events))
        for what, number in events:
            data = core.frames(rng, 1)[0].tobytes()
            if what == "frame":
                process.send(data)
            elif what == "short":
                process.send(data[: 1 + number % (len(data) - 1)])
            elif what == "long":
                process.send(data + bytes(1 + number))
            elif what == "core":
                process.write(shell.REG_CONTROL, shell.RESET_CORE)
            elif what == "all":
                process.flush_input()
                process.write(shell.REG_CONTROL, shell.RESET_ALL)
                while process.receive(1 << 20)[0]:
                    pass
            elif what in ("arm", "disarm"):
                process.output_ready(what == "arm")
            process.step(number)
        process.output_ready(True)
        size = shell.result_bytes(core.manifest)
        assert all(len(packet) == size for packet in rest(process, 20_000))
        frames = core.frames(rng, 3)
        for frame in frames:
            process.send(frame.tobytes())
        assert packets(process, 3) == [core.result(frame) for frame in frames]
        assert rest(process) == [] and process.read(shell.REG_STATUS) == 0


def test_registers_that_never_change(shipped: ShellProcess) -> None:
    manifest = SHIPPED.manifest
    assert shipped.read(shell.REG_ID) == shell.ID == int.from_bytes(b"FDET", "big")
    assert shipped.read(shell.REG_VERSION) == shell.VERSION
    assert shipped.read(shell.REG_FRAME_PIXELS) == manifest.input.height * manifest.input.width
    assert shipped.read(shell.REG_OUTPUT_BYTES) == shell.output_bytes(manifest)
    words = [shipped.read(shell.REG_MODEL_HASH + 4 * word) for word in range(shell.HASH_WORDS)]
    assert words == [0x01234567, 0x89ABCDEF, 0x01234567, 0x89ABCDEF]
    for offset in (0x1C, 0x58, 0x7C, 0x400, 0xFFC):
        assert shipped.read(offset) == 0
    known = set(range(0, 0x58, 4)) - {shell.REG_CONTROL}
    before = {offset: shipped.read(offset) for offset in known if not 0x44 < offset < 0x50}
    for offset in known | {0x1C, 0x7C, 0x400, 0xFFC}:
        shipped.write(offset, 0xFFFF_FFFF)
    assert {offset: shipped.read(offset) for offset in before} == before


def test_the_map_is_that_of_the_package() -> None:
    """Each register has the same name and offset on both sides, and none is missing."""
    source = own_source("shell_registers.sv").read_text()
    offsets = {name: 4 * int(word, 16) for name, word in re.findall(r"(REG_\w+)\s*=\s*10'h(\w+)", source)}
    assert offsets == {name: value for name, value in vars(shell).items() if name.startswith("REG_")}
    text = (REPOSITORY / "docs" / "shell.md").read_text()
    described = {
        f"REG_{name}": int(offset, 16) for offset, name in re.findall(r"^\| (0x\w\w)\S* \| (\w+) ", text, re.M)
    }
    assert described == offsets
    for word, bits in (("STATUS", r"this moment: (.*) \|"), ("ERROR", r"by writing ones: (.*) \|")):
        found = re.search(bits, text)
        assert found
        named = {f"{word}_{name}": int(bit) for bit, name in re.findall(r"(\d) (\w+)", found[1])}
        assert named == {name: value for name, value in vars(shell).items() if name.startswith(f"{word}_")}


@pytest.mark.parametrize("delays", [(0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9), (3, 8, 5), (8, 3, 5)])
def test_writes_in_any_order_and_bytes_without_strobe(
    shipped: ShellProcess, rng: np.random.Generator, delays: tuple[int, int, int]
) -> None:
    timing = dict(zip(("address_delay", "data_delay", "answer_delay"), delays, strict=True))
    frame = SHIPPED.frames(rng, 1)[0].tobytes()
    shipped.send(frame[:20])
    shipped.send(frame + frame)
    packets(shipped, 2)
    both = shell.ERROR_SHORT_FRAME | shell.ERROR_LONG_FRAME
    assert shipped.read(shell.REG_ERRORS, answer_delay=delays[2]) == both
    shipped.write(shell.REG_ERRORS, 0xFFFF_FFFF, strobes=0b1110, **timing)
    assert shipped.read(shell.REG_ERRORS) == both
    shipped.write(shell.REG_ERRORS, 0xFFFF_FF00 | shell.ERROR_SHORT_FRAME, **timing)
    assert shipped.read(shell.REG_ERRORS) == shell.ERROR_LONG_FRAME
    shipped.write(shell.REG_CONTROL, shell.RESET_CORE, strobes=0b1110, **timing)
    shipped.write(shell.REG_CONTROL, 0, **timing)
    assert shipped.read(shell.REG_CONTROL) == 0
    shipped.write(shell.REG_CONTROL, shell.RESET_CORE, **{**timing, "answer_delay": 0})
    assert shipped.read(shell.REG_CONTROL) == 1
    shipped.step(100)
    assert shipped.read(shell.REG_CONTROL) == 0
    shipped.write(shell.REG_ERRORS, shell.ERROR_LONG_FRAME, strobes=0b0001, **timing)
    assert shipped.read(shell.REG_ERRORS) == 0


def test_figures(shipped: ShellProcess, rng: np.random.Generator) -> None:
    for register in (shell.REG_FRAME_CYCLES, shell.REG_INTERVAL_CYCLES, shell.REG_FRAMES_IN, shell.REG_FRAMES_OUT):
        assert shipped.read(register) == 0
    pixels, output = SHIPPED.height * SHIPPED.width, shell.output_bytes(SHIPPED.manifest)
    for _ in range(3):
        shipped.send(SHIPPED.frames(rng, 1)[0].tobytes())
        packets(shipped, 1)
    alone = shipped.read(shell.REG_FRAME_CYCLES)
    # A pixel a cycle in, then a byte a cycle out: a few cycles more for the registers on the way.
    assert pixels + output <= alone <= pixels + output + 8
    shipped.write(shell.REG_CONTROL, shell.RESET_CORE)
    for _ in range(4):
        shipped.send(SHIPPED.frames(rng, 1)[0].tobytes())
    packets(shipped, 1)
    packets(shipped, 3)
    # The core emits a frame while it takes the next one, so the output sets the pace.
    assert shipped.read(shell.REG_INTERVAL_CYCLES) == output
    assert shipped.read(shell.REG_FRAMES_OUT) == shipped.read(shell.REG_FRAMES_IN) == 7


def test_an_accelerator_that_holds_many_frames(rng: np.random.Generator) -> None:
    """More than the shell has room to time: the others wait outside, and none is lost."""
    core = Core(height=2, width=2, lanes_out=2, anchors=1, banks=32)
    frames = core.frames(rng, 40)
    with simulate(core).start() as process:
        process.output_ready(False)
        for frame in frames:
            process.send(frame.tobytes())
        process.step(1000)
        assert process.read(shell.REG_FRAMES_IN) == 16
        process.output_ready(True)
        assert packets(process, 40) == [core.result(frame) for frame in frames]


def test_a_cut_result_leaves_the_figures_alone(shipped: ShellProcess, rng: np.random.Generator) -> None:
    frame = SHIPPED.frames(rng, 1)[0].tobytes()
    for _ in range(2):
        shipped.send(frame)
    packets(shipped, 2)
    figures = [shipped.read(register) for register in (shell.REG_FRAME_CYCLES, shell.REG_INTERVAL_CYCLES)]
    shipped.send(frame)
    shipped.step(60)
    shipped.write(shell.REG_CONTROL, shell.RESET_CORE)
    packets(shipped, 1)
    assert errors(shipped) == shell.ERROR_CUT_OUTPUT
    shipped.step(1000)
    shipped.send(frame)
    packets(shipped, 1)
    # One frame since the reset has its own duration, and no interval.
    assert shipped.read(shell.REG_FRAME_CYCLES) < 200
    assert shipped.read(shell.REG_INTERVAL_CYCLES) == figures[1]
    assert shipped.read(shell.REG_FRAMES_OUT) == 4


def test_cycles_are_read_in_two_halves(shipped: ShellProcess) -> None:
    first = shipped.read(shell.REG_CYCLES_LOW)
    shipped.step(1000)
    second = shipped.read(shell.REG_CYCLES_LOW)
    assert 1000 < second - first < 1010
    assert shipped.read(shell.REG_CYCLES_HIGH) == 0
    shipped.reset()
    assert shipped.read(shell.REG_CYCLES_LOW) < 10


def test_the_halves_belong_together_where_the_low_one_wraps(tmp_path: Path) -> None:
    """The counter begins 20 cycles before it does."""
    sources = write_overlay_top(SHIPPED.write(tmp_path / "core"), tmp_path / "sources")
    meter = tmp_path / "sources" / "shell_meter.sv"
    text = meter.read_text()
    assert text.count("\t\t\tCycles    <= 0;") == 1
    meter.write_text(text.replace("\t\t\tCycles    <= 0;", f"Cycles <= 64'd{(6 << 32) - 20};"))
    place = build_model(sources, shell.TOP, tmp_path / "simulator", DRIVER, {})
    with SimulatedShell(place / EXECUTABLE, tmp_path / "sources").start() as process:
        assert process.read(shell.REG_CYCLES_LOW) >= 2**32 - 20
        process.step(100)
        assert process.read(shell.REG_CYCLES_HIGH) == 5
        assert 80 < process.read(shell.REG_CYCLES_LOW) < 100
        assert process.read(shell.REG_CYCLES_HIGH) == 6


@pytest.mark.parametrize(
    ("top", "right", "wrong", "says"),
    [
        ("shell_input", {"FRAME_PIXELS": 24, "LANES": 3}, {"LANES": 4}, "must be 1 or a multiple of 3"),
        ("shell_input", {"FRAME_PIXELS": 15, "LANES": 3}, {"LANES": 6}, "must divide the values"),
        ("shell_input", {"FRAME_PIXELS": 15, "LANES": 3}, {"FRAME_PIXELS": 0}, "must be positive"),
        ("shell_output", {"FRAME_BYTES": 24, "LANES": 3}, {"LANES": 5}, "must divide FRAME_BYTES"),
        ("shell_meter", {"DEPTH": 4}, {"DEPTH": 6}, "power of two"),
    ],
)
def test_bad_parameters_stop_the_elaboration(
    tmp_path: Path, top: str, right: dict[str, int], wrong: dict[str, int], says: str
) -> None:
    with pytest.raises(InternalError, match=says):
        compile_model([own_source(f"{top}.sv")], top, tmp_path, parameters={**right, **wrong})
