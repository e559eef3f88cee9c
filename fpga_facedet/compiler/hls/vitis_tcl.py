"""What AMD's tools run in the folder of the HLS sources: Vitis HLS's script and configuration, Vivado's IP script.

The commands are those of UG1399 (Vitis HLS) and of UG835 and UG1118 (Vivado's IP packager); docs/hls.md says which of
them were read where, and that no Vitis has run them. Every script finds its files from its own place, so the folder can
be moved to a machine that has the tools.
"""

from collections.abc import Iterable
from typing import Protocol

from fpga_facedet.compiler.layout import FILE_LIST, RTL, TOP
from fpga_facedet.compiler.tcl_text import STAGE, fill, listing, word
from fpga_facedet.errors import InternalError
from fpga_facedet.manifest import HLS, StreamInfo

VERSIONS = ("2022.1", "2024.1")
"""The Vitis HLS versions the scripts are written for: those of PYNQ's images 3.0 and 3.1, as Vivado's are."""
SCRIPT, IP_SCRIPT = "vitis_hls.tcl", "vivado_ip.tcl"
VITIS, VERILOG = "vitis", "verilog"
"""Where Vitis HLS works, and where the script puts its Verilog: a folder for each segment."""
MADE_FROM = "made_from"
"""In VITIS and in VERILOG, a copy of the sources that what is there was made from."""
SOLUTION = "solution"
TEST_DATA = "vectors"
TEST_BENCH = "testbench.cpp"
SETTING = "FACEDET_HLS"
"""The environment variable that chooses OPTIONS: words with blanks between them."""
OPTIONS = ("csim", "cosim", "syn", "impl", "lenient")
"""C simulation before synthesis; co-simulation of C++ and Verilog behind it; Vivado's synthesis, or also its placement
and routing, of each segment alone; strict checks of pragmas and dataflow, and of every loop's interval, not as errors.
"""
FLAGS = "-std=c++17"
IP_TOP = "facedet_stream"
"""The plain-Verilog top that IP_SCRIPT wraps around the accelerator."""
VENDOR, LIBRARY, IP_VERSION = "fpga-facedet", "user", "1.0"


class Segment(Protocol):
    """A run of consecutive layers of one style, as the build plans it or as the manifest describes it."""

    @property
    def name(self) -> str:
        """The C++ function and the Verilog module."""

    @property
    def style(self) -> str:
        """`hls` or `rtl`."""


def hls_config_name(segment: Segment) -> str:
    """Return the name of a segment's configuration for the unified flow."""
    return f"hls_config_{segment.name}.cfg"


def stages(segments: Iterable[Segment], options: Iterable[str] = ()) -> list[str]:
    """Return what SCRIPT says it does, in order, for the HLS segments among `segments` and the given OPTIONS."""
    chosen = set(options)
    found = []
    for name in hls_names(segments):
        found += [f"C simulation of {name}"] if "csim" in chosen else []
        found += [f"C synthesis of {name}"]
        found += [f"co-simulation of {name}"] if "cosim" in chosen else []
        found += [f"export of {name}"]
    return [*found, "collecting the Verilog"]


def hls_script(segments: Iterable[Segment], part: str, clock_mhz: float) -> str:
    """Return the script that makes Verilog of the HLS segments among `segments`.

    One text for Vitis HLS 2022.1 (`vitis_hls -f`) and 2024.1 (`vitis-run --mode hls --tcl`). It leaves
    VERILOG/<segment>/ whole for every segment, or no VERILOG; reports are in VITIS/<segment>/SOLUTION/syn/report.
    """
    names = hls_names(segments)
    if not names:
        raise InternalError("A script for Vitis HLS was asked for without an HLS segment.")
    return fill(
        _HLS, script=SCRIPT, segments=listing("set segments", map(word, names)), part=word(part),
        period=f"{_period(clock_mhz):g}", stage=STAGE, setting=SETTING, options=" ".join(OPTIONS), flags=FLAGS,
        vitis=VITIS, verilog=VERILOG, made_from=MADE_FROM, solution=SOLUTION, data=TEST_DATA, bench=TEST_BENCH,
        files=FILE_LIST,
    )  # fmt: skip


def hls_config(segment: Segment, part: str, clock_mhz: float) -> str:
    """Return the configuration of one segment for the unified flow of 2024.1 (`v++ -c --mode hls --config`).

    It says what SCRIPT says, for people who work in the Vitis IDE; the Verilog of an overlay comes from SCRIPT.
    """
    return fill(
        _CONFIG, name=segment.name, config=hls_config_name(segment), part=part, period=f"{_period(clock_mhz):g}",
        flags=FLAGS, vitis=VITIS, data=TEST_DATA, bench=TEST_BENCH, script=SCRIPT,
    )  # fmt: skip


