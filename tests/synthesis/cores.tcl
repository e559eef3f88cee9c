# What the stand-in for Vivado knows of the cores: parameters and their legal values, pins, interfaces, addresses.
# Each fact names the document to look it up in. Nothing here comes from the package that is tested.
#
# A core is a dictionary:
#   parameters  name -> list of legal values, or {range LOW HIGH}, or {any}; a parameter not listed does not exist
#   pins        name -> {direction kind bits}; kind clock, reset_low, reset_high, interrupt, data; `?` after the name
#               marks one that may stay unconnected
#   interfaces  name -> {mode protocol bits clock}; mode master or slave, protocol axi3, axi4, axi4lite, axis or pads
#   spaces      interface -> name of the address space it reaches
#   segments    interface -> {name minimal-range}
# Pins and interfaces are made by a procedure, for they depend on the parameters.

namespace eval cores { namespace eval parameters {}; namespace eval defaults {}; namespace eval shape {}
	variable known {}
}

# Both versions of Vivado have the same versions of these cores: boards/Pynq-Z2/base/base.tcl in PYNQ image_v3.0.1
# (Vivado 2022.1) and image_v3.1 (Vivado 2024.1) create them by these names.
foreach version {2022.1 2024.1} {
	foreach core {processing_system7:5.5 proc_sys_reset:5.0 axi_interconnect:2.1 axi_dma:7.1 axi_intc:4.1 xlconcat:2.1} {
		dict set cores::known $version xilinx.com:ip:$core [lindex [split $core :] 0]
	}
}

