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


def test_a_board_is_told_of_what_a_board_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is sent to install torch, or numpy 2 behind it, into a board's image."""
    monkeypatch.setenv("BOARD", "Pynq-Z2")
    findings = by_part()
    assert {"pynq", "root", "overlay", "native library"} <= set(findings)
    assert not {"torch", "onnxruntime", "finn-plus", "Vivado"} & set(findings)
    assert findings["board"].detail == "pynq-z2"
    assert "pip install pynq" not in findings["pynq"].detail
    monkeypatch.setenv("BOARD", "Pynq-Z9")
    assert not by_part()["board"].found and "Pynq-Z9" in by_part()["board"].detail


def test_an_overlay_without_its_bitstream_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pynq-z2" / "lpyolo-4w4a"
    folder.mkdir(parents=True)
    shipped = Path(__file__).resolve().parent.parent / "bitstreams" / "pynq-z2" / "lpyolo-4w4a" / "accelerator.json"
    (folder / "accelerator.json").write_bytes(shipped.read_bytes())
    monkeypatch.setenv("BOARD", "Pynq-Z2")
    monkeypatch.setenv("FACEDET_BITSTREAMS", str(tmp_path))
    assert not by_part()["overlay"].found and "no .bit" in by_part()["overlay"].detail
    (folder / "lpyolo-4w4a.bit").write_bytes(b"bits")
    assert by_part()["overlay"].found and by_part()["overlay"].detail == str(folder)