def ip_script(name: str, part: str, stream: StreamInfo) -> str:
    """Return Vivado's script that packages the accelerator as an IP core for a block design of one's own.

    `name` is the model's, for the catalogue; `stream` gives the widths of the two AXI-streams `s_axis` and `m_axis`,
    which with `ap_clk` and `ap_rst_n` are all the core has. It takes RTL and, where SCRIPT left it, VERILOG.
    """
    widths = {
        "msb_in": str(_bits(stream.lanes_in, stream.bits_in) - 1),
        "msb_out": str(_bits(stream.lanes_out, stream.bits_out) - 1),
    }
    wrapper = fill(_WRAPPER, top=IP_TOP, core=TOP, **widths)
    return fill(
        _IP, script=IP_SCRIPT, hls_script=SCRIPT, part=word(part), stage=STAGE, top=IP_TOP, wrapper=wrapper,
        rtl=RTL, files=FILE_LIST, verilog=VERILOG, made_from=MADE_FROM, data=TEST_DATA,
        vendor=VENDOR, library=LIBRARY, version=IP_VERSION,
        versions=" ".join(VERSIONS), title=word(_plain(f"fpga-facedet accelerator of {name}")),
    )  # fmt: skip


def hls_names(segments: Iterable[Segment]) -> list[str]:
    """Return the names of the HLS segments among `segments`, along the pipeline."""
    return [segment.name for segment in segments if segment.style == HLS]


def _period(clock_mhz: float) -> float:
    """Return the clock's period in ns."""
    return round(1e3 / clock_mhz, 4)


