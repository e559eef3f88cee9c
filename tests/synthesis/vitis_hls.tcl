# A stand-in for Vitis HLS's Tcl commands, strict where Vitis HLS is lenient: it refuses what it does not know, each
# command, option, value and file, and every wrong order. Commands and options: UG1399, "Vitis HLS Command Reference".
# Of the C++ it reads the top function's streams and the names of the layers, and makes of them reports in the form of
# Vitis HLS and modules that say that they are none.
#
# tclsh vitis_hls.tcl vitis_hls -f SCRIPT
# tclsh vitis_hls.tcl vitis-run --mode hls --tcl SCRIPT
# The environment says how its world is: STANDIN_VERSION, STANDIN_II (LAYER N: that loop's interval), STANDIN_FAIL (a
# command), STANDIN_LICENCE (none), STANDIN_CORES (some), STANDIN_LEAVE (a file of the core that is not written).

source [file join [file dirname [file normalize [info script]]] vivado.tcl]
# The commands of Vivado's that Vitis HLS does not have, or that it has with other options.
foreach name {add_files create_project set_property version} { rename $name {} }

proc release {} { return [standin VERSION 2022.1] }
proc under {args} { return [file join $::state(directory) {*}$args] }
proc fails {command} {
	if {$command eq [standin FAIL ""]} {
		puts "ERROR: \[HLS 200-70\] $command did not work."
		return -code error ""
	}
}

proc open_project {args} {
	set rest [options open_project $args {-reset} {} option]
	wants open_project $rest 1
	# Ours, stricter: a name in the working directory. What was there of another run would stay without -reset.
	if {![regexp {^[A-Za-z]\w*$} $rest] || ![info exists option(-reset)]} { refuse "open_project $args" }
	array unset ::state
	set ::state(project) $rest
	set ::state(sources) {}
	set ::state(bench) {}
	file delete -force $rest
	file mkdir $rest
}
proc close_project {} { need exported; array unset ::state }
proc set_top {name} {
	need project
	set ::state(top) $name
}
proc add_files {args} {
	need project
	set rest [options add_files $args {-tb} {-cflags} option]
	wants add_files $rest 1
	set kind [expr {[info exists option(-tb)] ? "bench" : "sources"}]
	# A list: a path with a blank in it is two.
	foreach path [lindex $rest 0] {
		if {![file exists $path]} { refuse "add_files: there is no file $path" }
		set flags {}
		if {[file extension $path] eq ".cpp"} {
			if {![info exists option(-cflags)]} { refuse "add_files $path wants -cflags" }
			set flags $option(-cflags)
			foreach flag $flags {
				# UG1399 speaks of C++11 and C++14; the layers need C++17.
				if {$flag eq "-std=c++17"} continue
				if {![regexp {^-I(.+)$} $flag -> folder] || ![file isdirectory $folder]} { refuse "add_files: the flag $flag" }
			}
			if {"-std=c++17" ni $flags} { refuse "add_files: $path is C++17" }
		}
		lappend ::state($kind) $path $flags
	}
}
proc open_solution {args} {
	need top
	set rest [options open_solution $args {-reset} {-flow_target!} option]
	wants open_solution $rest 1
	if {$option(-flow_target) ne "vivado"} { refuse "open_solution -flow_target $option(-flow_target)" }
	set ::state(directory) [file join [pwd] $::state(project) $rest]
	file mkdir $::state(directory)
}
proc set_part {part} {
	need directory
	if {$part ne "xc7z020clg400-1"} { refuse "no PYNQ-Z1 or PYNQ-Z2 has the part $part" }
	set ::state(part) $part
}
proc create_clock {args} {
	need part
	set rest [options create_clock $args {} {-period! -name!} option]
	wants create_clock $rest 0
	if {![string is double -strict $option(-period)] || $option(-period) <= 0} { refuse "create_clock $args" }
	set ::state(period) $option(-period)
}
proc configure {command words flags legal} {
	need directory
	set valued [lmap {name values} $legal {set name}]
	wants $command [options $command $words $flags $valued option] 0
	foreach {name values} $legal {
		if {[info exists option($name)] && $option($name) ni $values} { refuse "$command $name $option($name)" }
	}
	foreach name [array names option] { set ::state($command$name) $option($name) }
}
proc config_compile {args} { configure config_compile $args {-pragma_strict_mode} {-pipeline_style {stp flp frp}} }
proc config_dataflow {args} { configure config_dataflow $args {} {-strict_mode {off warning error}} }
proc config_rtl {args} { configure config_rtl $args {} {-deadlock_detection {none sim hw}} }

