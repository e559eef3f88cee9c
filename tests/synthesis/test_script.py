"""Vivado's script, run by a real Tcl interpreter with the stand-in; and each wrong design or script refused by it."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fpga_facedet.boards import get_board
from fpga_facedet.synthesis.design import Cell, Design, Link, Net, board_design
from fpga_facedet.synthesis.project import Project, write_project
from fpga_facedet.synthesis.tcl import CONSTRAINTS, HOOK, SCRIPT, VERSIONS, build_script, word

from ..verification import tiny

Change = Callable[[Design], Design]


def run(stand_in: Path, project: Path, **world: str) -> "subprocess.CompletedProcess[str]":
    """Run the project's script as its user would; `world` is what the stand-in finds (see vivado.tcl)."""
    environment = os.environ | {f"STANDIN_{key}": value for key, value in world.items()}
    command = [str(stand_in), "-mode", "batch", "-source", SCRIPT]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def project(accelerator: Path) -> Project:
    return write_project(accelerator, get_board("pynq-z2"))


def rewrite(project: Project, design: Design) -> None:
    """Put the script of another design into the project."""
    sources = sorted(path.name for path in (project.folder / "sources").glob("*v"))
    memories = sorted(path.name for path in (project.folder / "sources").glob("*.dat"))
    (project.folder / SCRIPT).write_text(build_script(design, sources, memories, project.digest))


@pytest.mark.parametrize("version", [*VERSIONS, "2022.1.1"])
def test_the_script_makes_an_overlay(stand_in: Path, project: Project, version: str) -> None:
    done = run(stand_in, project.folder, VERSION=version)
    assert done.returncode == 0, done.stdout
    assert project.is_built and project.vivado_version == version
    assert {path.name for path in project.result.iterdir()} == {"facedet.bit", "facedet.hwh", "reports", "built.txt"}


def test_the_folder_can_be_moved(stand_in: Path, project: Project, tmp_path: Path) -> None:
    moved = tmp_path / "another place"
    project.folder.rename(moved)
    done = run(stand_in, moved)
    assert done.returncode == 0, done.stdout
    assert (moved / "result" / "facedet.bit").is_file()
    assert str(tmp_path) not in (moved / SCRIPT).read_text()


@pytest.mark.parametrize("version", ["2021.2", "2023.1", "2024.2"])
def test_another_version_is_refused(stand_in: Path, project: Project, version: str) -> None:
    done = run(stand_in, project.folder, VERSION=version)
    assert done.returncode == 1
    assert done.stdout.strip() == (
        f"facedet: this script is for Vivado 2022.1 and 2024.1, not {version}; run it with one of these."
    )


@pytest.mark.parametrize(("world", "said"), [({"WNS": "-0.153"}, "setup slack WNS is -0.153 ns"),
                                             ({"WHS": "-0.004"}, "hold slack WHS is -0.004 ns"),
                                             ({"WNS": "NA"}, "the design is not timed"),
                                             ({"FAIL": "synth_1"}, "synth_1 ended with 'synth_1 ERROR'"),
                                             ({"FAIL": "impl_1"}, "impl_1 ended with 'impl_1 ERROR'")])  # fmt: skip
def test_a_failed_run_leaves_no_bitstream(stand_in: Path, project: Project, world: dict[str, str], said: str) -> None:
    assert run(stand_in, project.folder).returncode == 0
    done = run(stand_in, project.folder, **world)
    assert done.returncode == 1 and said in done.stdout
    assert not list(project.result.glob("facedet.*")) and not project.is_built


def without_sink(pin: str) -> Change:
    def change(design: Design) -> Design:
        nets = [replace(net, sinks=tuple(sink for sink in net.sinks if sink != pin)) for net in design.nets]
        return replace(design, nets=tuple(net for net in nets if net.sinks))

    return change


def moved_sink(pin: str, to: str) -> Change:
    def change(design: Design) -> Design:
        design = without_sink(pin)(design)
        nets = (replace(net, sinks=(*net.sinks, pin)) if net.source == to else net for net in design.nets)
        return replace(design, nets=tuple(nets))

    return change


def with_net(net: Net) -> Change:
    return lambda design: replace(design, nets=(*design.nets, net))


def with_property(cell: str, **properties: str) -> Change:
    def change(design: Design) -> Design:
        cells = (
            replace(item, properties={**item.properties, **properties}) if item.name == cell else item
            for item in design.cells
        )
        return replace(design, cells=tuple(cells))

    return change


