"""Building and running models: what goes wrong is told, and nothing half-built stays."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.simulation import verilator
from fpga_facedet.simulation.verilator import Children, SimulatedStream, SimulationError, compile_model

# A register stage whose manners depend on MODE: 0 good, 1 withdraws an output that waits, 2 changes it, 3 sends every
# word twice.
STAGE = """
module stage #(int MODE = 0)(
    input logic ap_clk, ap_rst_n,
    input logic [11:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
    output logic [11:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready
);
    logic again;
    assign s_axis_tready = (!m_axis_tvalid || m_axis_tready) && !again;
    always_ff @(posedge ap_clk) begin
        if(!ap_rst_n) begin m_axis_tvalid <= 0; again <= 0; end
        else if(s_axis_tready) begin
            m_axis_tvalid <= s_axis_tvalid; m_axis_tdata <= s_axis_tdata; again <= MODE == 3 && s_axis_tvalid;
        end
        else begin
            if(m_axis_tready) again <= 0;
            if(MODE == 1) m_axis_tvalid <= 0;
            if(MODE == 2) m_axis_tdata <= ~m_axis_tdata;
        end
    end
endmodule
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "stage.sv"
    path.write_text(STAGE)
    return path


def build(source: Path, mode: int) -> SimulatedStream:
    return compile_model([source], "stage", source.parent / "models", parameters={"MODE": mode})


def words_of(rng: np.random.Generator) -> np.ndarray:
    """Twelve bits of random words; the four bits above them are the driver's to clear."""
    return rng.integers(0, 256, (3, 20, 2), np.uint8)


def test_words_pass_with_and_without_pauses(source: Path, rng: np.random.Generator) -> None:
    model = build(source, 0)
    assert (model.input_bits, model.output_bits) == (12, 12)
    words = words_of(rng)
    wanted = words & np.array([0xFF, 0x0F], np.uint8)
    free = model.run(words, 20)
    np.testing.assert_array_equal(free.words, wanted)
    np.testing.assert_array_equal(free.first_input, [0, 20, 40])
    np.testing.assert_array_equal(free.last_output, [20, 40, 60])
    paused = [model.run(words, 20, pause_in=0.5, pause_out=0.5, longest_pause=9, seed=seed) for seed in (1, 1, 2)]
    for run in paused:
        np.testing.assert_array_equal(run.words, wanted)
    assert paused[0].last_output[-1] > 90
    np.testing.assert_array_equal(paused[0].last_output, paused[1].last_output)
    assert (paused[0].last_output != paused[2].last_output).any()
    with pytest.raises(InternalError, match=r"not uint8 \(N, beats, 2\)"):
        model.run(words[..., :1], 20)


@pytest.mark.parametrize(("mode", "complaint"), [(1, "withdrew output beat"), (2, "changed output beat")])
def test_broken_stream_protocol(source: Path, rng: np.random.Generator, mode: int, complaint: str) -> None:
    model = build(source, mode)
    with pytest.raises(SimulationError, match=rf"broke the stream protocol: it {complaint} \d+ of frame 0"):
        model.run(words_of(rng), 20, pause_out=0.5, longest_pause=4)


def test_surplus_output(source: Path, rng: np.random.Generator) -> None:
    model = build(source, 3)
    np.testing.assert_array_equal(model.run(words_of(rng), 40).words.shape, (3, 40, 2))
    with pytest.raises(
        SimulationError, match="The simulated hardware .* it sent a beat after the end of the last frame"
    ):
        model.run(words_of(rng), 39)
    words = words_of(rng)
    named = replace(model, called="The pool")
    with pytest.raises(SimulationError, match="The pool .* sent another beat 0 than the first frame began with"):
        named.run(words, 39, begins_early=True)
    words[:] = words[0, 0]
    model.run(words, 39, begins_early=True)


def test_source_with_an_error(source: Path) -> None:
    source.write_text(STAGE.replace("logic again;", ""))
    with pytest.raises(InternalError, match="could not build the simulator.*again"):
        build(source, 0)
    assert list((source.parent / "models").iterdir()) == []


def test_module_without_the_ports(source: Path) -> None:
    source.write_text("module stage(input logic ap_clk, ap_rst_n); endmodule")
    with pytest.raises(InternalError, match="no port s_axis_tdata; its ports are ap_clk, ap_rst_n"):
        compile_model([source], "stage", source.parent / "models")


@pytest.mark.parametrize("missing", ["g++", "make"])
def test_missing_tool(source: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    tools = source.parent / "bin"
    tools.mkdir()
    for tool in {"g++", "make"} - {missing}:
        (tools / tool).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(UserError, match=rf"needs {missing.replace('+', '[+]')}, which is not installed; .*apt install"):
        build(source, 0)


BUILD = """
import signal, sys
from pathlib import Path
from fpga_facedet.simulation.verilator import compile_model
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
compile_model([Path(sys.argv[1])], "stage", Path(sys.argv[2]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_build_leaves_nothing(source: Path, number: signal.Signals) -> None:
    models, temporary = source.parent / "models", source.parent / "tmp"
    temporary.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", BUILD, source, models],
        env={**os.environ, "TMPDIR": str(temporary)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(temporary.glob("facedet-simulator-*/objects/*.o")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_in(temporary), "the build never began to compile"
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 143 if number == signal.SIGTERM else "KeyboardInterrupt" in said
    # A killed process closes its files, which ends our pipe, some time before it lets go of its folder.
    deadline = time.monotonic() + 30
    while processes_in(temporary) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes_in(temporary) == []
    assert list(temporary.iterdir()) == []
    assert list(models.iterdir()) == []


def processes_in(folder: Path) -> list[str]:
    """Return the working folders in `folder` that processes have."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            found.append(str(link.readlink()))
    return [place for place in found if place.startswith(str(folder))]


def test_spaces_in_paths(source: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    spaced = source.parent / "it's a space"
    spaced.mkdir()
    source.rename(spaced / "stage.sv")
    (spaced / "verilator").symlink_to(verilator._require_tools())
    (spaced / "python").symlink_to(sys.executable)
    monkeypatch.setattr(verilator, "_require_tools", lambda: spaced / "verilator")
    monkeypatch.setattr(sys, "executable", str(spaced / "python"))
    words = words_of(rng)
    run = build(spaced / "stage.sv", 0).run(words, 20)
    np.testing.assert_array_equal(run.words, words & np.array([0xFF, 0x0F], np.uint8))
    (place,) = (spaced / "models").iterdir()
    assert sorted(path.name for path in place.iterdir()) == ["ports.json", "simulator"]


def test_temporary_folder_with_a_space(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spaced = source.parent / "sp ace"
    spaced.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spaced))
    with pytest.raises(UserError, match=r"cannot be compiled in .*/sp ace, .* ' ' in a path; set TMPDIR"):
        build(source, 0)
    assert list(spaced.iterdir()) == []


def test_the_telling_line_of_make(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("$(info errors: none yet)\n$(error Unsupported)\n")
    with pytest.raises(InternalError, match=r"\*\*\* Unsupported"):
        verilator._call(["make"], tmp_path, dict(os.environ))
    (tmp_path / "Makefile").write_text("all:\n\t@echo 'a.cpp:1: error: no such type'; exit 1\n")
    with pytest.raises(InternalError, match=r"code 2\): a\.cpp:1: error"):
        verilator._call(["make"], tmp_path, dict(os.environ))


def test_full_disk_while_compiling(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A disk with less than this free is hard to come by here; the failure itself is a real one.
    monkeypatch.setattr(verilator, "SCARCE_BYTES", 1 << 62)
    source.write_text(STAGE.replace("logic again;", ""))
    with pytest.raises(UserError, match="Cannot simulate in .*: No space left on device; free some space"):
        build(source, 0)


def test_sources_of_the_same_name(source: Path) -> None:
    with pytest.raises(InternalError, match=r"Two sources .* have the name stage\.sv"):
        compile_model([source, source], "stage", source.parent / "models")


def test_models_that_cannot_be_kept(source: Path) -> None:
    (source.parent / "models").write_text("a file")
    with pytest.raises(UserError, match="Cannot save .*models"):
        build(source, 0)


@pytest.mark.parametrize("most_bytes", [100, 200], ids=["input", "output"])
def test_full_temporary_folder(source: Path, rng: np.random.Generator, most_bytes: int) -> None:
    # The input has 120 bytes, the output 240; for a file over the limit the system's answer is much as for a full disk.
    model = build(source, 3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
    try:
        with pytest.raises(UserError, match=rf"Cannot simulate in {tempfile.gettempdir()}: .*File too large; free"):
            model.run(words_of(rng), 40)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_simulator_that_cannot_start(source: Path, rng: np.random.Generator) -> None:
    model = build(source, 0)
    model.executable.chmod(0o644)
    with pytest.raises(UserError, match=r"Cannot start .*/simulator: Permission denied; check"):
        model.run(words_of(rng), 20)


def test_killed_children_start_no_more(source: Path, rng: np.random.Generator) -> None:
    model, children = build(source, 0), Children()
    with ThreadPoolExecutor(1, initializer=children.adopt_thread) as pool:
        assert pool.submit(model.run, words_of(rng), 20).result().words.shape == (3, 20, 2)
        children.kill()
        with pytest.raises(SimulationError, match="was stopped"):
            pool.submit(model.run, words_of(rng), 20).result()
    model.run(words_of(rng), 20)


def test_progress_counts_the_files(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verilator, "WATCH_SECONDS", 0.05)
    told: list[tuple[str, float]] = []
    compile_model([source], "stage", source.parent / "models", progress=lambda *news: told.append(news))
    assert told[0] == ("translating the hardware to C++", 0.0) and told[-1] == ("the simulator is built", 1.0)
    counts = [re.fullmatch(r"compiling the simulator \((\d+) of \d+ files\)", what) for what, _ in told[1:-1]]
    assert len(counts) > 2 and all(counts)
    assert len(set(told)) == len(told) and told == sorted(told, key=lambda news: news[1])
