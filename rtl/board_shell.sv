/******************************************************************************
 * @brief	Between the accelerator and its board: packets, resets, registers.
 *
 * @description
 *	Joins the two streams of a DMA, 64 bits a beat, and an AXI-Lite port for the
 *	processor to the accelerator's streams; docs/shell.md says how all of them
 *	behave. One packet is one frame or one result. A packet of the wrong length, or
 *	a reset at any time, costs the frames it hits, and the next packet is a frame
 *	again.
 *
 *	A reset that the processor asks for goes like this. The accelerator's reset
 *	falls and in the same cycle `Cut` makes input and output drop what is theirs.
 *	The reset lasts RESET_CYCLES; the accelerator is fed after as many more.
 *
 *	All in one clock domain. s_irdy comes from a register: no path leads to it.
 *****************************************************************************/

module board_shell #(
	int unsigned  FRAME_PIXELS,	// pixels of a frame
	int unsigned  OUTPUT_BYTES,	// bytes of a result
	int unsigned  LANES_IN,		// values of an input beat of the accelerator: 1 or a multiple of 3
	int unsigned  LANES_OUT,	// values of an output beat of the accelerator
	bit [127:0]  MODEL_HASH,	// the first 16 bytes, the first one the most significant
	bit [127:0]  RTL_HASH,
	int unsigned  RESET_CYCLES = 16	// the accelerator is held in reset, and again is left to settle
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	// From the DMA: two pixels RGBX a beat
	input	logic [63:0]  s_idat,
	input	logic [7:0]  s_ikeep,
	input	logic  s_ilast,
	input	logic  s_ivld,
	output	logic  s_irdy,

	// To the DMA: results, padded with zeros
	output	logic [63:0]  m_odat,
	output	logic [7:0]  m_okeep,
	output	logic  m_olast,
	output	logic  m_ovld,
	input	logic  m_ordy,

	// From the processor: AXI-Lite
	input	logic [11:0]  awaddr,
	input	logic  awvalid,
	output	logic  awready,
	input	logic [31:0]  wdata,
	input	logic [3:0]  wstrb,
	input	logic  wvalid,
	output	logic  wready,
	output	logic [1:0]  bresp,
	output	logic  bvalid,
	input	logic  bready,
	input	logic [11:0]  araddr,
	input	logic  arvalid,
	output	logic  arready,
	output	logic [31:0]  rdata,
	output	logic [1:0]  rresp,
	output	logic  rvalid,
	input	logic  rready,

	// To the accelerator
	output	logic  core_rst_n,
	output	logic [8*LANES_IN-1:0]  core_idat,
	output	logic  core_ivld,
	input	logic  core_irdy,
	input	logic [8*LANES_OUT-1:0]  core_odat,
	input	logic  core_ovld,
	output	logic  core_ordy
);

	//-----------------------------------------------------------------------
	// Parameter Checks
	if(RESET_CYCLES == 0) begin : genCheckReset
		$error("%m: RESET_CYCLES must be positive.");
	end

	//-----------------------------------------------------------------------
	// Reset of the Accelerator
	typedef logic [$clog2(2*RESET_CYCLES):0]  wait_t;
	wait_t  Wait = 2*RESET_CYCLES;	// cycles until the accelerator is fed
	logic  CoreRstN = 0;
	logic  Running  = 0;
	logic  Cut = 0;
	logic  Forget = 0;
	uwire  reset_core;
	uwire  reset_all;
	always_ff @(posedge ap_clk) begin
		Cut    <= ap_rst_n && (reset_core || reset_all);
		Forget <= reset_all;
		if(!ap_rst_n || reset_core || reset_all) begin
			Wait     <= 2*RESET_CYCLES;
			CoreRstN <= 0;
			Running  <= 0;
		end
		else begin
			if(Wait != 0)  Wait <= Wait - 1;
			CoreRstN <= Wait <= RESET_CYCLES;
			Running  <= Wait == 0;
		end
	end
	assign	core_rst_n = CoreRstN;

	//-----------------------------------------------------------------------
	// Input
	typedef struct packed {
		logic  last;
		logic [7:0]  keep;
		logic [63:0]  dat;
	} beat_t;
	uwire beat_t  beat;
	uwire  beat_vld;
	uwire  beat_rdy;
	axis_skid #(.BITS($bits(beat_t))) input_register (
		.ap_clk, .ap_rst_n(ap_rst_n && !(Cut && Forget)),
		.idat({ s_ilast, s_ikeep, s_idat }), .ivld(s_ivld), .irdy(s_irdy),
		.odat(beat), .ovld(beat_vld), .ordy(beat_rdy)
	);

	uwire  admit;
	uwire  frame_begins;
	uwire  packet_in;
	uwire  is_short;
	uwire  is_long;
	uwire  is_cut_input;
	uwire  in_packet;
	uwire  dropping;
	uwire  filling;
	shell_input #(.FRAME_PIXELS(FRAME_PIXELS), .LANES(LANES_IN)) pixels (
		.ap_clk, .ap_rst_n, .cut(Cut), .forget(Forget), .enable(Running), .admit,
		.idat(beat.dat), .ikeep(beat.keep), .ilast(beat.last), .ivld(beat_vld), .irdy(beat_rdy),
		.odat(core_idat), .ovld(core_ivld), .ordy(core_irdy),
		.frame_begins, .packet_ends(packet_in), .is_short, .is_long, .is_cut(is_cut_input),
		.in_packet, .dropping, .filling
	);

	//-----------------------------------------------------------------------
	// Output
	uwire  packet_out;
	uwire  is_whole;
	uwire  is_cut_output;
	uwire  out_packet;
	shell_output #(.FRAME_BYTES(OUTPUT_BYTES), .LANES(LANES_OUT)) results (
		.ap_clk, .ap_rst_n, .cut(Cut), .forget(Forget), .enable(Running),
		.idat(core_odat), .ivld(core_ovld), .irdy(core_ordy),
		.odat(m_odat), .olast(m_olast), .ovld(m_ovld), .ordy(m_ordy),
		.packet_ends(packet_out), .is_whole, .is_cut(is_cut_output), .in_packet(out_packet)
	);
	assign	m_okeep = '1;

	//-----------------------------------------------------------------------
	// Figures and Registers
	uwire [63:0]  cycles;
	uwire [31:0]  frames_in;
	uwire [31:0]  frames_out;
	uwire [31:0]  frame_cycles;
	uwire [31:0]  interval_cycles;
	shell_meter meter (
		.ap_clk, .ap_rst_n, .cut(Cut),
		.frame_begins, .packet_in, .packet_out, .is_whole, .admit,
		.cycles, .frames_in, .frames_out, .frame_cycles, .interval_cycles
	);

	shell_registers #(
		.FRAME_PIXELS(FRAME_PIXELS), .OUTPUT_BYTES(OUTPUT_BYTES), .MODEL_HASH(MODEL_HASH), .RTL_HASH(RTL_HASH)
	) registers (
		.ap_clk, .ap_rst_n,
		.awaddr, .awvalid, .awready, .wdata, .wstrb, .wvalid, .wready, .bresp, .bvalid, .bready,
		.araddr, .arvalid, .arready, .rdata, .rresp, .rvalid, .rready,
		.reset_core, .reset_all, .resetting(!Running),
		.status({ filling, dropping, out_packet, in_packet }),
		.errors({ is_cut_output, is_cut_input, is_long, is_short }),
		.cycles, .frames_in, .frames_out, .frame_cycles, .interval_cycles
	);

endmodule : board_shell
