from pathlib import Path

import pytest

from fpga_facedet.compiler import report_findings
from fpga_facedet.compiler.report_findings import FifoUse, Findings, Point
from tests.compiler.report_case import FIFOS, SEARCH, SYNTHESIS, leave, manifest

ALL = {"search": SEARCH, "fifos": FIFOS, "synthesis": SYNTHESIS}


def read(folder: Path, **files) -> Findings:
    return report_findings.read(leave(folder, **files), manifest())


def test_an_empty_folder_holds_no_findings(tmp_path: Path) -> None:
    assert read(tmp_path) == Findings()


def test_all_three_files_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, **ALL)
    assert found.search is not None and found.fifos is not None and found.synthesis is not None
    search = found.search
    assert (search.asked, search.target_fps, search.binding) == ("--target-fps 7000", 7_000.0, "dsp")
    assert search.budget == SEARCH["budget"] and search.limit == SEARCH["limit"]
    assert search.front[0] == Point(1_000.0, {"lut": 2_000, "ff": 1_500, "bram18": 5, "dsp": 4}, 1.69, 1.69)
    assert found.fifos.fifos["FIFO_0"] == FifoUse(64, 24, 32, "LUTRAM")
    assert (found.fifos.frames, found.fifos.cycles["stalled"]) == (3, 24_000)
    assert found.synthesis.used == {"lut": 47_880, "ff": 10, "bram18": 10, "dsp": 10}
    assert found.synthesis.layers[0].resources["lut"] == 2_600


@pytest.mark.parametrize(
    ("request_", "asked", "target"),
    [
        ({"target_fps": None, "minimise": "share"}, "", None),
        ({"target_fps": "max", "minimise": "share"}, "--target-fps max", None),
        ({"target_fps": 60.5, "minimise": "dsp"}, "--target-fps 60.5 --minimise dsp", 60.5),
    ],
)
def test_a_request_is_said_in_the_commands_words(tmp_path: Path, request_, asked: str, target: float | None) -> None:
    search = read(tmp_path, search=SEARCH | {"request": request_}).search
    assert search is not None and (search.asked, search.target_fps) == (asked, target)


@pytest.mark.parametrize("name", ALL)
def test_findings_of_other_sources_count_as_missing(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, **{name: ALL[name] | {"rtl_sha256": "00"}}) == Findings()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"evidence": "estimated", "fifos": 3, "layers": "x"}', "[" * 100_000],
)
def test_a_damaged_file_is_named_and_shows_nothing(tmp_path: Path, name: str, content: str) -> None:
    assert read(tmp_path, **{name: content}) == Findings(damaged=(f"{name}.json",))


def test_a_figure_that_is_no_number_damages_its_file(tmp_path: Path) -> None:
    assert read(tmp_path, search=SEARCH | {"seconds": float("nan")}) == Findings(damaged=("search.json",))


@pytest.mark.parametrize("name", ["fifos", "synthesis"])
def test_figures_with_no_evidence_of_ours_are_not_shown(tmp_path: Path, name: str) -> None:
    for evidence in ("guessed", None):
        assert read(tmp_path, **{name: ALL[name] | {"evidence": evidence}}) == Findings(damaged=(f"{name}.json",))


def test_a_whole_that_could_not_be_counted_has_no_sum(tmp_path: Path) -> None:
    missing = dict.fromkeys(("lut", "ff", "bram18", "dsp"))
    synthesis = read(tmp_path, synthesis=SYNTHESIS | missing | {"not_counted": ["MVAU_rtl_0"]}).synthesis
    assert synthesis is not None and (synthesis.used, synthesis.not_counted) == ({}, ("MVAU_rtl_0",))
