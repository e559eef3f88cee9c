"""The board shell's streams: the bytes that a DMA sends and reads, packets of all lengths."""

import numpy as np
import pytest

from fpga_facedet import shell
from fpga_facedet.simulation.shell import ShellProcess

from .shell_cores import STALLS, Core, errors, packets, rest

KEEPS = [0xFF, 0x7F, 0x77, 0x0F, 0x07, 0xF0, 0x70, 0xF7, 0x3F, 0x03, 0x00, 0xFE]


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


def test_which_pixels_of_a_beat_count(core: Core, process: ShellProcess, rng: np.random.Generator) -> None:
    """The second only where the first does; a beat without any moves nothing on."""
    data, frame = core.frames(rng, 2)
    beats = len(data.tobytes()) // 8
    sent, keeps = data.tobytes()[: 8 * beats], bytes((KEEPS * beats)[:beats])
    counts = [2 if keep & 0x77 == 0x77 else int(keep & 0x07 == 0x07) for keep in keeps]
    counted = b"".join(sent[8 * beat : 8 * beat + 4 * count] for beat, count in enumerate(counts))
    process.send(sent, keeps=keeps)
    process.send(frame.tobytes())
    assert packets(process, 2) == [core.zero_filled(counted), core.result(frame)]
    assert errors(process) == (shell.ERROR_SHORT_FRAME if len(counted) < data.size else 0)


def test_an_empty_beat_ends_a_packet(core: Core, process: ShellProcess, rng: np.random.Generator) -> None:
    """Behind a full frame it makes the packet long, before that a short one, of nothing at all if it is alone."""
    frames = core.frames(rng, 2)
    data = frames[0].tobytes()
    for beginning, error in (
        (data, shell.ERROR_LONG_FRAME),
        (data[:8], shell.ERROR_SHORT_FRAME),
        (b"", shell.ERROR_SHORT_FRAME),
    ):
        process.send(beginning, last=False)
        process.send(bytes(8), keeps=b"\0")
        process.send(frames[1].tobytes())
        assert packets(process, 2) == [core.zero_filled(beginning), core.result(frames[1])]
        assert errors(process) == error
    assert process.read(shell.REG_FRAMES_IN) == process.read(shell.REG_FRAMES_OUT) == 6
