# What follows the block design in the stand-in: wrapper, runs, reports, and the program's command line.

set runs {}

proc generate_target {what file} {
	need saved
	if {$what ne "all" || [object file $file] ne "$::state(design).bd"} { refuse "generate_target $what $file" }
	set ::state(generated) 1
}
proc make_wrapper {args} {
	need generated
	set rest [options make_wrapper $args {-top -import -force} {-files!} option]
	wants make_wrapper $rest 0
	if {![info exists option(-top)] || [object file $option(-files)] ne "$::state(design).bd"} { refuse "make_wrapper $args" }
	# Without -import the wrapper is written but no source of the project.
	if {[info exists option(-import)]} { set ::state(wrapper) $::state(design)_wrapper }
}
proc get_runs {name} {
	need project
	if {$name ni {synth_1 impl_1}} { refuse "there is no run $name" }
	return run:$name
}
proc launch_runs {args} {
	set rest [options launch_runs $args {} {-jobs! -to_step} option]
	wants launch_runs $rest 1
	need wrapper
	if {![string is integer -strict $option(-jobs)] || $option(-jobs) < 1} { refuse "launch_runs -jobs $option(-jobs)" }
	if {![info exists ::state(checkpoints)]} { refuse "the block design is synthesized out of context" }
	if {$::state(top) ne $::state(wrapper)} { refuse "the top is $::state(top), the wrapper $::state(wrapper)" }
	set run [lindex $rest 0]
	set directory [get_property DIRECTORY [get_runs $run]]
	file mkdir $directory
	after [expr {int(1000 * [standin SLEEP 0])}]
	if {$run eq [standin FAIL ""]} {
		dict set ::runs $run [list PROGRESS 32% STATUS "$run ERROR"]
		return
	}
	switch $run {
		synth_1 { synthesize $directory }
		impl_1 {
			# Launched alone it would start synth_1 again (UG835); a result that nobody waited for may be half.
			if {"synth_1" ni $::waited} { refuse "impl_1 before synth_1 was waited for" }
			if {![info exists option(-to_step)]} { refuse "launch_runs impl_1 wants -to_step" }
			implement $directory $option(-to_step)
		}
	}
	dict set ::runs $run PROGRESS 100%
	dict set ::runs $run STATUS "$run Complete!"
}
set waited {}
proc wait_on_run {run} {
	if {![dict exists $::runs $run]} { refuse "$run was not launched" }
	lappend ::waited $run
}

