"""Our FIFO under Verilator, its assertions on: order, capacity, rate, resets in mid-stream."""

import re
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.compiler.rtllib import own_source
from fpga_facedet.errors import InternalError
from fpga_facedet.simulation.verilator import StreamPorts, compile_model

FIFOS = [
    ("distributed", 3, 5),  # two words: full or empty all the time
    ("distributed", 4, 1),  # three: the pointers begin anew by themselves
    ("distributed", 14, 70),
    ("distributed", 33, 4),  # thirty-two: the pointers overflow
    ("block", 4, 9),
    ("block", 27, 16),
    ("block", 66, 33),
]
"""Memory, depth, bits of a beat."""

BENCH = """
// Feeds a FIFO, takes from it and checks it, in manners that change every 256 cycles. `seen` is what was checked.
module checked #(int unsigned DEPTH, WIDTH, parameter RAM_STYLE, int unsigned SEED)(
    input logic clk, rst_n, output logic [2:0] seen
);
    typedef logic [WIDTH-1:0] word_t;
    function automatic word_t word(input int unsigned number);
        return word_t'({32'(number * 747796405), 32'(number * 2654435769), 32'(number)} >> (WIDTH > 32? 0 : 3));
    endfunction

    int unsigned random = SEED, cycle = 0, sent = 0, taken = 0;
    always_ff @(posedge clk) begin
        automatic int unsigned mixed = random ^ random << 13;
        mixed ^= mixed >> 17;
        random <= mixed ^ mixed << 5;
        cycle <= rst_n? cycle + 1 : 0;
    end
    typedef enum logic [2:0] { FREE, UNEVEN, CLOSED, EMPTY, FULL, RESETS } manner_t;
    uwire manner_t manner = manner_t'(3'(cycle / 256 % 6));
    uwire settled = cycle % 256 > 100;

    logic ivld = 0;
    uwire wants = manner == FREE || manner == CLOSED || manner == FULL || (manner == EMPTY? &random[2:0] : random[0]);
    uwire ordy = manner == FREE || manner == EMPTY ||
        (manner == CLOSED? 1'b0 : manner == FULL? &random[10:8] : random[8]);
    uwire clean = manner == RESETS && random[20:16] == 0;
    uwire irdy, ovld;
    word_t odat;
    stream_fifo #(.DEPTH(DEPTH), .WIDTH(WIDTH), .RAM_STYLE(RAM_STYLE)) fifo(
        .ap_clk(clk), .ap_rst_n(rst_n && !clean), .idat(word(sent)), .ivld, .irdy, .odat, .ovld, .ordy
    );
    always_ff @(posedge clk) begin
        if(!rst_n) begin ivld <= 0; sent <= 0; taken <= 0; seen <= 0; end
        else begin
            if(!ivld || irdy || clean) ivld <= wants;
            sent <= sent + 32'(ivld && irdy && !clean);
            // A reset drops all that is in it.
            taken <= clean? sent : taken + 32'(ovld && ordy);
            if(ovld && ordy && !clean)
                assert(odat == word(taken) && taken < sent) else $error("beat %0d of %0d is wrong", taken, sent);
            if(manner == FREE && settled) begin
                assert(irdy && ovld) else $error("a bubble");
                seen[0] <= 1;
            end
            if(manner == CLOSED && settled) begin
                assert(!irdy && sent - taken == DEPTH) else $error("it holds %0d, not DEPTH", sent - taken);
                seen[1] <= 1;
            end
            if(clean && sent - taken > 1) seen[2] <= 1;
        end
    end
endmodule

module bench(
    input logic ap_clk, ap_rst_n,
    input logic [7:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
    output logic [LAST:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready
);
    assign s_axis_tready = m_axis_tready;
    assign m_axis_tvalid = s_axis_tvalid;
INSTANCES
endmodule
"""


def test_any_behaviour_of_both_sides(tmp_path: Path) -> None:
    instances = [
        f'    checked #(.DEPTH({depth}), .WIDTH({width}), .RAM_STYLE("{style}"), .SEED({index + 12345}))'
        f" c{index}(.clk(ap_clk), .rst_n(ap_rst_n), .seen(m_axis_tdata[{8 * index} +: 3]));\n"
        f"    assign m_axis_tdata[{8 * index + 3} +: 5] = '0;"
        for index, (style, depth, width) in enumerate(FIFOS)
    ]
    bench = tmp_path / "bench.sv"
    bench.write_text(BENCH.replace("LAST", str(8 * len(FIFOS) - 1)).replace("INSTANCES", "\n".join(instances)))
    model = compile_model([own_source("stream_fifo.sv"), bench], "bench", tmp_path)
    run = model.run(np.zeros((1, 30_000, 1), np.uint8), 30_000)
    # Full rate, exact capacity and a reset with beats inside were seen in each.
    assert run.words[0, -1].tolist() == [0b111] * len(FIFOS)


@pytest.mark.parametrize(
    ("style", "depth", "width", "says"),
    [
        ("distributed", 2, 8, r"DEPTH \(2\) must be 3 or more"),
        ("block", 3, 8, r"DEPTH \(3\) must be 4 or more"),
        ("ultra", 8, 8, "RAM_STYLE must be distributed or block"),
        ("block", 8, 0, "WIDTH must be positive"),
    ],
)
def test_bad_parameters_stop_the_elaboration(tmp_path: Path, style: str, depth: int, width: int, says: str) -> None:
    ports = StreamPorts(
        in_data="idat", in_valid="ivld", in_ready="irdy", out_data="odat", out_valid="ovld", out_ready="ordy"
    )
    source = tmp_path / "stream_fifo.sv"
    text, found = re.subn(r'(RAM_STYLE = )"\w+"', rf'\1"{style}"', own_source("stream_fifo.sv").read_text(), count=1)
    assert found
    source.write_text(text)
    with pytest.raises(InternalError, match=says):
        compile_model([source], "stream_fifo", tmp_path, ports=ports, parameters={"DEPTH": depth, "WIDTH": width})