# PG082 (Processing System 7) and UG585 (Zynq-7000 TRM); names and legal values of the parameters as in
# boards/Pynq-Z2/petalinux_bsp/hardware_project/pynqz2.tcl of PYNQ image_v3.1, which Vivado 2024.1 wrote.
proc cores::parameters::processing_system7 {} {
	set names {
		PCW_CRYSTAL_PERIPHERAL_FREQMHZ {range 30 60} PCW_APU_PERIPHERAL_FREQMHZ {range 50 667}
		PCW_PRESET_BANK0_VOLTAGE {{LVCMOS 1.8V} {LVCMOS 2.5V} {LVCMOS 3.3V}}
		PCW_PRESET_BANK1_VOLTAGE {{LVCMOS 1.8V} {LVCMOS 2.5V} {LVCMOS 3.3V} {HSTL 1.8V}}
		PCW_UIPARAM_DDR_PARTNO {{MT41J256M16 RE-125} {MT41K256M16 RE-125} {MT41J128M16 HA-125}}
		PCW_UIPARAM_DDR_BUS_WIDTH {{16 Bit}} PCW_UIPARAM_DDR_FREQ_MHZ {range 200 534}
		PCW_UIPARAM_DDR_USE_INTERNAL_VREF {0 1}
		PCW_QSPI_PERIPHERAL_ENABLE {0 1} PCW_QSPI_QSPI_IO {{MIO 1 .. 6} {<Select>}} PCW_QSPI_GRP_SINGLE_SS_ENABLE {0 1}
		PCW_QSPI_GRP_FBCLK_ENABLE {0 1} PCW_QSPI_PERIPHERAL_FREQMHZ {range 10 200}
		PCW_ENET0_PERIPHERAL_ENABLE {0 1} PCW_ENET0_ENET0_IO {{MIO 16 .. 27} EMIO {<Select>}}
		PCW_ENET0_GRP_MDIO_ENABLE {0 1} PCW_ENET0_GRP_MDIO_IO {{MIO 52 .. 53} EMIO {<Select>}}
		PCW_ENET0_RESET_ENABLE {0 1} PCW_ENET0_RESET_IO {{MIO 9} {<Select>}}
		PCW_SD0_PERIPHERAL_ENABLE {0 1} PCW_SD0_SD0_IO {{MIO 16 .. 21} {MIO 28 .. 33} {MIO 40 .. 45} EMIO {<Select>}}
		PCW_SD0_GRP_CD_ENABLE {0 1} PCW_SD0_GRP_CD_IO {{MIO 47} EMIO {<Select>}} PCW_SDIO_PERIPHERAL_FREQMHZ {range 10 125}
		PCW_UART0_PERIPHERAL_ENABLE {0 1} PCW_UART0_UART0_IO {{MIO 10 .. 11} {MIO 14 .. 15} EMIO {<Select>}}
		PCW_UART0_BAUD_RATE {9600 115200 230400 460800 921600} PCW_UART_PERIPHERAL_FREQMHZ {range 10 100}
		PCW_USB0_PERIPHERAL_ENABLE {0 1} PCW_USB0_USB0_IO {{MIO 28 .. 39} {<Select>}}
		PCW_USB0_RESET_ENABLE {0 1} PCW_USB0_RESET_IO {{MIO 46} {<Select>}}
		PCW_GPIO_MIO_GPIO_ENABLE {0 1} PCW_GPIO_MIO_GPIO_IO {MIO}
		PCW_FPGA0_PERIPHERAL_FREQMHZ {range 0.1 250}
		PCW_EN_CLK0_PORT {0 1} PCW_EN_RST0_PORT {0 1}
		PCW_USE_M_AXI_GP0 {0 1} PCW_USE_S_AXI_HP0 {0 1} PCW_S_AXI_HP0_DATA_WIDTH {32 64}
		PCW_USE_FABRIC_INTERRUPT {0 1} PCW_IRQ_F2P_INTR {0 1}
	}
	foreach clock {0 1 2 3} { dict set names PCW_FPGA_FCLK${clock}_ENABLE {0 1} }
	foreach step {DATA_EYE READ_GATE WRITE_LEVEL} { dict set names PCW_UIPARAM_DDR_TRAIN_$step {0 1} }
	foreach lane {0 1 2 3} {
		dict set names PCW_UIPARAM_DDR_BOARD_DELAY$lane {range 0 10}
		dict set names PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_$lane {range -10 10}
		foreach trace {CLOCK DQS DQ} { dict set names PCW_UIPARAM_DDR_${trace}_${lane}_LENGTH_MM {range 0 1000} }
	}
	return $names
}
proc cores::defaults::processing_system7 {} {
	# PG082: the general-purpose port is on where nobody says otherwise, the high-performance ports are not.
	return {PCW_USE_M_AXI_GP0 1 PCW_USE_S_AXI_HP0 0 PCW_S_AXI_HP0_DATA_WIDTH 64 PCW_EN_CLK0_PORT 1 PCW_EN_RST0_PORT 1
		PCW_FPGA_FCLK0_ENABLE 1 PCW_USE_FABRIC_INTERRUPT 0 PCW_IRQ_F2P_INTR 0}
}
proc cores::shape::processing_system7 {set} {
	# UG585, table 2-9 and chapter 5: GP ports are AXI3 of 32 bits, HP ports AXI3 of 32 or 64 bits; a port's clock is
	# an input from the logic. FCLK_RESET0_N is active low (UG585, 26.5).
	set pins {}
	set interfaces {DDR {master pads 0 {}} FIXED_IO {master pads 0 {}}}
	set spaces {}
	set segments {}
	if {[dict get $set PCW_EN_CLK0_PORT] && [dict get $set PCW_FPGA_FCLK0_ENABLE]} { dict set pins FCLK_CLK0 {out clock 1} }
	if {[dict get $set PCW_EN_RST0_PORT]} { dict set pins FCLK_RESET0_N {out reset_low 1} }
	if {[dict get $set PCW_USE_M_AXI_GP0]} {
		dict set pins M_AXI_GP0_ACLK {in clock 1}
		dict set interfaces M_AXI_GP0 {master axi3 32 M_AXI_GP0_ACLK}
		# UG585, table 4-1: M_AXI_GP0 sees 4000_0000 to 7FFF_FFFF.
		dict set spaces M_AXI_GP0 {Data 0x40000000 0x7FFFFFFF}
	}
	if {[dict get $set PCW_USE_S_AXI_HP0]} {
		dict set pins S_AXI_HP0_ACLK {in clock 1}
		dict set interfaces S_AXI_HP0 [list slave axi3 [dict get $set PCW_S_AXI_HP0_DATA_WIDTH] S_AXI_HP0_ACLK]
		# UG585, table 4-1: DDR from 0 on; the name as in base.tcl of the PYNQ-Z2. Both boards have 512 MiB, one chip of 16
		# bits: PCW_DDR_RAM_HIGHADDR 0x1FFFFFFF in pynqz2.tcl.
		dict set segments S_AXI_HP0 {HP0_DDR_LOWOCM 0x20000000}
	}
	if {[dict get $set PCW_USE_FABRIC_INTERRUPT] && [dict get $set PCW_IRQ_F2P_INTR]} {
		dict set pins IRQ_F2P {in interrupt 1}
	}
	return [list $pins $interfaces $spaces $segments]
}

