/******************************************************************************
 * @brief	What the parts of mvu_lut have to agree on: the digits of a product, and the latency.
 *****************************************************************************/

package mvu_lut_pkg;

	// Most lanes added one after the other before the first register, a row of LUTs each
	localparam int unsigned  CHAIN = 5;
	// Adders, one behind the other, before each further register
	localparam int unsigned  LEVELS = 3;

	// Radix-4 digits of an operand
	function automatic int unsigned digits_of(int unsigned  width, bit  is_signed);
		return  is_signed? (width + 1) / 2 : width / 2 + 1;
	endfunction : digits_of

	// Whether recoding the weights, rather than the activations, makes products of fewer bits in all
	function automatic bit recodes_weights(int unsigned  weight, int unsigned  activation, bit  signed_activation);
		return  digits_of(weight, 1) * (activation + 2) <= digits_of(activation, signed_activation) * (weight + 2);
	endfunction : recodes_weights

	// Digits of a product
	function automatic int unsigned digits(int unsigned  weight, int unsigned  activation, bit  signed_activation);
		return  recodes_weights(weight, activation, signed_activation)?
			digits_of(weight, 1) : digits_of(activation, signed_activation);
	endfunction : digits

	// Chains of lanes
	function automatic int unsigned chains(int unsigned  simd);
		return  (simd + CHAIN - 1) / CHAIN;
	endfunction : chains

	// Cycles from the operands of a dot product to its result
	function automatic int unsigned latency(
		int unsigned  simd, int unsigned  weight, int unsigned  activation, bit  signed_activation
	);
		return  1 + ($clog2(chains(simd)) + $clog2(digits(weight, activation, signed_activation))) / LEVELS;
	endfunction : latency

endpackage : mvu_lut_pkg
