# A stand-in for Vivado's Tcl commands, strict where Vivado is lenient: it refuses what it does not know, each command,
# option, property, core, parameter, value, pin and object, and every wrong connection. It makes no bitstream: what it
# writes where Vivado writes one says so. Commands and options: UG835; block designs: UG994; project flow: UG892, UG894.
#
# tclsh vivado.tcl -mode batch -source SCRIPT [-notrace] [-nolog] [-nojournal]   (UG835, "vivado" command line)
# The environment says how its world is: STANDIN_VERSION, STANDIN_WNS, STANDIN_WHS, STANDIN_SLEEP, STANDIN_FAIL (a run).

source [file join [file dirname [file normalize [info script]]] cores.tcl]
source [file join [file dirname [file normalize [info script]]] checks.tcl]
source [file join [file dirname [file normalize [info script]]] runs.tcl]
source [file join [file dirname [file normalize [info script]]] modules.tcl]
source [file join [file dirname [file normalize [info script]]] ipx.tcl]

proc standin {name otherwise} {
	return [expr {[info exists ::env(STANDIN_$name)] ? $::env(STANDIN_$name) : $otherwise}]
}
proc refuse {text} { return -code error "ERROR: \[stand-in\] $text" }

# Options of a command into the array named `into`: `flags` stand alone, `valued` take the next word, and those with a
# `!` behind must be given (some of them are optional for Vivado, which then chooses).
proc options {command words flags valued into} {
	upvar 1 $into option
	set rest {}
	set needed [lmap name $valued {expr {[string match *! $name] ? [string trimright $name !] : [continue]}}]
	set valued [lmap name $valued {string trimright $name !}]
	for {set at 0} {$at < [llength $words]} {incr at} {
		set item [lindex $words $at]
		if {$item in $flags} {
			set option($item) 1
		} elseif {$item in $valued} {
			incr at
			if {$at >= [llength $words]} { refuse "$command: $item wants a value" }
			set option($item) [lindex $words $at]
		} elseif {[regexp {^-[a-z]} $item]} {
			refuse "$command has no option $item"
		} else {
			lappend rest $item
		}
	}
	foreach name $needed { if {![info exists option($name)]} { refuse "$command wants $name" } }
	return $rest
}
proc wants {command words count} {
	if {[llength $words] != $count} { refuse "$command takes $count arguments, not '$words'" }
}
proc object {kind text} {
	if {![regexp "^$kind:(.+)\$" $text -> name]} { refuse "'$text' is no $kind" }
	return $name
}
proc need {what} { if {![info exists ::state($what)]} { refuse "there is no $what yet" } }
proc design_changes {} {
	need design
	unset -nocomplain ::state(validated) ::state(saved)
}

proc version {args} {
	if {$args ne {-short}} { refuse "version: '$args'" }
	return [standin VERSION 2022.1]
}
proc release {} { regexp {^\d+\.\d+} [version -short] release; return $release }

proc create_project {args} {
	set rest [options create_project $args {-force} {-part!} option]
	wants create_project $rest 2
	# boards/Pynq-Z2/base/base.tcl of PYNQ and the manuals of both boards: they have this part, others are not known here.
	if {$option(-part) ne "xc7z020clg400-1"} { refuse "no PYNQ-Z1 or PYNQ-Z2 has the part $option(-part)" }
	lassign $rest ::state(project) ::state(directory)
	set ::state(part) $option(-part)
	file mkdir $::state(directory)
	return project:$::state(project)
}
proc current_project {} { need project; return project:$::state(project) }