# PG164, "Port Descriptions" and "Core Parameters".
proc cores::parameters::proc_sys_reset {} {
	return {C_EXT_RST_WIDTH {range 1 16} C_AUX_RST_WIDTH {range 1 16} C_EXT_RESET_HIGH {0 1} C_AUX_RESET_HIGH {0 1}
		C_NUM_BUS_RST {range 1 8} C_NUM_PERP_RST {range 1 16} C_NUM_INTERCONNECT_ARESETN {range 1 8}
		C_NUM_PERP_ARESETN {range 1 16}}
}
proc cores::defaults::proc_sys_reset {} { return {C_EXT_RESET_HIGH 0} }
proc cores::shape::proc_sys_reset {set} {
	# aux_reset_in, mb_debug_sys_rst and dcm_locked have inactive defaults where they are left open.
	set ext [expr {[dict get $set C_EXT_RESET_HIGH] ? "reset_high" : "reset_low"}]
	return [list [list slowest_sync_clk {in clock 1} ext_reset_in [list in $ext 1] aux_reset_in? {in reset_low 1} \
		mb_debug_sys_rst? {in reset_high 1} dcm_locked? {in data 1} mb_reset {out reset_high 1} \
		bus_struct_reset {out reset_high 1} peripheral_reset {out reset_high 1} \
		interconnect_aresetn {out reset_low 1} peripheral_aresetn {out reset_low 1}] {} {} {}]
}

# PG059, "Port Descriptions": a clock and a reset for the core and one of each for every port; up to 16 on a side, up to
# 64 towards slaves. A port takes any AXI protocol and width and converts.
proc cores::parameters::axi_interconnect {} {
	return {NUM_SI {range 1 16} NUM_MI {range 1 64} STRATEGY {0 1 2} ENABLE_ADVANCED_OPTIONS {0 1}}
}
proc cores::defaults::axi_interconnect {} { return {NUM_SI 1 NUM_MI 2} }
proc cores::shape::axi_interconnect {set} {
	set pins {ACLK {in clock 1} ARESETN {in reset_low 1}}
	set interfaces {}
	foreach {letter mode count} [list S slave [dict get $set NUM_SI] M master [dict get $set NUM_MI]] {
		for {set port 0} {$port < $count} {incr port} {
			set side [format %s%02d $letter $port]
			dict set pins ${side}_ACLK {in clock 1}
			dict set pins ${side}_ARESETN {in reset_low 1}
			dict set interfaces ${side}_AXI [list $mode any 0 ${side}_ACLK]
		}
	}
	return [list $pins $interfaces {} {}]
}

