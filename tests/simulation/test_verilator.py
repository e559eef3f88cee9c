"""Building and running models: what goes wrong is told, and nothing half-built stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.simulation.verilator import SimulatedStream, SimulationError, compile_model

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
    with pytest.raises(SimulationError, match="after the end of the last frame"):
        model.run(words_of(rng), 39)


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


def test_interrupted_build_leaves_nothing(source: Path) -> None:
    models = source.parent / "models"
    code = (
        "import sys; from pathlib import Path; from fpga_facedet.simulation.verilator import compile_model;"
        "compile_model([Path(sys.argv[1])], 'stage', Path(sys.argv[2]))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, source, models], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(models.glob(".building-*/objects/*.o")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(models.glob(".building-*")), "the build never began to compile"
    os.kill(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode != 0 and "KeyboardInterrupt" in said
    assert list(models.iterdir()) == []
