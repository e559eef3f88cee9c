"""The C simulation on a small segment written by hand, and what can be wrong with it or with the machine."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.compiler.hls.library import headers
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.simulation.csim import CSimulation, ap_types
from fpga_facedet.simulation.verilator import SimulationError

from ..conftest import REPOSITORY

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")

HEIGHT, WIDTH, LANES = 4, 6, 2

# The hooks spoil it: how many beats the port gives to the pool, and how many the pool's result gives to the port.
TOP = """\
#include "facedet/layers.hpp"
#include "number.hpp"
using namespace facedet;

void facedet_hls_0(hls::stream<ap_uint<16>> &in0_V, hls::stream<ap_uint<8>> &out0_V) {{
  Stream<Unsigned<5>, 2> in0("in0");
  FACEDET_LAYER("in0")
  read_port<Unsigned<5>, 2, {beats_in}>(in0_V, in0);
  Stream<Unsigned<5>, 2> pool("StreamingMaxPool_0");
  FACEDET_LAYER("StreamingMaxPool_0")
  max_pool_2x2<Unsigned<5>, 2, 2, 4, 6>(in0, pool);
  Stream<Unsigned<5>, 1> one("StreamingDataWidthConverter_0");
  FACEDET_LAYER("StreamingDataWidthConverter_0")
  convert_width<Unsigned<5>, 2, 1, {beats_out}>(pool, one);
  FACEDET_LAYER("out0")
  write_port<Unsigned<5>, 1, {beats_out} * 2>(one, out0_V);
}}
"""

SIMULATION = """\
#include "facedet/simulation.hpp"
#include "top.cpp"
const std::vector<facedet::Segment> facedet::segments = {
    facedet::segment<16, 8>("facedet_hls_0", facedet_hls_0, 24, 12),
};
"""


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of these tests alone, so that each source is compiled once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(shared_cache))
    return shared_cache / "facedet"


def write(folder: Path, beats_in: int = 24, beats_out: int = 6, simulation: str = SIMULATION, number: int = 1) -> Path:
    """Write the C++ of an accelerator: the maximum of each 2x2 block of two channels of 5 bits."""
    hls = folder / "hls"
    (hls / "facedet").mkdir(parents=True)
    for header in headers():
        shutil.copyfile(header, hls / "facedet" / header.name)
    (hls / "top.cpp").write_text(TOP.format(beats_in=beats_in, beats_out=beats_out))
    (hls / "number.hpp").write_text(f"static const int number = {number};\n")
    (hls / "csim.cpp").write_text(simulation)
    names = ["top.cpp", "csim.cpp", "number.hpp", *(f"facedet/{header.name}" for header in headers())]
    (hls / "files.txt").write_text("\n".join(names) + "\n")
    return folder


def words_of(rng: np.random.Generator, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random values (frames, 4, 6, 2) and their words: two values of 5 bits, padded to two bytes."""
    values = rng.integers(0, 32, (frames, HEIGHT, WIDTH, LANES))
    words = (values[..., 0] | values[..., 1] << 5).reshape(frames, -1)
    return values, np.stack([words & 255, words >> 8], axis=-1).astype(np.uint8)


def test_words_streams_and_trips(tmp_path: Path, rng: np.random.Generator) -> None:
    said: list[tuple[str, float]] = []
    simulation = CSimulation(write(tmp_path), lambda *news: said.append(news))
    (sizes,) = simulation.segments.values()
    assert (sizes.beats_in, sizes.bytes_in, sizes.beats_out, sizes.bytes_out) == (24, 2, 12, 1)
    values, words = words_of(rng, 3)
    pooled = values.reshape(3, 2, 2, 3, 2, 2).max(axis=(2, 4))
    run = simulation.run("facedet_hls_0", words, record=True, progress=lambda *news: said.append(news))
    np.testing.assert_array_equal(run.words, pooled.reshape(3, 12, 1))
    assert {name: stream.dtype for name, stream in run.streams.items()} == {
        "in0": np.int32,
        "StreamingMaxPool_0": np.int32,
        "StreamingDataWidthConverter_0": np.int32,
    }
    np.testing.assert_array_equal(run.streams["in0"], values.reshape(3, 24, 2))
    np.testing.assert_array_equal(run.streams["StreamingMaxPool_0"], pooled.reshape(3, 6, 2))
    np.testing.assert_array_equal(run.streams["StreamingDataWidthConverter_0"], pooled.reshape(3, 12, 1))
    assert run.trips == {"in0": 72, "StreamingMaxPool_0": 72, "StreamingDataWidthConverter_0": 36, "out0": 36}
    plain = simulation.run("facedet_hls_0", words[1:2])
    np.testing.assert_array_equal(plain.words, run.words[1:2])
    assert plain.streams == {} and plain.trips["in0"] == 24
    assert said == [("Compiling the C simulation", 0.0), *(("simulating", n / 3) for n in range(3))]