# The test bench of the real thing is compiled and run; here it is enough that it is there and finds its frames.
proc bench {command words flags} {
	need period
	set rest [options $command $words $flags {-argv! -rtl} option]
	wants $command $rest 0
	if {[info exists option(-rtl)] && $option(-rtl) ne "verilog"} { refuse "$command -rtl $option(-rtl)" }
	wants "the test bench" $option(-argv) 2
	lassign $option(-argv) folder segment
	if {$segment ne $::state(top)} { refuse "$command: the test bench is told of $segment" }
	foreach end {in out} {
		if {![file isfile [file join $folder ${segment}_$end.bin]]} { refuse "$command: no ${segment}_$end.bin in $folder" }
	}
	foreach path [list $folder [file join [file dirname $folder] testbench.cpp]] {
		if {![dict exists $::state(bench) $path]} { refuse "$command: $path is no file of the test bench" }
	}
	fails $command
}
proc csim_design {args} { bench csim_design $args {}; file mkdir [under csim report] }
proc cosim_design {args} { need synthesized; bench cosim_design $args {} }

proc csynth_design {} {
	need period
	if {[standin LICENCE ""] eq "none"} {
		puts "ERROR: \[Common 17-345\] A valid license was not found for feature 'HLS' and/or device 'xc7z020'."
		return -code error ""
	}
	if {![info exists ::state(config_compile-pipeline_style)]} { refuse "a pipeline that keeps the end of a frame" }
	fails csynth_design
	set text [read_sources]
	lassign [streams $text] input output
	set layers [lsort -unique [lmap {_ name} [regexp -all -inline {FACEDET_LAYER\("(\w+)"\)} $text] {set name}]]
	# The compiler reads a layer's label in functions of their own.
	foreach layer $layers {
		if {![regexp "void\\s+$layer\\s*\\(" $text]} { set layers [lsearch -all -inline -not $layers $layer] }
	}
	file mkdir [under syn report]
	write_text [under syn report csynth.xml] [reports::top $::state(top) $layers]
	write_text [under syn report $::state(top)_csynth.xml] [reports::module $::state(top) {}]
	foreach layer $layers {
		lassign [standin II {- 1}] slow interval
		if {$slow ne $layer} { set interval 1 }
		# A loop beside other statements becomes a module of its own, which has the loop then.
		set part ${layer}_Pipeline_loop
		write_text [under syn report ${layer}_csynth.xml] [reports::module $layer {}]
		write_text [under syn report ${part}_csynth.xml] [reports::module $part [list loop $interval]]
	}
	set ::state(synthesized) [list $input $output $layers]
}
proc read_sources {} {
	set text ""
	dict for {path _} $::state(sources) { append text [read_text $path] }
	# UG1399: an include is searched beside the file that names it.
	foreach {_ name} [regexp -all -inline {#include "([^"]+)"} $text] {
		if {![file isfile [file join [file dirname $path] $name]]} { refuse "there is no $name, which $path includes" }
	}
	return $text
}
proc streams {text} {
	set port {hls::stream<ap_uint<(\d+)>\s*>\s*&\s*(\w+)}
	if {![regexp "void\\s+$::state(top)\\s*\\(\\s*$port\\s*,\\s*$port\\s*\\)" $text -> in input out output]} {
		refuse "no function $::state(top) with two streams in the sources"
	}
	if {$in % 8 || $out % 8} { refuse "an AXI-stream of $in or $out bits" }
	if {$input ne "in0_V" || $output ne "out0_V"} { refuse "the ports are called $input and $output" }
	return [list $in $out]
}

proc export_design {args} {
	need synthesized
	set rest [options export_design $args {} {-rtl! -format! -flow} option]
	wants export_design $rest 0
	if {$option(-rtl) ne "verilog" || $option(-format) ne "ip_catalog"} { refuse "export_design $args" }
	fails export_design
	lassign $::state(synthesized) input output layers
	set core [under impl ip]
	set verilog [file join $core hdl verilog]
	file mkdir $verilog [file join $core hdl vhdl]
	set top $::state(top)
	leave [file join $verilog $top.v] [reports::verilog $top $input $output]
	leave [file join $verilog ${top}_table.v] "module ${top}_table;\n\treg \[3:0\] rom\[0:1\];\n\tinitial \$readmemh(\"./${top}_table.dat\", rom);\nendmodule\n"
	leave [file join $verilog ${top}_table.dat] "a\n5\n"
	if {[standin CORES ""] ne ""} {
		file mkdir [file join $core hdl ip]
		leave [file join $core hdl ip core.xci] core
	}
	if {[info exists option(-flow)]} {
		if {$option(-flow) ni {syn impl}} { refuse "export_design -flow $option(-flow)" }
		foreach run [lrange {syn impl} 0 [expr {$option(-flow) eq "impl"}]] {
			file mkdir [under impl report verilog]
			write_text [under impl report verilog export_$run.xml] [reports::vivado $run]
		}
	}
	set ::state(exported) 1
}
proc leave {path text} { if {[file tail $path] ne [standin LEAVE ""]} { write_text $path $text } }
proc write_text {path text} {
	set file [open $path w]
	puts -nonewline $file $text
	close $file
}

namespace eval reports {}
proc reports::loops {loops} {
	set text ""
	foreach {name interval} $loops {
		append text "<$name><Name>$name</Name><TripCount>48</TripCount><Latency>52</Latency>" \
			"<PipelineII>$interval</PipelineII><PipelineDepth>6</PipelineDepth></$name>"
	}
	return [expr {$text eq "" ? "" : "<SummaryOfLoopLatency>$text</SummaryOfLoopLatency>"}]
}
proc reports::body {name loops} {
	return "<PerformanceEstimates><SummaryOfTimingAnalysis><EstimatedClockPeriod>7.312</EstimatedClockPeriod>\
		</SummaryOfTimingAnalysis><SummaryOfOverallLatency><Best-caseLatency>53</Best-caseLatency>\
		<Worst-caseLatency>53</Worst-caseLatency><Interval-min>54</Interval-min><Interval-max>54</Interval-max>\
		</SummaryOfOverallLatency>[loops $loops]</PerformanceEstimates><AreaEstimates><Resources><BRAM_18K>1</BRAM_18K>\
		<DSP>2</DSP><FF>345</FF><LUT>678</LUT><URAM>0</URAM></Resources><AvailableResources><BRAM_18K>280</BRAM_18K>\
		<DSP>220</DSP><FF>106400</FF><LUT>53200</LUT><URAM>0</URAM></AvailableResources></AreaEstimates>"
}
proc reports::head {name} {
	return "<ReportVersion><Version>[release]</Version></ReportVersion><UserAssignments><TopModelName>$name</TopModelName>\
		<Part>$::state(part)</Part><TargetClockPeriod>$::state(period)</TargetClockPeriod></UserAssignments>"
}
proc reports::module {name loops} {
	return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<profile>[head $name][body $name $loops]</profile>\n"
}
proc reports::top {name layers} {
	set instances ""
	foreach layer $layers {
		append instances "<Instance><InstName>${layer}_U0</InstName><ModuleName>$layer</ModuleName><InstancesList>" \
			"<Instance><InstName>grp</InstName><ModuleName>${layer}_Pipeline_loop</ModuleName></Instance>" \
			"</InstancesList></Instance>"
	}
	return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<profile>[head $name][body $name {}]<RTLDesignHierarchy><TopModule>\
		<ModuleName>$name</ModuleName><InstancesList>$instances</InstancesList></TopModule></RTLDesignHierarchy></profile>\n"
}
proc reports::vivado {run} {
	set used [dict get {syn 612 impl 587} $run]
	return "<profile><RunData><RUN_TYPE>$run</RUN_TYPE></RunData><TimingReport><TargetClockPeriod>$::state(period)\
		</TargetClockPeriod><AchievedClockPeriod>6.904</AchievedClockPeriod></TimingReport><AreaReport><Resources>\
		<BRAM>1</BRAM><DSP>2</DSP><FF>320</FF><LUT>$used</LUT></Resources></AreaReport></profile>\n"
}
# The ports that Vitis HLS gives two streams with ap_ctrl_none: UG1399, "AXI4-Stream Interfaces".
proc reports::verilog {name input output} {
	return "// No layers: written by the stand-in for Vitis HLS in fpga-facedet's tests.
module $name (
	input ap_clk, input ap_rst_n,
	input \[[expr {$input - 1}]:0\] in0_V_TDATA, input in0_V_TVALID, output in0_V_TREADY,
	output \[[expr {$output - 1}]:0\] out0_V_TDATA, output out0_V_TVALID, input out0_V_TREADY
);
	${name}_table table_U ();
	assign out0_V_TVALID = 1'b0;
	assign in0_V_TREADY = 1'b0;
endmodule
"
}

proc batch {program words} {
	switch $program {
		vitis_hls { set rest [options vitis_hls $words {} {-f!} option]; set script $option(-f) }
		vitis-run {
			if {[lrange $words 0 2] ne {--mode hls --tcl} || [llength $words] != 4} { refuse "vitis-run $words" }
			set script [lindex $words 3]
			set rest {}
		}
	}
	if {$rest ne ""} { refuse "$program $words" }
	uplevel #0 [list source $script]
	# UG1399, "vitis_hls Command": it stays open, with nobody there.
	puts "the script came to its end without exit"
	exit 3
}
if {[file normalize $argv0] eq [file normalize [info script]]} { batch [lindex $argv 0] [lrange $argv 1 end] }