# Runs the hook where Vivado would, then looks for each memory that a source names (UG901: it is opened from the folder
# of the run; Synth 8-4445 where it is not there).
proc synthesize {directory} {
	set hook [interp create]
	$hook alias set_msg_config hook_msg_config
	$hook eval [list cd $directory]
	if {[info exists ::state(hook)]} { $hook eval [list source $::state(hook)] }
	interp delete $hook
	complete_sources
	dict for {path about} $::files {
		if {[dict get $about file_type] ni {Verilog SystemVerilog}} continue
		foreach {_ name} [regexp -all -inline {"(?:\./)?([\w.]+\.dat)"} [read_text $path]] {
			if {![file isfile [file join $directory $name]]} { refuse "Synth 8-4445: could not open $name, named in $path" }
			set in_project 0
			dict for {memory kind} $::files {
				if {[file tail $memory] eq $name && [dict get $kind file_type] eq "Memory File"} { set in_project 1 }
			}
			if {!$in_project} { refuse "$name, named in $path, is no memory file of the project" }
		}
	}
}
# Vivado would name the module that is missing (Synth 8-439) or the line that it does not understand; it is enough here
# that nothing was forgotten of the folder that a source is from, and that each module has its end.
proc complete_sources {} {
	dict for {path about} $::files {
		if {[dict get $about file_type] ni {Verilog SystemVerilog}} continue
		foreach beside [glob -directory [file dirname $path] *] {
			if {![dict exists $::files $beside]} { refuse "[file tail $beside] lies beside [file tail $path] and is not in the project" }
		}
		regsub -all {//[^\n]*|/\*([^*]|\*+[^*/])*\*+/|"[^"\n]*"} [read_text $path] {} text
		foreach word {module function task generate case} {
			if {[regexp -all "\\m${word}\\M" $text] != [regexp -all "\\mend${word}\\M" $text]} {
				refuse "$path: not every $word has its end$word"
			}
		}
	}
}
proc hook_msg_config {args} {
	set rest [options set_msg_config $args {} {-id! -new_severity!} option]
	wants set_msg_config $rest 0
	# UG835, set_msg_config.
	if {$option(-new_severity) ni {ERROR {CRITICAL WARNING} WARNING INFO STATUS}} { refuse "severity $option(-new_severity)" }
	if {$option(-id) ne "Synth 8-4445"} { refuse "no message $option(-id) is known here" }
}

proc implement {directory step} {
	if {$step ne "write_bitstream"} { refuse "impl_1 has no step $step" }
	set user 0XFFFFFFFF
	dict for {path about} $::files {
		if {[dict get $about file_type] ne "XDC"} continue
		foreach line [split [read_text $path] \n] {
			if {[regexp {^\s*(#|$)} $line]} continue
			# UG908, appendix "Device configuration bitstream settings".
			if {[regexp {^set_property BITSTREAM.CONFIG.USERID 0x([0-9A-F]{8}) \[current_design\]$} $line -> digits]} {
				set user 0X$digits
			} elseif {$line ne {set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]}} {
				refuse "the constraint '$line' in $path"
			}
		}
	}
	foreach {slack value} [list WNS [standin WNS 0.412] WHS [standin WHS 0.021] TPWS 0.000] { dict set ::runs impl_1 STATS.$slack $value }
	write_bit [file join $directory $::state(top).bit] $user
	write_handoff [file join $::state(directory) $::state(project).gen sources_1 bd $::state(design) hw_handoff]
}

# The header of a bitstream as Vivado writes it: 9 bytes of magic, then fields with a letter and a length.
proc write_bit {path user} {
	set file [open $path wb]
	puts -nonewline $file [binary format SH18S 9 0ff00ff00ff00ff000 1]
	foreach {letter text} [list a "$::state(top);COMPRESS=TRUE;UserID=$user;Version=[version -short]" \
			b [string range $::state(part) 2 [expr {[string first - $::state(part)] - 1}]] c 2026/01/01 d 00:00:00] {
		puts -nonewline $file [binary format aSa*c $letter [expr {[string length $text] + 1}] $text 0]
	}
	set body "no bitstream: written by the stand-in for Vivado in fpga-facedet's tests"
	puts -nonewline $file [binary format aIa* e [string length $body] $body]
	close $file
}

# The part of a .hwh that says what is where.
proc write_handoff {folder} {
	file mkdir $folder
	set file [open [file join $folder $::state(design).hwh] w]
	puts $file "<EDKSYSTEM VIVADOVERSION=\"[version -short]\"><SYSTEMINFO NAME=\"$::state(design)\"/><MODULES>"
	dict for {cell about} $::cells {
		puts $file "<MODULE INSTANCE=\"$cell\" VLNV=\"[dict get $about vlnv]\"><PARAMETERS>"
		dict for {name value} [dict get $about set] { puts $file "<PARAMETER NAME=\"$name\" VALUE=\"$value\"/>" }
		puts $file "</PARAMETERS><MEMORYMAP>"
		dict for {space segments} $::mapped {
			if {[lindex [split $space /] 0] ne $cell} continue
			dict for {segment where} $segments {
				lassign $where offset range
				lassign [split $segment /] instance interface block
				puts $file [format {<MEMRANGE INSTANCE="%s" BASEVALUE="0x%08X" HIGHVALUE="0x%08X"/>} \
					$instance $offset [expr {$offset + $range - 1}]]
			}
		}
		puts $file "</MEMORYMAP></MODULE>"
	}
	puts $file "</MODULES></EDKSYSTEM>"
	close $file
}

proc open_run {run} {
	if {![dict exists $::runs $run STATS.WNS] || $run ni $::waited} { refuse "$run has not been run and waited for" }
	set ::state(opened) $run
}
proc report {command words flags text} {
	need opened
	set rest [options $command $words $flags {-file!} option]
	wants $command $rest 0
	set file [open $option(-file) w]
	puts $file $text
	close $file
}
# The tables as Vivado 2022.1 and 2024.1 print them.
proc report_timing_summary {args} {
	report report_timing_summary $args {} [format {| Design Timing Summary
| ---------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)  THS Failing Endpoints
    -------      -------  ---------------------  -------------------      -------      -------  ---------------------
    %7s        0.000                      0                61234      %7s        0.000                      0
} [dict get $::runs impl_1 STATS.WNS] [dict get $::runs impl_1 STATS.WHS]]
}
proc report_utilization {args} {
	report report_utilization $args {-hierarchical} {1. Slice Logic
+----------------------------+-------+-------+------------+-----------+-------+
|          Site Type         |  Used | Fixed | Prohibited | Available | Util% |
+----------------------------+-------+-------+------------+-----------+-------+
| Slice LUTs                 | 31234 |     0 |          0 |     53200 | 58.71 |
|   LUT as Logic             | 29000 |     0 |          0 |     53200 | 54.51 |
| Slice Registers            | 41000 |     0 |          0 |    106400 | 38.53 |
+----------------------------+-------+-------+------------+-----------+-------+
| Block RAM Tile    | 61.5 |     0 |          0 |       140 | 43.93 |
| DSPs           |    3 |     0 |          0 |       220 |  1.36 |}
}
proc report_power {args} {
	report report_power $args {} {+--------------------------+--------------+
| Total On-Chip Power (W)  | 2.104        |
| Dynamic (W)              | 1.950        |
| Device Static (W)        | 0.154        |
| Confidence Level         | Medium       |}
}

# Tcl's own command, but that a file which is not where the script looks for Vivado's results is named as such.
rename file tcl_file
proc file {what args} {
	if {$what eq "copy" && ![tcl_file exists [lindex $args end-1]]} { refuse "there is no file [lindex $args end-1]" }
	return [uplevel 1 [list tcl_file $what {*}$args]]
}

proc batch {words} {
	set rest [options vivado $words {-notrace -nolog -nojournal} {-mode! -source!} option]
	if {$rest ne "" || $option(-mode) ne "batch"} { refuse "vivado $words" }
	if {[catch {uplevel #0 [list source $option(-source)]} message]} {
		puts $message
		exit 1
	}
	exit 0
}
