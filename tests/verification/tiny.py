"""A tiny accelerator written by hand: the maximum of each 2x2 block of pixels, less 128, and the complement of that.

It builds in seconds.
"""

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpga_facedet.compiler.rtllib import own_source
from fpga_facedet.manifest import HeadInfo, InputInfo, Manifest, ModelInfo, StreamInfo

HEIGHT, WIDTH = 6, 8

MANIFEST = Manifest(
    model=ModelInfo("tiny", "0" * 64, {}),
    input=InputInfo(HEIGHT, WIDTH, 3, 114),
    head=HeadInfo(HEIGHT // 2, WIDTH // 2, 6, 2, ((1.0, 1.0),), 1 / 128, 0.5, 0.5),
    board="pynq-z2",
    clock_mhz=100,
    stream=StreamInfo(
        beats_in=HEIGHT * WIDTH, lanes_in=3, bits_in=8, beats_out=HEIGHT * WIDTH // 4, lanes_out=6, bits_out=8
    ),
)

# Simulators are kept under a hash of their sources, so all tests of a run can share one folder of them.
SIMULATORS = tempfile.TemporaryDirectory(prefix="facedet-tiny-")

CORE = """
module facedet_core(
    input logic ap_clk, ap_rst_n,
    input logic [23:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
    output logic [47:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready
);
    logic [23:0] pooled, salt[1];
    initial $readmemh("./salt.dat", salt);
    int unsigned beat;
    always_ff @(posedge ap_clk) begin
        if(!ap_rst_n) beat <= 0;
        else if(m_axis_tvalid && m_axis_tready) beat <= beat + 1;
        %(extra)s
    end
    uwire stuck = %(stuck)s;
    uwire vld, rdy;
    maxpool_2x2 #(.BITS(8), .CHANNELS(3), .PE(3), .WIDTH(8)) pool(
        .ap_clk, .ap_rst_n, .idat(s_axis_tdata), .ivld(s_axis_tvalid && rdy), .irdy(vld),
        .odat(pooled), .ovld(m_axis_tvalid), .ordy(m_axis_tready)
    );
    assign rdy = !stuck;
    assign s_axis_tready = vld && rdy;
    assign m_axis_tdata = {~(pooled ^ salt[0]), pooled ^ salt[0]} ^ %(flaw)s;
endmodule
"""


def write(folder: Path, extra: str = "", stuck: str = "0", flaw: str = "48'd0", share_simulators: bool = True) -> Path:
    """Write the accelerator; the hooks spoil it: a statement each cycle, when to stop accepting, which bits to flip."""
    rtl = folder / "rtl"
    rtl.mkdir(parents=True)
    (rtl / "maxpool_2x2.sv").write_bytes(own_source("maxpool_2x2.sv").read_bytes())
    (rtl / "top.sv").write_text(CORE % {"extra": extra, "stuck": stuck, "flaw": flaw})
    (rtl / "salt.dat").write_text("808080\n")
    (rtl / "files.txt").write_text("maxpool_2x2.sv\ntop.sv\n")
    MANIFEST.save(folder / "accelerator.json")
    if share_simulators:
        (folder / "simulator").symlink_to(SIMULATORS.name)
    return folder


class TinyGolden:
    """The tiny accelerator's mathematics in numpy."""

    name = "golden"
    manifest = MANIFEST

    def infer(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        blocks = frames.reshape(len(frames), HEIGHT // 2, 2, WIDTH // 2, 2, 3)
        maxima = (blocks.max(axis=(2, 4)).astype(np.int16) - 128).astype(np.int8)
        return np.concatenate([maxima, ~maxima], axis=-1)

    def close(self) -> None:
        pass
