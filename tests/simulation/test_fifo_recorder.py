"""Recorders beside FIFOs in a simulation: what these held, at a pace and at full speed, and where a deadlock is."""

import numpy as np
import pytest

from fpga_facedet.compiler.rtllib import own_source
from fpga_facedet.simulation.verilator import DeadlockError, SimulatedStream, compile_model
from fpga_facedet.verification.fifo_sizing import RECORDER

# A slow layer between two FIFOs: it takes a beat every four cycles, but no 255.
CHAIN = """
module chain(
    input logic ap_clk, ap_rst_n,
    input logic [7:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
    output logic [7:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready
);
    logic [7:0] data; logic valid, ready, room;
    int unsigned cycle;
    uwire turn = cycle % 4 == 0 && data != 255;
    always_ff @(posedge ap_clk) cycle <= !ap_rst_n? 0 : cycle + 1;
    assign ready = room && turn;
    stream_fifo #(.DEPTH(50), .WIDTH(8)) front(
        .ap_clk, .ap_rst_n, .idat(s_axis_tdata), .ivld(s_axis_tvalid), .irdy(s_axis_tready),
        .odat(data), .ovld(valid), .ordy(ready)
    );
    stream_fifo #(.DEPTH(9), .WIDTH(8), .RAM_STYLE("block")) behind(
        .ap_clk, .ap_rst_n, .idat(data), .ivld(valid && turn), .irdy(room),
        .odat(m_axis_tdata), .ovld(m_axis_tvalid), .ordy(m_axis_tready)
    );
endmodule
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SimulatedStream:
    folder = tmp_path_factory.mktemp("chain")
    source = folder / "chain.sv"
    source.write_text(CHAIN)
    return compile_model([RECORDER, own_source("stream_fifo.sv"), source], "chain", folder)


def test_the_most_beats_depend_on_the_pace(model: SimulatedStream) -> None:
    words = np.arange(3 * 40, dtype=np.uint8).reshape(3, 40, 1)
    free = model.run(words, 40)
    np.testing.assert_array_equal(free.words, words)
    # A source that does not wait fills the first one; what comes out every four cycles is taken at once.
    assert free.records == (
        "TOP.chain.front.recorder most 50 held 0 places 50",
        "TOP.chain.behind.recorder most 1 held 0 places 9",
    )
    np.testing.assert_array_equal(np.diff(free.last_output), [160, 160])
    paced = model.run(words, 40, pace=160)
    np.testing.assert_array_equal(paced.words, words)
    np.testing.assert_array_equal(paced.first_input, [0, 160, 320])
    np.testing.assert_array_equal(np.diff(paced.last_output), [160, 160])
    assert paced.records[0] == "TOP.chain.front.recorder most 1 held 0 places 50"


def test_a_deadlock_tells_what_each_holds(model: SimulatedStream) -> None:
    words = np.zeros((1, 40, 1), np.uint8)
    words[0, 7] = 255
    with pytest.raises(DeadlockError, match=r"has all of the input and at output beat 7 of frame 0\.") as caught:
        model.run(words, 40, watchdog=500)
    assert caught.value.records == (
        "TOP.chain.front.recorder most 33 held 33 places 50",
        "TOP.chain.behind.recorder most 1 held 0 places 9",
    )
