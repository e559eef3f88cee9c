"""Vitis HLS run on an accelerator, with the stand-in and without any; its Verilog in an overlay's project."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fpga_facedet.boards import get_board
from fpga_facedet.compiler.hls.verilog import verilog_files
from fpga_facedet.compiler.overlay_top import write_overlay_top
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import Manifest
from fpga_facedet.synthesis.package import build_overlay
from fpga_facedet.synthesis.project import write_project
from fpga_facedet.synthesis.vendor_tool import reason
from fpga_facedet.synthesis.vitis import VitisError, find_vitis, run_vitis

from . import hls_accelerator
from .conftest import HERE
from .hls_accelerator import ALL_HLS, MIXED
from .test_package import wait_for_end

Z2 = get_board("pynq-z2")


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Take a developer's own tools from the PATH, and leave a folder there with what the stand-ins need."""
    if shutil.which("tclsh") is None:
        pytest.skip("needs tclsh (Debian: apt-get install tcl)")
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("tclsh", "sh", "dirname", "sleep"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def hls(tmp_path: Path) -> Path:
    return hls_accelerator.write(tmp_path / "accelerator")


def program(folder: Path, name: str, body: str) -> Path:
    """Write a program that is no Vitis HLS."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_it_is_found_on_the_path(tools: Path) -> None:
    assert find_vitis() is None
    older = program(tools, "vitis_hls", "exit 0")
    assert find_vitis() == older
    newer = program(tools, "vitis-run", "exit 0")
    assert find_vitis() == newer
    assert find_vitis(older) == older and find_vitis("vitis_hls") == older


def test_a_named_program_that_is_none_is_refused(tools: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no program .*vitis_hls to run; give .* Vitis HLS's program 'vitis-run' or 'vi"
    ):
        find_vitis(tmp_path / "vitis_hls")
    with pytest.raises(UserError, match="vivado is not Vitis HLS's program; give the path of vitis-run or vitis_hls"):
        find_vitis(program(tools, "vivado", "exit 0"))


@pytest.mark.parametrize("name", ["vitis_hls", "vitis-run"])
def test_it_makes_the_verilog(hls: Path, name: str) -> None:
    said: list[tuple[str, float]] = []
    run_vitis(hls, lambda text, share: said.append((text, share)), program=HERE / name, options=["csim"])
    assert said == [
        ("Vitis HLS: C simulation of facedet_hls_0", 0.0), ("Vitis HLS: C synthesis of facedet_hls_0", 0.25),
        ("Vitis HLS: export of facedet_hls_0", 0.5), ("Vitis HLS: collecting the Verilog", 0.75),
    ]  # fmt: skip
    assert (hls / "hls" / "vitis" / "vitis.log").read_text().startswith("facedet: C simulation of facedet_hls_0\n")
    assert [path.name for path in verilog_files(hls, ALL_HLS)] == [
        "facedet_hls_0.v", "facedet_hls_0_table.v", "facedet_hls_0_table.dat",
    ]  # fmt: skip


def test_a_program_on_the_path_is_run(hls: Path, tools: Path) -> None:
    (tools / "vitis_hls").symlink_to(HERE / "vitis_hls")
    (tools / "vitis_hls.tcl").symlink_to(HERE / "vitis_hls.tcl")
    for path in HERE.glob("*.tcl"):
        if not (tools / path.name).exists():
            (tools / path.name).symlink_to(path)
    run_vitis(hls)
    assert (hls / "hls" / "verilog" / "facedet_hls_0" / "facedet_hls_0.v").is_file()


def test_without_it_the_command_is_said(hls: Path) -> None:
    with pytest.raises(UserError) as caught:
        run_vitis(hls)
    assert str(caught.value) == (
        "There is no vitis-run and no vitis_hls on the PATH; install Vitis HLS 2022.1 or 2024.1, or run 'cd "
        f"{hls}/hls && vitis_hls -f vitis_hls.tcl' on a machine that has it and bring the folder hls back."
    )


@pytest.mark.parametrize(("world", "options", "said"), [
    ({"FAIL": "csim_design"}, ["csim"], "failed (C simulation of facedet_hls_0, exit code 1): ERROR: [HLS 200-70] cs"),
    ({"FAIL": "csynth_design"}, ["csim"], "failed (C synthesis of facedet_hls_0, exit code 1): ERROR: [HLS 200-70] c"),
    ({"FAIL": "cosim_design"}, ["cosim"], "failed (co-simulation of facedet_hls_0, exit code 1): ERROR: [HLS 200-70]"),
    ({"FAIL": "export_design"}, [], "failed (export of facedet_hls_0, exit code 1): ERROR: [HLS 200-70] export_design"),
    ({"LEAVE": "facedet_hls_0.v"}, [], "failed (collecting the Verilog, exit code 1): Vitis HLS left no facedet_hls_0"),
    ({"II": "MVAU_0 2"}, [], "failed (C synthesis of facedet_hls_0, exit code 1): the loop loop of MVAU_0_Pipeline_lo"),
    ({"LICENCE": "none"}, [], "has no licence (exit code 1): ERROR: [Common 17-345] A valid license was not found "),
])  # fmt: skip
def test_a_failure_says_its_reason(
    hls: Path, monkeypatch: pytest.MonkeyPatch, world: dict[str, str], options: list[str], said: str
) -> None:
    for key, value in world.items():
        monkeypatch.setenv(f"STANDIN_{key}", value)
    with pytest.raises(VitisError) as caught:
        run_vitis(hls, program=HERE / "vitis_hls", options=options)
    text = str(caught.value)
    assert text.startswith(f"Vitis HLS {said}") and text.endswith(f" All it said is in {hls}/hls/vitis/vitis.log.")
    assert "\n" not in text and ".." not in text


def test_the_scripts_own_reason_comes_first(tmp_path: Path) -> None:
    log = tmp_path / "vitis.log"
    log.write_text("facedet: project\nERROR: [HLS 200-70] some error\nfacedet: the loop is slow.\n")
    assert reason(log, ["project"]) == "the loop is slow."
    assert reason(log, ["project", "the loop is slow."]) == "ERROR: [HLS 200-70] some error."
    log.write_text("")
    assert reason(log, []) == "it said nothing."


def test_what_ends_well_without_verilog_is_not_believed(hls: Path, tools: Path) -> None:
    with pytest.raises(VitisError, match="Vitis HLS ended without Verilog of these sources; all it said is in .*log"):
        run_vitis(hls, program=program(tools, "vitis_hls", "exit 0"))


def test_verilog_of_an_earlier_run_is_not_taken_for_that_of_this_one(hls: Path, tools: Path) -> None:
    run_vitis(hls, program=HERE / "vitis_hls")
    (hls / "hls" / "top.cpp").write_text((hls / "hls" / "top.cpp").read_text() + "// new\n")
    hls_accelerator.seal(hls)
    with pytest.raises(VitisError, match="without Verilog of these sources"):
        run_vitis(hls, program=program(tools, "vitis_hls", "exit 0"))


def test_what_is_no_program_is_refused(hls: Path, tools: Path) -> None:
    text = tools / "vitis_hls"
    text.write_text("no program")
    text.chmod(0o755)
    with pytest.raises(
        UserError, match="Cannot run .*vitis_hls: Exec format error; check that it is Vitis HLS's program"
    ):
        run_vitis(hls, program=text)


def test_an_unknown_option_is_refused(hls: Path) -> None:
    with pytest.raises(UserError, match="no option 'fast' for Vitis HLS; choose of: csim, cosim, syn, impl, lenient"):
        run_vitis(hls, program=HERE / "vitis_hls", options=["csim", "fast"])


def test_an_accelerator_of_rtl_alone_is_refused(accelerator: Path) -> None:
    with pytest.raises(UserError, match="has no HLS layers; build it with --layers hls"):
        run_vitis(accelerator, program=HERE / "vitis_hls")


def test_changed_sources_are_refused(hls: Path) -> None:
    (hls / "hls" / "facedet" / "layers.hpp").write_text("// changed by hand\n")
    with pytest.raises(UserError, match="does not belong to the manifest beside it or was changed since"):
        run_vitis(hls, program=HERE / "vitis_hls")


def test_ctrl_c_ends_it_and_its_children(hls: Path, tools: Path, tmp_path: Path) -> None:
    parent = program(tools, "vitis_hls", 'sleep 600 &\necho $! >"$PIDS"\necho $$ >>"$PIDS"\nwait')
    pids = tmp_path / "pids"
    code = (
        "import sys; from pathlib import Path; from fpga_facedet.synthesis.vitis import run_vitis;"
        "run_vitis(Path(sys.argv[1]), program=Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(hls), str(parent)]
    child = subprocess.Popen(command, env=os.environ | {"PIDS": str(pids)}, stderr=subprocess.PIPE)
    while not pids.exists() or len(pids.read_text().split()) < 2:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    child.communicate()
    for pid in pids.read_text().split():
        wait_for_end(int(pid))


def test_an_overlay_without_verilog_is_refused_with_the_command(hls: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        build_overlay(hls, Z2, tmp_path / "out")
    assert str(caught.value) == (
        f"There is no Verilog of the HLS layers in {hls}/hls/verilog/facedet_hls_0; run 'cd {hls}/hls && vitis_hls -f "
        "vitis_hls.tcl' with Vitis HLS 2022.1 or 2024.1, here or on another machine, and this again."
    )
    assert not (tmp_path / "out").exists() and not (hls / "vivado-pynq-z2").exists()


@pytest.mark.parametrize("manifest", [ALL_HLS, MIXED], ids=["hls", "mixed"])
def test_an_overlay_takes_rtl_and_verilog(tmp_path: Path, manifest: Manifest) -> None:
    accelerator = hls_accelerator.write(tmp_path / "accelerator", manifest)
    run_vitis(accelerator, program=HERE / "vitis_hls")
    overlay = build_overlay(accelerator, Z2, tmp_path / "out", vivado=HERE / "vivado")
    assert overlay.bit is not None
    name = manifest.segments[-1].name
    sources = {path.name for path in (overlay.project / "sources").iterdir()}
    assert {f"{name}.v", f"{name}_table.v", f"{name}_table.dat", "top.sv", "salt.dat", "facedet_overlay.v"} <= sources
    made = overlay.project / "sources" / f"{name}.v"
    assert made.read_bytes() == (accelerator / "hls" / "verilog" / name / f"{name}.v").read_bytes()
    assert overlay.manifest.files["hls_sha256"] == Manifest.load(accelerator).files["hls_sha256"]


def test_other_verilog_makes_another_bitstream(hls: Path) -> None:
    run_vitis(hls, program=HERE / "vitis_hls")
    first = write_project(hls, Z2).digest
    assert write_project(hls, Z2).digest == first
    (hls / "hls" / "verilog" / "facedet_hls_0" / "facedet_hls_0_table.dat").write_text("5\na\n")
    assert write_project(hls, Z2).digest != first


def test_verilog_of_other_sources_is_never_used(hls: Path, tmp_path: Path) -> None:
    run_vitis(hls, program=HERE / "vitis_hls")
    (hls / "hls" / "top.cpp").write_text((hls / "hls" / "top.cpp").read_text() + "// another folding\n")
    hls_accelerator.seal(hls)
    with pytest.raises(
        UserError, match=r"is of other sources \(top.cpp differs\); run 'cd .*' with Vitis HLS 2022.1 or"
    ):
        build_overlay(hls, Z2, tmp_path / "out")
    run_vitis(hls, program=HERE / "vitis_hls")
    assert build_overlay(hls, Z2, tmp_path / "out").folder == tmp_path / "out"


def test_verilog_of_sources_changed_by_hand_is_not_used(hls: Path, tmp_path: Path) -> None:
    """It is of the sources that lie there, but the manifest's figures and digests are not."""
    (hls / "hls" / "top.cpp").write_text((hls / "hls" / "top.cpp").read_text() + "// by hand\n")
    command = [str(HERE / "vitis_hls"), "-f", "vitis_hls.tcl"]
    subprocess.run(command, cwd=hls / "hls", check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(UserError, match="does not belong to the manifest beside it or was changed since"):
        build_overlay(hls, Z2, tmp_path / "out")


def test_verilog_that_does_not_say_what_it_is_made_from_is_not_used(hls: Path, tmp_path: Path) -> None:
    run_vitis(hls, program=HERE / "vitis_hls")
    shutil.rmtree(hls / "hls" / "verilog" / "made_from")
    with pytest.raises(UserError, match="is of other sources"):
        write_overlay_top(hls, tmp_path / "out")


def test_other_frames_for_the_test_bench_change_no_verilog(hls: Path, tmp_path: Path) -> None:
    run_vitis(hls, program=HERE / "vitis_hls")
    (hls / "hls" / "vectors" / "facedet_hls_0_in.bin").write_bytes(b"another frame")
    hls_accelerator.seal(hls)
    assert write_overlay_top(hls, tmp_path / "out")[0].name == "facedet_hls_0.v"


def test_two_sources_of_one_name_are_a_mistake_of_ours(hls: Path, tmp_path: Path) -> None:
    run_vitis(hls, program=HERE / "vitis_hls")
    (hls / "hls" / "verilog" / "facedet_hls_0" / "salt.dat").write_text("5\n")
    with pytest.raises(InternalError, match=r"both have a source salt\.dat"):
        write_overlay_top(hls, tmp_path / "out")
