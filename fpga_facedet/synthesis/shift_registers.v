// Reads of an array as yosys finds shift registers in them: bit by bit, with the newest place first. The reader of
// SystemVerilog gives one wide multiplexer whose places run the other way, because an array [0:N-1] is written most
// significant place first; without this a FIFO of shift registers would count as flip-flops and multiplexers.
(* techmap_celltype = "$bmux" *)
module read_by_bits (A, S, Y);
	parameter WIDTH = 1;
	parameter S_WIDTH = 1;
	localparam PLACES = 1 << S_WIDTH;

	input [WIDTH*PLACES-1:0] A;
	input [S_WIDTH-1:0] S;
	output [WIDTH-1:0] Y;

	genvar bit_, place;
	generate for (bit_ = 0; bit_ < WIDTH; bit_ = bit_ + 1) begin : bits
		wire [PLACES-1:0] turned;
		for (place = 0; place < PLACES; place = place + 1)
			assign turned[place] = A[(PLACES-1 - place)*WIDTH + bit_];
		\$shiftx #(
			.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(PLACES), .B_WIDTH(S_WIDTH), .Y_WIDTH(1)
		) read (.A(turned), .B(~S), .Y(Y[bit_]));
	end endgenerate
endmodule