# PG021, "Customizing and Generating the Core" and "Port Descriptions"; widths of streams 8 to 1024, of memory 32 to
# 1024, the latter not the narrower; length register 8 to 26 bits; bursts 2 to 256.
proc cores::parameters::axi_dma {} {
	set widths {32 64 128 256 512 1024}
	set bursts {2 4 8 16 32 64 128 256}
	return [list c_include_sg {0 1} c_sg_length_width {range 8 26} c_include_mm2s {0 1} c_include_mm2s_dre {0 1} \
		c_m_axi_mm2s_data_width $widths c_m_axis_mm2s_tdata_width [concat 8 16 $widths] c_mm2s_burst_size $bursts \
		c_include_s2mm {0 1} c_include_s2mm_dre {0 1} c_m_axi_s2mm_data_width $widths c_s2mm_burst_size $bursts \
		c_addr_width {range 32 64} c_micro_dma {0 1} c_sg_include_stscntrl_strm {0 1}]
}
proc cores::defaults::axi_dma {} {
	return {c_include_sg 1 c_include_mm2s 1 c_include_s2mm 1 c_m_axi_mm2s_data_width 32 c_m_axis_mm2s_tdata_width 32
		c_m_axi_s2mm_data_width 32}
}
proc cores::shape::axi_dma {set} {
	set pins {s_axi_lite_aclk {in clock 1} axi_resetn {in reset_low 1}}
	set interfaces {S_AXI_LITE {slave axi4lite 32 s_axi_lite_aclk}}
	set spaces {}
	if {[dict get $set c_include_sg]} {
		dict set pins m_axi_sg_aclk {in clock 1}
		dict set interfaces M_AXI_SG {master axi4 32 m_axi_sg_aclk}
		dict set spaces M_AXI_SG {Data_SG 0 0xFFFFFFFF}
	}
	if {[dict get $set c_include_mm2s]} {
		set stream [dict get $set c_m_axis_mm2s_tdata_width]
		if {$stream > [dict get $set c_m_axi_mm2s_data_width]} { error "PG021: the stream is wider than the memory's side" }
		dict set pins m_axi_mm2s_aclk {in clock 1}
		dict set pins mm2s_introut? {out interrupt 1}
		dict set pins mm2s_prmry_reset_out_n? {out reset_low 1}
		dict set interfaces M_AXI_MM2S [list master axi4 [dict get $set c_m_axi_mm2s_data_width] m_axi_mm2s_aclk]
		dict set interfaces M_AXIS_MM2S [list master axis $stream m_axi_mm2s_aclk]
		dict set spaces M_AXI_MM2S {Data_MM2S 0 0xFFFFFFFF}
	}
	if {[dict get $set c_include_s2mm]} {
		dict set pins m_axi_s2mm_aclk {in clock 1}
		dict set pins s2mm_introut? {out interrupt 1}
		dict set pins s2mm_prmry_reset_out_n? {out reset_low 1}
		dict set interfaces M_AXI_S2MM [list master axi4 [dict get $set c_m_axi_s2mm_data_width] m_axi_s2mm_aclk]
		# PG021: the width of this stream follows what is connected.
		dict set interfaces S_AXIS_S2MM {slave axis any m_axi_s2mm_aclk}
		dict set spaces M_AXI_S2MM {Data_S2MM 0 0xFFFFFFFF}
	}
	return [list $pins $interfaces $spaces {S_AXI_LITE {Reg 0x1000}}]
}

# PG099, "Port Descriptions"; the width of intr follows what is connected, up to 32.
proc cores::parameters::axi_intc {} {
	return {C_IRQ_CONNECTION {0 1} C_HAS_FAST {0 1} C_IRQ_IS_LEVEL {0 1} C_PROCESSOR_CLK_FREQ_MHZ {any}}
}
proc cores::defaults::axi_intc {} { return {} }
proc cores::shape::axi_intc {set} {
	return {{s_axi_aclk {in clock 1} s_axi_aresetn {in reset_low 1} intr {in interrupt any} irq {out interrupt 1}}
		{s_axi {slave axi4lite 32 s_axi_aclk}} {} {S_AXI {Reg 0x1000}}}
}

# The utility core xlconcat 2.1 (UG994): In0 and on make dout, In0 the lowest bits; each 1 bit wide here.
proc cores::parameters::xlconcat {} { return {NUM_PORTS {range 1 128}} }
proc cores::defaults::xlconcat {} { return {NUM_PORTS 2} }
proc cores::shape::xlconcat {set} {
	set pins [list dout [list out interrupt [dict get $set NUM_PORTS]]]
	for {set line 0} {$line < [dict get $set NUM_PORTS]} {incr line} { dict set pins In$line {in interrupt 1} }
	return [list $pins {} {} {}]
}
