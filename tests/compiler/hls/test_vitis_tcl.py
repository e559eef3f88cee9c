"""The scripts for AMD's tools, run by a real Tcl interpreter with the stand-ins; and each wrong script refused."""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fpga_facedet.compiler.hls.vitis_tcl import (
    IP_SCRIPT,
    OPTIONS,
    SCRIPT,
    hls_config,
    hls_config_name,
    hls_script,
    ip_script,
    stages,
)
from fpga_facedet.compiler.tcl_text import STAGE
from fpga_facedet.errors import InternalError
from tests.synthesis import hls_accelerator
from tests.synthesis.hls_accelerator import ALL_HLS, MIXED, PART, STREAM

STAND_INS = Path(hls_accelerator.__file__).parent
PROGRAMS = {"vitis_hls": ["-f"], "vitis-run": ["--mode", "hls", "--tcl"]}
Done = subprocess.CompletedProcess[str]

pytestmark = pytest.mark.skipif(shutil.which("tclsh") is None, reason="needs tclsh (Debian: apt-get install tcl)")


def run(accelerator: Path, program: str = "vitis_hls", **world: str) -> Done:
    """Run the script as its user would, in its folder; `world` is what the stand-in finds (see vitis_hls.tcl)."""
    given = {key if key == "FACEDET_HLS" else f"STANDIN_{key}": value for key, value in world.items()}
    return subprocess.run(
        [str(STAND_INS / program), *PROGRAMS[program], SCRIPT], cwd=accelerator / "hls", env=os.environ | given,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def package(accelerator: Path, **world: str) -> Done:
    return subprocess.run(
        [str(STAND_INS / "vivado"), "-mode", "batch", "-source", IP_SCRIPT], cwd=accelerator / "hls",
        env=os.environ | {f"STANDIN_{key}": value for key, value in world.items()},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def accelerator(tmp_path: Path) -> Path:
    return hls_accelerator.write(tmp_path / "accelerator")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("options", [(), ("csim",), ("cosim", "syn"), ("csim", "cosim", "impl")])
def test_the_script_makes_verilog(accelerator: Path, program: str, options: tuple[str, ...]) -> None:
    done = run(accelerator, program, FACEDET_HLS=" ".join(options))
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines() == [STAGE + stage for stage in (*stages(ALL_HLS.segments, options), "done")]
    made = accelerator / "hls" / "verilog"
    assert {str(path.relative_to(made)) for path in made.glob("facedet*/*")} == {
        "facedet_hls_0/facedet_hls_0.v", "facedet_hls_0/facedet_hls_0_table.v", "facedet_hls_0/facedet_hls_0_table.dat",
    }  # fmt: skip
    for name in ("top.cpp", "facedet/layers.hpp", SCRIPT):
        assert (made / "made_from" / name).read_bytes() == (accelerator / "hls" / name).read_bytes()
    assert not (made / "made_from" / "vectors").exists()


def test_every_hls_segment_is_made_and_no_other(tmp_path: Path) -> None:
    accelerator = hls_accelerator.write(tmp_path / "accelerator", MIXED)
    done = run(accelerator)
    assert done.returncode == 0, done.stdout
    assert {path.name for path in (accelerator / "hls" / "verilog").iterdir()} == {"facedet_hls_1", "made_from"}
    assert stages(MIXED.segments) == [
        "C synthesis of facedet_hls_1", "export of facedet_hls_1", "collecting the Verilog",
    ]  # fmt: skip


def test_the_folder_can_be_moved(accelerator: Path, tmp_path: Path) -> None:
    moved = accelerator.rename(tmp_path / "elsewhere")
    assert run(moved).returncode == 0
    assert all(str(tmp_path) not in (moved / "hls" / name).read_text() for name in (SCRIPT, IP_SCRIPT))


def test_a_second_run_leaves_nothing_of_the_first(accelerator: Path) -> None:
    assert run(accelerator).returncode == 0
    (accelerator / "hls" / "verilog" / "facedet_hls_0" / "old.v").write_text("old")
    (accelerator / "hls" / "vitis" / "facedet_hls_0" / "old").write_text("old")
    # As a run leaves it that was ended while it collected.
    (accelerator / "hls" / "vitis" / "collected" / "facedet_hls_0").mkdir(parents=True)
    (accelerator / "hls" / "vitis" / "collected" / "facedet_hls_0" / "older.v").write_text("old")
    (accelerator / "hls" / "top.cpp").write_text((accelerator / "hls" / "top.cpp").read_text() + "// new\n")
    assert run(accelerator).returncode == 0
    assert not list((accelerator / "hls").rglob("old*"))
    assert (accelerator / "hls" / "verilog" / "made_from" / "top.cpp").read_text().endswith("// new\n")


@pytest.mark.parametrize(("world", "said"), [
    ({"FAIL": "csynth_design"}, "ERROR: [HLS 200-70] csynth_design did not work."),
    ({"FAIL": "export_design"}, "ERROR: [HLS 200-70] export_design did not work."),
    ({"FAIL": "cosim_design", "FACEDET_HLS": "cosim"}, "ERROR: [HLS 200-70] cosim_design did not work."),
    ({"LEAVE": "facedet_hls_0.v"}, "facedet: Vitis HLS left no facedet_hls_0.v in "),
    ({"CORES": "some"}, "facedet: facedet_hls_0 uses cores of Vivado's ("),
    ({"II": "MVAU_0 2"}, "facedet: the loop loop of MVAU_0_Pipeline_loop begins an iteration every 2 cycles, "),
    ({"II": "MVAU_0 undef"}, "facedet: the loop loop of MVAU_0_Pipeline_loop begins an iteration every undef cycles"),
    ({"FACEDET_HLS": "csim fast"}, "facedet: FACEDET_HLS has 'fast'; it takes csim, cosim, syn, impl, lenient."),
])  # fmt: skip
def test_a_failure_is_said_and_leaves_no_verilog(accelerator: Path, world: dict[str, str], said: str) -> None:
    assert run(accelerator).returncode == 0
    done = run(accelerator, **world)
    assert done.returncode == 1
    assert any(line.startswith(said) for line in done.stdout.splitlines()), done.stdout
    if "fast" not in said:
        assert not (accelerator / "hls" / "verilog").exists()


def test_a_slow_loop_can_be_let_pass(accelerator: Path) -> None:
    done = run(accelerator, II="MVAU_0 3", FACEDET_HLS="lenient")
    assert done.returncode == 0, done.stdout
    assert "the loop loop of MVAU_0_Pipeline_loop begins an iteration every 3 cycles, not every cycle" in done.stdout
    assert (accelerator / "hls" / "verilog" / "facedet_hls_0").is_dir()


def test_a_blank_in_the_path_is_said(accelerator: Path, tmp_path: Path) -> None:
    done = run(accelerator.rename(tmp_path / "an accelerator"))
    assert done.returncode == 1
    assert "facedet: Vitis HLS takes no path with a blank in it (" in done.stdout


@pytest.mark.parametrize(("right", "wrong", "said"), [
    ("open_project -reset $segment", "open_project $segment", "open_project"),
    ("\tset_top $segment\n", "", "there is no top yet"),
    ("set_top $segment", "set_top other", "the test bench is told of facedet_hls_0"),
    ("-std=c++17 -I$here", "-std=c++14 -I$here", "the flag -std=c++14"),
    ("-std=c++17 -I$here", "-std=c++17 -I$here/include", "the flag -I"),
    ("[file join $here top.cpp] -cflags $flags", "[file join $here top.cpp]", "wants -cflags"),
    ("add_files [file join $here top.cpp] -cflags $flags", "", "no function facedet_hls_0"),
    ("add_files [file join $here top.cpp]", "add_files -tb [file join $here top.cpp]", "no function facedet_hls_0"),
    ("add_files -tb [file join $here testbench.cpp] -cflags $flags", "", "testbench.cpp is no file of the test bench"),
    ("add_files -tb [file join $here vectors]", "", "vectors is no file of the test bench"),
    ("top.cpp", "main.cpp", "there is no file"),
    (" -flow_target vivado", " -flow_target vitis", "-flow_target vitis"),
    (" -flow_target vivado", "", "wants -flow_target"),
    ("set part xc7z020clg400-1", "set part xc7z010clg400-1", "has the part"),
    ("\tset_part $part\n", "", "there is no part yet"),
    ("create_clock -period $period", "create_clock -period fast", "create_clock"),
    ("\tcreate_clock -period $period -name default\n", "", "there is no period yet"),
    ("config_compile -pipeline_style flp", "config_compile -pipeline_style flush", "-pipeline_style flush"),
    ("\tconfig_compile -pipeline_style flp\n", "", "keeps the end of a frame"),
    ("config_rtl -deadlock_detection none", "config_rtl -deadlock none", "has no option -deadlock"),
    ("-strict_mode error", "-strict_mode on", "-strict_mode on"),
    ("csim_design -argv $arguments", "csim_design -argv $segment", "the test bench takes 2 arguments"),
    ("csim_design -argv", "csim_design -args", "has no option -args"),
    ("\tcsynth_design\n", "", "there is no synthesized yet"),
    ("\tcsynth_design\n", "\tcsynth_design -fast\n", "wrong # args"),
    ("cosim_design -rtl verilog", "cosim_design -rtl vhdl", "-rtl vhdl"),
    ("export_design -rtl verilog -format ip_catalog\n", "export_design -format ip_catalog\n", "wants -rtl"),
    ("export_design -rtl verilog -format ip_catalog\n", "export_design -rtl verilog -format xo\n", "-format xo"),
    ("\t\texport_design -rtl verilog -format ip_catalog\n", "", "there is no exported yet"),
    ("close_project", "close_design", "invalid command name"),
    ("exit 0\n", "", "without exit"),
])  # fmt: skip
def test_a_wrong_script_is_refused(accelerator: Path, right: str, wrong: str, said: str) -> None:
    script = accelerator / "hls" / SCRIPT
    assert script.read_text().count(right) >= 1
    script.write_text(script.read_text().replace(right, wrong))
    done = run(accelerator, FACEDET_HLS="csim cosim")
    assert done.returncode != 0 and said in done.stdout + done.stderr


def test_the_clock_and_the_part_are_those_asked_for(accelerator: Path) -> None:
    script = hls_script(ALL_HLS.segments, PART, 76.923)
    assert f"set period {1000 / 76.923:g}\n" in script and f"set part {PART}\n" in script
    (accelerator / "hls" / SCRIPT).write_text(script)
    assert run(accelerator).returncode == 0
    report = accelerator / "hls" / "vitis" / "facedet_hls_0" / "solution" / "syn" / "report" / "csynth.xml"
    found = re.search(r"<TargetClockPeriod>([0-9.]+)", report.read_text())
    assert found and abs(float(found[1]) - 13) < 1e-3


def test_a_script_without_hls_segments_is_a_mistake_of_ours() -> None:
    with pytest.raises(InternalError, match="without an HLS segment"):
        hls_script(MIXED.segments[:1], PART, 100)


def test_the_script_names_each_option_it_takes(accelerator: Path) -> None:
    for option in OPTIONS:
        assert re.search(rf"^#     {option}  ", (accelerator / "hls" / SCRIPT).read_text(), re.MULTILINE)


def test_the_configuration_says_what_the_script_says(accelerator: Path) -> None:
    segment = ALL_HLS.segments[0]
    lines = (accelerator / "hls" / hls_config_name(segment)).read_text().splitlines()
    entries = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    keys = dict(entries)
    script = (accelerator / "hls" / SCRIPT).read_text()
    # UG1399 ("HLS General Options"): the part stands before the section, all else in it.
    assert lines.index(f"part={PART}") < lines.index("[hls]") < lines.index("flow_target=vivado")
    assert keys["syn.top"] == segment.name and keys["clock"] == "10ns"
    for key, command in (
        ("syn.compile.pipeline_style", "config_compile -pipeline_style"),
        ("syn.dataflow.strict_mode", "config_dataflow -strict_mode"),
        ("syn.rtl.deadlock_detection", "config_rtl -deadlock_detection"),
        ("package.output.format", "export_design -rtl verilog -format"),
    ):
        assert f"{command} {keys[key]}\n" in script
    for key, value in entries:
        if key in ("syn.file", "tb.file"):
            assert (accelerator / "hls" / value).exists()
    assert keys["syn.cflags"] == keys["tb.cflags"] == "-std=c++17 -I."
    assert keys["csim.argv"] == keys["cosim.argv"] == f"vectors {segment.name}"
    assert hls_config(segment, PART, 100) == "\n".join(lines) + "\n"


@pytest.mark.parametrize("version", ["2022.1", "2024.1.2"])
def test_vivado_packages_a_core(accelerator: Path, version: str) -> None:
    assert run(accelerator).returncode == 0
    done = package(accelerator, VERSION=version)
    assert done.returncode == 0, done.stdout
    assert (accelerator / "hls" / "vivado_ip" / "core" / "component.xml").read_text().splitlines() == [
        "facedet_stream 1.0 fpga-facedet accelerator of tiny",
        "ap_clk CLK {in 1}", "ap_rst_n RST {in 1}",
        "s_axis TDATA {in 24} TVALID {in 1} TREADY {out 1}", "m_axis TDATA {out 48} TVALID {out 1} TREADY {in 1}",
        "s_axis at ap_clk", "m_axis at ap_clk",
        "facedet_hls_0.v", "facedet_hls_0_table.dat", "facedet_hls_0_table.v", "facedet_stream.v", "maxpool_2x2.sv",
        "salt.dat", "top.sv",
    ]  # fmt: skip


def test_a_core_needs_verilog_of_these_sources(accelerator: Path) -> None:
    assert "there is no Verilog in" in package(accelerator).stdout
    assert run(accelerator).returncode == 0
    (accelerator / "hls" / "facedet" / "layers.hpp").write_text("// another library\n")
    done = package(accelerator)
    assert done.returncode == 1 and "is of other sources (facedet/layers.hpp differs)" in done.stdout


def test_a_core_needs_a_known_vivado(accelerator: Path) -> None:
    assert run(accelerator).returncode == 0
    done = package(accelerator, VERSION="2023.2")
    assert done.returncode == 1
    assert done.stdout.strip() == (
        "facedet: this script is for Vivado 2022.1 and 2024.1, not 2023.2; run it with one of these."
    )


@pytest.mark.parametrize(("right", "wrong", "said"), [
    ("[concat $sources $made]", "$sources", "the module facedet_hls_0 is not defined once"),
    ("[concat $sources $made]", "[concat $made $wrapper]", "the module facedet_core is not defined once"),
    ("set_property file_type {Memory File}", "list", "is of the type Unknown"),
    ("set_property top facedet_stream", "set_property top facedet_core", "must not be SystemVerilog"),
    ("set_property top facedet_stream [get_filesets sources_1]\n", "", "no module is the top"),
    (" -import_files", "", "ipx::package_project"),
    ("ipx::update_checksums $packaged\n", "", "without its checksums"),
    ("set_property version 1.0 $packaged\n", "", "the core has no version"),
    ("set_property version", "set_property revision", "a core has no property revision"),
    ("-clock ap_clk", "-clock aclk", "has no interface aclk"),
    ("m_axis TVALID", "m_axis TSTRB", "m_axis consists of"),
    ("input\ts_axis_tvalid", "output\ts_axis_tvalid", "s_axis goes both ways"),
    ("output\ts_axis_tready", "input\ts_axis_tready", "s_axis has no way back"),
    ("[23:0]", "[22:0]", "s_axis has no whole bytes"),
    ('(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 m_axis TREADY" *)', "", "belongs to no interface"),
])  # fmt: skip
def test_a_wrong_packaging_is_refused(accelerator: Path, right: str, wrong: str, said: str) -> None:
    script = accelerator / "hls" / IP_SCRIPT
    assert right in script.read_text()
    script.write_text(script.read_text().replace(right, wrong))
    assert run(accelerator).returncode == 0
    done = package(accelerator)
    assert done.returncode == 1 and said in done.stdout


def test_streams_of_a_core_are_padded_to_bytes_and_names_are_plain() -> None:
    script = ip_script("a {b}\nc", PART, replace(STREAM, lanes_in=3, bits_in=4, lanes_out=9, bits_out=3))
    assert "input\t[15:0]  s_axis_tdata" in script and "output\t[31:0]  m_axis_tdata" in script
    assert "{fpga-facedet accelerator of a (b) c}" in script
