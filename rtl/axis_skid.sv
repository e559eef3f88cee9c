/******************************************************************************
 * @brief	Register slice of a stream: a register and a spare one.
 *
 * @description
 *	Beats come out in the order and with the contents they went in, one a cycle.
 *	No path leads from any input to an output: irdy, ovld and odat are registers,
 *	so the spare one takes the beat that arrives while the sink turns out not to
 *	be ready. Reset forgets what is inside.
 *
 *	Resources: 2*BITS + 2 flip-flops.
 *****************************************************************************/

module axis_skid #(
	int unsigned  BITS	// bits of a beat, all of its signals together
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	input	logic [BITS-1:0]  idat,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [BITS-1:0]  odat,
	output	logic  ovld,
	input	logic  ordy
);

	logic [BITS-1:0]  Out;
	logic [BITS-1:0]  Spare;
	logic  OutVld   = 0;
	logic  SpareVld = 0;

	always_ff @(posedge ap_clk) begin
		if(!OutVld || ordy)  Out <= SpareVld? Spare : idat;
		if(!SpareVld)  Spare <= idat;
	end
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			OutVld   <= 0;
			SpareVld <= 0;
		end
		else if(!OutVld || ordy) begin
			OutVld   <= SpareVld || ivld;
			SpareVld <= 0;
		end
		else if(ivld)  SpareVld <= 1;
	end

	assign	irdy = !SpareVld;
	assign	ovld = OutVld;
	assign	odat = Out;

`ifndef SYNTHESIS
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) ovld && !ordy |=> ovld && $stable(odat))
		else $error("%m: A beat changed or vanished before it was taken.");
	assert property (@(posedge ap_clk) !(SpareVld && !OutVld))
		else $error("%m: The spare register is filled before the other.");
`endif

endmodule : axis_skid
