/******************************************************************************
 * @brief	Dot product of two short integer vectors in LUTs and carry chains, pipelined.
 *
 * @description
 *	y = sum over l < SIMD of w[l] * a[l], for signed w and signed or unsigned a.
 *
 *	One operand of each product, x, is recoded into radix-4 Booth digits,
 *
 *		x = sum over j of 4^j * d[j],   d[j] = -2*x[2j+1] + x[2j] + x[2j-1],   x[-1] = 0,
 *
 *	so that the other one, z, is only ever shifted or negated: d[j]*z is 0, z, 2z, -z or -2z.
 *	A bit of it takes five inputs, three of x and two of z. The sixth input of a LUT takes the
 *	bit of what it is added to, so a digit of a product is made and added in one LUT a bit.
 *	The recoded operand is the one that makes fewer LUTs: weights as a rule.
 *
 *	-v is ~v + 1. Every number in here is a pair (sum, more) of the value sum + more, where `more`
 *	is a bit: the 1 that a negation still lacks. An adder of two such pairs adds one bit `more`
 *	as its carry-in and passes the other one on, so that negations take no adder of their own.
 *
 *	Order of the sums: the same digit of up to CHAIN lanes one after the other; then the chains
 *	of a digit in a balanced tree; then the digits. Every number has just the bits that its
 *	range needs; the last one is cut to ACCU_WIDTH.
 *
 *	Latency: that of mvu_lut_pkg, in cycles in which en is high; a register after the chains, and one after each
 *	further LEVELS adders.
 *****************************************************************************/

