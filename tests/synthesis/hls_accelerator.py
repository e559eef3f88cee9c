"""A small accelerator with HLS layers as `facedet build` leaves it, by hand: two layers in C++, or one beside RTL."""

from dataclasses import replace
from pathlib import Path

from fpga_facedet.compiler import layout
from fpga_facedet.compiler.hls import vitis_tcl
from fpga_facedet.manifest import Figure, LayerInfo, Manifest, SegmentInfo, StreamInfo

from ..verification import tiny

PART = "xc7z020clg400-1"
PADDING = LayerInfo(
    "FMPadding_rtl_0", "FMPadding", {"SIMD": 3}, {"input": 8, "output": 8}, 60, {"lut": 50.0}, style="hls"
)
MATRIX = LayerInfo(
    "MVAU_rtl_0", "MVAU", {"PE": 6, "SIMD": 3}, {"input": 8, "output": 8, "parameters": 4}, 58,
    {"lut": 400.0, "bram18": 0.0, "dsp": 2.0}, style="hls",
)  # fmt: skip
POOL = LayerInfo("StreamingMaxPool_rtl_0", "StreamingMaxPool", {"PE": 3}, {"input": 8, "output": 8}, 48, {"lut": 90.0})
STREAM = StreamInfo(beats_in=48, lanes_in=3, bits_in=8, beats_out=12, lanes_out=6, bits_out=8)
BETWEEN = StreamInfo(beats_in=48, lanes_in=3, bits_in=8, beats_out=12, lanes_out=3, bits_out=8)
AFTER = StreamInfo(beats_in=12, lanes_in=3, bits_in=8, beats_out=12, lanes_out=6, bits_out=8)
ESTIMATES = (Figure("cycles_per_frame", 60, "cycles", "estimated"), Figure("lut", 450, "LUTs", "estimated"))

ALL_HLS = replace(
    tiny.MANIFEST, part=PART, layer_style="hls", layers=(PADDING, MATRIX), figures=ESTIMATES,
    segments=(SegmentInfo("facedet_hls_0", "hls", STREAM),),
)  # fmt: skip
MIXED = replace(
    ALL_HLS, layer_style="mixed", layers=(POOL, MATRIX),
    segments=(SegmentInfo("facedet_rtl_0", "rtl", BETWEEN), SegmentInfo("facedet_hls_1", "hls", AFTER)),
)  # fmt: skip

TOP = """\
module facedet_core(
    input logic ap_clk, ap_rst_n,
    input logic [23:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
    output logic [47:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready
);
    {segments}
endmodule
"""
LAYER = """\
static void {name}(Stream &in, Stream &out) {{
#pragma HLS INLINE off
  FACEDET_LAYER("{name}") step(in, out);
}}
"""
FUNCTION = """\
void {name}(hls::stream<ap_uint<{bits_in}>> &in0_V, hls::stream<ap_uint<{bits_out}>> &out0_V) {{
#pragma HLS DATAFLOW disable_start_propagation
}}
"""


def write(folder: Path, manifest: Manifest = ALL_HLS) -> Path:
    """Write the accelerator into `folder`, with the digests that a build notes."""
    tiny.write(folder, share_simulators=False)
    (folder / layout.GOLDEN).write_bytes(b"a golden model")
    (folder / "rtl" / "top.sv").write_text(TOP.format(segments="\n".join(s.name + " s();" for s in manifest.segments)))
    hls = folder / "hls"
    (hls / "facedet").mkdir(parents=True)
    (hls / "vectors").mkdir()
    (hls / "facedet" / "layers.hpp").write_text("// the library\n")
    for segment in manifest.segments:
        if segment.style == "hls":
            for end in ("in", "out"):
                (hls / "vectors" / f"{segment.name}_{end}.bin").write_bytes(b"a frame")
            config = vitis_tcl.hls_config(segment, PART, 100)
            (hls / vitis_tcl.hls_config_name(segment)).write_text(config)
    (hls / "top.cpp").write_text(_top(manifest))
    (hls / "testbench.cpp").write_text("int main() {}\n")
    (hls / vitis_tcl.SCRIPT).write_text(vitis_tcl.hls_script(manifest.segments, PART, 100))
    (hls / vitis_tcl.IP_SCRIPT).write_text(vitis_tcl.ip_script("tiny", PART, STREAM))
    names = sorted(str(path.relative_to(hls)) for path in hls.rglob("*") if path.is_file())
    (hls / "files.txt").write_text("\n".join(names) + "\n")
    seal(folder, manifest)
    return folder


def seal(folder: Path, manifest: Manifest | None = None) -> None:
    """Write the manifest that belongs to what is in `folder` now, as building anew would."""
    manifest = manifest or Manifest.load(folder)
    replace(manifest, files=layout.digests(folder)).save(folder / "accelerator.json")


def _top(manifest: Manifest) -> str:
    layers = [layer.name.replace("_rtl", "") for layer in manifest.layers if layer.style == "hls"]
    functions = [
        FUNCTION.format(name=segment.name, bits_in=8 * segment.stream.lanes_in, bits_out=8 * segment.stream.lanes_out)
        for segment in manifest.segments
        if segment.style == "hls"
    ]
    return "".join(['#include "facedet/layers.hpp"\n', *(LAYER.format(name=name) for name in layers), *functions])
