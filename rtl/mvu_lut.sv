/******************************************************************************
 * @brief	Matrix-vector unit without DSPs: products and sums in LUTs and carry chains.
 *
 * @description
 *	For a constant matrix W of MH rows and MW columns of signed weights, and vectors a of MW
 *	signed or unsigned activations,
 *
 *		y[r] = sum over c of W[r][c] * a[c]	modulo 2^ACCU_WIDTH, signed.
 *
 *	Ordering rule, both streams, and the weights: a vector comes in as MW/SIMD words; word s holds
 *	a[s*SIMD] .. a[s*SIMD+SIMD-1], the lowest index in the lowest bits. It goes out as MH/PE words;
 *	word p holds y[p*PE] .. y[p*PE+PE-1], likewise. Pass p over the vector makes word p.
 *	Line p*(MW/SIMD)+s of the file of weights, in hexadecimal, holds the weights of pass p and
 *	input word s: SIMD of row p*PE in the lowest bits, then SIMD of row p*PE+1, and so on.
 *
 *	Initiation interval: MW/SIMD * MH/PE cycles a vector, without a gap between passes or
 *	vectors. Only the input can make it wait, and a sink that has not taken a word when the next
 *	one is complete. Where MW/SIMD > 1, no path leads from ordy to irdy; else ordy lets the whole
 *	pipeline move on. mvu_lut_replay says how early the words of the next vector are taken.
 *
 *	Resources: see mvu_lut_dot for the sums; about DIGITS * (bits of z + 4) LUTs a lane of a PE,
 *	and ACCU_WIDTH LUTs a PE for the accumulator. The output register takes no LUTs.
 *****************************************************************************/