def test_second_one_finds_the_library_compiled_and_a_changed_header_does_not(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    said: list[str] = []
    CSimulation(write(tmp_path / "a"), lambda what, share: said.append(what))
    said.clear()
    CSimulation(write(tmp_path / "b"), lambda what, share: said.append(what))
    assert said == []
    CSimulation(write(tmp_path / "c", number=2), lambda what, share: said.append(what))
    assert said == ["Compiling the C simulation"]


def test_two_accelerators_in_one_process_share_nothing(tmp_path: Path, rng: np.random.Generator) -> None:
    one, other = CSimulation(write(tmp_path / "a")), CSimulation(write(tmp_path / "b", number=2))
    _, words = words_of(rng, 2)
    one.run("facedet_hls_0", words[:1], record=True)
    other.run("facedet_hls_0", words[1:])
    assert len(one._streams()) == 3 and other._streams() == []


def test_a_layer_that_reads_from_an_empty_stream_is_named_with_beat_and_frame(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    simulation = CSimulation(write(tmp_path, beats_in=20))
    with pytest.raises(SimulationError) as failure:
        simulation.run("facedet_hls_0", words_of(rng, 2)[1], first=7)
    message = str(failure.value)
    assert message.startswith(
        "The C simulation failed: layer StreamingMaxPool_0 reads beat 20 of stream in0 in frame 7,"
    )


def test_beats_that_stay_behind_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    simulation = CSimulation(write(tmp_path, beats_out=5))
    with pytest.raises(SimulationError, match=r"10 words were written to out0_V, not 12 in frame 0\.$"):
        simulation.run("facedet_hls_0", words_of(rng, 1)[1])


def test_words_of_another_size_and_another_segment(tmp_path: Path, rng: np.random.Generator) -> None:
    simulation = CSimulation(write(tmp_path))
    words = words_of(rng, 1)[1]
    with pytest.raises(InternalError, match=r"got words uint8 \(1, 23, 2\)"):
        simulation.run("facedet_hls_0", words[:, 1:])
    with pytest.raises(InternalError, match="no segment facedet_hls_1; it has facedet_hls_0"):
        simulation.run("facedet_hls_1", words)


def test_a_damaged_library_is_compiled_again(tmp_path: Path, cache: Path, rng: np.random.Generator) -> None:
    library = cache / Path(CSimulation(write(tmp_path))._library._name).name
    # A loaded library must not change under its process, so another file takes its name.
    content = library.read_bytes()
    library.unlink()
    library.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    said: list[str] = []
    simulation = CSimulation(tmp_path, lambda what, share: said.append(what))
    assert said == ["Compiling the C simulation"]
    assert simulation.run("facedet_hls_0", words_of(rng, 1)[1]).words.shape == (1, 12, 1)


def test_without_hls4ml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package hls4ml, .* install fpga-facedet with the extra 'build'"):
        CSimulation(write(tmp_path))


def test_the_headers_are_found_without_importing_hls4ml() -> None:
    code = (
        "import sys; from fpga_facedet.simulation.csim import ap_types; "
        "assert (ap_types() / 'ap_int.h').is_file() and 'hls4ml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    assert (ap_types() / "hls_stream.h").is_file()


def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(
        UserError, match=r"cannot be compiled: there is no C\+\+ compiler \(g\+\+\); it takes g\+\+ or clang\+\+"
    ):
        CSimulation(write(tmp_path))


def test_what_does_not_compile_is_told_with_file_and_line(tmp_path: Path) -> None:
    write(tmp_path)
    top = tmp_path / "hls" / "top.cpp"
    top.write_text(top.read_text().replace("2, 2, 4, 6>", "2, 2, 3, 6>"))
    with pytest.raises(UserError, match=r"refused: max_pool\.hpp:\d+:.*HEIGHT must be even and positive"):
        CSimulation(tmp_path)


def test_a_library_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks a function \(.*facedet_segment.*build the accelerator again"):
        CSimulation(write(tmp_path, simulation="int x;\n"))


def test_no_hls_layers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no HLS layers; build it with them"):
        CSimulation(tmp_path)


@pytest.mark.skipif(shutil.which("clang++") is None, reason="needs clang")
def test_clang_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setenv("CXX", "clang++")
    values, words = words_of(rng, 1)
    pooled = values.reshape(1, 2, 2, 3, 2, 2).max(axis=(2, 4))
    run = CSimulation(write(tmp_path)).run("facedet_hls_0", words)
    np.testing.assert_array_equal(run.words, pooled.reshape(1, 12, 1))


COMPILE = """
import signal, sys
from pathlib import Path
from fpga_facedet.simulation.csim import CSimulation
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
CSimulation(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_compiling_leaves_nothing(tmp_path: Path, cache: Path, number: signal.Signals) -> None:
    # g++ is a driver: the work is done by a child of its own, and so it is here.
    compiler = tmp_path / "slow-g++"
    compiler.write_text(f"#!/bin/sh\n{sys.executable} -c 'import time; time.sleep(600)' {tmp_path}/mark &\nwait\n")
    compiler.chmod(0o755)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", COMPILE, write(tmp_path / "accelerator")], cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(temporary), "CXX": str(compiler)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(compilers(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(compilers(tmp_path)), "the compiler never began"
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 143 if number == signal.SIGTERM else "KeyboardInterrupt" in said
    # It was killed, but it is no child of anybody here who could wait for its end.
    deadline = time.monotonic() + 30
    while list(compilers(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(compilers(tmp_path)) == []
    assert list(temporary.iterdir()) == []


def compilers(folder: Path) -> Iterator[Path]:
    """Yield the processes that were started with the mark of `folder`."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{folder}/mark".encode() in (process / "cmdline").read_bytes().split(b"\0"):
                yield process
