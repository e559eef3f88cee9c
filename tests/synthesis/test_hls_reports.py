"""Vitis HLS's reports read: those that the stand-in writes in its form, damaged ones, and those of other sources."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.manifest import Figure, Manifest
from fpga_facedet.synthesis.hls_reports import HlsReport, Loop, read, record
from fpga_facedet.synthesis.vitis import VitisError, run_vitis

from . import hls_accelerator
from .conftest import HERE
from .hls_accelerator import ALL_HLS, ESTIMATES, MIXED

SYNTHESIZED = {"lut": 678.0, "ff": 345.0, "bram18": 1.0, "dsp": 2.0}
Options = list[str]
Make = Callable[..., Path]


@pytest.fixture
def synthesized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make an accelerator and let the stand-in synthesize it in a world of the given settings."""
    if shutil.which("tclsh") is None:
        pytest.skip("needs tclsh (Debian: apt-get install tcl)")

    def make(manifest: Manifest = ALL_HLS, options: Options | None = None, **world: str) -> Path:
        folder = hls_accelerator.write(tmp_path / "accelerator", manifest)
        for key, value in world.items():
            monkeypatch.setenv(f"STANDIN_{key}", value)
        run_vitis(folder, program=HERE / "vitis_hls", options=options or [])
        return folder

    return make


def reports(accelerator: Path, segment: str = "facedet_hls_0") -> Path:
    return accelerator / "hls" / "vitis" / segment / "solution" / "syn" / "report"


