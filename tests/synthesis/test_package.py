"""From an accelerator to an overlay's folder, with the stand-in for Vivado and without any."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fpga_facedet.boards import get_board
from fpga_facedet.compiler import layout
from fpga_facedet.engines.overlay_folder import read_overlay_folder
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.files import sha256_of
from fpga_facedet.manifest import Manifest
from fpga_facedet.synthesis.bitfile import read_bit_header
from fpga_facedet.synthesis.package import Overlay, build_overlay
from fpga_facedet.synthesis.reports import routed_figures
from fpga_facedet.synthesis.vivado import VivadoError, find_vivado

Z2 = get_board("pynq-z2")


@pytest.fixture(autouse=True)
def no_vivado(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take a developer's own Vivado from the PATH, and leave a folder there with the tools that the stand-in needs."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("tclsh", "sh", "dirname", "sleep"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tools))


def test_without_vivado_it_stops_and_says_what_to_run(accelerator: Path, tmp_path: Path) -> None:
    spaced = accelerator.rename(tmp_path / "an accelerator")
    overlay = build_overlay(spaced, Z2, tmp_path / "out")
    assert overlay.bit is None and overlay.project == spaced / "vivado-pynq-z2"
    assert overlay.command == f"cd '{tmp_path}/an accelerator/vivado-pynq-z2' && vivado -mode batch -source build.tcl"
    names = {path.name for path in overlay.folder.iterdir()}
    assert names == {"accelerator.json", "tiny.hwh", "README.md"}
    assert "**`tiny.bit` is missing: no Vivado has run for it yet.**" in (overlay.folder / "README.md").read_text()
    manifest = Manifest.load(overlay.folder)
    assert manifest == overlay.manifest
    assert manifest.files["hwh_sha256"] == sha256_of(overlay.folder / "tiny.hwh")
    assert "bit_sha256" not in manifest.files
    with pytest.raises(UserError, match=r"There is no .*tiny\.bit"):
        read_overlay_folder(overlay.folder)


def test_building_twice_changes_nothing(accelerator: Path, tmp_path: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}

    build_overlay(accelerator, Z2, tmp_path / "out")
    first = contents()
    build_overlay(accelerator, Z2, tmp_path / "out")
    assert contents() == first


def test_vivados_result_is_packaged(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    said: list[str] = []
    overlay = build_overlay(
        accelerator, Z2, tmp_path / "out", vivado=stand_in, progress=lambda text, _: said.append(text)
    )
    assert said == [
        "writing the project for Vivado", "Vivado: project", "Vivado: block design", "Vivado: synthesis",
        "Vivado: placement, routing and bitstream", "Vivado: reports", "Vivado: overlay", "packaging",
    ]  # fmt: skip
    found = read_overlay_folder(overlay.folder)
    assert found.bit == overlay.bit and found.manifest == overlay.manifest
    assert found.manifest.versions["vivado"] == "2022.1"
    figures = {figure.name: (figure.value, figure.evidence) for figure in found.manifest.figures}
    assert figures == {
        "lut": (31234, "routed"), "ff": (41000, "routed"), "bram18": (123, "routed"), "dsp": (3, "routed"),
        "setup_slack": (0.412, "routed"), "hold_slack": (0.021, "routed"), "power": (2.104, "estimated"),
    }  # fmt: skip
    reports = {path.name for path in (overlay.folder / "reports").iterdir()}
    assert reports == {"timing.rpt", "utilization.rpt", "utilization_hierarchical.rpt", "power.rpt"}
    assert (overlay.project / "vivado.log").read_text().startswith("facedet: project\n")
    assert "missing" not in (overlay.folder / "README.md").read_text()


def built_elsewhere(stand_in: Path, accelerator: Path, out: Path) -> Overlay:
    """Write the project here, and let Vivado run where its folder was taken to."""
    overlay = build_overlay(accelerator, Z2, out)
    command = [str(stand_in), "-mode", "batch", "-source", "build.tcl"]
    subprocess.run(command, cwd=overlay.project, check=True, stdout=subprocess.DEVNULL)
    return overlay


def test_a_result_from_another_machine_is_packaged(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    built_elsewhere(stand_in, accelerator, tmp_path / "out")
    overlay = build_overlay(accelerator, Z2, tmp_path / "out")
    assert overlay.bit is not None and read_overlay_folder(overlay.folder)


def test_a_bitstream_brought_back_alone_is_not_enough(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    overlay = built_elsewhere(stand_in, accelerator, tmp_path / "out")
    (overlay.project / "result" / "built.txt").unlink()
    with pytest.raises(UserError, match=r"has a bitstream but not .*built\.txt.*bring the whole folder 'result'"):
        build_overlay(accelerator, Z2, tmp_path / "out")


def test_a_finished_result_is_not_made_again(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    built_elsewhere(stand_in, accelerator, tmp_path / "out")
    overlay = build_overlay(accelerator, Z2, tmp_path / "out", vivado=stand_in)
    assert overlay.bit is not None and not (overlay.project / "vivado.log").exists()


def change_source(accelerator: Path) -> None:
    """Build the accelerator anew, so to speak: another source, and the manifest that belongs to it."""
    (accelerator / "rtl" / "salt.dat").write_text("818181\n")
    manifest = Manifest.load(accelerator)
    replace(manifest, files=layout.digests(accelerator)).save(accelerator / "accelerator.json")


def test_a_result_of_an_older_accelerator_is_not_packaged(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    built_elsewhere(stand_in, accelerator, tmp_path / "out")
    assert build_overlay(accelerator, Z2, tmp_path / "out").bit is not None
    old = (tmp_path / "out" / "tiny.bit").read_bytes()
    change_source(accelerator)
    for _ in range(2):
        with pytest.raises(UserError, match="tiny.bit is of other sources than the accelerator in"):
            build_overlay(accelerator, Z2, tmp_path / "out")
        assert (tmp_path / "out" / "tiny.bit").read_bytes() == old
    elsewhere = build_overlay(accelerator, Z2, tmp_path / "elsewhere")
    assert elsewhere.bit is None
    assert "The result of other sources that was there is now" in elsewhere.notes[-1]
    assert build_overlay(accelerator, Z2, tmp_path / "out", vivado=stand_in).bit is not None
    assert (tmp_path / "out" / "tiny.bit").read_bytes() != old


def test_a_packaged_bitstream_survives_its_project(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    """As in a fresh checkout: the overlay is there, Vivado's folder is not."""
    first = build_overlay(accelerator, Z2, tmp_path / "out", vivado=stand_in)
    shutil.rmtree(first.project)
    again = build_overlay(accelerator, Z2, tmp_path / "out", vivado=stand_in)
    assert (again.bit, again.manifest) == (first.bit, first.manifest)
    assert not again.project.joinpath("result").exists()
    assert again.notes == (f"{first.bit} is of these sources already.",)


