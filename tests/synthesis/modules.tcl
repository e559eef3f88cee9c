# What the stand-in reads of Verilog: a module reference's ports and the interfaces that their attributes make of them.
# UG994, "Referencing RTL Modules" and "HDL Parameters for Interface Inference".

# A module of the project, from its own source: its pins, interfaces and segments. Its file must not be SystemVerilog.
proc read_module {name} {
	foreach path [dict keys $::files] {
		set type [dict get $::files $path file_type]
		if {$type ni {Verilog SystemVerilog}} continue
		set text [read_text $path]
		if {![regexp -indices "(?n)^module\\s+$name\\s*\\(" $text at]} continue
		if {$type ne "Verilog"} { refuse "the top of a module reference, $name, must not be $type ($path)" }
		set begin [lindex $at 1]
		set text [string range $text $begin [string first "\n);" $text $begin]]
		regsub -all {//[^\n]*} $text {} text
		return [modules::shape [modules::ports $text]]
	}
	refuse "there is no module $name in the project"
}
proc read_text {path} {
	set file [open $path]
	set text [read $file]
	close $file
	return $text
}

namespace eval modules {
	# The parameters that an attribute may set. A clock without FREQ_HZ takes that of its driver.
	variable settings {
		xilinx.com:signal:clock:1.0 {ASSOCIATED_BUSIF ASSOCIATED_RESET}
		xilinx.com:signal:reset:1.0 {POLARITY}
		xilinx.com:interface:axis:1.0 {TDATA_NUM_BYTES HAS_TREADY HAS_TKEEP HAS_TLAST}
		xilinx.com:interface:aximm:1.0 {PROTOCOL DATA_WIDTH ADDR_WIDTH}
	}
}

# name -> {direction bits vlnv bus signal settings}; without attributes {direction bits}.
proc modules::ports {text} {
	variable settings
	set ports {}
	set pattern {((?:\(\*[^*]*\*\)\s*)*)(input|output)\s+(?:\[(\d+):(\d+)\]\s*)?(\w+)}
	foreach {_ attributes direction high low name} [regexp -all -inline $pattern $text] {
		set port [list [expr {$direction eq "input" ? "in" : "out"}] [expr {$high eq "" ? 1 : $high - $low + 1}]]
		if {[regexp {X_INTERFACE_INFO\s*=\s*"(\S+) (\w+) (\w+)"} $attributes -> vlnv bus signal]} {
			if {![dict exists $settings $vlnv]} { refuse "no interface $vlnv" }
			set given {}
			if {[regexp {X_INTERFACE_PARAMETER\s*=\s*"([^"]*)"} $attributes -> words]} { set given [settings $vlnv $bus $words] }
			lappend port $vlnv $bus $signal $given
		}
		dict set ports $name $port
	}
	return $ports
}
proc modules::settings {vlnv bus words} {
	variable settings
	set given {}
	foreach part [split $words ,] {
		if {[llength $part] != 2 || [dict exists $given [lindex $part 0]]} { refuse "X_INTERFACE_PARAMETER of $bus: '$part'" }
		dict set given {*}$part
	}
	if {![dict exists $given XIL_INTERFACENAME] || [dict get $given XIL_INTERFACENAME] ne $bus} {
		refuse "X_INTERFACE_PARAMETER of $bus is that of another interface"
	}
	dict unset given XIL_INTERFACENAME
	foreach name [dict keys $given] { if {$name ni [dict get $settings $vlnv]} { refuse "$bus ($vlnv) has no setting $name" } }
	return $given
}

proc modules::shape {ports} {
	lassign {} pins clocks buses
	dict for {name port} $ports {
		lassign $port direction bits vlnv bus signal given
		switch -glob $vlnv {
			"" { dict set pins $name [list $direction data $bits] }
			*:clock:1.0 {
				dict set pins $name [list $direction clock $bits]
				dict set clocks $name $given
			}
			*:reset:1.0 {
				set low [expr {[dict exists $given POLARITY] && [dict get $given POLARITY] eq "ACTIVE_LOW"}]
				dict set pins $name [list $direction [expr {$low ? "reset_low" : "reset_high"}] $bits]
			}
			default {
				if {[dict exists $buses $bus signals $signal]} { refuse "$bus has $signal twice" }
				dict set buses $bus vlnv $vlnv
				dict set buses $bus signals $signal [list $name $direction $bits]
				dict for {key value} $given { dict set buses $bus given $key $value }
			}
		}
	}
	set clock_of [associations $clocks $buses $pins]
	lassign {} interfaces segments
	dict for {bus about} $buses {
		lassign [interface $bus $about] mode protocol bits bytes
		# BD 41-967.
		if {![dict exists $clock_of $bus]} { refuse "the interface $bus is not associated to any clock" }
		dict set interfaces $bus [list $mode $protocol $bits [dict get $clock_of $bus]]
		# UG994: the block of an inferred slave is called reg0.
		if {$bytes} { dict set segments $bus [list reg0 $bytes] }
	}
	return [list $pins $interfaces $segments]
}

# interface -> its clock, of what the clocks say of themselves; each must name a reset of the module.
proc modules::associations {clocks buses pins} {
	set found {}
	dict for {clock given} $clocks {
		foreach key {ASSOCIATED_BUSIF ASSOCIATED_RESET} {
			if {![dict exists $given $key]} { refuse "the clock $clock has no $key" }
		}
		foreach bus [split [dict get $given ASSOCIATED_BUSIF] :] {
			if {![dict exists $buses $bus]} { refuse "the clock $clock is associated to $bus, which is no interface" }
			if {[dict exists $found $bus]} { refuse "$bus has two clocks" }
			dict set found $bus $clock
		}
		foreach reset [split [dict get $given ASSOCIATED_RESET] :] {
			if {![dict exists $pins $reset] || ![string match reset_* [lindex [dict get $pins $reset] 1]]} {
				refuse "the clock $clock is associated to $reset, which is no reset"
			}
		}
	}
	return $found
}

# ARM IHI 0051A, 2.2 and IHI 0022E, B1.1: each signal's driver (m the master, s the slave) and bits; all must be there,
# for the DMA and the shell need them. Widths follow from the data's and the address's.
proc modules::signals {protocol data address} {
	set strobes [expr {$data / 8}]
	if {$protocol eq "axis"} {
		return [list TDATA "m $data" TKEEP "m $strobes" TVALID {m 1} TREADY {s 1} TLAST {m 1}]
	}
	return [list AWADDR "m $address" AWPROT {m 3} AWVALID {m 1} AWREADY {s 1} \
		WDATA "m $data" WSTRB "m $strobes" WVALID {m 1} WREADY {s 1} BRESP {s 2} BVALID {s 1} BREADY {m 1} \
		ARADDR "m $address" ARPROT {m 3} ARVALID {m 1} ARREADY {s 1} RDATA "s $data" RRESP {s 2} RVALID {s 1} RREADY {m 1}]
}

# {mode protocol bits bytes-of-registers}, once every signal and setting fits the others.
proc modules::interface {bus about} {
	set protocol [expr {[string match *:axis:* [dict get $about vlnv]] ? "axis" : "axi4lite"}]
	set signals [dict get $about signals]
	set wanted [signals $protocol 0 0]
	if {[lsort [dict keys $signals]] ne [lsort [dict keys $wanted]]} { refuse "$bus consists of [dict keys $signals]" }
	lassign [dict get $signals [lindex {TDATA WDATA} [expr {$protocol ne "axis"}]]] _ direction data
	set address [expr {$protocol eq "axis" ? 0 : [lindex [dict get $signals AWADDR] 2]}]
	set mode [expr {$direction eq "in" ? "slave" : "master"}]
	dict for {signal should} [signals $protocol $data $address] {
		lassign $should driver bits
		lassign [dict get $signals $signal] port direction found
		set right [expr {($driver eq "m") == ($mode eq "master") ? "out" : "in"}]
		if {$direction ne $right || $found != $bits} {
			refuse "$signal of the $mode $bus is $right with $bits bits, $port is $direction with $found"
		}
	}
	# Where the port's settings and the port differ: BD 41-237 for the first that is joined to it.
	set true [list TDATA_NUM_BYTES [expr {$data / 8}] HAS_TREADY 1 HAS_TKEEP 1 HAS_TLAST 1]
	if {$protocol ne "axis"} {
		# IHI 0022E, B1.1: AXI4-Lite has 32 or 64 bits. Its registers have 4 KiB, the least that has an address (UG994).
		if {$mode ne "slave" || $data ni {32 64} || $address < 12} { refuse "$bus is a $mode with $data and $address bits" }
		set true [list PROTOCOL AXI4LITE DATA_WIDTH $data ADDR_WIDTH $address]
	}
	dict for {key value} $true {
		set given [expr {[dict exists $about given $key] ? [dict get $about given $key] : "(nothing)"}]
		if {$given ne $value} { refuse "$bus has $key $value, its attribute says $given" }
	}
	return [list $mode $protocol $data [expr {$protocol eq "axis" ? 0 : 1 << $address}]]
}
