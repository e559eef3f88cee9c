/******************************************************************************
 * @brief	Counts frames and cycles, and how long a frame takes.
 *
 * @description
 *	cycles			clock cycles since reset
 *	frames_in		packets that have ended at the input, modulo 2^32
 *	frames_out		packets that have ended at the output, modulo 2^32
 *	frame_cycles	of the latest result that no reset has touched: the cycle of its
 *					last output beat less that of its first input beat
 *	interval_cycles	between the last output beats of the latest two such results
 *					without a cut between them; 0 before there are two
 *
 *	The frames inside are up to DEPTH; `admit` keeps more from beginning.
 *****************************************************************************/

module shell_meter #(
	int unsigned  DEPTH = 16	// frames inside, a power of two
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	input	logic  cut,			// the frames inside are lost
	input	logic  frame_begins,
	input	logic  packet_in,	// a packet has ended
	input	logic  packet_out,
	input	logic  is_whole,	// with packet_out: the oldest frame inside has ended
	output	logic  admit,

	output	logic [63:0]  cycles,
	output	logic [31:0]  frames_in,
	output	logic [31:0]  frames_out,
	output	logic [31:0]  frame_cycles,
	output	logic [31:0]  interval_cycles
);

	//-----------------------------------------------------------------------
	// Parameter Checks
	if(DEPTH < 2 || DEPTH != 2**$clog2(DEPTH)) begin : genCheckDepth
		$error("%m: DEPTH (%0d) must be a power of two, 2 at least.", DEPTH);
	end

	logic [63:0]  Cycles    = 0;
	logic [31:0]  FramesIn  = 0;
	logic [31:0]  FramesOut = 0;
	uwire [31:0]  now = Cycles[31:0];
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			Cycles    <= 0;
			FramesIn  <= 0;
			FramesOut <= 0;
		end
		else begin
			Cycles    <= Cycles + 1;
			FramesIn  <= FramesIn + packet_in;
			FramesOut <= FramesOut + packet_out;
		end
	end

	//-----------------------------------------------------------------------
	// When the Frames inside have begun
	typedef logic [$clog2(DEPTH):0]  pointer_t;		// one bit more than an address
	logic [31:0]  Begun[DEPTH];
	pointer_t  Head = 0;
	pointer_t  Tail = 0;
	uwire pointer_t  held = Tail - Head;
	uwire  frame_ends = packet_out && is_whole && !cut;

	always_ff @(posedge ap_clk) begin
		if(frame_begins)  Begun[Tail[$left(Tail)-1:0]] <= now;
		if(!ap_rst_n || cut) begin
			Head <= 0;
			Tail <= 0;
		end
		else begin
			Head <= Head + frame_ends;
			Tail <= Tail + frame_begins;
		end
	end
	assign	admit = !held[$left(held)];

	//-----------------------------------------------------------------------
	// Durations
	logic [31:0]  FrameCycles    = 0;
	logic [31:0]  IntervalCycles = 0;
	logic [31:0]  Ended = 0;		// when the latest frame did
	logic  HasEnded = 0;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			FrameCycles    <= 0;
			IntervalCycles <= 0;
		end
		else if(frame_ends) begin
			FrameCycles <= now - Begun[Head[$left(Head)-1:0]];
			if(HasEnded)  IntervalCycles <= now - Ended;
		end

		if(frame_ends)  Ended <= now;
		if(!ap_rst_n || cut)  HasEnded <= 0;
		else if(frame_ends)  HasEnded <= 1;
	end

	assign	cycles = Cycles;
	assign	frames_in = FramesIn;
	assign	frames_out = FramesOut;
	assign	frame_cycles = FrameCycles;
	assign	interval_cycles = IntervalCycles;

`ifndef SYNTHESIS
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n || cut) frame_ends |-> held != 0)
		else $error("%m: A frame ended that had not begun.");
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n || cut) frame_begins |-> admit)
		else $error("%m: A frame began without room for it.");
`endif

endmodule : shell_meter
