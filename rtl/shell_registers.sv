/******************************************************************************
 * @brief	The registers of the board shell, on AXI-Lite.
 *
 * @description
 *	The map is that of fpga_facedet/shell.py, described in docs/shell.md. All
 *	registers are 32 bits wide; an unknown address reads 0 and a write to it is
 *	ignored; every answer is OKAY. Address and data of a write may come in any
 *	order; a write that does not strobe a byte leaves its bits alone.
 *
 *	One write and one read are under way at a time, each on its own.
 *****************************************************************************/

module shell_registers #(
	bit [31:0]  FRAME_PIXELS,
	bit [31:0]  OUTPUT_BYTES,
	bit [127:0]  MODEL_HASH,	// word 0 is the most significant
	bit [127:0]  RTL_HASH
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	input	logic [11:0]  awaddr,
	input	logic  awvalid,
	output	logic  awready,
	input	logic [31:0]  wdata,
	input	logic [3:0]  wstrb,
	input	logic  wvalid,
	output	logic  wready,
	output	logic [1:0]  bresp,
	output	logic  bvalid,
	input	logic  bready,
	input	logic [11:0]  araddr,
	input	logic  arvalid,
	output	logic  arready,
	output	logic [31:0]  rdata,
	output	logic [1:0]  rresp,
	output	logic  rvalid,
	input	logic  rready,

	output	logic  reset_core,		// asked for: one cycle each
	output	logic  reset_all,
	input	logic  resetting,
	input	logic [3:0]  status,
	input	logic [3:0]  errors,	// each for the cycle in which it happens

	input	logic [63:0]  cycles,
	input	logic [31:0]  frames_in,
	input	logic [31:0]  frames_out,
	input	logic [31:0]  frame_cycles,
	input	logic [31:0]  interval_cycles
);

	localparam bit [31:0]  ID      = 32'h4644_4554;	// "FDET"
	localparam bit [31:0]  VERSION = 32'h0001_0000;

	typedef enum logic [9:0] {		// numbers of words
		REG_ID              = 10'h00,
		REG_VERSION         = 10'h01,
		REG_CONTROL         = 10'h02,
		REG_STATUS          = 10'h03,
		REG_ERRORS          = 10'h04,
		REG_FRAME_PIXELS    = 10'h05,
		REG_OUTPUT_BYTES    = 10'h06,
		REG_MODEL_HASH      = 10'h08,
		REG_RTL_HASH        = 10'h0C,
		REG_FRAMES_IN       = 10'h10,
		REG_FRAMES_OUT      = 10'h11,
		REG_CYCLES_LOW      = 10'h12,
		REG_CYCLES_HIGH     = 10'h13,
		REG_FRAME_CYCLES    = 10'h14,
		REG_INTERVAL_CYCLES = 10'h15
	} register_e;

	//-----------------------------------------------------------------------
	// Writes: address and data wait for each other
	logic [9:0]  WriteWord;
	logic [7:0]  WriteByte;		// no register that can be written has bits in others
	logic  WriteStrobe;
	logic  AddressVld  = 0;
	logic  DataVld     = 0;
	logic  ResponseVld = 0;

	uwire  execute = AddressVld && DataVld && !ResponseVld;
	always_ff @(posedge ap_clk) begin
		if(awready)  WriteWord <= awaddr[11:2];
		if(wready) begin
			WriteByte   <= wdata[7:0];
			WriteStrobe <= wstrb[0];
		end

		if(!ap_rst_n) begin
			AddressVld  <= 0;
			DataVld     <= 0;
			ResponseVld <= 0;
		end
		else begin
			AddressVld  <= (AddressVld || awvalid) && !execute;
			DataVld     <= (DataVld || wvalid) && !execute;
			ResponseVld <= ResponseVld? !bready : execute;
		end
	end
	assign	awready = !AddressVld;
	assign	wready  = !DataVld;
	assign	bvalid  = ResponseVld;
	assign	bresp   = 2'b00;

	uwire  control = execute && WriteStrobe && WriteWord == REG_CONTROL;
	assign	reset_core = control && WriteByte[0] && !WriteByte[1];
	assign	reset_all  = control && WriteByte[1];

	logic [3:0]  Errors = 0;
	uwire [3:0]  cleared = execute && WriteStrobe && WriteWord == REG_ERRORS? WriteByte[3:0] : 4'd0;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n)  Errors <= 0;
		else  Errors <= (Errors & ~cleared) | errors;
	end

	//-----------------------------------------------------------------------
	// Reads
	logic [31:0]  value;
	logic [31:0]  CyclesHigh = 0;	// when the low word was read
	uwire [9:0]  word = araddr[11:2];
	always_comb begin
		unique case(word)
		REG_ID:               value = ID;
		REG_VERSION:          value = VERSION;
		REG_CONTROL:          value = resetting;
		REG_STATUS:           value = status;
		REG_ERRORS:           value = Errors;
		REG_FRAME_PIXELS:     value = FRAME_PIXELS;
		REG_OUTPUT_BYTES:     value = OUTPUT_BYTES;
		REG_MODEL_HASH + 0:   value = MODEL_HASH[96 +: 32];
		REG_MODEL_HASH + 1:   value = MODEL_HASH[64 +: 32];
		REG_MODEL_HASH + 2:   value = MODEL_HASH[32 +: 32];
		REG_MODEL_HASH + 3:   value = MODEL_HASH[ 0 +: 32];
		REG_RTL_HASH + 0:     value = RTL_HASH[96 +: 32];
		REG_RTL_HASH + 1:     value = RTL_HASH[64 +: 32];
		REG_RTL_HASH + 2:     value = RTL_HASH[32 +: 32];
		REG_RTL_HASH + 3:     value = RTL_HASH[ 0 +: 32];
		REG_FRAMES_IN:        value = frames_in;
		REG_FRAMES_OUT:       value = frames_out;
		REG_CYCLES_LOW:       value = cycles[31:0];
		REG_CYCLES_HIGH:      value = CyclesHigh;
		REG_FRAME_CYCLES:     value = frame_cycles;
		REG_INTERVAL_CYCLES:  value = interval_cycles;
		default:              value = 0;
		endcase
	end

	logic [31:0]  Read;
	logic  ReadVld = 0;
	uwire  read = arvalid && arready;
	always_ff @(posedge ap_clk) begin
		if(read)  Read <= value;
		if(!ap_rst_n)  CyclesHigh <= 0;
		else if(read && word == REG_CYCLES_LOW)  CyclesHigh <= cycles[63:32];

		if(!ap_rst_n)  ReadVld <= 0;
		else  ReadVld <= ReadVld? !rready : arvalid;
	end
	assign	arready = !ReadVld;
	assign	rdata   = Read;
	assign	rresp   = 2'b00;
	assign	rvalid  = ReadVld;

endmodule : shell_registers
