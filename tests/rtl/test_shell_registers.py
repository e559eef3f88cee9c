"""The board shell's registers: their map, how they are written, and the figures in them."""

import re
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet import shell
from fpga_facedet.compiler.overlay_top import write_overlay_top
from fpga_facedet.compiler.rtllib import own_source
from fpga_facedet.errors import InternalError
from fpga_facedet.simulation.shell import DRIVER, ShellProcess, SimulatedShell
from fpga_facedet.simulation.verilator import EXECUTABLE, build_model, compile_model

from ..conftest import REPOSITORY
from .shell_cores import SHIPPED, Core, errors, packets, simulate


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