def without_link(master: str) -> Change:
    return lambda design: replace(design, links=tuple(link for link in design.links if link.master != master))


def with_link(link: Link) -> Change:
    return lambda design: replace(without_link(link.master)(design), links=(*design.links, link))


def looped_streams(design: Design) -> Design:
    """Join the DMA's two streams, and the detector's."""
    design = without_link("detector/m_axis")(without_link("dma/M_AXIS_MM2S")(design))
    loops = Link("dma/M_AXIS_MM2S", "dma/S_AXIS_S2MM"), Link("detector/m_axis", "detector/s_axis")
    return replace(design, links=(*design.links, *loops))


def with_segment(number: int, **fields: int) -> Change:
    def change(design: Design) -> Design:
        segments = list(design.segments)
        segments[number] = replace(segments[number], **fields)
        return replace(design, segments=tuple(segments))

    return change


def without_segment(number: int) -> Change:
    return lambda design: replace(design, segments=design.segments[:number] + design.segments[number + 1 :])


def with_vlnv(cell: str, vlnv: str) -> Change:
    def change(design: Design) -> Design:
        return replace(
            design, cells=tuple(replace(item, vlnv=vlnv) if item.name == cell else item for item in design.cells)
        )

    return change


@pytest.mark.parametrize(("change", "said"), [
    (without_sink("dma/m_axi_s2mm_aclk"), "the clock pin dma/m_axi_s2mm_aclk is not connected"),
    (without_sink("detector/aclk"), "the clock pin detector/aclk is not connected"),
    (without_sink("detector/aresetn"), "the reset_low pin detector/aresetn is not connected"),
    (without_sink("memory_bus/S01_ARESETN"), "the reset_low pin memory_bus/S01_ARESETN is not connected"),
    (without_sink("processor/IRQ_F2P"), "the interrupt pin processor/IRQ_F2P is not connected"),
    (without_sink("interrupt_lines/In1"), "the interrupt dma/s2mm_introut leads nowhere"),
    (without_sink("interrupts/intr"), "the interrupt interrupt_lines/dout leads nowhere"),
    (moved_sink("dma/axi_resetn", "processor/FCLK_CLK0"), "dma/axi_resetn is a reset_low pin and its driver"),
    (moved_sink("detector/aclk", "resets/peripheral_aresetn"), "detector/aclk is a clock pin and its driver"),
    (with_net(Net("reset", "resets/peripheral_reset", ("detector/aresetn",))), "detector/aresetn is driven already"),
    (with_net(Net("clock", "processor/FCLK_CLK1", ("detector/aclk",))), "there is no pin processor/FCLK_CLK1"),
    (with_net(Net("clock", "processor/FCLK_CLK0", ("dma/aclk",))), "there is no pin dma/aclk"),
    (with_net(Net("clock", "processor/FCLK_CLK0", ("resets/mb_reset",))), "a net has one driver"),
    (with_property("interrupt_lines", NUM_PORTS="3"), "interrupt_lines/In2 is not connected"),
    (with_property("processor", PCW_S_AXI_HP0_DATA_WIDTH="128"), "is '128', legal is: 32 64"),
    (with_property("processor", PCW_S_AXI_HP0_DATA_WIDTH="32"), "processor/S_AXI_HP0 32"),
    (with_property("processor", PCW_FPGA0_PERIPHERAL_FREQMHZ="300"), "is '300', legal is 0.1 to 250"),
    (with_property("processor", PCW_USE_S_AXI_HP0="0"), "there is no interface processor/S_AXI_HP0"),
    (with_property("processor", PCW_UIPARAM_DDR_PARTNO="MT41J256M8"), "PCW_UIPARAM_DDR_PARTNO is 'MT41J256M8'"),
    (with_property("dma", c_sg_length_width="27"), "c_sg_length_width is '27', legal is 8 to 26"),
    (with_property("dma", c_include_sg="1"), "the clock pin dma/m_axi_sg_aclk is not connected"),
    (with_property("dma", c_mm2s_burst_length="16"), "dma (axi_dma) has no parameter c_mm2s_burst_length"),
    (with_property("dma", c_m_axis_mm2s_tdata_width="32"), "the stream of dma/M_AXIS_MM2S has 32 bits"),
    (with_property("memory_bus", NUM_SI="1"), "there is no interface memory_bus/S01_AXI"),
    (with_property("control_bus", NUM_MI="4"), "the clock pin control_bus/M03_ACLK is not connected"),
    (without_link("dma/M_AXIS_MM2S"), "the interface dma/M_AXIS_MM2S is not connected"),
    (with_link(Link("dma/M_AXIS_MM2S", "memory_bus/S00_AXI")), "dma/M_AXIS_MM2S speaks axis"),
    (with_link(Link("detector/s_axis", "dma/M_AXIS_MM2S")), "detector/s_axis is a slave"),
    (with_segment(1, offset=0x4040_0000), "overlap at 0x40400000"),
    (with_segment(1, offset=0x8000_0000), "processor/M_AXI_GP0 does not see 0x80000000"),
    (with_segment(1, offset=0x43C0_0800), "65536 bytes at"),
    (with_segment(2, range=0x800), "2048 bytes at"),
    (with_segment(3, range=0x4000_0000), "has 0x20000000 bytes"),
    (without_segment(1), "detector/s_axi has no address for processor/M_AXI_GP0"),
    (without_segment(4), "processor/s_axi_hp0 has no address for dma/M_AXI_S2MM"),
    (with_vlnv("dma", "xilinx.com:ip:axi_dma:7.2"), "Vivado 2022.1 has no core xilinx.com:ip:axi_dma:7.2"),
    (with_vlnv("detector", "xilinx.com:module_ref:other:1.0"), "there is no module other in the project"),
    (lambda design: replace(design, cells=(*design.cells, Cell("dma", design.cell("dma").vlnv, {}))),
     "no name for a new cell: dma"),
    (lambda design: replace(design, board=replace(design.board, part="xc7z010clg400-1")),
     "has the part xc7z010clg400-1"),
    (lambda design: replace(design, ports=()), "the interface processor/DDR is not connected"),
    (moved_sink("resets/ext_reset_in", "resets/peripheral_aresetn"), "waits for the reset that it makes"),
    (moved_sink("dma/axi_resetn", "processor/FCLK_RESET0_N"), "FCLK_RESET0_N of dma/axi_resetn belongs to no clock"),
    (without_sink("resets/slowest_sync_clk"), "the clock pin resets/slowest_sync_clk is not connected"),
    (looped_streams, "dma/M_AXIS_MM2S leads back into dma"),
    (with_property("processor", PCW_UIPARAM_DDR_BUS_WIDTH="32 Bit"), "is '32 Bit', legal is: {16 Bit}"),
    (with_property("processor", PCW_FPGA_FCLK0_ENABLE="0"), "there is no pin processor/FCLK_CLK0"),
    (with_property("interrupts", C_KIND_OF_INTR="0xFFFFFFFF"), "has no parameter C_KIND_OF_INTR"),
])  # fmt: skip
def test_a_wrong_design_is_refused(stand_in: Path, project: Project, change: Change, said: str) -> None:
    rewrite(project, change(project.design))
    done = run(stand_in, project.folder)
    assert done.returncode == 1
    assert "ERROR: [stand-in]" in done.stdout and said in done.stdout
    assert not project.result.exists()


