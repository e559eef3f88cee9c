"""The sources of an overlay, and a compiled accelerator behind its board shell beside the golden engine."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet import shell
from fpga_facedet.compiler import layout
from fpga_facedet.compiler.overlay_top import overlay_top, write_overlay_top
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import Manifest
from fpga_facedet.simulation.shell import ShellProcess, SimulatedShell, compile_shell
from tests.compiler.conftest import Built
from tests.rtl.shell_cores import Core, packets, rest


@pytest.fixture(scope="session")
def simulated(built: Built, tmp_path_factory: pytest.TempPathFactory) -> SimulatedShell:
    return compile_shell(built.folder, tmp_path_factory.mktemp("simulator"))


@pytest.fixture
def process(simulated: SimulatedShell) -> Iterator[ShellProcess]:
    with simulated.start(seed=11) as process:
        yield process


@pytest.fixture(scope="session")
def pixels(built: Built) -> np.ndarray:
    shape = (8, built.manifest.input.height, built.manifest.input.width, 4)
    return np.random.default_rng(4).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="session")
def results(built: Built, pixels: np.ndarray) -> list[bytes]:
    """What the golden engine says of `pixels`, padded as the DMA receives it."""
    outputs = GoldenEngine(built.folder).infer(np.ascontiguousarray(pixels[..., :3]))
    found = [output.tobytes().ljust(shell.result_bytes(built.manifest), b"\0") for output in outputs]
    assert len(set(found)) == len(found)
    return found


@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.6, 0.6), (0.0, 0.9)])
def test_equals_the_golden_engine(
    process: ShellProcess, pixels: np.ndarray, results: list[bytes], stalls: tuple[float, float]
) -> None:
    process.pause(*stalls, seed=1)
    for frame in pixels:
        process.send(frame.tobytes())
    assert packets(process, len(pixels)) == results
    assert rest(process) == [] and process.read(shell.REG_ERRORS) == 0


@pytest.mark.parametrize("kind", [shell.RESET_CORE, shell.RESET_ALL])
def test_equals_it_again_after_a_reset_in_mid_frame(
    built: Built, process: ShellProcess, pixels: np.ndarray, results: list[bytes], kind: int
) -> None:
    """Every layer, queue and weight memory begins anew, wherever in three frames the reset hits."""
    size = shell.result_bytes(built.manifest)
    for cycle in [*range(0, 12_000, 173), 12_345]:
        for frame in pixels[:3]:
            process.send(frame.tobytes())
        process.step(cycle)
        if kind == shell.RESET_ALL:
            process.flush_input()
        process.write(shell.REG_CONTROL, kind)
        if kind == shell.RESET_ALL:
            while process.receive(1 << 20)[0]:
                pass
        for frame in pixels[4:6]:
            process.send(frame.tobytes())
        found: list[bytes] = []
        while found[-2:] != results[4:6]:
            found += packets(process, 1)
            assert len(found[-1]) == size and len(found) <= 5, cycle
    assert rest(process, 20_000) == [] and process.read(shell.REG_STATUS) == 0


def test_short_and_long_frames_cost_nobody_else(
    built: Built, process: ShellProcess, pixels: np.ndarray, results: list[bytes]
) -> None:
    short = pixels[1].copy().reshape(-1, 4)
    short[77:] = 0
    zero_filled = GoldenEngine(built.folder).infer(short[:, :3].reshape(pixels[:1, ..., :3].shape))
    process.send(pixels[0].tobytes())
    process.send(pixels[1].tobytes()[: 77 * 4])
    process.send(pixels[2].tobytes() + bytes(1000))
    process.send(pixels[3].tobytes())
    found = packets(process, 4)
    assert found[1].startswith(zero_filled.tobytes())
    assert [found[0], *found[2:]] == [results[0], *results[2:4]]
    assert process.read(shell.REG_ERRORS) == shell.ERROR_SHORT_FRAME | shell.ERROR_LONG_FRAME


def test_hashes_are_those_of_the_manifest(built: Built, process: ShellProcess) -> None:
    for register, digest in (
        (shell.REG_MODEL_HASH, built.manifest.model.sha256),
        (shell.REG_RTL_HASH, built.manifest.files["rtl_sha256"]),
    ):
        words = tuple(process.read(register + 4 * word) for word in range(shell.HASH_WORDS))
        assert words == shell.hash_words(digest)


def test_writes_all_that_the_top_needs(built: Built, tmp_path: Path) -> None:
    sources = write_overlay_top(built.folder, tmp_path / "out")
    assert sources[-1].name == "facedet_overlay.v"
    assert sources[: len(layout.sources(built.folder))] == [
        tmp_path / "out" / source.name for source in layout.sources(built.folder)
    ]
    memories = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.dat")}
    assert memories == {path.name: path.read_bytes() for path in (built.folder / layout.RTL).glob("*.dat")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in sources} | set(memories)


def test_the_top_is_plain_verilog_whose_interfaces_vivado_sees(built: Built) -> None:
    top = overlay_top(built.manifest)
    code = re.sub(r"\/\/.*|\(\*[^*]*\*\)", "", top)
    assert not re.search(r"\b(logic|bit|int|always_ff|uwire|import|typedef|'0|'1)\b", code)
    ports = re.findall(r"^\t(?:input|output)\t(?:\[\d+:0\]\s+)?(\w+),?$", top, re.MULTILINE)
    declared = re.findall(r"X_INTERFACE_INFO = \"xilinx\.com:[\w:.]+ (\w+) (\w+)\"", top)
    assert len(ports) == len(declared) == 2 + 2 * 5 + 19
    for port, (interface, signal) in zip(ports, declared, strict=True):
        assert port == (interface if interface in ("aclk", "aresetn") else f"{interface}_{signal.lower()}")
    assert "ASSOCIATED_BUSIF s_axis:m_axis:s_axi, ASSOCIATED_RESET aresetn" in top


def built_core(**stream: int) -> Manifest:
    manifest = Core().manifest
    assert manifest.stream
    files = {"rtl_sha256": "0" * 64}
    return replace(manifest, files=files, stream=replace(manifest.stream, **stream))


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (replace(built_core(), stream=None), "describes no built hardware"),
        (replace(built_core(), files={}), "describes no built hardware"),
        (built_core(bits_in=4), "input has values of 4 bits; the board shell takes 8"),
        (built_core(bits_out=9), "output has values of 9 bits; the board shell takes 8"),
        (built_core(lanes_in=2), "takes 2 values a beat"),
        (built_core(beats_in=23), "input stream of 23 beats of 3 values, which are not the 72 of a frame"),
        (built_core(beats_out=107), "output stream of 107 beats of 1 values, which are not the 108 of a frame"),
        (replace(built_core(), files={"rtl_sha256": "abc"}), r"files\.rtl_sha256 is 'abc', which is no SHA-256"),
    ],
)
def test_refuses_a_manifest_that_the_shell_cannot_serve(manifest: Manifest, says: str) -> None:
    with pytest.raises(UserError, match=says):
        overlay_top(manifest)


def test_refuses_changed_sources_and_clashing_names(tmp_path: Path) -> None:
    folder = Core().write(tmp_path / "core")
    with (folder / layout.RTL / layout.TOP_FILE).open("a") as file:
        file.write("// changed\n")
    with pytest.raises(UserError, match="was changed since"):
        write_overlay_top(folder, tmp_path / "out")
    (folder / layout.RTL / "axis_skid.sv").write_text("")
    (folder / layout.RTL / layout.FILE_LIST).write_text("axis_skid.sv\ntop.sv\n")
    replace(Manifest.load(folder), files=layout.digests(folder)).save(folder / "accelerator.json")
    with pytest.raises(InternalError, match=r"both have a source axis_skid\.sv"):
        write_overlay_top(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