(* use_dsp = "no" *)
module mvu_lut_dot #(
	int unsigned  SIMD,			// products
	int unsigned  WEIGHT_WIDTH,		// bits of a weight, signed
	int unsigned  ACTIVATION_WIDTH,		// bits of an activation
	bit  SIGNED_ACTIVATIONS,
	int unsigned  ACCU_WIDTH,		// most bits of the result
	bit  COMPLETE = 0		// leave nothing in `more`
)(
	input	logic  ap_clk,
	input	logic  en,		// moves everything one stage on

	input	logic [SIMD-1:0][WEIGHT_WIDTH    -1:0]  w,
	input	logic [SIMD-1:0][ACTIVATION_WIDTH-1:0]  a,

	output	logic signed [ACCU_WIDTH-1:0]  sum,	// the result is sum + more
	output	logic  more
);

	import mvu_lut_pkg::*;
	localparam bit  RECODE_WEIGHTS = recodes_weights(WEIGHT_WIDTH, ACTIVATION_WIDTH, SIGNED_ACTIVATIONS);
	localparam int unsigned  DIGITS = digits(WEIGHT_WIDTH, ACTIVATION_WIDTH, SIGNED_ACTIVATIONS);
	localparam int unsigned  CHAINS = chains(SIMD);
	localparam int unsigned  TREE_LEVELS = $clog2(CHAINS);

	localparam int unsigned  X = RECODE_WEIGHTS? WEIGHT_WIDTH : ACTIVATION_WIDTH;
	localparam int unsigned  Z = RECODE_WEIGHTS? ACTIVATION_WIDTH : WEIGHT_WIDTH;
	localparam bit  SIGNED_X = RECODE_WEIGHTS || SIGNED_ACTIVATIONS;
	localparam bit  SIGNED_Z = !RECODE_WEIGHTS || SIGNED_ACTIVATIONS;

	//-----------------------------------------------------------------------
	// Ranges

	// Least and greatest value of digits first .. behind-1 of x taken together
	function automatic longint least_x(int unsigned  first, int unsigned  behind);
		if(behind < DIGITS)  return  -(longint'(1) << (2*(behind-first)-1));
		return  SIGNED_X? -(longint'(1) << (X-2*first-1)) : 0;
	endfunction : least_x
	function automatic longint most_x(int unsigned  first, int unsigned  behind);
		automatic longint  carried = first > 0;		// x[2*first-1]
		if(behind < DIGITS)  return  (longint'(1) << (2*(behind-first)-1)) - 1 + carried;
		return  (longint'(1) << (X-2*first-SIGNED_X)) - 1 + carried;
	endfunction : most_x

	// Bits of the sum of these digits of `lanes` products, with one bit of it left in `more`
	function automatic int unsigned sum_bits(int unsigned  lanes, int unsigned  first, int unsigned  behind);
		automatic longint  least_z = SIGNED_Z? -(longint'(1) << (Z-1)) : 0;
		automatic longint  most_z = (longint'(1) << (Z-SIGNED_Z)) - 1;
		automatic longint  least = 0;
		automatic longint  most = 0;
		automatic int unsigned  bits = 1;
		for(int unsigned  corner = 0; corner < 4; corner++) begin
			automatic longint  product =
				(corner % 2? most_x(first, behind) : least_x(first, behind)) * (corner / 2? most_z : least_z);
			if(product < least)  least = product;
			if(product > most)   most = product;
		end
		least = least * lanes - 1;
		most = most * lanes;
		while((least < -(longint'(1) << (bits-1))) || (most >= (longint'(1) << (bits-1))))  bits++;
		return  bits < ACCU_WIDTH? bits : ACCU_WIDTH;
	endfunction : sum_bits

	//-----------------------------------------------------------------------
	// Digits of the Products, Chains of Lanes, and the Tree of Chains, for each Digit
	for(genvar  j = 0; j < DIGITS; j++) begin : genDigit
		for(genvar  c = 0; c < CHAINS; c++) begin : genChain
			localparam int unsigned  FIRST = c * SIMD / CHAINS;
			localparam int unsigned  LANES = (c+1) * SIMD / CHAINS - FIRST;
			// The bit that no adder would take any more: see `more` of the tree and of the digits.
			localparam bit  LEFT_OVER = COMPLETE && (j == 0) && (c == CHAINS-1);

			for(genvar  l = 0; l < LANES; l++) begin : genLane
				localparam int unsigned  BITS = sum_bits(l+1, j, j+1);

				// The digit, and what it makes of the other operand but for the 1 of a negation
				uwire logic [X-1:0]  x;
				uwire logic [Z-1:0]  z;
				assign	x = RECODE_WEIGHTS? X'(w[FIRST+l]) : X'(a[FIRST+l]);
				assign	z = RECODE_WEIGHTS? Z'(a[FIRST+l]) : Z'(w[FIRST+l]);
				uwire logic [2*DIGITS:0]  extended = { {(2*DIGITS-X+1){SIGNED_X && x[X-1]}}, x } << 1;
				uwire logic [2:0]  d = extended[2*j +: 3];
				uwire  once  = d[1] ^ d[0];
				uwire  twice = (d[2] ^ d[1]) && !once;
				uwire logic [BITS+Z-1:0]  wide = { {BITS{SIGNED_Z && z[Z-1]}}, z };
				uwire logic [BITS-1:0]  shifted = BITS'({wide, 1'b0});
				uwire logic [BITS-1:0]  digit =
					(wide[BITS-1:0] & {BITS{once}} | shifted & {BITS{twice}}) ^ {BITS{d[2]}};

				uwire logic signed [BITS-1:0]  sum;
				uwire  more;
				if(l > 0) begin : genAdd
					uwire logic signed [BITS-1:0]  so_far = genLane[l-1].sum;
					mvu_lut_add #(.BITS(BITS)) add (.a(so_far), .b(digit), .carry(d[2]), .sum(sum));
					assign	more = genLane[l-1].more;
				end : genAdd
				else if(LEFT_OVER) begin : genNegate
					mvu_lut_add #(.BITS(BITS)) add (.a('0), .b(digit), .carry(d[2]), .sum(sum));
					assign	more = 0;
				end : genNegate
				else begin : genBegin
					assign	sum = digit;
					assign	more = d[2];
				end : genBegin
			end : genLane

			logic signed [sum_bits(LANES, j, j+1)-1:0]  Sum;
			logic  More;
			always_ff @(posedge ap_clk) begin
				if(en) begin
					Sum  <= genLane[LANES-1].sum;
					More <= genLane[LANES-1].more;
				end
			end
		end : genChain

		for(genvar  t = 0; t <= TREE_LEVELS; t++) begin : genLevel
			for(genvar  n = 0; n < (CHAINS + 2**t - 1) / 2**t; n++) begin : genNode
				localparam int unsigned  BEHIND = (n+1) * 2**t < CHAINS? (n+1) * 2**t : CHAINS;
				localparam int unsigned  LANES = BEHIND * SIMD / CHAINS - n * 2**t * SIMD / CHAINS;
				localparam int unsigned  BITS = sum_bits(LANES, j, j+1);
				uwire logic signed [BITS-1:0]  sum;
				uwire  more;
				if(t == 0) begin : genLeaf
					assign	sum = genChain[n].Sum;
					assign	more = genChain[n].More;
				end : genLeaf
				else begin : genInner
					uwire logic signed [BITS-1:0]  sum0;
					uwire  more0;
					if(2*n+1 < (CHAINS + 2**(t-1) - 1) / 2**(t-1)) begin : genAdd
						uwire logic signed [BITS-1:0]  left = genLevel[t-1].genNode[2*n].sum;
						uwire logic signed [BITS-1:0]  right = genLevel[t-1].genNode[2*n+1].sum;
						uwire  carry = genLevel[t-1].genNode[2*n].more;
						mvu_lut_add #(.BITS(BITS)) add (.a(left), .b(right), .carry, .sum(sum0));
						assign	more0 = genLevel[t-1].genNode[2*n+1].more;
					end : genAdd
					else begin : genPass
						assign	sum0 = genLevel[t-1].genNode[2*n].sum;
						assign	more0 = genLevel[t-1].genNode[2*n].more;
					end : genPass

					if(t % LEVELS == 0) begin : genRegister
						logic signed [BITS-1:0]  Sum;
						logic  More;
						always_ff @(posedge ap_clk) begin
							if(en) begin
								Sum  <= sum0;
								More <= more0;
							end
						end
						assign	sum = Sum;
						assign	more = More;
					end : genRegister
					else begin : genThrough
						assign	sum = sum0;
						assign	more = more0;
					end : genThrough
				end : genInner
			end : genNode
		end : genLevel
	end : genDigit

	//-----------------------------------------------------------------------
	// The Digits
	for(genvar  t = 0; t <= $clog2(DIGITS); t++) begin : genLevel
		for(genvar  n = 0; n < (DIGITS + 2**t - 1) / 2**t; n++) begin : genNode
			localparam int unsigned  FIRST = n * 2**t;
			localparam int unsigned  BEHIND = FIRST + 2**t < DIGITS? FIRST + 2**t : DIGITS;
			localparam int unsigned  BITS = sum_bits(SIMD, FIRST, BEHIND);
			uwire logic signed [BITS-1:0]  sum;
			uwire  more;
			if(t == 0) begin : genLeaf
				assign	sum = genDigit[n].genLevel[TREE_LEVELS].genNode[0].sum;
				assign	more = genDigit[n].genLevel[TREE_LEVELS].genNode[0].more;
			end : genLeaf
			else begin : genInner
				localparam int unsigned  SHIFT = 2**t;	// 2**(t-1) digits of two bits
				uwire logic signed [BITS-1:0]  low = genLevel[t-1].genNode[2*n].sum;
				uwire logic signed [BITS-1:0]  sum0;
				uwire  more0 = genLevel[t-1].genNode[2*n].more;
				if((FIRST + 2**(t-1) < DIGITS) && (SHIFT < BITS)) begin : genAdd
					uwire logic signed [BITS-SHIFT-1:0]  above = low >>> SHIFT;
					uwire logic signed [BITS-SHIFT-1:0]  high = genLevel[t-1].genNode[2*n+1].sum;
					uwire  carry = genLevel[t-1].genNode[2*n+1].more;
					uwire logic signed [BITS-SHIFT-1:0]  added;
					mvu_lut_add #(.BITS(BITS-SHIFT)) add (.a(above), .b(high), .carry, .sum(added));
					assign	sum0 = { added, low[SHIFT-1:0] };
				end : genAdd
				else  assign  sum0 = low;

				if((TREE_LEVELS + t) % LEVELS == 0) begin : genRegister
					logic signed [BITS-1:0]  Sum;
					logic  More;
					always_ff @(posedge ap_clk) begin
						if(en) begin
							Sum  <= sum0;
							More <= more0;
						end
					end
					assign	sum = Sum;
					assign	more = More;
				end : genRegister
				else begin : genThrough
					assign	sum = sum0;
					assign	more = more0;
				end : genThrough
			end : genInner
		end : genNode
	end : genLevel

	assign	sum = genLevel[$clog2(DIGITS)].genNode[0].sum;
	assign	more = genLevel[$clog2(DIGITS)].genNode[0].more;

endmodule : mvu_lut_dot
