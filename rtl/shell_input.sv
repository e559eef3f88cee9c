/******************************************************************************
 * @brief	From packets of RGBX pixels to the frames of the accelerator.
 *
 * @description
 *	A packet is a frame: FRAME_PIXELS pixels of four bytes, two a beat, the first
 *	in the lowest bytes; red, green, blue from the lowest byte up, the fourth is
 *	ignored. A pixel counts where the keep bits of its three colours are set.
 *
 *	Whatever comes in, the accelerator gets whole frames:
 *	 - a packet that ends too early is completed with zeros (short);
 *	 - of a packet that goes on past its frame the rest is dropped (long);
 *	 - after `cut`, which comes with a reset of the accelerator, the packet that has
 *	   begun is dropped up to its end, and a frame begins with the next packet;
 *	 - after `cut` with `forget`, a frame begins with the next beat.
 *
 *	Ordering rule of the output: pixels as they come, colours from red to blue; a
 *	beat carries LANES of these values, the first in the lowest bits. LANES is 1
 *	or whole pixels.
 *
 *	Initiation interval: a pixel a cycle, three cycles for LANES = 1.
 *****************************************************************************/

module shell_input #(
	int unsigned  FRAME_PIXELS,	// pixels of a frame
	int unsigned  LANES			// values of an output beat: 1 or a multiple of 3
)(
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	input	logic  cut,			// for one cycle, the accelerator being in reset
	input	logic  forget,		// with cut: the packet will not be ended by the source
	input	logic  enable,		// the accelerator may be fed; falls only with cut
	input	logic  admit,		// a new frame may begin

	input	logic [1:0][31:0]  idat,
	input	logic [7:0]  ikeep,
	input	logic  ilast,
	input	logic  ivld,
	output	logic  irdy,

	output	logic [LANES-1:0][7:0]  odat,
	output	logic  ovld,
	input	logic  ordy,

	output	logic  frame_begins,	// events of one cycle each
	output	logic  packet_ends,
	output	logic  is_short,
	output	logic  is_long,
	output	logic  is_cut,

	output	logic  in_packet,		// states
	output	logic  dropping,
	output	logic  filling
);

	//-----------------------------------------------------------------------
	// Parameter Checks
	if(FRAME_PIXELS == 0) begin : genCheckPixels
		$error("%m: FRAME_PIXELS must be positive.");
	end
	if(LANES != 1 && LANES % 3 != 0) begin : genCheckLanes
		$error("%m: LANES (%0d) must be 1 or a multiple of 3.", LANES);
	end
	else if(LANES > 3 && FRAME_PIXELS % (LANES/3) != 0) begin : genCheckWhole
		$error("%m: LANES (%0d) must divide the values of %0d pixels.", LANES, FRAME_PIXELS);
	end

	localparam int unsigned  COUNT_BITS = FRAME_PIXELS > 1? $clog2(FRAME_PIXELS) : 1;
	typedef logic [COUNT_BITS-1:0]  count_t;

	//-----------------------------------------------------------------------
	// Pixels out of Packets
	count_t  Count   = 0;	// pixels of this frame so far
	logic  Second    = 0;	// the first pixel of the beat is done
	logic  InPacket  = 0;
	logic  Dropping  = 0;
	logic  Filling   = 0;

	uwire  has_first  = &ikeep[2:0];
	uwire  has_second = &ikeep[6:4] && has_first;
	uwire  completes  = Count == count_t'(FRAME_PIXELS-1);	// the next pixel is the last of its frame
	uwire  open = enable && !Dropping && !Filling && (InPacket || admit);

	uwire  pixel_vld = open? ivld && has_first : enable && Filling;
	uwire  pixel_rdy;
	uwire  pixel_take = pixel_vld && pixel_rdy;
	uwire [23:0]  pixel = Filling? 24'd0 : idat[Second][23:0];

	// The beat is done with its last pixel, or the last one that the frame has room for.
	uwire  overfull  = completes && !Second && has_second;
	uwire  beat_done = has_first? pixel_take && (Second || !has_second || completes) : ivld;
	uwire  frame_take = open && beat_done;
	uwire  drop_take  = Dropping && !cut && ivld;
	assign	irdy = open? has_first? beat_done : 1 : Dropping && !cut;

	uwire  frame_full = has_first && completes;		// with this beat, where it is done
	assign	frame_begins = open && !InPacket && (has_first? pixel_take : ivld);
	assign	packet_ends  = (frame_take || drop_take) && ilast;
	assign	is_short = frame_take && ilast && !frame_full;
	assign	is_long  = frame_take && frame_full && (!ilast || overfull);
	assign	is_cut   = cut && InPacket && !forget;

	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n || cut) begin
			Count   <= 0;
			Second  <= 0;
			Filling <= 0;
			if(!ap_rst_n || forget) begin
				InPacket <= 0;
				Dropping <= 0;
			end
			else  Dropping <= InPacket;
		end
		else begin
			if(pixel_take)  Count <= completes? 0 : Count + 1;
			if(open && pixel_take)  Second <= !beat_done;

			if(packet_ends)  InPacket <= 0;
			else if(frame_begins || frame_take)  InPacket <= 1;

			if(drop_take && ilast)  Dropping <= 0;
			else if(frame_take && frame_full && !ilast)  Dropping <= 1;

			if(is_short)  Filling <= 1;
			else if(Filling && pixel_take && completes)  Filling <= 0;
		end
	end

	assign	in_packet = InPacket;
	assign	dropping  = Dropping;
	assign	filling   = Filling;

	//-----------------------------------------------------------------------
	// Pixels to the Accelerator's Beats
	if(LANES == 1) begin : genColours
		logic [1:0]  Colour = 0;
		always_ff @(posedge ap_clk) begin
			if(!ap_rst_n || cut)  Colour <= 0;
			else if(ovld && ordy)  Colour <= Colour == 2? 0 : Colour + 1;
		end
		assign	odat = pixel[8*Colour +: 8];
		assign	ovld = pixel_vld;
		assign	pixel_rdy = ordy && Colour == 2;
	end : genColours
	else if(LANES == 3) begin : genPixel
		assign	odat = pixel;
		assign	ovld = pixel_vld;
		assign	pixel_rdy = ordy;
	end : genPixel
	else begin : genPixels
		// All pixels of a beat but its last one are kept.
		localparam int unsigned  PIXELS = LANES / 3;
		logic [PIXELS-2:0][23:0]  Kept;
		logic [$clog2(PIXELS)-1:0]  Place = 0;
		uwire  last_place = Place == PIXELS-1;
		always_ff @(posedge ap_clk) begin
			if(pixel_take && !last_place)  Kept[Place] <= pixel;
			if(!ap_rst_n || cut)  Place <= 0;
			else if(pixel_take)  Place <= last_place? 0 : Place + 1;
		end
		assign	odat = { pixel, Kept };
		assign	ovld = pixel_vld && last_place;
		assign	pixel_rdy = ordy || !last_place;
	end : genPixels

`ifndef SYNTHESIS
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n || !enable) ovld && !ordy |=> ovld && $stable(odat))
		else $error("%m: A beat changed or vanished before the accelerator took it.");
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) !(cut && enable))
		else $error("%m: The frame was cut while the accelerator ran.");
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n) !(Dropping && Filling) && (InPacket || !Dropping))
		else $error("%m: The packet is in two states at once.");
`endif

endmodule : shell_input
