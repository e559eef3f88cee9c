"""The whole hardware of an overlay as sources: an accelerator, the board shell, and the plain-Verilog top of both."""

import shutil
from pathlib import Path

from fpga_facedet import shell
from fpga_facedet.compiler import layout
from fpga_facedet.compiler.hls.verilog import verilog_files
from fpga_facedet.compiler.rtllib import own_source
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.files import saving, write_text
from fpga_facedet.manifest import Manifest, StreamInfo

TOP_FILE = f"{shell.TOP}.v"
SHELL_SOURCES = (
    "axis_skid.sv", "shell_input.sv", "shell_output.sv", "shell_meter.sv", "shell_registers.sv", "board_shell.sv",
)  # fmt: skip
_HASH_DIGITS = 8 * shell.HASH_WORDS


def write_overlay_top(accelerator: Path, out: Path) -> list[Path]:
    """Write all sources of the module `facedet_overlay` for the accelerator folder `accelerator` into the folder `out`.

    Returns the Verilog and SystemVerilog files, all in `out`, in compile order; the last one is the top. The memory
    contents (*.dat) that they read by relative names are written beside them. Other files in `out` are left alone.

    Raises UserError where the folder is no accelerator, where its RTL is not the one its manifest was written with,
    where it has HLS layers and no Verilog of them, or where a file cannot be written.
    """
    accelerator, out = Path(accelerator), Path(out)
    manifest = Manifest.load(accelerator)
    top = overlay_top(manifest)
    core = layout.sources(accelerator)
    layout.check_rtl(accelerator, manifest)
    synthesized = verilog_files(accelerator, manifest)
    verilog = [path for path in synthesized if path.suffix == ".v"]
    sources = [*verilog, *core, *(own_source(name) for name in SHELL_SOURCES)]
    names = [source.name for source in sources]
    memories = [path for path in synthesized if path.suffix == ".dat"]
    memories += sorted((accelerator / layout.RTL).glob("*.dat"))
    everything = [*names, TOP_FILE, *(path.name for path in memories)]
    twice = sorted({name for name in everything if everything.count(name) > 1})
    if twice:
        raise InternalError(f"Two parts of the overlay of {accelerator} both have a source {twice[0]}.")
    for source in (*sources, *memories):
        with saving(out / source.name) as beside:
            shutil.copyfile(source, beside)
    write_text(out / TOP_FILE, top)
    return [out / name for name in (*names, TOP_FILE)]


def overlay_top(manifest: Manifest) -> str:
    """Return the Verilog source of the module `facedet_overlay`; UserError where the manifest cannot have one."""
    stream = manifest.stream
    if stream is None or "rtl_sha256" not in manifest.files:
        raise UserError(
            f"The manifest of {manifest.model.name} describes no built hardware; build the accelerator (facedet build)."
        )
    _check_streams(manifest, stream)
    return _TOP.format(
        top=shell.TOP,
        core=layout.TOP,
        name=manifest.model.name.replace("\n", " "),
        pixels=manifest.input.height * manifest.input.width,
        output_bytes=shell.output_bytes(manifest),
        lanes_in=stream.lanes_in,
        lanes_out=stream.lanes_out,
        model_hash=_hash(manifest.model.sha256, "model.sha256"),
        rtl_hash=_hash(manifest.files["rtl_sha256"], "files.rtl_sha256"),
        msb_in=8 * stream.lanes_in - 1,
        msb_out=8 * stream.lanes_out - 1,
    )


def _check_streams(manifest: Manifest, stream: StreamInfo) -> None:
    """Raise UserError where the accelerator's streams are none that the shell can join to the DMA's."""
    for side, bits in (("input", stream.bits_in), ("output", stream.bits_out)):
        if bits != 8:
            raise UserError(f"The accelerator's {side} has values of {bits} bits; the board shell takes 8.")
    if stream.lanes_in != 1 and stream.lanes_in % 3:
        raise UserError(
            f"The accelerator takes {stream.lanes_in} values a beat; the board shell gives 1 or whole pixels of 3."
        )
    pixels = manifest.input.height * manifest.input.width
    for side, beats, lanes, values in (
        ("input", stream.beats_in, stream.lanes_in, 3 * pixels),
        ("output", stream.beats_out, stream.lanes_out, shell.output_bytes(manifest)),
    ):
        if beats * lanes != values:
            raise UserError(
                f"The manifest of {manifest.model.name} has an {side} stream of {beats} beats of {lanes} values, which "
                f"are not the {values} of a frame; build the accelerator again."
            )


def _hash(digest: str, key: str) -> str:
    """Return the first 16 bytes of a SHA-256 as a Verilog constant's digits; UserError where it is none."""
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise UserError(f"The manifest's {key} is '{digest}', which is no SHA-256; build the accelerator again.")
    return digest[:_HASH_DIGITS]


