"""Vivado's script for a design: project, block design, bitstream, timing check, reports.

The commands are those of UG835; the order is that of a project in batch mode (UG894, UG994). The script finds all its
files from its own place, so its folder can be moved to a machine that has Vivado.
"""

from collections.abc import Sequence

from fpga_facedet.compiler.tcl_text import STAGE, fill, listing, word
from fpga_facedet.synthesis.design import Cell, Design

VERSIONS = ("2022.1", "2024.1")
"""The Vivado versions the script is for: those of PYNQ's images 3.0 and 3.1. All the cores have the same versions in
both (boards/Pynq-Z2/base/base.tcl, which PYNQ wrote by either), so the script is one."""
SCRIPT = "build.tcl"
HOOK = "before_synthesis.tcl"
CONSTRAINTS = "bitstream.xdc"
SOURCES = "sources"
RESULT = "result"
STAMP = "built.txt"
"""In RESULT, written last: what the bitstream was made from and by which Vivado."""
TIMING_REPORT, UTILIZATION_REPORT, HIERARCHY_REPORT, POWER_REPORT = (
    "timing.rpt", "utilization.rpt", "utilization_hierarchical.rpt", "power.rpt",
)  # fmt: skip
STAGES = ("project", "block design", "synthesis", "placement, routing and bitstream", "reports", "overlay")
MOST_JOBS = 8
USER_ID_DIGITS = 8


def build_script(design: Design, sources: Sequence[str], memories: Sequence[str], digest: str) -> str:
    """Return the script that makes the bitstream of `design`.

    `sources` (in compile order) and `memories` are names in the folder SOURCES beside the script; `digest`, a SHA-256,
    says what the bitstream is made from and comes back in RESULT/STAMP, its beginning also in the bitstream itself.
    """
    return "\n".join(
        (
            fill(_PREAMBLE, script=SCRIPT, result=RESULT, name=design.name, digest=digest,
                  versions=" ".join(VERSIONS), stage=STAGE, jobs=str(MOST_JOBS)),
            _project(design, sources, memories),
            _block_design(design),
            fill(_RUNS, hook=HOOK, result=RESULT, stamp=STAMP, timing=TIMING_REPORT, utilization=UTILIZATION_REPORT,
                  hierarchy=HIERARCHY_REPORT, power=POWER_REPORT),
        )
    )  # fmt: skip


def hook_script() -> str:
    """Return the script that Vivado runs just before synthesis, in the folder of that run."""
    return fill(_HOOK, sources=SOURCES)


def constraints(digest: str) -> str:
    """Return the constraints: the clock is the processing system's own, the pins too; only the bitstream is marked."""
    return (
        "# Ties the bitstream to its sources: the beginning of their digest (UG908, BITSTREAM.CONFIG.USERID).\n"
        f"set_property BITSTREAM.CONFIG.USERID 0x{digest[:USER_ID_DIGITS].upper()} [current_design]\n"
        "set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]\n"
    )


def _project(design: Design, sources: Sequence[str], memories: Sequence[str]) -> str:
    def names(files: Sequence[str]) -> list[str]:
        return [f"[file join $here {SOURCES} {word(name)}]" for name in files]

    added = listing("set memories [add_files -norecurse -fileset sources_1", names(memories)) + "]"
    return "\n".join(
        (
            "stage {project}",
            f"create_project -force -part {design.board.part} $name [file join $here vivado]",
            "set_property target_language Verilog [current_project]",
            listing("add_files -norecurse -fileset sources_1", names(sources)),
            *(
                (
                    "# The contents of memories: $readmemh finds a file of the project.",
                    added,
                    "set_property file_type {Memory File} $memories",
                )
                if memories
                else ()
            ),
            f"add_files -norecurse -fileset constrs_1 [list [file join $here {CONSTRAINTS}]]",
            "update_compile_order -fileset sources_1",
            "",
        )
    )


def _block_design(design: Design) -> str:
    lines = ["stage {block design}", "create_bd_design $name", ""]
    for cell in design.cells:
        lines += _create(cell)
    lines += ["", "# What leaves the chip"]
    for port in design.ports:
        lines.append(f"create_bd_intf_port -mode Master -vlnv {port.vlnv} {port.name}")
        lines.append(f"connect_bd_intf_net [get_bd_intf_ports {port.name}] [get_bd_intf_pins {port.interface}]")
    lines += ["", "# Buses and streams"]
    for link in design.links:
        lines.append(f"connect_bd_intf_net [get_bd_intf_pins {link.master}] [get_bd_intf_pins {link.slave}]")
    lines += ["", "# Clocks, resets and interrupts"]
    for net in design.nets:
        pins = (net.source, *net.sinks)
        lines.append("connect_bd_net" + "".join(f" \\\n\t[get_bd_pins {pin}]" for pin in pins))
    lines += ["", "# Addresses"]
    for segment in design.segments:
        lines.append(
            f"assign_bd_address -offset 0x{segment.offset:08X} -range 0x{segment.range:08X} "
            f"-target_address_space [get_bd_addr_spaces {segment.space}] [get_bd_addr_segs {segment.segment}] -force"
        )
    return "\n".join((*lines, "", "validate_bd_design", "save_bd_design", ""))


