"""The doctor sees what is there and what is not."""

import json
from pathlib import Path

import pytest

from fpga_facedet import doctor


def by_part() -> dict[str, doctor.Finding]:
    return {finding.part: finding for finding in doctor.examine()}


def test_what_these_tests_run_on_is_found() -> None:
    findings = by_part()
    assert findings["Python"].found and findings["OpenCV"].found


def test_a_program_is_found_on_the_path_and_only_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not by_part()["Vivado"].found
    program = tmp_path / "vivado"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert by_part()["Vivado"].found and by_part()["Vivado"].detail == str(program)


def test_every_missing_part_says_how_to_get_it_and_what_it_enables() -> None:
    for finding in doctor.examine():
        assert finding.detail and finding.enables
    assert json.dumps(doctor.as_dicts(doctor.examine()))