@pytest.mark.parametrize(("old", "new", "said"), [
    ("validate_bd_design", "", "there is no validated yet"),
    ("validate_bd_design", "check_bd_design", 'invalid command name "check_bd_design"'),
    ("save_bd_design", "", "there is no saved yet"),
    ("create_project -force", "create_project -overwrite", "create_project has no option -overwrite"),
    ("-top -import", "-top", "there is no wrapper yet"),
    ("${name}_wrapper", "$name", "the top is facedet"),
    ("{Memory File}", "{Memory}", "file_type Memory"),
    ("set_property file_type {Memory File} $memories", "", "is no memory file of the project"),
    ("set_property STEPS.SYNTH_DESIGN.TCL.PRE", "#", "Synth 8-4445: could not open salt.dat"),
    ("-to_step write_bitstream", "-to_step bitstream", "impl_1 has no step bitstream"),
    ("Flow_PerfOptimized_high", "Flow_Fastest", "synth_1 has no strategy Flow_Fastest"),
    ("STATS.$slack", "STATS.WORST_$slack", "impl_1 has no STATS.WORST_WNS yet"),
    ("target_language", "target_speech", "has no property target_speech"),
    ("report_power -file", "report_power -output", "report_power has no option -output"),
    ("sources salt.dat", "sources pepper.dat", "there is no file"),
    ("-mode Master", "-mode Slave", "create_bd_intf_port"),
    ("-target_address_space", "-space", "assign_bd_address has no option -space"),
    ("-range 0x00010000 ", "", "assign_bd_address wants -range"),
    ("set_property synth_checkpoint_mode None $design", "", "the block design is synthesized out of context"),
    ("synth_checkpoint_mode None", "synth_checkpoint_mode Hierarchical",
     "synth_checkpoint_mode Hierarchical of facedet.bd"),
    ("generate_target all $design", "", "there is no generated yet"),
    ("finish synth_1", "", "impl_1 before synth_1 was waited for"),
    ("finish impl_1", "", "impl_1 has not been run and waited for"),
    ("open_run impl_1", "", "there is no opened yet"),
    ("update_compile_order -fileset sources_1\n\nstage {block", "\nstage {block", "there is no ordered yet"),
    ("$name.gen", "$name.srcs", "ERROR: [stand-in] there is no file"),
    ("set jobs 8", "set jobs many", "launch_runs -jobs many"),
    ("set jobs 8", "set jobs 0", "launch_runs -jobs 0"),
    ("-part xc7z020clg400-1", "-part xc7z010clg400-1", "has the part xc7z010clg400-1"),
    ("[file join $here sources board_shell.sv]", "", "board_shell.sv lies beside"),
    ("interrupts/S_AXI/Reg", "interrupts/s_axi/Reg", "there is no address segment interrupts/s_axi/Reg"),
    ("detector/s_axi/reg0", "detector/s_axi/Reg", "there is no address segment detector/s_axi/Reg"),
    ("dma/S_AXI_LITE]", "dma/s_axi_lite]", "there is no interface dma/s_axi_lite"),
    ("processor/M_AXI_GP0]", "processor/M_AXI_GP1]", "there is no interface processor/M_AXI_GP1"),
    ("connect_bd_intf_net [get_bd_intf_ports FIXED_IO] [get_bd_intf_pins processor/FIXED_IO]", "",
     "the interface processor/FIXED_IO is not connected"),
])  # fmt: skip
def test_a_wrong_script_is_refused(stand_in: Path, project: Project, old: str, new: str, said: str) -> None:
    script = project.folder / SCRIPT
    text = script.read_text()
    assert old in text
    script.write_text(text.replace(old, new))
    done = run(stand_in, project.folder)
    assert done.returncode == 1 and said in done.stdout
    assert not project.is_built


