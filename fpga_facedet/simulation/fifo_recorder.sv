/******************************************************************************
 * @brief	Counts the beats in every FIFO of a simulated accelerator.
 *
 * @description
 *	For simulation only, and no part of an accelerator: `bind` puts one beside each
 *	stream_fifo. At the end of a simulation, of whatever kind, each says in a line
 *	"record PATH most M held H places DEPTH" the most beats that its FIFO ever held, and
 *	how many it holds now.
 *****************************************************************************/

module fifo_recorder #(
	int unsigned  DEPTH
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,
	input	logic  ivld, irdy,
	input	logic  ovld, ordy
);
	int unsigned  Held = 0;
	int unsigned  Most = 0;
	uwire [31:0]  held_next = Held + 32'(ivld && irdy) - 32'(ovld && ordy);
	always_ff @(posedge ap_clk) begin
		Held <= ap_rst_n? held_next : 0;
		Most <= !ap_rst_n? 0 : held_next > Most? held_next : Most;
	end
	final  $display("record %m most %0d held %0d places %0d", Most, Held, DEPTH);

endmodule : fifo_recorder

bind stream_fifo fifo_recorder #(.DEPTH(DEPTH)) recorder (.*);
