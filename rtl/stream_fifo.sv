/******************************************************************************
 * @brief	First-in first-out queue for a stream: holds exactly DEPTH beats.
 *
 * @description
 *	The beats leave in the order of their arrival. With held(t) the number of beats
 *	accepted and not yet taken before cycle t, for any behaviour of both sides
 *
 *		0 <= held(t) <= DEPTH,
 *		a sink that is not ready lets exactly DEPTH beats in, and
 *		a source and a sink that never wait move one beat a cycle, without bubbles.
 *
 *	A beat is offered LATENCY cycles after it was accepted at the earliest: 2 with LUT
 *	memory, 3 with block RAM. The queue is a memory with LATENCY-1 registers behind it,
 *	each of which moves on by itself once the next one is free, so that all count as
 *	places. No path leads from ordy to irdy, nor from ivld to ovld: both are registers.
 *
 *	The memory has PLACES = DEPTH - LATENCY + 1 words and two pointers. After a push
 *	without a pop it is full where the pointers agree, after a pop without a push empty:
 *	no count of the beats is kept.
 *
 *	RAM_STYLE "distributed" is simple dual-port LUT memory: 32 words of 6 bits, or 64
 *	words of 3 bits, take 4 LUTs. There is no choice of shift registers: those of 32
 *	places take a LUT for each bit of a word, so that LUT memory is no dearer.
 *	RAM_STYLE "block" is block RAM, read into a register.
 *
 *	Resources beside the memory: (LATENCY-1)*WIDTH flip-flops and 2*$clog2(PLACES)+3
 *	more; 13 LUTs where PLACES is 32. PLACES that are no power of two cost about 20 LUTs
 *	more, for the comparisons at which a pointer begins anew.
 *****************************************************************************/

module stream_fifo #(
	int unsigned  DEPTH,		// beats that it holds: 3 or more; 4 or more for "block"
	int unsigned  WIDTH,		// bits of a beat
	parameter     RAM_STYLE = "distributed"	// "distributed" or "block"
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	input	logic [WIDTH-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [WIDTH-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);

	localparam int unsigned  LATENCY = RAM_STYLE == "block"? 3 : 2;
	localparam int unsigned  PLACES = DEPTH > LATENCY? DEPTH - LATENCY + 1 : 2;	// words of the memory

	//-----------------------------------------------------------------------
	// Parameter Checks
	if(RAM_STYLE != "distributed" && RAM_STYLE != "block") begin : genCheckStyle
		$error("%m: RAM_STYLE must be distributed or block.");
	end
	if(WIDTH == 0) begin : genCheckWidth
		$error("%m: WIDTH must be positive.");
	end
	// With a single word a push and a pop could not fall into the same cycle.
	if(DEPTH < LATENCY + 1) begin : genCheckDepth
		$error("%m: DEPTH (%0d) must be %0d or more.", DEPTH, LATENCY + 1);
	end

	localparam int unsigned  ADDRESS_BITS = $clog2(PLACES);
	typedef logic [WIDTH-1:0]  word_t;
	typedef logic [ADDRESS_BITS-1:0]  address_t;

	function automatic address_t after(input address_t  address);
		return  address == address_t'(PLACES - 1)? 0 : address + 1;
	endfunction : after

	//-----------------------------------------------------------------------
	// Output Register
	word_t  Out;
	logic   OutVld = 0;
	uwire  out_free = !OutVld || ordy;
	uwire word_t  next_word;	// what stands behind it
	uwire  next_vld;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n)      OutVld <= 0;
		else if(out_free)  OutVld <= next_vld;
	end
	always_ff @(posedge ap_clk) begin
		if(out_free)  Out <= next_word;
	end
	assign	odat = Out;
	assign	ovld = OutVld;

	//-----------------------------------------------------------------------
	// Memory
	logic  Rdy = 1;			// there is a free word
	uwire  push = ivld && Rdy;
	uwire  pop;
	assign	irdy = Rdy;

	(* ram_style = RAM_STYLE *)
	word_t  Mem[PLACES];
	address_t  Write = 0;
	address_t  Read  = 0;
	logic  Any = 0;			// there is a word to read
	uwire address_t  after_write = after(Write);
	uwire address_t  after_read  = after(Read);

	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			Write <= 0;
			Read  <= 0;
			Any   <= 0;
			Rdy   <= 1;
		end
		else begin
			if(push)  Write <= after_write;
			if(pop)   Read  <= after_read;
			if(push != pop) begin
				Any <= push || after_read != Write;
				Rdy <= pop || after_write != Read;
			end
		end
	end
	always_ff @(posedge ap_clk) begin
		if(push)  Mem[Write] <= idat;
	end

	//-----------------------------------------------------------------------
	// What reads it: the output register, or with block RAM a register of its own
	if(LATENCY == 2) begin : genDirect
		assign	pop = Any && out_free;
		assign	next_vld = Any;
		assign	next_word = Mem[Read];
	end : genDirect
	else begin : genFetch
		word_t  Fetched;
		logic   FetchedVld = 0;
		uwire  fetched_free = !FetchedVld || out_free;
		assign	pop = Any && fetched_free;
		always_ff @(posedge ap_clk) begin
			if(!ap_rst_n)          FetchedVld <= 0;
			else if(fetched_free)  FetchedVld <= Any;
		end
		always_ff @(posedge ap_clk) begin
			if(pop)  Fetched <= Mem[Read];
		end
		assign	next_vld = FetchedVld;
		assign	next_word = Fetched;
	end : genFetch

`ifndef SYNTHESIS
	int unsigned  Held = 0;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n)  Held <= 0;
		else           Held <= Held + 32'(push) - 32'(ovld && ordy);
	end
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) Held <= DEPTH)
		else $error("%m: It holds %0d beats, more than DEPTH (%0d).", Held, DEPTH);
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) ovld && !ordy |=> ovld && $stable(odat))
		else $error("%m: An output beat changed or vanished before it was taken.");
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) ivld && !irdy |=> ivld && $stable(idat))
		else $error("%m: An input beat changed or vanished before it was accepted.");
`endif

endmodule : stream_fifo
