"""The board shell's resets, in any cycle: what is lost, what is completed, and that frames follow."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpga_facedet import shell
from fpga_facedet.simulation.shell import ShellProcess

from .shell_cores import CORES, SHIPPED, STALLS, Core, errors, packets, rest, simulate


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


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
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
