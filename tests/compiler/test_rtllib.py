"""The corrected copy of finn-rtllib: every edit bites, and the corrections do what they are for."""

from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.beats import pack
from fpga_facedet.compiler import rtllib
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.simulation.verilator import SimulationError, compile_model

pytest.importorskip("finn", reason="finn-plus carries the library")

# A layer whose rows fit one beat, so that a result follows in each cycle. 3 is no power of two.
MW, MH, ACTIVATION_BITS, ACCUMULATOR_BITS = 3, 2, 4, 12
WEIGHTS = np.array([[3, -7, 5], [-1, 6, 7]])


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_prepare_is_repeatable_and_leaves_the_original_alone(tmp_path: Path) -> None:
    original = files_of(rtllib.installed_library())
    first = files_of(rtllib.prepare(tmp_path / "copy"))
    (tmp_path / "copy" / "stray.sv").write_text("left over")
    assert files_of(rtllib.prepare(tmp_path / "copy")) == first
    assert files_of(rtllib.installed_library()) == original
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    changed = {str(path) for path, content in first.items() if content != original[path]}
    assert changed == {edit.file for edit in rtllib.EDITS}


def test_another_version_is_refused(tmp_path: Path) -> None:
    edit = rtllib.Edit("made-up", "mvu/mvu.sv", "no such line", "", "")
    with pytest.raises(InternalError, match=r"'made-up'.* 0 times instead of 1 in finn-plus"):
        rtllib.prepare(tmp_path / "copy", (edit,))
    assert not list(tmp_path.iterdir())


def test_own_source() -> None:
    assert rtllib.own_source("maxpool_2x2.sv").is_file()
    with pytest.raises(UserError, match=r"none\.sv"):
        rtllib.own_source("none.sv")


def run_layer(library: Path, workdir: Path, activations: np.ndarray) -> np.ndarray:
    """Run frames of activations (N, beats, MW) through one matrix-vector unit; return its words."""
    weights = int("".join(f"{w & 15:04b}" for w in WEIGHTS[::-1, ::-1].flat), 2)
    top = workdir / "bench.sv"
    workdir.mkdir(exist_ok=True)
    top.write_text(f"""
module bench(
    input logic ap_clk, ap_rst_n,
    input logic [15:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
    output logic [23:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready
);
    mvu_vvu_axi #(
        .IS_MVU(1), .VERSION(1), .MW({MW}), .MH({MH}), .PE({MH}), .SIMD({MW}), .ACTIVATION_WIDTH({ACTIVATION_BITS}),
        .WEIGHT_WIDTH(4), .ACCU_WIDTH({ACCUMULATOR_BITS}), .NARROW_WEIGHTS(1)
    ) layer (
        .ap_clk, .ap_clk2x(ap_clk), .ap_rst_n,
        .s_axis_weights_tdata({MW * MH * 4}'d{weights}), .s_axis_weights_tvalid(1'b1), .s_axis_weights_tready(),
        .s_axis_input_tdata(s_axis_tdata), .s_axis_input_tvalid(s_axis_tvalid), .s_axis_input_tready(s_axis_tready),
        .m_axis_output_tdata(m_axis_tdata), .m_axis_output_tvalid(m_axis_tvalid), .m_axis_output_tready(m_axis_tready)
    );
endmodule
""")
    names = ("mvu_pkg", "mvu_vvu_axi", "replay_buffer", "mvu", "mvu_vvu_8sx9_dsp58", "add_multi")
    sources = [*(library / "mvu" / f"{name}.sv" for name in names), top]
    model = compile_model(sources, "bench", workdir)
    words = pack(activations, ACTIVATION_BITS)
    return model.run(words, words.shape[1], pause_out=0.5, longest_pause=40, seed=1).words


def test_the_output_queue_needs_its_correction(tmp_path: Path, rng: np.random.Generator) -> None:
    """finn-plus 1.6.1 loses results where MW == SIMD under back-pressure, from the second frame on or earlier."""
    activations = rng.integers(0, 1 << ACTIVATION_BITS, (4, 100, MW))
    wanted = pack(activations @ WEIGHTS.T, ACCUMULATOR_BITS)
    without = tuple(edit for edit in rtllib.EDITS if not edit.name.startswith("queue-"))
    assert len(without) == len(rtllib.EDITS) - 2

    corrected = rtllib.prepare(tmp_path / "corrected")
    np.testing.assert_array_equal(run_layer(corrected, tmp_path / "bench-corrected", activations), wanted)
    original = rtllib.prepare(tmp_path / "original", without)
    with pytest.raises(SimulationError, match="Overflowing output queue"):
        run_layer(original, tmp_path / "bench-original", activations)


@pytest.mark.parametrize(("bits_in", "bits_out"), [(8, 32), (32, 8)])
def test_width_converter_keeps_bits_and_rate(
    tmp_path: Path, rng: np.random.Generator, bits_in: int, bits_out: int
) -> None:
    """The edit 'converter-vector' picks the core's plain shift registers; the narrow side still moves each cycle."""
    library = rtllib.prepare(tmp_path / "library")
    model = compile_model(
        [library / "dwc" / "hdl" / name for name in ("vpc.sv", "dwc_axi.sv")],
        "dwc_axi",
        tmp_path / "model",
        parameters={"IBITS": bits_in, "OBITS": bits_out},
    )
    data = rng.integers(0, 256, (3, 960), np.uint8)
    words, wanted = data.reshape(3, -1, bits_in // 8), data.reshape(3, -1, bits_out // 8)
    free = model.run(words, wanted.shape[1])
    np.testing.assert_array_equal(free.words, wanted)
    np.testing.assert_array_equal(np.diff(free.last_output), max(words.shape[1], wanted.shape[1]))
    for seed in range(3):
        paused = model.run(words, wanted.shape[1], pause_in=0.4, pause_out=0.4, longest_pause=12, seed=seed)
        np.testing.assert_array_equal(paused.words, wanted)
