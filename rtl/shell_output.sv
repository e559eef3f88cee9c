/******************************************************************************
 * @brief	From the accelerator's values to packets of whole 64-bit beats.
 *
 * @description
 *	A result is FRAME_BYTES bytes and becomes one packet of ceil(FRAME_BYTES/8)
 *	beats, the first byte in the lowest bits, the end padded with zeros, olast with
 *	the last beat. Ordering rule of the input: LANES bytes a beat, the first in the
 *	lowest bits.
 *
 *	`cut` comes with a reset of the accelerator. A packet of which a beat has gone
 *	out, or waits at the output, is completed with beats of zeros; what has not got
 *	that far is forgotten. With `forget`, the packet is not completed and a beat
 *	that waits is withdrawn: nobody will take it.
 *
 *	Bytes move on gcd(LANES, 8) a cycle, which needs no barrel shifter, and a beat
 *	goes out every other cycle at most. No path leads from ordy to irdy.
 *****************************************************************************/

module shell_output #(
	int unsigned  FRAME_BYTES,	// bytes of a result, a multiple of LANES
	int unsigned  LANES			// bytes of an input beat
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	input	logic  cut,			// for one cycle, the accelerator being in reset
	input	logic  forget,		// with cut: the sink will not take what was to come
	input	logic  enable,		// the accelerator runs; falls only with cut

	input	logic [LANES-1:0][7:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [63:0]  odat,
	output	logic  olast,
	output	logic  ovld,
	input	logic  ordy,

	output	logic  packet_ends,		// events of one cycle each
	output	logic  is_whole,		// with packet_ends: a result that no reset has touched
	output	logic  is_cut,

	output	logic  in_packet		// state: a result has begun and not ended
);

	//-----------------------------------------------------------------------
	// Parameter Checks
	if(LANES == 0 || FRAME_BYTES == 0 || FRAME_BYTES % LANES != 0) begin : genCheckLanes
		$error("%m: LANES (%0d) must divide FRAME_BYTES (%0d), and both be positive.", LANES, FRAME_BYTES);
	end

	// A chunk is what moves in a cycle.
	localparam int unsigned  CHUNK_BYTES = LANES % 8 == 0? 8 : LANES % 4 == 0? 4 : LANES % 2 == 0? 2 : 1;
	localparam int unsigned  WORD_CHUNKS = LANES / CHUNK_BYTES;
	localparam int unsigned  BEAT_CHUNKS = 8 / CHUNK_BYTES;
	localparam int unsigned  BEATS = (FRAME_BYTES + 7) / 8;
	localparam int unsigned  LAST_PLACE = (FRAME_BYTES/CHUNK_BYTES - 1) % BEAT_CHUNKS;
	localparam int unsigned  PLACE_BITS = BEAT_CHUNKS > 1? $clog2(BEAT_CHUNKS) : 1;
	localparam int unsigned  BEAT_BITS = BEATS > 1? $clog2(BEATS) : 1;

	typedef logic [8*CHUNK_BYTES-1:0]  chunk_t;
	typedef logic [PLACE_BITS-1:0]  place_t;
	typedef logic [BEAT_BITS -1:0]  beat_t;

	//-----------------------------------------------------------------------
	// Input Beats to Chunks
	chunk_t [WORD_CHUNKS-1:0]  Word;
	logic [$clog2(WORD_CHUNKS+1)-1:0]  WordLeft = 0;	// chunks of it to go
	uwire  chunk_take;
	uwire  word_take = ivld && irdy;
	assign	irdy = enable && (WordLeft == 0 || (WordLeft == 1 && chunk_take));

	always_ff @(posedge ap_clk) begin
		if(word_take)  Word <= idat;
		else if(chunk_take)  Word <= Word >> $bits(chunk_t);
	end
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n || cut)  WordLeft <= 0;
		else if(word_take)  WordLeft <= WORD_CHUNKS;
		else if(chunk_take)  WordLeft <= WordLeft - 1;
	end

	//-----------------------------------------------------------------------
	// Chunks to Output Beats
	chunk_t [BEAT_CHUNKS-1:0]  Collected = 0;	// zero from Place on
	place_t  Place = 0;
	beat_t  Beat = 0;		// beats of this packet that are out or at the output
	logic  Completing = 0;	// with zeros, after a cut

	logic [63:0]  Out;
	logic  OutLast  = 0;
	logic  OutVld   = 0;
	logic  OutWhole = 0;

	uwire  last_beat = Beat == beat_t'(BEATS-1);
	uwire  fills = Place == place_t'(BEAT_CHUNKS-1) || (last_beat && Place == place_t'(LAST_PLACE));
	assign	chunk_take = WordLeft != 0 && !Completing && !cut && !(fills && OutVld);
	uwire  push = !OutVld && (Completing || (chunk_take && fills)) && !cut;

	chunk_t [BEAT_CHUNKS-1:0]  collected;	// with the chunk of this cycle
	always_comb begin
		collected = Collected;
		if(!Completing)  collected[Place] = Word[0];
	end

	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n || cut || push) begin
			Collected <= 0;
			Place <= 0;
		end
		else if(chunk_take) begin
			Collected <= collected;
			Place <= Place + 1;
		end

		if(!ap_rst_n || (cut && forget))  Beat <= 0;
		else if(push)  Beat <= last_beat? 0 : Beat + 1;

		if(!ap_rst_n)  Completing <= 0;
		else if(cut)   Completing <= Beat != 0 && !forget;
		else if(push && last_beat)  Completing <= 0;
	end

	always_ff @(posedge ap_clk) begin
		if(push) begin
			Out <= collected;
			OutLast <= last_beat;
		end

		if(!ap_rst_n || (cut && forget))  OutVld <= 0;
		else if(push)  OutVld <= 1;
		else if(ordy)  OutVld <= 0;

		if(!ap_rst_n || cut)  OutWhole <= 0;
		else if(push)  OutWhole <= !Completing;
	end

	assign	odat  = Out;
	assign	olast = OutLast;
	assign	ovld  = OutVld;
	assign	packet_ends = OutVld && OutLast && ordy;
	assign	is_whole = OutWhole;
	assign	is_cut = cut && !forget && Beat != 0 && !Completing;
	assign	in_packet = Beat != 0 || OutVld;

`ifndef SYNTHESIS
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n || (cut && forget))
		ovld && !ordy |=> ovld && $stable(odat) && $stable(olast))
		else $error("%m: An output beat changed or vanished before it was taken.");
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) !(cut && enable))
		else $error("%m: The result was cut while the accelerator ran.");
`endif

endmodule : shell_output
