"""The modules that adder graphs are written as, under Verilator, their assertions on, against numpy."""

from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.beats import pack
from fpga_facedet.compiler import adder_source
from fpga_facedet.compiler.adder_graph import solve
from fpga_facedet.simulation.verilator import compile_model

BITS_OUT = 18

RNG = np.random.default_rng(11)

CASES = {
    # name: weights, bits of an input, signed inputs, adders a stage
    "pixels": (RNG.integers(-127, 128, (9, 5)), 8, False, 2),
    "signs": (RNG.integers(-7, 8, (12, 6)), 5, True, 1),
    "special": (np.array([[3, 0, -3, 6, 64, -1], [0, 0, 0, 0, 0, 0], [-5, 0, 5, -10, 0, 0]]), 4, False, 3),
    "negative": (RNG.integers(-9, 0, (4, 3)), 4, True, 2),
    "straight": (np.array([[1]]), 3, True, 2),
    "minus": (np.array([[-8]]), 8, False, 2),
    "bits": (RNG.integers(-3, 4, (16, 4)), 1, False, 2),
}
"""Pipelines of several depths side by side: each waits for the slowest, again and again."""

TOP = """\
module side_by_side (
	input	logic  ap_clk,
	input	logic  ap_rst_n,
	input	logic [{bits_in}-1:0]  s_axis_tdata,
	input	logic  s_axis_tvalid,
	output	logic  s_axis_tready,
	output	logic [{bits_out}-1:0]  m_axis_tdata,
	output	logic  m_axis_tvalid,
	input	logic  m_axis_tready
);
	uwire [{count}-1:0]  rdy, vld;
	assign	s_axis_tready = &rdy;
	assign	m_axis_tvalid = &vld;
{instances}
endmodule
"""

INSTANCE = """\
	{name} u_{name} (
		.ap_clk, .ap_rst_n,
		.in0_V_TDATA(s_axis_tdata[{first_in}+:{bits_in}]), .in0_V_TVALID(s_axis_tvalid && &rdy),
		.in0_V_TREADY(rdy[{index}]),
		.out0_V_TDATA(m_axis_tdata[{first_out}+:{bits_out}]), .out0_V_TVALID(vld[{index}]),
		.out0_V_TREADY(m_axis_tready && &vld)
	);
"""


def buses(name: str) -> tuple[int, int]:
    """Return the bits of a module's beats, padded to bytes."""
    weights, bits, _, _ = CASES[name]
    return (-(-weights.shape[0] * bits // 8) * 8, -(-weights.shape[1] * BITS_OUT // 8) * 8)


def source(name: str) -> str:
    weights, bits, signed, levels = CASES[name]
    limits = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return adder_source.emit(solve(weights, limits), name, bits, BITS_OUT, levels)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_equals_numpy_while_streams_stall(tmp_path: Path, rng: np.random.Generator) -> None:
    instances, first_in, first_out = [], 0, 0
    for index, name in enumerate(CASES):
        (tmp_path / f"{name}.sv").write_text(source(name))
        bits_in, bits_out = buses(name)
        instances.append(
            INSTANCE.format(
                name=name, index=index, first_in=first_in, bits_in=bits_in, first_out=first_out, bits_out=bits_out
            )
        )
        first_in, first_out = first_in + bits_in, first_out + bits_out
    top = TOP.format(count=len(CASES), bits_in=first_in, bits_out=first_out, instances="".join(instances))
    (tmp_path / "top.sv").write_text(top)
    model = compile_model([*(tmp_path / f"{name}.sv" for name in CASES), tmp_path / "top.sv"], "side_by_side", tmp_path)

    frames, beats = 3, 80
    words_in, words_out = [], []
    for weights, bits, signed, _ in CASES.values():
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
        x = rng.integers(low, high, (frames, beats, len(weights)))
        # The inputs that make the largest and the least sum of each column come too.
        x[0, : 2 * weights.shape[1]] = np.concatenate(
            [np.where(weights.T > 0, high - 1, low), np.where(weights.T > 0, low, high - 1)]
        )
        words_in.append(pack(x % 2**bits, bits))
        words_out.append(pack((x @ weights) % 2**BITS_OUT, BITS_OUT))
    given, wanted = np.concatenate(words_in, axis=-1), np.concatenate(words_out, axis=-1)
    for seed, (pause_in, pause_out, longest) in enumerate(
        [(0.0, 0.0, 1), (0.5, 0.5, 1), (0.3, 0.6, 20), (0.0, 0.9, 50), (0.9, 0.0, 5)]
    ):
        run = model.run(given, beats, pause_in=pause_in, pause_out=pause_out, longest_pause=longest, seed=seed)
        np.testing.assert_array_equal(run.words, wanted)