@pytest.mark.parametrize(("name", "old", "new", "said"), [
    (HOOK, "*.dat", "*.mem", "Synth 8-4445: could not open salt.dat"),
    (HOOK, "[pwd]", "[file dirname [info script]]", "Synth 8-4445: could not open salt.dat"),
    (HOOK, "8-4445", "8-4444", "no message Synth 8-4444 is known here"),
    (CONSTRAINTS, "COMPRESS TRUE", "COMPRESS 1", "the constraint 'set_property BITSTREAM.GENERAL.COMPRESS 1"),
])  # fmt: skip
def test_a_wrong_hook_or_constraint_is_refused(
    stand_in: Path, project: Project, name: str, old: str, new: str, said: str
) -> None:
    text = (project.folder / name).read_text().split("\n", 1)
    # The first line is a comment.
    assert old in text[1]
    (project.folder / name).write_text(text[0] + "\n" + text[1].replace(old, new))
    done = run(stand_in, project.folder)
    assert done.returncode == 1 and said in done.stdout


@pytest.mark.parametrize(("old", "new", "said"), [
    ('X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 s_axis TLAST"', 'KEEP = "1"', "s_axis consists of"),
    ("POLARITY ACTIVE_LOW", "POLARITY ACTIVE_HIGH", "detector/aresetn is a reset_high pin"),
    ("[63:0]  m_axis_tdata", "[31:0]  m_axis_tdata", "TKEEP of the master m_axis is out with 4 bits, m_axis_tkeep"),
    ("module facedet_overlay (", "module facedet_other (", "there is no module facedet_overlay"),
    ("s_axis:m_axis:s_axi,", "s_axis:m_axis,", "the interface s_axi is not associated to any clock"),
    ("s_axis:m_axis:s_axi,", "s_axis:m_axi:s_axi,", "associated to m_axi, which is no interface"),
    ("s_axis:m_axis:s_axi,", "s_axis:m_axis:s_axi:s_axis,", "s_axis has two clocks"),
    ("ASSOCIATED_BUSIF s_axis:m_axis:s_axi, ", "", "the clock aclk has no ASSOCIATED_BUSIF"),
    (", ASSOCIATED_RESET aresetn", "", "the clock aclk has no ASSOCIATED_RESET"),
    ("ASSOCIATED_RESET aresetn", "ASSOCIATED_RESET areset", "associated to areset, which is no reset"),
    ("ASSOCIATED_RESET aresetn", "ASSOCIATED_RST aresetn", "has no setting ASSOCIATED_RST"),
    ("XIL_INTERFACENAME s_axi,", "XIL_INTERFACENAME s_axil,", "of s_axi is that of another interface"),
    ("PROTOCOL AXI4LITE", "PROTOCOL AXI4", "s_axi has PROTOCOL AXI4LITE, its attribute says AXI4"),
    ("PROTOCOL AXI4LITE, ", "", "s_axi has PROTOCOL AXI4LITE, its attribute says (nothing)"),
    ("input\t[11:0]  s_axi_awaddr", "input\t[3:0]  s_axi_awaddr", "s_axi_araddr is in with 12"),
    ("[11:0]", "[3:0]", "s_axi is a slave with 32 and 4 bits"),
    ("output\t[1:0]  s_axi_bresp", "output\ts_axi_bresp", "BRESP of the slave s_axi is out with 2 bits"),
    ("output\ts_axis_tready", "input\ts_axis_tready", "TREADY of the slave s_axis is out with 1 bits"),
    ("input\tm_axis_tready", "output\tm_axis_tready", "TREADY of the master m_axis is in with 1 bits"),
    ("input\t[7:0]  s_axis_tkeep", "input\t[3:0]  s_axis_tkeep", "s_axis_tkeep is in with 4"),
    ("TDATA_NUM_BYTES 8", "TDATA_NUM_BYTES 4", "s_axis has TDATA_NUM_BYTES 8, its attribute says 4"),
    ("HAS_TLAST 1", "HAS_TLAST 0", "s_axis has HAS_TLAST 1, its attribute says 0"),
    ("endmodule", "endmodul", "not every module has its endmodule"),
])  # fmt: skip
def test_a_wrong_top_is_refused(stand_in: Path, project: Project, old: str, new: str, said: str) -> None:
    top = project.folder / "sources" / "facedet_overlay.v"
    assert old in top.read_text()
    top.write_text(top.read_text().replace(old, new))
    done = run(stand_in, project.folder)
    assert done.returncode == 1 and "ERROR: [stand-in]" in done.stdout and said in done.stdout