set files {}
proc add_files {args} {
	need project
	set rest [options add_files $args {-norecurse} {-fileset} option]
	wants add_files $rest 1
	set fileset [expr {[info exists option(-fileset)] ? $option(-fileset) : "sources_1"}]
	if {$fileset ni {sources_1 constrs_1 sim_1}} { refuse "there is no fileset $fileset" }
	set added {}
	foreach path [lindex $rest 0] {
		if {![file isfile $path]} { refuse "add_files: there is no file $path" }
		if {[dict exists $::files $path]} { refuse "add_files: $path is added twice" }
		# UG895, "Source file types", by the ending; what it does not know is taken for data.
		switch [file extension $path] {
			.v { set type Verilog }
			.sv { set type SystemVerilog }
			.xdc { set type XDC }
			.mem { set type {Memory File} }
			default { set type Unknown }
		}
		if {($type eq "XDC") != ($fileset eq "constrs_1")} { refuse "add_files: $path does not belong into $fileset" }
		dict set ::files $path [list fileset $fileset file_type $type]
		lappend added file:$path
	}
	return $added
}
proc get_files {args} {
	need project
	wants get_files $args 1
	set name [lindex $args 0]
	if {[info exists ::state(design)] && $name eq "$::state(design).bd"} { return file:$name }
	foreach path [dict keys $::files] { if {[file tail $path] eq $name} { return file:$path } }
	refuse "get_files: there is no file $name"
}
proc update_compile_order {args} {
	options update_compile_order $args {} {-fileset!} option
	if {$option(-fileset) ne "sources_1"} { refuse "update_compile_order: no fileset $option(-fileset)" }
	set ::state(ordered) 1
}
proc get_filesets {name} {
	if {$name ni {sources_1 constrs_1 sim_1}} { refuse "there is no fileset $name" }
	return fileset:$name
}

