/******************************************************************************
 * @brief	Words of a matrix unit's input vectors, each vector PASSES times over.
 *
 * @description
 *	Out come, for each vector of LENGTH words v[0] .. v[LENGTH-1],
 *
 *		v[0] .. v[LENGTH-1], v[0] .. v[LENGTH-1], ...	PASSES times,
 *
 *	a word in each cycle in which en is high and there is one. A word goes out in its first pass
 *	as soon as it is there: the second cycle after the one it came in, the next one without replay.
 *
 *	Several passes and several words: a ring of PLACES words. A word keeps its place until it
 *	has gone out in the last pass; all other places take words of the vectors to come.
 *	Several passes over one word: a register for it, and one for the word to come.
 *	One pass: a register, and irdy is en.
 *****************************************************************************/

module mvu_lut_replay #(
	int unsigned  WIDTH,		// bits of a word
	int unsigned  LENGTH,		// words of a vector
	int unsigned  PASSES,		// how often each vector goes out
	int unsigned  PLACES,		// words that the ring holds, a power of two, at least LENGTH
	parameter     RAM_STYLE = "auto"	// ring: "auto", "distributed" or "block"
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	input	logic [WIDTH-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	input	logic  en,		// take the output word, if there is one, and make the next
	output	logic  coming,		// whether there is a next one, before it is made
	output	logic [WIDTH-1:0]  odat,
	output	logic  ovld,
	output	logic  olast		// last word of a pass
);

	logic [WIDTH-1:0]  Word;
	logic  Vld = 0;
	logic  Last;
	assign	odat = Word;
	assign	ovld = Vld;
	assign	olast = Last;

	uwire  move = en && coming;
	uwire  last_word;	// of the vector, to go out next
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n)  Vld <= 0;
		else if(en)    Vld <= coming;
	end
	always_ff @(posedge ap_clk) begin
		if(en)  Last <= last_word;
	end

	//-----------------------------------------------------------------------
	// Position in the Vector
	if(LENGTH == 1)  assign  last_word = 1;
	else begin : genPosition
		logic [$clog2(LENGTH)-1:0]  Position = 0;
		assign	last_word = Position == LENGTH-1;
		always_ff @(posedge ap_clk) begin
			if(!ap_rst_n)  Position <= 0;
			else if(move)  Position <= last_word? 0 : Position + 1;
		end
	end : genPosition

	if(PASSES == 1) begin : genOnce
		assign	irdy = en;
		assign	coming = ivld;
		always_ff @(posedge ap_clk) begin
			if(en)  Word <= idat;
		end
	end : genOnce
	else begin : genReplay
		//-------------------------------------------------------------------
		// Number of the Pass
		logic [$clog2(PASSES)-1:0]  Pass = 0;
		uwire  last_pass = Pass == PASSES-1;
		always_ff @(posedge ap_clk) begin
			if(!ap_rst_n)  Pass <= 0;
			else if(move && last_word)  Pass <= last_pass? 0 : Pass + 1;
		end

		if(LENGTH == 1) begin : genHold
			logic [WIDTH-1:0]  Next;
			logic  NextVld = 0;
			uwire  first_pass = Pass == 0;
			assign	irdy = !NextVld;
			assign	coming = NextVld || !first_pass;
			always_ff @(posedge ap_clk) begin
				if(irdy)  Next <= idat;
				if(en && first_pass)  Word <= Next;
			end
			always_ff @(posedge ap_clk) begin
				if(!ap_rst_n)     NextVld <= 0;
				else if(irdy)     NextVld <= ivld;
				else if(en && first_pass)  NextVld <= 0;
			end
		end : genHold
		else begin : genRing
			localparam int unsigned  ADDRESS_BITS = $clog2(PLACES);
			typedef logic [ADDRESS_BITS:0]  place_t;	// the highest bit tells full from empty

			(* ram_style = RAM_STYLE *)
			logic [WIDTH-1:0]  Ring[PLACES];
			place_t  Write = 0;
			place_t  Read = 0;
			place_t  Keep = 0;	// the oldest word that is still needed

			assign	irdy = (Write ^ Keep) != place_t'(PLACES);
			assign	coming = Write != Read;
			always_ff @(posedge ap_clk) begin
				if(ivld && irdy)  Ring[Write[ADDRESS_BITS-1:0]] <= idat;
				if(en)  Word <= Ring[Read[ADDRESS_BITS-1:0]];
			end
			always_ff @(posedge ap_clk) begin
				if(!ap_rst_n) begin
					Write <= 0;
					Read  <= 0;
					Keep  <= 0;
				end
				else begin
					if(ivld && irdy)  Write <= Write + 1;
					// Before the last pass, the oldest word needed is the first one of the vector.
					if(move)  Read <= last_word && !last_pass? Keep : Read + 1;
					if(move && last_pass)  Keep <= Keep + 1;
				end
			end
		end : genRing
	end : genReplay

`ifndef SYNTHESIS
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) ivld && !irdy |=> !ivld || $stable(idat))
		else $error("%m: An input word changed before it was accepted.");
`endif

endmodule : mvu_lut_replay
