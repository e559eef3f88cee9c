# What the stand-in checks of a block design as a whole (UG994, "Validating the Design").

namespace eval checks {}

proc checks::design {} {
	dict for {cell about} $::cells { pins $cell $about }
	dict for {cell about} $::cells { interfaces $cell $about }
	addresses
}

proc checks::pins {cell about} {
	set optional [expr {[dict exists $about optional] ? [dict get $about optional] : ""}]
	dict for {name description} [dict get $about pins] {
		lassign $description direction kind bits
		set path $cell/$name
		if {$direction eq "out"} {
			if {$kind eq "interrupt" && $path ni [dict values $::nets]} { refuse "the interrupt $path leads nowhere" }
			continue
		}
		if {![dict exists $::nets $path]} {
			if {$name in $optional} continue
			refuse "the $kind pin $path is not connected"
		}
		set source [dict get $::nets $path]
		lassign [pin $source] _ source_kind source_bits
		if {$source_kind ne $kind} { refuse "$path is a $kind pin and its driver $source a $source_kind pin" }
		if {[string match reset_* $kind]} { reset $path [dict get $about core] $source }
		if {$bits ne "any" && $source_bits ne $bits} { refuse "$path has $bits bits and its driver $source $source_bits" }
	}
}

# PG164: the reset core takes a reset from outside and gives each clock its own. Ours, stricter: Vivado warns of a reset
# that is asynchronous to its clock (BD 41-1343), and says nothing of a reset core that waits for itself.
proc checks::reset {path core source} {
	set from_core [expr {[dict get $::cells [lindex [split $source /] 0] core] eq "proc_sys_reset"}]
	if {$core eq "proc_sys_reset" && $from_core} { refuse "$path waits for the reset that it makes: $source" }
	if {$core ne "proc_sys_reset" && !$from_core} { refuse "the reset $source of $path belongs to no clock" }
}

proc checks::interfaces {cell about} {
	dict for {name description} [dict get $about interfaces] {
		lassign $description mode protocol bits clock
		set path $cell/$name
		if {![dict exists $::joined $path]} { refuse "the interface $path is not connected" }
		if {$mode eq "slave" || $protocol eq "pads"} continue
		set peer [dict get $::joined $path]
		lassign [interface $peer] _ peer_protocol peer_bits peer_clock
		if {$protocol eq "axis" && "any" ni [list $bits $peer_bits] && $bits != $peer_bits} {
			refuse "the stream of $path has $bits bits, that of $peer $peer_bits"
		}
		set peer_cell [lindex [split $peer /] 0]
		# Ours: Vivado joins a cell with itself, as a test of a DMA does.
		if {$peer_cell eq $cell} { refuse "$path leads back into $cell" }
		set clocks [list [dict get $::nets $cell/$clock] [dict get $::nets $peer_cell/$peer_clock]]
		if {[lindex $clocks 0] ne [lindex $clocks 1]} { refuse "$path and $peer have different clocks: $clocks" }
		if {$protocol ni {any axis} && $peer_protocol ni [list any $protocol]} {
			refuse "$path speaks $protocol, $peer $peer_protocol"
		}
	}
}

# The slaves that a master's interface reaches through interconnects.
proc checks::reached {interface} {
	set peer [dict get $::joined $interface]
	set cell [lindex [split $peer /] 0]
	if {[dict get $::cells $cell core] ne "axi_interconnect"} { return [list $peer] }
	set found {}
	dict for {name about} [dict get $::cells $cell interfaces] {
		if {[lindex $about 0] eq "master"} { lappend found {*}[reached $cell/$name] }
	}
	return $found
}

proc checks::addresses {} {
	dict for {cell about} $::cells {
		dict for {interface space} [dict get $about spaces] {
			lassign $space _ lowest highest
			set path $cell/$interface
			set slaves [reached $path]
			set given [expr {[dict exists $::mapped $path] ? [dict get $::mapped $path] : ""}]
			width $path $slaves
			complete $path $slaves $given
			apart $path $given $lowest $highest
		}
	}
}

# Ours, stricter than Vivado, which would convert: a DMA and the memory it reaches have the same width.
proc checks::width {master slaves} {
	lassign [interface $master] _ protocol bits
	if {$protocol ne "axi4"} return
	foreach slave $slaves {
		if {[lindex [interface $slave] 2] != $bits} { refuse "$master has $bits bits, $slave [lindex [interface $slave] 2]" }
	}
}

proc checks::complete {master slaves given} {
	set named {}
	dict for {segment where} $given {
		lassign [split $segment /] cell interface
		lappend named [string tolower $cell/$interface]
		# UG994, "Using the Address Editor": a power of two of at least 4 KiB, at a multiple of itself.
		lassign $where offset range
		if {$range < 0x1000 || ($range & ($range - 1)) || $offset % $range} { refuse "$segment: $range bytes at $offset" }
		set most [lindex [dict get $::cells $cell segments $interface] 1]
		if {[dict get $::cells $cell core] eq "processing_system7"} {
			if {$range > $most} { refuse "$segment has $most bytes, not $range" }
		} elseif {$range < $most} {
			refuse "$segment has $most bytes, more than $range"
		}
	}
	set slaves [lmap slave $slaves {string tolower $slave}]
	foreach slave $slaves { if {$slave ni $named} { refuse "$slave has no address for $master" } }
	foreach name $named { if {$name ni $slaves} { refuse "$master does not reach $name" } }
}

proc checks::apart {master given lowest highest} {
	set last -1
	foreach where [lsort -integer -index 0 [dict values $given]] {
		lassign $where offset range
		if {$offset <= $last} { refuse "two segments of $master overlap at [format 0x%X $offset]" }
		set last [expr {$offset + $range - 1}]
		if {$offset < $lowest || $last > $highest} { refuse "$master does not see [format 0x%X $offset]" }
	}
}