(* use_dsp = "no" *)
module mvu_lut #(
	int unsigned  MW,			// columns of the matrix: values of an input vector
	int unsigned  MH,			// rows of the matrix: values of an output vector
	int unsigned  PE,			// rows at a time, a divisor of MH
	int unsigned  SIMD,			// columns at a time, a divisor of MW
	int unsigned  WEIGHT_WIDTH,		// bits of a weight, signed
	int unsigned  ACTIVATION_WIDTH,		// bits of an activation
	bit  SIGNED_ACTIVATIONS = 0,
	int unsigned  ACCU_WIDTH,		// bits of a result, signed
	int unsigned  PLACES = 0,		// input words kept: a power of two, at least MW/SIMD; 0: the least such
	parameter  INIT_FILE = "",		// weights
	parameter  RAM_STYLE = "auto",		// of the weights: "auto", "distributed" or "block"
	parameter  REPLAY_STYLE = "auto"	// of the input words kept, likewise
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	input	logic [SIMD-1:0][ACTIVATION_WIDTH-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [PE-1:0][ACCU_WIDTH-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);

	//-----------------------------------------------------------------------
	// Parameter Checks
	if(MH % PE != 0)    $error("%m: PE (%0d) must divide MH (%0d).", PE, MH);
	if(MW % SIMD != 0)  $error("%m: SIMD (%0d) must divide MW (%0d).", SIMD, MW);
	if(WEIGHT_WIDTH < 2 || WEIGHT_WIDTH > 8 || ACTIVATION_WIDTH < 2 || ACTIVATION_WIDTH > 8) begin : genCheckBits
		$error("%m: WEIGHT_WIDTH (%0d) and ACTIVATION_WIDTH (%0d) must be 2 to 8.", WEIGHT_WIDTH, ACTIVATION_WIDTH);
	end
	if(ACCU_WIDTH == 0 || ACCU_WIDTH > 32) begin : genCheckAccu
		$error("%m: ACCU_WIDTH (%0d) must be 1 to 32.", ACCU_WIDTH);
	end

	localparam int unsigned  WORDS  = MW / SIMD;		// of an input vector
	localparam int unsigned  PASSES = MH / PE;
	localparam int unsigned  LEAST_PLACES = 2**$clog2(WORDS);
	if(PLACES != 0 && (PLACES < LEAST_PLACES || PLACES != 2**$clog2(PLACES))) begin : genCheckPlaces
		$error("%m: PLACES (%0d) must be a power of two and at least %0d.", PLACES, LEAST_PLACES);
	end

	uwire  en;	// moves the whole pipeline on

	//-----------------------------------------------------------------------
	// Input Words and their Weights, in step
	uwire logic [SIMD-1:0][ACTIVATION_WIDTH-1:0]  a;
	uwire  vld;
	uwire  last;
	uwire  coming;
	mvu_lut_replay #(
		.WIDTH(SIMD*ACTIVATION_WIDTH), .LENGTH(WORDS), .PASSES(PASSES),
		.PLACES(PLACES? PLACES : LEAST_PLACES), .RAM_STYLE(REPLAY_STYLE)
	) replay (
		.ap_clk, .ap_rst_n,
		.idat, .ivld, .irdy,
		.en, .coming, .odat(a), .ovld(vld), .olast(last)
	);

	uwire logic [PE-1:0][SIMD-1:0][WEIGHT_WIDTH-1:0]  w;
	mvu_lut_weights #(
		.LINES(WORDS*PASSES), .WIDTH(PE*SIMD*WEIGHT_WIDTH), .INIT_FILE(INIT_FILE), .RAM_STYLE(RAM_STYLE)
	) weights (
		.ap_clk, .ap_rst_n,
		.en, .used(coming), .line(w)
	);

	//-----------------------------------------------------------------------
	// Dot Products of one Input Word
	typedef logic signed [ACCU_WIDTH-1:0]  result_t;
	uwire result_t  sum[PE];
	uwire  more[PE];
	for(genvar  pe = 0; pe < PE; pe++) begin : genPE
		mvu_lut_dot #(
			.SIMD(SIMD), .WEIGHT_WIDTH(WEIGHT_WIDTH), .ACTIVATION_WIDTH(ACTIVATION_WIDTH),
			.SIGNED_ACTIVATIONS(SIGNED_ACTIVATIONS), .ACCU_WIDTH(ACCU_WIDTH), .COMPLETE(WORDS == 1)
		) dot (
			.ap_clk, .en,
			.w(w[pe]), .a(a),
			.sum(sum[pe]), .more(more[pe])
		);
	end : genPE

	localparam int unsigned  LATENCY = mvu_lut_pkg::latency(SIMD, WEIGHT_WIDTH, ACTIVATION_WIDTH, SIGNED_ACTIVATIONS);
	logic [LATENCY-1:0]  Vld = 0;
	logic [LATENCY-1:0]  Last;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n)  Vld <= 0;
		else if(en)    Vld <= { Vld, vld };
	end
	always_ff @(posedge ap_clk) begin
		if(en)  Last <= { Last, last };
	end

	//-----------------------------------------------------------------------
	// Accumulators and Output Register
	uwire  complete = Vld[LATENCY-1] && Last[LATENCY-1];
	result_t  total[PE];
	if(WORDS == 1) begin : genDirect
		always_comb  total = sum;
	end : genDirect
	else begin : genAccumulate
		result_t  Accu[PE];
		logic  First = 1;
		for(genvar  pe = 0; pe < PE; pe++) begin : genAdd
			mvu_lut_add #(.BITS(ACCU_WIDTH)) add (
				.a(sum[pe]), .b(First? '0 : Accu[pe]), .carry(more[pe]), .sum(total[pe])
			);
		end : genAdd
		always_ff @(posedge ap_clk) begin
			if(en && Vld[LATENCY-1])  Accu <= total;
		end
		always_ff @(posedge ap_clk) begin
			if(!ap_rst_n)  First <= 1;
			else if(en && Vld[LATENCY-1])  First <= Last[LATENCY-1];
		end
	end : genAccumulate

	logic [PE-1:0][ACCU_WIDTH-1:0]  Out;
	logic  OutVld = 0;
	// With several words a vector, a sink that keeps pace has always taken the last word before the next is complete.
	assign	en = !(complete && OutVld && (WORDS > 1 || !ordy));
	always_ff @(posedge ap_clk) begin
		if(en && complete) begin
			for(int unsigned  pe = 0; pe < PE; pe++)  Out[pe] <= total[pe];
		end
	end
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n)            OutVld <= 0;
		else if(en && complete)  OutVld <= 1;
		else if(ordy)            OutVld <= 0;
	end
	assign	odat = Out;
	assign	ovld = OutVld;

`ifndef SYNTHESIS
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) ovld && !ordy |=> ovld && $stable(odat))
		else $error("%m: An output word changed or vanished before it was taken.");
`endif

endmodule : mvu_lut
