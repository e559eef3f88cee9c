/******************************************************************************
 * @brief	Streaming maximum over 2x2 windows with stride 2, unsigned values.
 *
 * @description
 *	For a map x of WIDTH columns and any even number of rows, both counted from 0,
 *
 *		y[r][c][k] = max(x[2r][2c][k], x[2r][2c+1][k], x[2r+1][2c][k], x[2r+1][2c+1][k])
 *
 *	Ordering rule, input and output alike: pixels row by row, left to right; a pixel
 *	is FOLDS = CHANNELS/PE beats; beat f carries channels f*PE .. f*PE+PE-1, the
 *	lowest channel in the lowest bits. Maps follow each other without a gap.
 *
 *	A line buffer holds, for each window of a row pair, the maximum of what has
 *	arrived of it. Its next word is fetched while the current one is updated, so
 *	that it maps to block RAM as well as to distributed RAM; a word fetched in the
 *	cycle of its own update is forwarded (one fold, or one window a row).
 *
 *	Initiation interval: one input beat a cycle; one output beat for each input beat
 *	at an odd column of an odd row, one cycle later. A sink that is not ready stops
 *	the input only once two output beats wait, and no path leads from ordy to irdy.
 *
 *	Resources: WIDTH/2*FOLDS words of PE*BITS bits as simple dual-port memory; about
 *	3*PE*BITS flip-flops; PE comparators and multiplexers of BITS bits.
 *****************************************************************************/

module maxpool_2x2 #(
	int unsigned  BITS,			// bits of a value, unsigned
	int unsigned  CHANNELS,		// channels of the map
	int unsigned  PE,			// channels of a beat, a divisor of CHANNELS
	int unsigned  WIDTH,		// columns of the input map, even
	parameter     RAM_STYLE = "auto"	// line buffer: "auto", "distributed" or "block"
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	input	logic [PE-1:0][BITS-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [PE-1:0][BITS-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);

	//-----------------------------------------------------------------------
	// Parameter Checks
	if(BITS == 0 || CHANNELS == 0 || PE == 0) begin : genCheckPositive
		$error("%m: BITS (%0d), CHANNELS (%0d) and PE (%0d) must be positive.", BITS, CHANNELS, PE);
	end
	else if(CHANNELS % PE != 0) begin : genCheckPE
		$error("%m: PE (%0d) must divide CHANNELS (%0d).", PE, CHANNELS);
	end
	if(WIDTH < 2 || WIDTH % 2 != 0) begin : genCheckWidth
		$error("%m: WIDTH (%0d) must be even and positive.", WIDTH);
	end

	localparam int unsigned  FOLDS = CHANNELS / PE;
	localparam int unsigned  WINDOWS = WIDTH / 2;			// windows of a row pair
	localparam int unsigned  WORDS = WINDOWS * FOLDS;		// of the line buffer
	localparam int unsigned  FOLD_BITS = FOLDS > 1? $clog2(FOLDS) : 1;
	localparam int unsigned  ADDRESS_BITS = WORDS > 1? $clog2(WORDS) : 1;

	typedef logic [FOLD_BITS   -1:0]  fold_t;
	typedef logic [ADDRESS_BITS-1:0]  address_t;
	typedef logic [PE-1:0][BITS-1:0]  word_t;

	uwire  take = ivld && irdy;

	//-----------------------------------------------------------------------
	// Position in the Row Pair
	fold_t     Fold    = 0;
	address_t  Address = 0;	// window * FOLDS + fold
	logic  OddColumn = 0;
	logic  OddRow    = 0;

	uwire  last_fold = Fold == fold_t'(FOLDS-1);
	uwire  last_word = Address == address_t'(WORDS-1);
	logic [ADDRESS_BITS-1:0]  next_address;
	always_comb begin
		// The second pixel of a window goes through the same words as the first.
		if(last_fold && !OddColumn)  next_address = Address - address_t'(FOLDS-1);
		else if(last_word)           next_address = 0;
		else                         next_address = Address + 1;
	end

	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			Fold      <= 0;
			Address   <= 0;
			OddColumn <= 0;
			OddRow    <= 0;
		end
		else if(take) begin
			Fold    <= last_fold? 0 : Fold + 1;
			Address <= next_address;
			if(last_fold)  OddColumn <= !OddColumn;
			if(last_word && OddColumn)  OddRow <= !OddRow;
		end
	end

	//-----------------------------------------------------------------------
	// Line Buffer: update one word, fetch the next
	(* ram_style = RAM_STYLE *)
	word_t  Line[WORDS];
	word_t  Fetched;
	word_t  Updated;		// the last word written, for forwarding
	uwire word_t  so_far;
	word_t  maximum;

	uwire  first = !OddColumn && !OddRow;	// nothing of this window has arrived
	always_comb begin
		for(int unsigned  pe = 0; pe < PE; pe++) begin
			maximum[pe] = first || (idat[pe] > so_far[pe])? idat[pe] : so_far[pe];
		end
	end

	always_ff @(posedge ap_clk) begin
		if(take) begin
			Line[Address] <= maximum;
			Fetched <= Line[next_address];
		end
	end

	if(FOLDS > 1)  assign  so_far = Fetched;
	else begin : genForward
		logic  Forward = 0;
		always_ff @(posedge ap_clk) begin
			if(take) begin
				Forward <= next_address == Address;
				Updated <= maximum;
			end
		end
		assign  so_far = Forward? Updated : Fetched;
	end : genForward

	//-----------------------------------------------------------------------
	// Output: a register, and a spare one for the beat in flight when the sink stops
	uwire  complete = OddColumn && OddRow;	// this beat is the last of its window
	uwire  push = take && complete;

	word_t  Out;
	word_t  Spare;
	logic  OutVld   = 0;
	logic  SpareVld = 0;

	always_ff @(posedge ap_clk) begin
		if(!OutVld || ordy)  Out <= SpareVld? Spare : maximum;
		if(push)  Spare <= maximum;
	end
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			OutVld   <= 0;
			SpareVld <= 0;
		end
		else if(!OutVld || ordy) begin
			OutVld   <= SpareVld || push;
			SpareVld <= 0;
		end
		else if(push)  SpareVld <= 1;
	end

	assign	irdy = !(complete && SpareVld);
	assign	ovld = OutVld;
	assign	odat = Out;

`ifndef SYNTHESIS
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) ovld && !ordy |=> ovld && $stable(odat))
		else $error("%m: An output beat changed or vanished before it was taken.");
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) !(push && SpareVld))
		else $error("%m: The output overflowed.");
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) ivld && !irdy |=> !ivld || $stable(idat))
		else $error("%m: An input beat changed before it was accepted.");
`endif

endmodule : maxpool_2x2