def rewrite(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def figures(report: HlsReport) -> dict[str, tuple[float, str, str]]:
    return {figure.name: (figure.value, figure.unit, figure.evidence) for figure in report.figures}


def test_without_reports_the_cycle_model_is_shown_with_the_command(tmp_path: Path) -> None:
    folder = hls_accelerator.write(tmp_path / "accelerator")
    report = read(folder)
    assert [(layer.name, layer.cycles, layer.evidence) for layer in report.layers] == [
        ("FMPadding_0", 60, "estimated"), ("MVAU_0", 58, "estimated"),
    ]  # fmt: skip
    assert (report.segments, report.figures, report.loops) == ((), (), ())
    assert report.command == f"cd {folder}/hls && vitis_hls -f vitis_hls.tcl"
    assert len(report.notes) == 1 and "no report of Vitis HLS for facedet_hls_0 yet" in report.notes[0]
    assert report.command in report.notes[0]


def test_cycles_and_resources_are_those_of_the_reports(synthesized: Make) -> None:
    report = read(synthesized())
    assert [(layer.name, layer.cycles, layer.resources, layer.evidence) for layer in report.layers] == [
        ("FMPadding_0", 54, SYNTHESIZED, "synthesized"), ("MVAU_0", 54, SYNTHESIZED, "synthesized"),
    ]  # fmt: skip
    assert report.loops == (
        Loop("loop", "FMPadding_0_Pipeline_loop", "FMPadding_0", 1, 48),
        Loop("loop", "MVAU_0_Pipeline_loop", "MVAU_0", 1, 48),
    )
    (segment,) = report.segments
    assert (segment.name, segment.version, segment.target_ns, segment.clock_ns) == (
        "facedet_hls_0",
        "2022.1",
        10,
        7.312,
    )
    assert segment.resources == SYNTHESIZED and segment.available["lut"] == 53200
    assert figures(report) == {
        "cycles_per_frame": (54, "cycles", "synthesized"), "fps": (1851851.9, "frames/s", "synthesized"),
        "lut": (678, "LUTs", "synthesized"), "ff": (345, "flip-flops", "synthesized"),
        "bram18": (1, "18-kbit block RAMs", "synthesized"), "dsp": (2, "DSP slices", "synthesized"),
        "clock_period": (7.312, "ns", "synthesized"),
    }  # fmt: skip
    assert report.command is None and report.notes == ()


@pytest.mark.parametrize(("options", "lut", "evidence"), [(["syn"], 612, "synthesized"), (["impl"], 587, "routed")])
def test_vivados_run_of_a_segment_counts_more(synthesized: Make, options: Options, lut: int, evidence: str) -> None:
    report = read(synthesized(options=options))
    assert figures(report)["lut"] == (lut, "LUTs", evidence)
    assert figures(report)["clock_period"] == (6.904, "ns", evidence)
    assert figures(report)["cycles_per_frame"][2] == "synthesized"
    assert {layer.evidence for layer in report.layers} == {"synthesized"}


def test_a_slow_loop_is_named_with_its_layer(synthesized: Make) -> None:
    report = read(synthesized(options=["lenient"], II="MVAU_0 2"))
    assert report.notes == ("The loop loop of layer MVAU_0 begins an iteration every 2 cycles, not every cycle.",)
    assert [loop.interval for loop in report.loops] == [1, 2]


def test_a_slow_loop_is_named_where_the_run_stopped_for_it(synthesized: Make, tmp_path: Path) -> None:
    with pytest.raises(VitisError):
        synthesized(II="FMPadding_0 3")
    assert "of layer FMPadding_0 begins an iteration every 3 cycles" in read(tmp_path / "accelerator").notes[0]


def test_loops_in_loops_ranges_and_unknown_counts_are_read(synthesized: Make) -> None:
    folder = synthesized()
    rewrite(
        reports(folder) / "MVAU_0_Pipeline_loop_csynth.xml", "<loop><Name>loop</Name><TripCount>48</TripCount>",
        "<outer><Name>outer</Name><TripCount>2</TripCount><PipelineII>undef</PipelineII><inner>"
        "<TripCount><range><min>1</min><max>7</max></range></TripCount><PipelineII>1</PipelineII></inner></outer>"
        "<flat><Name>flat</Name><TripCount>9</TripCount></flat><loop><Name>loop</Name><TripCount>48</TripCount>",
    )  # fmt: skip
    report = read(folder)
    assert report.loops[1:] == (
        Loop("outer", "MVAU_0_Pipeline_loop", "MVAU_0", None, 2),
        Loop("inner", "MVAU_0_Pipeline_loop", "MVAU_0", 1, 7),
        Loop("loop", "MVAU_0_Pipeline_loop", "MVAU_0", 1, 48),
    )
    assert report.notes == (
        "The loop outer of layer MVAU_0 begins an iteration at no fixed interval, not every cycle.",
    )


def test_modules_are_found_under_the_segments_prefix_and_below_their_layer(synthesized: Make) -> None:
    """As Verilog names them; a part whose own name says nothing of its layer is the layer's by the hierarchy."""
    folder = synthesized()
    (reports(folder) / "MVAU_0_csynth.xml").rename(reports(folder) / "facedet_hls_0_MVAU_0_csynth.xml")
    (reports(folder) / "MVAU_0_Pipeline_loop_csynth.xml").rename(reports(folder) / "matrix_vector_csynth.xml")
    rewrite(reports(folder) / "csynth.xml", ">MVAU_0_Pipeline_loop<", ">facedet_hls_0_matrix_vector<")
    rewrite(reports(folder) / "csynth.xml", ">MVAU_0<", ">facedet_hls_0_MVAU_0<")
    report = read(folder)
    assert {loop.module: loop.layer for loop in report.loops} == {
        "FMPadding_0_Pipeline_loop": "FMPadding_0", "matrix_vector": "MVAU_0",
    }  # fmt: skip
    assert {layer.evidence for layer in report.layers} == {"synthesized"}


def test_a_loop_is_its_layers_by_its_name_too(synthesized: Make) -> None:
    """A report without the hierarchy."""
    folder = synthesized()
    text = (reports(folder) / "csynth.xml").read_text()
    begin, end = text.index("<RTLDesignHierarchy>"), text.index("</profile>")
    (reports(folder) / "csynth.xml").write_text(text[:begin] + text[end:])
    assert [loop.layer for loop in read(folder).loops] == ["FMPadding_0", "MVAU_0"]


@pytest.mark.parametrize("spoil", [
    lambda place: (place / "MVAU_0_csynth.xml").unlink(),
    lambda place: rewrite(place / "MVAU_0_csynth.xml", "<Interval-max>54<", "<Interval-max>undef<"),
], ids=["no module", "no interval"])  # fmt: skip
def test_a_layer_without_figures_stays_estimated(synthesized: Make, spoil: Callable[[Path], None]) -> None:
    folder = synthesized()
    spoil(reports(folder))
    report = read(folder)
    assert [(layer.cycles, layer.evidence) for layer in report.layers] == [(54, "synthesized"), (58, "estimated")]
    assert "cycles_per_frame" not in figures(report) and figures(report)["lut"][0] == 678
    assert report.notes[-1] == "The reports have no module with a fixed interval for MVAU_0: estimated."


def test_a_loop_of_no_layer_is_named_with_its_module(synthesized: Make) -> None:
    folder = synthesized(options=["lenient"], II="MVAU_0 2")
    shutil.copyfile(reports(folder) / "MVAU_0_Pipeline_loop_csynth.xml", reports(folder) / "write_port_csynth.xml")
    assert read(folder).notes[-1] == (
        "The loop loop of module write_port begins an iteration every 2 cycles, not every cycle."
    )


def test_a_clock_that_is_missed_is_said(synthesized: Make) -> None:
    folder = synthesized()
    rewrite(reports(folder) / "csynth.xml", "<EstimatedClockPeriod>7.312", "<EstimatedClockPeriod>10.400")
    assert read(folder).notes == (
        "facedet_hls_0 needs a clock of 10.4 ns (synthesized), slower than the 10 ns it is built for.",
    )


def test_a_mixed_accelerator_keeps_the_estimates_of_its_rtl(synthesized: Make) -> None:
    report = read(synthesized(MIXED))
    assert [(layer.name, layer.style, layer.cycles, layer.evidence) for layer in report.layers] == [
        ("StreamingMaxPool_rtl_0", "rtl", 48, "estimated"), ("MVAU_0", "hls", 54, "synthesized"),
    ]  # fmt: skip
    # The whole is not synthesized: no figure of it.
    assert report.figures == () and report.notes == ()


def test_reports_of_the_unified_flow_are_found(synthesized: Make) -> None:
    folder = synthesized()
    solution = folder / "hls" / "vitis" / "facedet_hls_0" / "solution"
    solution.rename(solution.with_name("hls"))
    assert {layer.evidence for layer in read(folder).layers} == {"synthesized"}


@pytest.mark.parametrize("name", ["csynth.xml", "MVAU_0_csynth.xml"])
def test_a_damaged_report_is_said_to_be_one(synthesized: Make, name: str) -> None:
    folder = synthesized()
    text = (reports(folder) / name).read_text()
    for size in (0, len(text) // 2, len(text) - 2):
        (reports(folder) / name).write_text(text[:size])
        with pytest.raises(UserError, match=rf"report .*{name} is damaged \(.*\); run Vitis HLS again"):
            read(folder)


@pytest.mark.parametrize(("name", "old", "new", "said"), [
    ("csynth.xml", "EstimatedClockPeriod", "Clock", "has no PerformanceEstimates/SummaryOfTimingAnalysis/Estimat"),
    ("csynth.xml", "<LUT>678", "<LUT>many", "has 'many' as AreaEstimates/Resources/LUT where a number should be"),
    ("csynth.xml", "<Version>2022.1<", "<Version><", "has no ReportVersion/Version; it is damaged or of a version"),
    ("csynth.xml", "<TopModelName>facedet_hls_0<", "<TopModelName>other<", "is a report of other, not of facedet_hls"),
    ("MVAU_0_csynth.xml", "Interval-max", "Interval", "has no PerformanceEstimates/SummaryOfOverallLatency/Interval"),
    ("MVAU_0_csynth.xml", "BRAM_18K", "BRAM", "has no AreaEstimates/Resources/BRAM_18K"),
])  # fmt: skip
def test_a_report_in_another_form_is_refused(synthesized: Make, name: str, old: str, new: str, said: str) -> None:
    folder = synthesized()
    rewrite(reports(folder) / name, old, new)
    with pytest.raises(UserError) as caught:
        read(folder)
    assert said in str(caught.value) and name in str(caught.value)


def test_reports_of_other_sources_are_refused(synthesized: Make) -> None:
    folder = synthesized()
    (folder / "hls" / "top.cpp").write_text((folder / "hls" / "top.cpp").read_text() + "// another folding\n")
    hls_accelerator.seal(folder)
    with pytest.raises(
        UserError, match=r"are of other sources than the accelerator's \(top.cpp differs\); run 'cd .*' "
    ):
        read(folder)
    shutil.rmtree(folder / "hls" / "vitis" / "made_from")
    with pytest.raises(UserError, match=r"\(there is no .*made_from that says which\)"):
        read(folder)


def test_reports_of_sources_changed_by_hand_are_refused(synthesized: Make) -> None:
    folder = synthesized()
    for name in ("top.cpp", "vitis/made_from/top.cpp"):
        (folder / "hls" / name).write_text("// by hand\n")
    with pytest.raises(UserError, match="does not belong to the manifest beside it or was changed since"):
        read(folder)


def test_an_accelerator_of_rtl_alone_is_refused(accelerator: Path) -> None:
    with pytest.raises(UserError, match="has no HLS layers; build it with --layers hls"):
        read(accelerator)


def test_what_is_recorded_is_in_manifest_and_page(synthesized: Make) -> None:
    folder = synthesized(options=["impl"])
    simulated = Figure("latency", 70, "cycles", "simulated")
    hls_accelerator.seal(folder, replace(Manifest.load(folder), figures=(*ESTIMATES, simulated)))
    report = read(folder)
    manifest = record(folder, report)
    assert manifest == Manifest.load(folder)
    assert [(layer.cycles, layer.resources, layer.evidence) for layer in manifest.layers] == [
        (54, SYNTHESIZED, "synthesized")
    ] * 2
    assert manifest.figures == (*ESTIMATES, simulated, *report.figures)
    best = {name: manifest.figure(name) for name in ("cycles_per_frame", "lut")}
    assert {name: figure and figure.evidence for name, figure in best.items()} == {
        "cycles_per_frame": "synthesized", "lut": "routed",
    }  # fmt: skip
    assert manifest.versions["vitis-hls"] == "2022.1"
    assert json.loads((folder / "report.json").read_text()) == json.loads((folder / "accelerator.json").read_text())
    assert "587" in (folder / "report.html").read_text()
    # Once more, of the same: nothing is there twice.
    assert record(folder, read(folder)) == manifest


def test_nothing_is_recorded_without_a_report(tmp_path: Path) -> None:
    folder = hls_accelerator.write(tmp_path / "accelerator")
    before = (folder / "accelerator.json").read_bytes()
    with pytest.raises(UserError, match="no report of Vitis HLS in .* to record; run 'cd .*vitis_hls.tcl'"):
        record(folder, read(folder))
    assert (folder / "accelerator.json").read_bytes() == before and not (folder / "report.html").exists()


def test_a_full_disk_leaves_the_manifest_as_it_was(synthesized: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = synthesized()
    before = (folder / "accelerator.json").read_bytes()

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    report = read(folder)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(UserError, match="the disk is full"):
        record(folder, report)
    assert (folder / "accelerator.json").read_bytes() == before


def test_it_can_be_read_by_a_person_and_a_program(synthesized: Make) -> None:
    report = read(synthesized(MIXED))
    assert report.describe() == (
        "layer                   style  cycles a frame  LUT  BRAM18  DSP  evidence\n"
        "StreamingMaxPool_rtl_0  rtl                48   90       0    0  estimated\n"
        "MVAU_0                  hls                54  678       1    2  synthesized\n"
        "facedet_hls_1: 678 of 53,200 LUTs, 345 of 106,400 flip-flops, 1 of 280 18-kbit block RAMs, 2 of 220 DSP "
        "slices; clock 7.312 ns of 10 ns (synthesized, Vitis HLS 2022.1)"
    )
    found = json.loads(json.dumps(report.to_dict()))
    assert found["layers"][1]["cycles"] == 54 and found["loops"][0]["layer"] == "MVAU_0"
    assert set(found) == set(HlsReport.__dataclass_fields__)