def _create(cell: Cell) -> list[str]:
    if cell.is_module:
        return [f"create_bd_cell -type module -reference {cell.kind} {cell.name}"]
    lines = [f"create_bd_cell -type ip -vlnv {cell.vlnv} {cell.name}"]
    if cell.properties:
        settings = (f"CONFIG.{key} {word(value)}" for key, value in cell.properties.items())
        lines.append(f"{listing('set_property -dict', settings)} [get_bd_cells {cell.name}]")
    return lines


_PREAMBLE = """\
# Makes the bitstream of a face detector. Written by fpga-facedet. Run it with
#     vivado -mode batch -source @script@
# and find the overlay in the folder @result@ beside this script. The whole folder may be moved to another machine.

set here [file dirname [file normalize [info script]]]
set name @name@
set digest @digest@
set versions {@versions@}
set jobs @jobs@

proc stage {text} { puts "@stage@$text" }
proc stop {text} { error "@stage@$text" }

set vivado [version -short]
if {![regexp {^\\d+\\.\\d+} $vivado release] || $release ni $versions} {
	stop "this script is for Vivado [join $versions { and }], not $vivado; run it with one of these."
}
# A result of an earlier run must not be taken for that of this one.
file delete -force [file join $here @result@]
"""

_HOOK = """\
# Run by Vivado before synthesis, in the folder of the run. Written by fpga-facedet.
# The sources read memories as ./name.dat: put them where synthesis works, and let it stop where one is missing, which
# else is a warning and a memory full of zeros (Synth 8-4445).
set sources [file join [file dirname [file normalize [info script]]] @sources@]
foreach memory [glob -nocomplain -directory $sources *.dat] {
	file copy -force $memory [pwd]
}
set_msg_config -id {Synth 8-4445} -new_severity ERROR
"""

_RUNS = """\
# One synthesis for everything: the module's memories are then found from one folder.
set design [get_files $name.bd]
set_property synth_checkpoint_mode None $design
generate_target all $design
make_wrapper -files $design -top -import
set_property top ${name}_wrapper [get_filesets sources_1]
update_compile_order -fileset sources_1

proc finish {run} {
	wait_on_run $run
	if {[get_property PROGRESS [get_runs $run]] ne {100%}} {
		stop "$run ended with '[get_property STATUS [get_runs $run]]'; its log is\\
			[file join [get_property DIRECTORY [get_runs $run]] runme.log]."
	}
}

stage {synthesis}
set_property strategy Flow_PerfOptimized_high [get_runs synth_1]
set_property STEPS.SYNTH_DESIGN.TCL.PRE [file join $here @hook@] [get_runs synth_1]
launch_runs synth_1 -jobs $jobs
finish synth_1

stage {placement, routing and bitstream}
set_property strategy Performance_ExplorePostRoutePhysOpt [get_runs impl_1]
launch_runs impl_1 -to_step write_bitstream -jobs $jobs
finish impl_1

stage {reports}
set result [file join $here @result@]
set reports [file join $result reports]
file mkdir $reports
open_run impl_1
report_timing_summary -file [file join $reports @timing@]
report_utilization -file [file join $reports @utilization@]
report_utilization -hierarchical -file [file join $reports @hierarchy@]
report_power -file [file join $reports @power@]
foreach {slack what} {WNS setup WHS hold TPWS {pulse width}} {
	set value [get_property STATS.$slack [get_runs impl_1]]
	if {![string is double -strict $value]} {
		stop "Vivado gives no $what slack ($slack is '$value'); the design is not timed."
	}
	if {$value < 0} {
		stop "the design misses its timing: $what slack $slack is $value ns; use a slower clock or fold it less."
	}
}

stage {overlay}
set run [get_property DIRECTORY [get_runs impl_1]]
set handoff [file join $here vivado $name.gen sources_1 bd $name hw_handoff]
file copy -force [file join $run ${name}_wrapper.bit] [file join $result $name.bit]
file copy -force [file join $handoff $name.hwh] [file join $result $name.hwh]
set stamp [open [file join $result @stamp@] w]
puts $stamp "sources $digest"
puts $stamp "vivado $vivado"
close $stamp
puts "facedet: done"
"""
