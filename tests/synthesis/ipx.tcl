# The IP packager in the stand-in for Vivado. Commands: `ipx::help` and UG835, "IP packager"; UG1118.

namespace eval ipx {
	variable core {}
}
proc ipx::package_project {args} {
	variable core
	need ordered
	set rest [options ipx::package_project $args {-import_files -force} {-root_dir! -vendor! -library! -taxonomy!} option]
	wants ipx::package_project $rest 0
	# Without them the core names its files where they lie now.
	if {![info exists option(-import_files)]} { refuse "ipx::package_project $args" }
	if {![info exists ::state(top)]} { refuse "no module is the top" }
	set buses [buses $::state(top)]
	whole
	set core [list name {} version {} display_name {} buses $buses directory $option(-root_dir)]
}
proc ipx::current_core {} {
	variable core
	if {$core eq ""} { refuse "no core is open" }
	return core:packaged
}
# UG1118, "Top-Level HDL Requirements": no SystemVerilog. The interfaces are those of the top's attributes.
proc ipx::buses {top} {
	dict for {path about} $::files {
		set text [read_text $path]
		if {![regexp -indices "(?n)^module\\s+$top\\s*\\(" $text at]} continue
		if {[dict get $about file_type] ne "Verilog"} { refuse "the top of a core, $top, must not be [dict get $about file_type]" }
		set begin [lindex $at 1]
		set ports [modules::ports [string range $text $begin [string first "\n);" $text $begin]]]
		set buses {}
		dict for {port about} $ports {
			lassign $about direction bits vlnv bus signal given
			if {$vlnv eq ""} { refuse "the port $port belongs to no interface" }
			dict set buses $bus $signal [list $direction $bits]
		}
		foreach {bus signals} $buses {
			if {[dict exists $signals CLK] || [dict exists $signals RST]} continue
			if {[lsort [dict keys $signals]] ne {TDATA TREADY TVALID}} { refuse "$bus consists of [dict keys $signals]" }
			if {[lindex [dict get $signals TDATA] 1] % 8} { refuse "$bus has no whole bytes" }
			if {[lindex [dict get $signals TDATA] 0] ne [lindex [dict get $signals TVALID] 0]} { refuse "$bus goes both ways" }
			if {[lindex [dict get $signals TDATA] 0] eq [lindex [dict get $signals TREADY] 0]} { refuse "$bus has no way back" }
		}
		return $buses
	}
	refuse "there is no module $top in the project"
}
# Each module of ours that is named is defined, once, and each memory is a file of the project.
proc ipx::whole {} {
	set defined {}
	set text ""
	dict for {path about} $::files {
		switch [dict get $about file_type] {
			Verilog - SystemVerilog { append text [read_text $path] }
			{Memory File} { dict set memories [file tail $path] 1 }
			default { refuse "$path is of the type [dict get $about file_type]" }
		}
	}
	foreach {_ name} [regexp -all -inline {(?n)^module\s+(\w+)} $text] { lappend defined $name }
	foreach {_ name} [regexp -all -inline {(facedet_(?:core|hls_\d+|rtl_\d+))\s+\w+\s*\(} $text] {
		if {[llength [lsearch -all -exact $defined $name]] != 1} { refuse "the module $name is not defined once" }
	}
	foreach {_ name} [regexp -all -inline {"(?:\./)?([\w.]+\.dat)"} $text] {
		if {![info exists memories] || ![dict exists $memories $name]} { refuse "$name is no memory file of the project" }
	}
}
proc ipx::set_one {name value} {
	variable core
	if {$name ni {name version display_name}} { refuse "a core has no property $name" }
	dict set core $name $value
}
proc ipx::associate_bus_interfaces {args} {
	variable core
	set rest [options ipx::associate_bus_interfaces $args {} {-busif! -clock!} option]
	object core $rest
	foreach bus [list $option(-busif) $option(-clock)] {
		if {![dict exists $core buses $bus]} { refuse "the core has no interface $bus" }
	}
	dict set core clocks $option(-busif) $option(-clock)
}
proc ipx::get_bus_interfaces {args} {
	variable core
	set rest [options ipx::get_bus_interfaces $args {} {-of_objects!} option]
	wants ipx::get_bus_interfaces $rest 1
	object core $option(-of_objects)
	return [expr {[dict exists $core buses $rest] ? "bus:$rest" : ""}]
}
proc ipx::create_xgui_files {target} { object core $target }
proc ipx::update_checksums {target} {
	variable core
	object core $target
	dict set core checked 1
}
proc ipx::save_core {target} {
	variable core
	object core $target
	if {![dict exists $core checked]} { refuse "the core is saved without its checksums" }
	foreach name {name version display_name} { if {[dict get $core $name] eq ""} { refuse "the core has no $name" } }
	file mkdir [dict get $core directory]
	set file [open [file join [dict get $core directory] component.xml] w]
	puts $file "[dict get $core name] [dict get $core version] [dict get $core display_name]"
	dict for {bus signals} [dict get $core buses] { puts $file "$bus [dict get $signals]" }
	dict for {bus clock} [dict get $core clocks] { puts $file "$bus at $clock" }
	foreach path [lsort [dict keys $::files]] { puts $file [file tail $path] }
	close $file
}