# Vivado reads the interfaces of a module in a block design from these attributes (UG994, "HDL Parameters for Interface
# Inference"), and takes no SystemVerilog as its top (UG994, "Limitations of the Module Reference Feature").
_TOP = """\
// The accelerator of {name} with its board shell. Written by fpga-facedet.
module {top} (
	(* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 aclk CLK" *)
	(* X_INTERFACE_PARAMETER =
		"XIL_INTERFACENAME aclk, ASSOCIATED_BUSIF s_axis:m_axis:s_axi, ASSOCIATED_RESET aresetn" *)
	input	aclk,
	(* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 aresetn RST" *)
	(* X_INTERFACE_PARAMETER = "XIL_INTERFACENAME aresetn, POLARITY ACTIVE_LOW" *)
	input	aresetn,

	// Frames from the DMA: two pixels RGBX a beat
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 s_axis TDATA" *)
	(* X_INTERFACE_PARAMETER = "XIL_INTERFACENAME s_axis, TDATA_NUM_BYTES 8, HAS_TREADY 1, HAS_TKEEP 1, HAS_TLAST 1" *)
	input	[63:0]  s_axis_tdata,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 s_axis TKEEP" *)
	input	[7:0]  s_axis_tkeep,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 s_axis TVALID" *)
	input	s_axis_tvalid,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 s_axis TREADY" *)
	output	s_axis_tready,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 s_axis TLAST" *)
	input	s_axis_tlast,

	// Results to the DMA
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 m_axis TDATA" *)
	(* X_INTERFACE_PARAMETER = "XIL_INTERFACENAME m_axis, TDATA_NUM_BYTES 8, HAS_TREADY 1, HAS_TKEEP 1, HAS_TLAST 1" *)
	output	[63:0]  m_axis_tdata,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 m_axis TKEEP" *)
	output	[7:0]  m_axis_tkeep,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 m_axis TVALID" *)
	output	m_axis_tvalid,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 m_axis TREADY" *)
	input	m_axis_tready,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 m_axis TLAST" *)
	output	m_axis_tlast,

	// Registers
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi AWADDR" *)
	(* X_INTERFACE_PARAMETER = "XIL_INTERFACENAME s_axi, PROTOCOL AXI4LITE, DATA_WIDTH 32, ADDR_WIDTH 12" *)
	input	[11:0]  s_axi_awaddr,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi AWPROT" *)
	input	[2:0]  s_axi_awprot,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi AWVALID" *)
	input	s_axi_awvalid,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi AWREADY" *)
	output	s_axi_awready,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi WDATA" *)
	input	[31:0]  s_axi_wdata,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi WSTRB" *)
	input	[3:0]  s_axi_wstrb,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi WVALID" *)
	input	s_axi_wvalid,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi WREADY" *)
	output	s_axi_wready,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi BRESP" *)
	output	[1:0]  s_axi_bresp,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi BVALID" *)
	output	s_axi_bvalid,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi BREADY" *)
	input	s_axi_bready,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi ARADDR" *)
	input	[11:0]  s_axi_araddr,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi ARPROT" *)
	input	[2:0]  s_axi_arprot,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi ARVALID" *)
	input	s_axi_arvalid,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi ARREADY" *)
	output	s_axi_arready,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi RDATA" *)
	output	[31:0]  s_axi_rdata,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi RRESP" *)
	output	[1:0]  s_axi_rresp,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi RVALID" *)
	output	s_axi_rvalid,
	(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi RREADY" *)
	input	s_axi_rready
);

	wire core_rst_n;
	wire [{msb_in}:0]  pixels;
	wire pixels_vld, pixels_rdy;
	wire [{msb_out}:0]  values;
	wire values_vld, values_rdy;

	board_shell #(
		.FRAME_PIXELS({pixels}), .OUTPUT_BYTES({output_bytes}), .LANES_IN({lanes_in}), .LANES_OUT({lanes_out}),
		.MODEL_HASH(128'h{model_hash}),
		.RTL_HASH(128'h{rtl_hash})
	) shell (
		.ap_clk(aclk), .ap_rst_n(aresetn),
		.s_idat(s_axis_tdata), .s_ikeep(s_axis_tkeep), .s_ilast(s_axis_tlast),
		.s_ivld(s_axis_tvalid), .s_irdy(s_axis_tready),
		.m_odat(m_axis_tdata), .m_okeep(m_axis_tkeep), .m_olast(m_axis_tlast),
		.m_ovld(m_axis_tvalid), .m_ordy(m_axis_tready),
		.awaddr(s_axi_awaddr), .awvalid(s_axi_awvalid), .awready(s_axi_awready),
		.wdata(s_axi_wdata), .wstrb(s_axi_wstrb), .wvalid(s_axi_wvalid), .wready(s_axi_wready),
		.bresp(s_axi_bresp), .bvalid(s_axi_bvalid), .bready(s_axi_bready),
		.araddr(s_axi_araddr), .arvalid(s_axi_arvalid), .arready(s_axi_arready),
		.rdata(s_axi_rdata), .rresp(s_axi_rresp), .rvalid(s_axi_rvalid), .rready(s_axi_rready),
		.core_rst_n(core_rst_n),
		.core_idat(pixels), .core_ivld(pixels_vld), .core_irdy(pixels_rdy),
		.core_odat(values), .core_ovld(values_vld), .core_ordy(values_rdy)
	);

	{core} core (
		.ap_clk(aclk), .ap_rst_n(core_rst_n),
		.s_axis_tdata(pixels), .s_axis_tvalid(pixels_vld), .s_axis_tready(pixels_rdy),
		.m_axis_tdata(values), .m_axis_tvalid(values_vld), .m_axis_tready(values_rdy)
	);

endmodule
"""
