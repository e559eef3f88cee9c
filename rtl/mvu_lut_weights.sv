/******************************************************************************
 * @brief	Lines of constant weights, round and round: a read-only memory and its address.
 *
 * @description
 *	line is number 0, 1, .. LINES-1, 0, .. of the file. Each `en` puts the next line out, and
 *	puts it out again at the next `en` unless `used` was high.
 *****************************************************************************/

module mvu_lut_weights #(
	int unsigned  LINES,
	int unsigned  WIDTH,			// bits of a line
	parameter     INIT_FILE = "",		// a line each, in hexadecimal
	parameter     RAM_STYLE = "auto"	// "auto", "distributed" or "block"
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	input	logic  en,
	input	logic  used,
	output	logic [WIDTH-1:0]  line
);

	localparam int unsigned  ADDRESS_BITS = LINES > 1? $clog2(LINES) : 1;
	// The table is looked up by a register of its own: yosys makes four times the LUTs where a counter is the address.
	logic [ADDRESS_BITS-1:0]  Next = LINES > 1;
	logic [ADDRESS_BITS-1:0]  Address = 0;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			Next <= LINES > 1;
			Address <= 0;
		end
		else if(en && used) begin
			Next <= Next == LINES-1? 0 : Next + 1;
			Address <= Next;
		end
	end

	logic [WIDTH-1:0]  Line;
	assign	line = Line;

	// yosys takes the style of a memory only where it is spelled out.
	if(RAM_STYLE == "distributed") begin : genTable
		(* ram_style = "distributed", rom_style = "distributed" *)
		logic [WIDTH-1:0]  Lines[LINES];
		initial  $readmemh(INIT_FILE, Lines);
		always_ff @(posedge ap_clk) begin
			if(en)  Line <= Lines[Address];
		end
	end : genTable
	else begin : genMemory
		(* ram_style = RAM_STYLE, rom_style = RAM_STYLE *)
		logic [WIDTH-1:0]  Lines[LINES];
		initial  $readmemh(INIT_FILE, Lines);
		always_ff @(posedge ap_clk) begin
			if(en)  Line <= Lines[Address];
		end
	end : genMemory

endmodule : mvu_lut_weights