proc set_property {args} {
	set rest [options set_property $args {} {-dict} option]
	if {[info exists option(-dict)]} {
		wants set_property $rest 1
		if {[llength $option(-dict)] % 2} { refuse "set_property -dict: a name without a value" }
		dict for {name value} $option(-dict) { set_one $name $value [lindex $rest 0] }
		if {[dict size $option(-dict)] * 2 != [llength $option(-dict)]} { refuse "set_property -dict: a name twice" }
		return
	}
	wants set_property $rest 3
	foreach target [lindex $rest 2] { set_one [lindex $rest 0] [lindex $rest 1] $target }
}
proc set_one {name value target} {
	regexp {^([a-z_]+):(.*)$} $target -> kind object
	switch -glob "[expr {[info exists kind] ? $kind : "?"}] $name" {
		"project target_language" { if {$value ni {Verilog VHDL}} { refuse "target_language $value" } }
		"file file_type" {
			# UG912, FILE_TYPE.
			if {$value ni {Verilog SystemVerilog {Memory File} {Memory Initialization Files} XDC}} { refuse "file_type $value" }
			dict set ::files $object file_type $value
		}
		"file synth_checkpoint_mode" {
			# UG994, "Setting the Block Design as an Out-of-Context Module". Ours, stricter: None, for out of context each
			# part is synthesized in a folder of its own, where the hook's memories are not.
			if {$object ne "$::state(design).bd" || $value ne "None"} { refuse "$name $value of $object" }
			set ::state(checkpoints) $value
		}
		"fileset top" { set ::state(top) $value }
		"run strategy" {
			# UG901, "Synthesis strategies" and UG904, appendix "Implementation strategies".
			set legal [dict get {
				synth_1 {{Vivado Synthesis Defaults} Flow_PerfOptimized_high Flow_AreaOptimized_high Flow_RuntimeOptimized}
				impl_1 {{Vivado Implementation Defaults} Performance_Explore Performance_ExplorePostRoutePhysOpt Area_Explore}
			} $object]
			if {$value ni $legal} { refuse "$object has no strategy $value" }
		}
		"run STEPS.SYNTH_DESIGN.TCL.PRE" {
			if {$object ne "synth_1" || ![file isfile $value]} { refuse "$name of $object: $value" }
			set ::state(hook) $value
		}
		"core *" { ipx::set_one $name $value }
		"cell CONFIG.*" { set_parameter $object [string range $name 7 end] $value }
		default { refuse "set_property: '$target' has no property $name" }
	}
}
proc set_parameter {cell name value} {
	design_changes
	set core [dict get $::cells $cell core]
	if {$core eq ""} { refuse "the module $cell has no parameter $name" }
	set legal [cores::parameters::$core]
	if {![dict exists $legal $name]} { refuse "$cell ($core) has no parameter $name" }
	set values [dict get $legal $name]
	if {[lindex $values 0] eq "range"} {
		lassign $values _ low high
		if {![string is double -strict $value] || $value < $low || $value > $high} {
			refuse "$cell: $name is '$value', legal is $low to $high"
		}
	} elseif {$values ne "any" && $value ni $values} {
		refuse "$cell: $name is '$value', legal is: $values"
	}
	foreach key [dict keys $::joined $cell/*] { refuse "$cell is connected already; set its parameters before" }
	dict set ::cells $cell set $name $value
	shape $cell
}
proc get_property {name target} {
	set run [object run $target]
	switch -glob $name {
		DIRECTORY { return [file join $::state(directory) $::state(project).runs $run] }
		PROGRESS - STATUS - STATS.* {
			if {![dict exists $::runs $run $name]} { refuse "$run has no $name yet" }
			return [dict get $::runs $run $name]
		}
		default { refuse "get_property: a run has no property $name" }
	}
}

# Cells: core, what is set, and the shape that follows from it.
set cells {}
set ports {}
set joined {}
set nets {}
set mapped {}
proc create_bd_design {name} {
	need project
	set ::state(design) $name
}
proc create_bd_cell {args} {
	design_changes
	set rest [options create_bd_cell $args {} {-type! -vlnv -reference} option]
	wants create_bd_cell $rest 1
	set cell [lindex $rest 0]
	if {![regexp {^[A-Za-z]\w*$} $cell] || [dict exists $::cells $cell]} { refuse "no name for a new cell: $cell" }
	switch $option(-type) {
		ip {
			if {![info exists option(-vlnv)]} { refuse "create_bd_cell -type ip wants -vlnv" }
			set catalog [expr {[dict exists $cores::known [release]] ? [dict get $cores::known [release]] : ""}]
			if {![dict exists $catalog $option(-vlnv)]} { refuse "Vivado [release] has no core $option(-vlnv)" }
			set core [dict get $catalog $option(-vlnv)]
			dict set ::cells $cell [list core $core vlnv $option(-vlnv) set [cores::defaults::$core]]
			foreach name [dict keys [dict get $::cells $cell set]] {
				if {![dict exists [cores::parameters::$core] $name]} { error "stand-in: $core lacks $name" }
			}
			shape $cell
		}
		module {
			need ordered
			if {![info exists option(-reference)]} { refuse "create_bd_cell -type module wants -reference" }
			lassign [read_module $option(-reference)] pins interfaces segments
			dict set ::cells $cell [list core {} vlnv xilinx.com:module_ref:$option(-reference):1.0 set {} \
				pins $pins interfaces $interfaces spaces {} segments $segments]
		}
		default { refuse "create_bd_cell -type $option(-type)" }
	}
	return cell:$cell
}
proc shape {cell} {
	set core [dict get $::cells $cell core]
	lassign [cores::shape::$core [dict get $::cells $cell set]] pins interfaces spaces segments
	set optional {}
	dict for {name about} $pins {
		if {[string index $name end] eq "?"} { lappend optional [string trimright $name ?] }
		dict set clean [string trimright $name ?] $about
	}
	dict set ::cells $cell pins $clean
	foreach key {interfaces spaces segments optional} { dict set ::cells $cell $key [set $key] }
}

proc get_bd_cells {name} {
	if {![dict exists $::cells $name]} { refuse "there is no cell $name" }
	return cell:$name
}
proc part_of {path kind} {
	lassign [split $path /] cell name
	if {![dict exists $::cells $cell $kind $name]} { refuse "there is no [string range $kind 0 end-1] $path" }
	return $path
}
proc get_bd_pins {path} { return pin:[part_of $path pins] }
proc get_bd_intf_pins {path} { return interface:[part_of $path interfaces] }
proc create_bd_intf_port {args} {
	design_changes
	set rest [options create_bd_intf_port $args {} {-mode! -vlnv!} option]
	wants create_bd_intf_port $rest 1
	# As base.tcl of the PYNQ-Z2 makes them.
	set known {DDR xilinx.com:interface:ddrx_rtl:1.0 FIXED_IO xilinx.com:display_processing_system7:fixedio_rtl:1.0}
	set name [lindex $rest 0]
	if {![dict exists $known $name] || [dict get $known $name] ne $option(-vlnv) || $option(-mode) ne "Master"} {
		refuse "create_bd_intf_port: $args"
	}
	dict set ::ports $name $option(-vlnv)
}
proc get_bd_intf_ports {name} {
	if {![dict exists $::ports $name]} { refuse "there is no port $name" }
	return port:$name
}
proc connect_bd_intf_net {args} {
	design_changes
	wants connect_bd_intf_net $args 2
	lassign $args one other
	if {[regexp {^port:(.+)} $one -> name]} {
		set pad [object interface $other]
		if {[file tail $pad] ne $name} { refuse "the port $name is not $pad" }
		join_interfaces port/$name $pad
		return
	}
	set one [object interface $one]
	set other [object interface $other]
	lassign [interface $one] mode protocol
	lassign [interface $other] other_mode other_protocol
	if {$mode ne "master" || $other_mode ne "slave"} { refuse "$one is a $mode and $other a $other_mode" }
	if {($protocol eq "axis") != ($other_protocol eq "axis")} { refuse "$one speaks $protocol, $other $other_protocol" }
	join_interfaces $one $other
}
proc interface {path} {
	lassign [split $path /] cell name
	return [dict get $::cells $cell interfaces $name]
}
proc join_interfaces {one other} {
	foreach {end peer} [list $one $other $other $one] {
		if {[dict exists $::joined $end]} { refuse "$end is connected already" }
		dict set ::joined $end $peer
	}
}
proc connect_bd_net {args} {
	design_changes
	if {[llength $args] < 2} { refuse "connect_bd_net wants two pins" }
	set paths [lmap pin $args {object pin $pin}]
	set sources [lmap path $paths {expr {[lindex [pin $path] 0] eq "out" ? $path : [continue]}}]
	if {[llength $sources] != 1} { refuse "a net has one driver, not '$sources'" }
	foreach path $paths {
		if {$path eq $sources} continue
		if {[dict exists $::nets $path]} { refuse "$path is driven already" }
		dict set ::nets $path $sources
	}
}
proc pin {path} {
	lassign [split $path /] cell name
	return [dict get $::cells $cell pins $name]
}

proc get_bd_addr_spaces {path} {
	lassign [split $path /] cell name
	dict for {interface about} [dict get $::cells $cell spaces] {
		if {[lindex $about 0] eq $name} { return space:$cell/$interface }
	}
	refuse "there is no address space $path"
}
proc get_bd_addr_segs {path} {
	lassign [split $path /] cell interface name
	dict for {key about} [dict get $::cells $cell segments] {
		# The segment's interface is written in capitals where the pin is not: base.tcl of the PYNQ-Z2, axi_intc.
		if {$key eq $interface && [lindex $about 0] eq $name} { return segment:$path }
	}
	refuse "there is no address segment $path"
}
proc assign_bd_address {args} {
	design_changes
	set rest [options assign_bd_address $args {-force} {-offset! -range! -target_address_space!} option]
	wants assign_bd_address $rest 1
	set segment [object segment [lindex $rest 0]]
	set space [object space $option(-target_address_space)]
	if {[dict exists $::mapped $space $segment]} { refuse "$segment has an address in $space already" }
	dict set ::mapped $space $segment [list [expr {$option(-offset)}] [expr {$option(-range)}]]
}
proc validate_bd_design {} {
	need design
	checks::design
	set ::state(validated) 1
}
proc save_bd_design {} { need validated; set ::state(saved) 1 }

if {[info exists argv0] && [file normalize $argv0] eq [file normalize [info script]]} { batch $argv }