def test_a_narrower_stream_is_taken_from_the_top(stand_in: Path, project: Project) -> None:
    """The DMA's receiving stream takes the width of what is connected (PG021): no error of the block design."""
    top = project.folder / "sources" / "facedet_overlay.v"
    before, results, after = top.read_text().partition("// Results to the DMA")
    for old, new in (("[63:0]  m", "[31:0]  m"), ("[7:0]  m", "[3:0]  m"), ("TDATA_NUM_BYTES 8", "TDATA_NUM_BYTES 4")):
        assert old in after
        after = after.replace(old, new)
    top.write_text(before + results + after)
    done = run(stand_in, project.folder)
    assert done.returncode == 0, done.stdout


def test_a_top_in_systemverilog_is_refused(stand_in: Path, project: Project) -> None:
    top = project.folder / "sources" / "facedet_overlay.v"
    top.rename(top.with_suffix(".sv"))
    rewrite(project, project.design)
    assert "must not be SystemVerilog" in run(stand_in, project.folder).stdout


def test_both_boards_have_a_script(stand_in: Path, accelerator: Path) -> None:
    for board in ("pynq-z1", "pynq-z2"):
        project = write_project(accelerator, get_board(board))
        assert run(stand_in, project.folder).returncode == 0


@pytest.mark.parametrize("text", ["plain", "MIO 16 .. 27", "a$b", "semi;colon", "[x]", "", "#x"])
def test_a_word_of_tcl_stands_for_itself(stand_in: Path, text: str) -> None:
    said = subprocess.run(["tclsh"], input=f"puts -nonewline {word(text)}", capture_output=True, text=True, check=True)
    assert said.stdout == text


def test_a_word_that_braces_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="not a plain word"):
        word("a}b")


def test_the_design_asks_for_the_clock_of_the_manifest() -> None:
    slow = board_design(replace(tiny.MANIFEST, clock_mhz=50.0), get_board("pynq-z2"))
    assert slow.cell("processor").properties["PCW_FPGA0_PERIPHERAL_FREQMHZ"] == "50"