def _bits(lanes: int, bits: int) -> int:
    """Return the width of a stream of `lanes` values, padded to whole bytes as AXI wants it."""
    return -(-lanes * bits // 8) * 8


def _plain(text: str) -> str:
    """Return `text` without the characters that braces of Tcl cannot hold."""
    return text.translate(str.maketrans("{}\\\n", "()/ "))


_HLS = """\
# Makes Verilog of the layers in C++. Written by fpga-facedet. Run it with one of
#     vitis_hls -f @script@
#     vitis-run --mode hls --tcl @script@
# and find the Verilog in the folder @verilog@ beside this script, the reports in @vitis@/SEGMENT/@solution@/syn/report.
# The whole folder may be moved to another machine. The environment variable @setting@ asks for more, words of:
#     csim     run the test bench before synthesis
#     cosim    run the test bench against the Verilog
#     syn      let Vivado synthesize each segment alone, for better figures
#     impl     let it also place and route each segment alone
#     lenient  go on where a pragma is ignored, the dataflow not canonical, or a loop slower than an iteration a cycle

set here [file dirname [file normalize [info script]]]
@segments@
set part @part@
set period @period@
set flags "@flags@ -I$here"
set wanted [expr {[info exists ::env(@setting@)] ? [split $::env(@setting@)] : ""}]

proc stage {text} { puts "@stage@$text"; flush stdout }
proc stop {text} { error "@stage@$text" }

proc check_start {} {
	global here wanted
	# Vitis HLS takes lists of files and of compiler flags as words with blanks between them.
	if {[regexp {\\s} $here]} { stop "Vitis HLS takes no path with a blank in it ($here); move the folder." }
	foreach word $wanted {
		if {$word ni {@options@ {}}} { stop "@setting@ has '$word'; it takes [join {@options@} {, }]." }
	}
}

# Keeps what the Verilog is made from beside it: who uses it can then see that it is of other sources.
proc keep_sources {} {
	global here
	foreach old {@verilog@ @vitis@/collected @vitis@/@made_from@} { file delete -force [file join $here $old] }
	set list [open [file join $here @files@]]
	set names [split [string trim [read $list]] \\n]
	close $list
	foreach name $names {
		if {[string match @data@/* $name]} continue
		set kept [file join $here @vitis@ @made_from@ $name]
		file mkdir [file dirname $kept]
		file copy $name $kept
	}
}

proc synthesize {segment} {
	global here part period flags wanted
	open_project -reset $segment
	set_top $segment
	add_files [file join $here top.cpp] -cflags $flags
	add_files -tb [file join $here @bench@] -cflags $flags
	add_files -tb [file join $here @data@]
	open_solution -reset @solution@ -flow_target vivado
	set_part $part
	create_clock -period $period -name default
	# A pipeline that waits for its next input must still let go of what is in it: the end of a frame would else stay
	# inside until the next frame comes.
	config_compile -pipeline_style flp
	config_rtl -deadlock_detection none
	if {"lenient" ni $wanted} {
		config_compile -pragma_strict_mode
		config_dataflow -strict_mode error
	}
	# For the test bench: where the frames are, and of which segment.
	set arguments "[file join $here @data@] $segment"
	if {"csim" in $wanted} {
		stage "C simulation of $segment"
		csim_design -argv $arguments
	}
	stage "C synthesis of $segment"
	csynth_design
	check_intervals $segment
	if {"cosim" in $wanted} {
		stage "co-simulation of $segment"
		cosim_design -rtl verilog -argv $arguments
	}
	stage "export of $segment"
	if {"impl" in $wanted} {
		export_design -rtl verilog -format ip_catalog -flow impl
	} elseif {"syn" in $wanted} {
		export_design -rtl verilog -format ip_catalog -flow syn
	} else {
		export_design -rtl verilog -format ip_catalog
	}
	close_project
}

# Vitis HLS only warns where a pipelined loop cannot begin an iteration every cycle (HLS 200-880) and goes on with a
# slower one; it has no setting that makes this an error, so the reports are read.
proc check_intervals {segment} {
	global here wanted
	set reports [file join $here @vitis@ $segment @solution@ syn report]
	foreach path [lsort [glob -nocomplain -directory $reports *_csynth.xml]] {
		set file [open $path]
		set text [read $file]
		close $file
		set loop {}
		foreach {_ tag value} [regexp -all -inline {<(Name|PipelineII)>([^<]*)</} $text] {
			if {$tag eq "Name"} {
				set loop $value
			} elseif {$value ne "1"} {
				set module [string range [file tail $path] 0 end-[string length _csynth.xml]]
				lappend slow "the loop $loop of $module begins an iteration every $value cycles, not every cycle"
			}
		}
	}
	if {![info exists slow]} return
	if {"lenient" in $wanted} {
		puts [join $slow \\n]
	} else {
		stop "[join $slow {; }] (in $segment; its reports are in $reports)."
	}
}

proc collect {segment} {
	global here
	set core [file join $here @vitis@ $segment @solution@ impl ip]
	set made [file join $core hdl verilog]
	if {![file isfile [file join $made $segment.v]]} { stop "Vitis HLS left no $segment.v in $made." }
	foreach inside {hdl/ip subcore} {
		if {[llength [glob -nocomplain -directory [file join $core $inside] *]]} {
			stop "$segment uses cores of Vivado's ([file join $core $inside]), which no layer of integers needs."
		}
	}
	set to [file join $here @vitis@ collected $segment]
	file mkdir $to
	foreach path [glob -directory $made *.v *.dat] { file copy $path $to }
}

proc main {} {
	global here segments
	check_start
	cd $here
	keep_sources
	cd [file join $here @vitis@]
	foreach segment $segments { synthesize $segment }
	cd $here
	stage "collecting the Verilog"
	foreach segment $segments { collect $segment }
	file copy [file join @vitis@ @made_from@] [file join @vitis@ collected @made_from@]
	file rename [file join @vitis@ collected] @verilog@
}

# The tool stays open at the end of a script that does not leave it.
if {[catch main message]} {
	puts $message
	exit 1
}
stage "done"
exit 0
"""

_CONFIG = """\
# The HLS component @name@ for the unified flow (Vitis 2024.1). Written by fpga-facedet. In this folder:
#     v++ -c --mode hls --config @config@ --work_dir @vitis@/@name@
#     vitis-run --mode hls --csim --config @config@ --work_dir @vitis@/@name@
# The Verilog that an overlay takes comes from @script@.
part=@part@

[hls]
flow_target=vivado
clock=@period@ns
syn.top=@name@
syn.file=top.cpp
syn.cflags=@flags@ -I.
syn.csimflags=@flags@ -I.
syn.compile.pipeline_style=flp
syn.compile.pragma_strict_mode=1
syn.dataflow.strict_mode=error
syn.rtl.deadlock_detection=none
tb.file=@bench@
tb.file=@data@
tb.cflags=@flags@ -I.
csim.argv=@data@ @name@
cosim.argv=@data@ @name@
package.output.format=ip_catalog
package.output.syn=false
"""

_WRAPPER = """\
// The accelerator with the names by which Vivado knows an AXI-stream. Written by fpga-facedet.
module @top@ (
	(* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 ap_clk CLK" *)
	(* X_INTERFACE_PARAMETER = "XIL_INTERFACENAME ap_clk, ASSOCIATED_BUSIF s_axis:m_axis, ASSOCIATED_RESET ap_rst_n" *)
	input	ap_clk,
	(* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 ap_rst_n RST" *)
	(* X_INTERFACE_PARAMETER = "XIL_INTERFACENAME ap_rst_n, POLARITY ACTIVE_LOW" *)
	input	ap_rst_n,

	// A pixel a beat, row by row; the first channel in the lowest bits.
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 s_axis TDATA" *)
	input	[@msb_in@:0]  s_axis_tdata,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 s_axis TVALID" *)
	input	s_axis_tvalid,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 s_axis TREADY" *)
	output	s_axis_tready,

	// Cell by cell, row by row; the lowest channel first, and in the lowest bits.
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 m_axis TDATA" *)
	output	[@msb_out@:0]  m_axis_tdata,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 m_axis TVALID" *)
	output	m_axis_tvalid,
	(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 m_axis TREADY" *)
	input	m_axis_tready
);

	@core@ core (
		.ap_clk(ap_clk), .ap_rst_n(ap_rst_n),
		.s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
		.m_axis_tdata(m_axis_tdata), .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
	);

endmodule
"""

_IP = """\
# Packages the accelerator as an IP core: two AXI-streams, clock and reset. Written by fpga-facedet. Run it, once
# @hls_script@ has made the Verilog, with
#     vivado -mode batch -source @script@
# and add the folder vivado_ip/core beside this script to your project's IP repositories.

set here [file dirname [file normalize [info script]]]
set work [file join $here vivado_ip]
set core [file join $work core]
set rtl [file join [file dirname $here] @rtl@]

proc stage {text} { puts "@stage@$text" }
proc stop {text} { error "@stage@$text" }

set vivado [version -short]
if {![regexp {^\\d+\\.\\d+} $vivado release] || $release ni {@versions@}} {
	stop "this script is for Vivado [join {@versions@} { and }], not $vivado; run it with one of these."
}
set made [glob -nocomplain -directory [file join $here @verilog@] facedet_hls_*/*.v]
if {![llength $made]} { stop "there is no Verilog in [file join $here @verilog@]; run @hls_script@ first." }
proc contents {path} {
	if {![file isfile $path]} { return {} }
	set file [open $path]
	fconfigure $file -translation binary
	set text [read $file]
	close $file
	return $text
}
foreach name [split [string trim [contents [file join $here @files@]]] \\n] {
	if {[string match @data@/* $name]} continue
	if {[contents [file join $here $name]] ne [contents [file join $here @verilog@ @made_from@ $name]]} {
		stop "the Verilog in [file join $here @verilog@] is of other sources ($name differs); run @hls_script@ again."
	}
}

stage {project}
file delete -force $work
file mkdir [file join $work wrapper]
# A SystemVerilog top is not for the packager (UG1118, "Top-Level HDL Requirements").
set wrapper [file join $work wrapper @top@.v]
set file [open $wrapper w]
puts $file {@wrapper@}
close $file
set sources [list $wrapper]
foreach name [split [string trim [contents [file join $rtl @files@]]] \\n] { lappend sources [file join $rtl $name] }
set memories [concat [glob -nocomplain -directory $rtl *.dat] \\
	[glob -nocomplain -directory [file join $here @verilog@] facedet_hls_*/*.dat]]
create_project -force -part @part@ facedet_ip [file join $work project]
add_files -norecurse -fileset sources_1 [concat $sources $made]
if {[llength $memories]} {
	set_property file_type {Memory File} [add_files -norecurse -fileset sources_1 $memories]
}
set_property top @top@ [get_filesets sources_1]
update_compile_order -fileset sources_1

stage {packaging}
ipx::package_project -root_dir $core -vendor @vendor@ -library @library@ -taxonomy /UserIP -import_files -force
set packaged [ipx::current_core]
set_property name @top@ $packaged
set_property version @version@ $packaged
set_property display_name @title@ $packaged
foreach bus {s_axis m_axis} { ipx::associate_bus_interfaces -busif $bus -clock ap_clk $packaged }
foreach bus {s_axis m_axis ap_clk ap_rst_n} {
	if {[llength [ipx::get_bus_interfaces $bus -of_objects $packaged]] != 1} { stop "Vivado found no interface $bus." }
}
ipx::create_xgui_files $packaged
ipx::update_checksums $packaged
ipx::save_core $packaged
puts "@stage@done"
"""