def test_a_damaged_overlay_is_no_overlay_of_other_sources(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    """Each file that a board loads, in turn: damaged, said so until it is made again, and never loaded before."""
    out = tmp_path / "out"
    shutil.rmtree(build_overlay(accelerator, Z2, out, vivado=stand_in).project)
    for path in (out / "tiny.bit", out / "tiny.hwh"):
        whole = path.read_bytes()
        path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        said = f"{path} is damaged: SHA-256 {sha256_of(path)}, its manifest says "
        for _ in range(2):
            with pytest.raises(UserError) as caught:
                build_overlay(accelerator, Z2, out)
            assert str(caught.value).startswith(said) and "make it again with 'cd " in str(caught.value)
        assert build_overlay(accelerator, Z2, out, vivado=stand_in).bit is not None
        assert path.read_bytes() == whole and read_overlay_folder(out)
        shutil.rmtree(accelerator / "vivado-pynq-z2")


@pytest.mark.parametrize(("name", "said"), [
    ("tiny.hwh", "tiny.hwh is missing; make it again with"),
    ("accelerator.json", "tiny.bit has no accelerator.json beside it"),
])  # fmt: skip
def test_an_overlay_without_one_of_its_files_is_made_again(
    stand_in: Path, accelerator: Path, tmp_path: Path, name: str, said: str
) -> None:
    out = tmp_path / "out"
    shutil.rmtree(build_overlay(accelerator, Z2, out, vivado=stand_in).project)
    (out / name).unlink()
    for _ in range(2):
        with pytest.raises(UserError, match=said):
            build_overlay(accelerator, Z2, out)
    assert build_overlay(accelerator, Z2, out, vivado=stand_in).bit == read_overlay_folder(out).bit


@pytest.mark.parametrize("text", ["{", '{"format": "facedet-accelerator/9"}'])
def test_a_broken_manifest_of_an_overlay_is_not_taken_for_the_accelerators(
    stand_in: Path, accelerator: Path, tmp_path: Path, text: str
) -> None:
    out = tmp_path / "out"
    shutil.rmtree(build_overlay(accelerator, Z2, out, vivado=stand_in).project)
    (out / "accelerator.json").write_text(text)
    with pytest.raises(UserError) as caught:
        build_overlay(accelerator, Z2, out)
    assert str(out / "accelerator.json") in str(caught.value) and "build the accelerator" not in str(caught.value)
    assert str(caught.value).endswith(f"or move {out / 'tiny.bit'} away.")
    (out / "tiny.bit").unlink()
    assert build_overlay(accelerator, Z2, out).bit is None and Manifest.load(out)


def test_the_accelerators_folder_is_no_overlays(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    before = (accelerator / "accelerator.json").read_bytes()
    link = tmp_path / "link"
    link.symlink_to(accelerator)
    for out in (accelerator, link, accelerator / "rtl" / ".."):
        with pytest.raises(UserError, match="is the accelerator's own folder"):
            build_overlay(accelerator, Z2, out, vivado=stand_in)
    for out in (accelerator / "vivado-pynq-z2", link / "vivado-pynq-z2" / "result"):
        with pytest.raises(UserError, match="lies in Vivado's project.*give --out another folder"):
            build_overlay(accelerator, Z2, out, vivado=stand_in)
    assert (accelerator / "accelerator.json").read_bytes() == before
    assert not (accelerator / "vivado-pynq-z2").exists()
    assert build_overlay(accelerator, Z2, accelerator / "overlay", vivado=stand_in).bit is not None


def test_a_folder_of_another_overlay_is_refused(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    """A board would not load what came out: it takes one overlay in a folder."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other.hwh").write_text("other")
    with pytest.raises(UserError, match=r"has other\.hwh of another overlay; give tiny a folder of its own"):
        build_overlay(accelerator, Z2, tmp_path / "out", vivado=stand_in)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["other.hwh"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_read_only_accelerator_is_said_to_be_one(
    accelerator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Root, whom tests may run as, writes everywhere: the refusal is the system's, only its occasion is not."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fpga_facedet.synthesis.project.tempfile.TemporaryDirectory", refuse)
    with pytest.raises(UserError, match="make that writable, or copy it and name the copy"):
        build_overlay(accelerator, Z2, tmp_path / "out")


@pytest.mark.parametrize("name", ["sources/top.sv", "sources/salt.dat", "build.tcl", "bitstream.xdc"])
def test_a_result_of_changed_sources_is_not_packaged(
    stand_in: Path, accelerator: Path, tmp_path: Path, name: str
) -> None:
    overlay = build_overlay(accelerator, Z2, tmp_path / "out")
    before = (overlay.project / name).read_bytes()
    (overlay.project / name).write_bytes(before + b"\n")
    built_result = [str(stand_in), "-mode", "batch", "-source", "build.tcl"]
    subprocess.run(built_result, cwd=overlay.project, check=True, stdout=subprocess.DEVNULL)
    for _ in range(2):
        assert build_overlay(accelerator, Z2, tmp_path / "out").bit is None
    assert (overlay.project / name).read_bytes() == before


def test_another_bitstream_in_its_place_is_refused(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    first = built_elsewhere(stand_in, accelerator, tmp_path / "out").project / "result" / "facedet.bit"
    ours = first.read_bytes()
    change_source(accelerator)
    other = built_elsewhere(stand_in, accelerator, tmp_path / "other").project / "result" / "facedet.bit"
    other.write_bytes(ours)
    with pytest.raises(UserError, match="is from other sources: it is marked [0-9A-F]{8}, these are"):
        build_overlay(accelerator, Z2, tmp_path / "other")


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda data: data[:-1], "is no whole bitstream"),
    (lambda data: data[:40], "is no whole bitstream"),
    (lambda data: b"\0" + data, "is no whole bitstream"),
    (lambda data: b"", "is no whole bitstream"),
    (lambda data: data.replace(b"7z020clg400", b"7z010clg400"), "is for the chip 7z010clg400, pynq-z2 has 7z020clg400"),
    (lambda data: data.replace(b"facedet_wrapper;", b"another_wrapper;"), "is of the design another_wrapper"),
    (lambda data: data.replace(b"UserID=", b"user_i="), "it is marked None"),
])  # fmt: skip
def test_a_broken_bitstream_is_refused(
    stand_in: Path, accelerator: Path, tmp_path: Path, spoil: "object", said: str
) -> None:
    bit = built_elsewhere(stand_in, accelerator, tmp_path / "out").project / "result" / "facedet.bit"
    assert callable(spoil)
    bit.write_bytes(spoil(bit.read_bytes()))
    with pytest.raises(UserError, match=said):
        build_overlay(accelerator, Z2, tmp_path / "out")
    assert not (tmp_path / "out" / "tiny.bit").exists()


def test_a_bitstreams_header_is_read(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    built_elsewhere(stand_in, accelerator, tmp_path / "out")
    overlay = build_overlay(accelerator, Z2, tmp_path / "out")
    header = read_bit_header(overlay.project / "result" / "facedet.bit")
    assert (header.design, header.part) == ("facedet_wrapper", "7z020clg400")
    assert header.user_id == overlay.manifest.files["project_sha256"][:8].upper()


@pytest.mark.parametrize(("report", "old", "new", "kind", "said"), [
    ("timing.rpt", "0.412", "-0.41", UserError, r"setup_slack is -0\.41 ns"),
    ("timing.rpt", "WNS(ns)", "Slack", InternalError, r"has no 'WNS\(ns\)'"),
    ("utilization.rpt", "Slice LUTs ", "CLB LUTs   ", InternalError, "has no 'Slice LUTs'"),
    ("power.rpt", "On-Chip", "In-Chip", InternalError, "has no 'Total On-Chip Power"),
])  # fmt: skip
def test_reports_that_say_something_else_are_refused(
    stand_in: Path, accelerator: Path, tmp_path: Path, report: str, old: str, new: str, kind: type, said: str
) -> None:
    path = built_elsewhere(stand_in, accelerator, tmp_path / "out").project / "result" / "reports" / report
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(kind, match=said):
        build_overlay(accelerator, Z2, tmp_path / "out")


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read Vivado's report .*utilization\.rpt"):
        routed_figures(tmp_path)


@pytest.mark.parametrize(("world", "said"), [
    ({"WNS": "-0.2"}, "the design misses its timing: setup slack WNS is -0.2 ns"),
    ({"FAIL": "impl_1"}, "impl_1 ended with 'impl_1 ERROR'"),
    ({"VERSION": "2020.1"}, "this script is for Vivado 2022.1 and 2024.1, not 2020.1"),
])  # fmt: skip
def test_vivados_failure_gives_its_reason(
    stand_in: Path, accelerator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: dict[str, str], said: str
) -> None:
    for key, value in world.items():
        monkeypatch.setenv(f"STANDIN_{key}", value)
    with pytest.raises(VivadoError) as caught:
        build_overlay(accelerator, Z2, tmp_path / "out", vivado=stand_in)
    assert str(caught.value).startswith("Vivado made no bitstream (exit code 1): " + said)
    assert str(accelerator / "vivado-pynq-z2" / "vivado.log") in str(caught.value)


def test_a_vivado_that_does_nothing_is_not_believed(accelerator: Path, tmp_path: Path) -> None:
    lazy = tmp_path / "vivado"
    lazy.write_text("#!/bin/sh\nexit 0\n")
    lazy.chmod(0o755)
    with pytest.raises(UserError, match="Vivado ended without a result"):
        build_overlay(accelerator, Z2, tmp_path / "out", vivado=lazy)


def test_what_is_no_program_is_refused(accelerator: Path, tmp_path: Path) -> None:
    text = tmp_path / "vivado"
    text.write_text("no program")
    text.chmod(0o755)
    with pytest.raises(UserError, match="Cannot run .*vivado: Exec format error; check that it is Vivado's program"):
        build_overlay(accelerator, Z2, tmp_path / "out", vivado=text)


def test_a_run_that_goes_on_is_left_alone(accelerator: Path, tmp_path: Path) -> None:
    """Somebody looks again while Vivado, started by hand, is at work: what it has written so far stays."""
    half = build_overlay(accelerator, Z2, tmp_path / "out").project / "result" / "reports" / "timing.rpt"
    half.parent.mkdir(parents=True)
    half.write_text("half a report")
    assert build_overlay(accelerator, Z2, tmp_path / "out").bit is None
    assert half.read_text() == "half a report"


def test_ctrl_c_ends_vivado_and_its_children(stand_in: Path, accelerator: Path, tmp_path: Path) -> None:
    parent = tmp_path / "vivado"
    parent.write_text('#!/bin/sh\nsleep 600 &\necho $! >"$PIDS"\necho $$ >>"$PIDS"\nwait\n')
    parent.chmod(0o755)
    pids = tmp_path / "pids"
    code = (
        "import sys; from pathlib import Path; from fpga_facedet.boards import get_board;"
        "from fpga_facedet.synthesis.package import build_overlay;"
        "build_overlay(Path(sys.argv[1]), get_board('pynq-z2'), Path(sys.argv[2]), vivado=Path(sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, str(accelerator), str(tmp_path / "out"), str(parent)]
    child = subprocess.Popen(command, env=os.environ | {"PIDS": str(pids)}, stderr=subprocess.PIPE)
    while not pids.exists() or len(pids.read_text().split()) < 2:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    child.communicate()
    for pid in pids.read_text().split():
        wait_for_end(int(pid))


def wait_for_end(pid: int) -> None:
    """Return once the process is no more; it was told to end, and the system may take its time."""
    state = Path("/proc") / str(pid) / "stat"
    for _ in range(500):
        try:
            if state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    pytest.fail(f"the process {pid} went on")


def test_ctrl_c_while_vivado_starts_ends_it_too(
    accelerator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "vivado"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    started: list[int] = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        """Ctrl-C comes when the process is there and its starter does not yet know."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self.pid)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build_overlay(accelerator, Z2, tmp_path / "out", vivado=program)
    assert signal.getsignal(signal.SIGINT) is handler
    wait_for_end(*started)


def test_what_is_no_accelerator_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="There is no manifest"):
        build_overlay(tmp_path / "empty", Z2, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_manifest_alone_is_refused(accelerator: Path, tmp_path: Path) -> None:
    shutil.rmtree(accelerator / "rtl")
    with pytest.raises(UserError, match="build the accelerator again"):
        build_overlay(accelerator, Z2, tmp_path / "out")


def test_an_accelerator_for_another_chip_is_refused(accelerator: Path, tmp_path: Path) -> None:
    data = json.loads((accelerator / "accelerator.json").read_text()) | {"part": "xc7z010clg400-1"}
    (accelerator / "accelerator.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="was built for the part xc7z010clg400-1"):
        build_overlay(accelerator, Z2, tmp_path / "out")


def test_a_named_vivado_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no program"):
        find_vivado(tmp_path / "vivado")
    assert find_vivado() is None


@pytest.mark.parametrize("name", ["zybo-z7-20", "zcu104"])
def test_a_board_without_our_shell_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no board shell for .*; overlays are made for pynq-z1, pynq-z2"):
        build_overlay(tmp_path / "accelerator", get_board(name), tmp_path / "overlay")
    assert not (tmp_path / "accelerator").exists() and not (tmp_path / "overlay").exists()
