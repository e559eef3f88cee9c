/******************************************************************************
 * @brief	sum = a + b + carry, modulo 2^BITS, in one LUT a bit together with the logic before b.
 *
 * @description
 *	A carry chain takes a^b from a LUT, and one operand as it is. It has to be `a`: then the LUT of
 *	a bit can also hold the logic that makes b, of up to five inputs. A synthesizer may swap the
 *	operands of a sum but not those of a difference, so the sum is written as one. With a place
 *	below the lowest bit for the carry,
 *
 *		{a, c} - {~b, ~c} = {a, c} + {b, c} + 1,
 *
 *	whose lowest place carries c + c + 1 > 1, that is c, upwards.
 *****************************************************************************/

module mvu_lut_add #(
	int unsigned  BITS
)(
	input	logic [BITS-1:0]  a,
	input	logic [BITS-1:0]  b,
	input	logic  carry,
	output	logic [BITS-1:0]  sum
);
	uwire logic [BITS:0]  difference = {a, carry} - {~b, ~carry};
	assign	sum = difference[BITS:1];
endmodule : mvu_lut_add
