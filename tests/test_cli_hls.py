"""HLS layers on the command line: built, proven, reported, and each mistake in one sentence."""

import json
import shutil
from pathlib import Path

import pytest

from fpga_facedet.manifest import Manifest
from tests.test_cli import facedet, refusal
from tests.verification import small

STAND_IN = Path(__file__).resolve().parent / "synthesis"
"""Has a `vitis_hls` that refuses wrong scripts and leaves small Verilog and reports."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An RTL accelerator's folder, whose steps before the folding serve other styles too."""
    return shutil.copytree(small.accelerator(), tmp_path / "accelerator")


def build(folder: Path, layers: str, *words: str) -> tuple[object, ...]:
    """The words that make the accelerator in `folder` one of other layers."""
    model = small.model()
    again = ("--target-fps", "10000", "--from-step", "fold", "--layers", layers)
    return ("build", "--model", model, "--out", folder, *again, *words)


def test_build_verify_report_and_run(folder: Path) -> None:
    """One after the other, as the README has it."""
    built = facedet(*build(folder, "hls", "--no-vitis", "--json"))
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["layers"] == "hls"
    proof = facedet("verify", folder, "--layers", "hls", "--json", XDG_CACHE_HOME=str(small.CACHE))
    assert proof.returncode == 0, proof.stderr
    result = json.loads(proof.stdout)
    assert (result["frames"], result["mismatched_bytes"]) == (3, 0) and result["layers"]
    report = facedet("hls", "report", folder, "--json")
    assert report.returncode == 0, report.stderr
    told = json.loads(report.stdout)
    assert {layer["evidence"] for layer in told["layers"]} == {"estimated"} and "vitis_hls -f" in told["command"]
    assert "estimated" in facedet("hls", "report", folder).stdout
    words = ["run", "--source", "astronaut", "--accelerator", folder, "--min-score", "0.01"]
    cache = {"XDG_CACHE_HOME": str(small.CACHE)}
    golden, csim = (facedet(*words, "--engine", engine, **cache) for engine in ("golden", "csim"))
    assert golden.returncode == csim.returncode == 0, csim.stderr
    assert golden.stdout == csim.stdout and "face" in golden.stdout


def test_vitis_hls_runs_where_it_is_given(folder: Path) -> None:
    if shutil.which("tclsh") is None:
        pytest.skip("the stand-in for Vitis HLS needs tclsh")
    built = facedet(*build(folder, "hls", "--vitis", str(STAND_IN / "vitis_hls")))
    assert built.returncode == 0, built.stderr
    assert "vitis_hls -f" not in built.stdout
    report = json.loads(facedet("hls", "report", folder, "--json").stdout)
    assert report["command"] is None and "synthesized" in {layer["evidence"] for layer in report["layers"]}
    assert "synthesized" in (folder / "report.html").read_text()
    log = folder / "hls" / "vitis" / "vitis.log"
    before = log.stat().st_mtime_ns
    again = facedet(*build(folder, "hls", "--vitis", str(STAND_IN / "vitis_hls")))
    assert again.returncode == 0 and log.stat().st_mtime_ns == before, "what it made of these sources is kept"


def test_a_build_without_vitis_says_what_is_left(folder: Path) -> None:
    built = facedet(*build(folder, "hls", "--no-vitis"))
    assert built.returncode == 0 and "vitis_hls -f vitis_hls.tcl" in built.stdout


def test_nothing_is_written_for_a_layer_that_does_not_exist(tmp_path: Path) -> None:
    typo = tmp_path / "typo.toml"
    typo.write_text('[layers]\nMVUA_0 = "hls"\n')
    model = small.model()
    assert "MVUA_0" in refusal("build", "--model", model, "--out", tmp_path / "new", "--layers", typo)
    assert [path.name for path in tmp_path.iterdir()] == ["typo.toml"]


def test_what_vitis_does_besides_is_in_the_environment(folder: Path) -> None:
    words = build(folder, "hls", "--vitis", str(STAND_IN / "vitis_hls"))
    assert "no option 'routing'" in refusal(*words, FACEDET_HLS="routing")


def test_mistakes(folder: Path, tmp_path: Path) -> None:
    assert "neither rtl nor hls nor a file" in refusal(*build(folder, "verilog"))
    assert "give one of them" in refusal(*build(folder, "hls", "--vitis", "vitis_hls", "--no-vitis"))
    assert "absent/vitis_hls" in refusal(*build(folder, "hls", "--vitis", "absent/vitis_hls"))
    typo = tmp_path / "typo.toml"
    typo.write_text('[layers]\nMVUA_0 = "hls"\n')
    sentence = refusal(*build(folder, str(typo)))
    assert "MVUA_0" in sentence and "MVAU_0" in sentence
    assert Manifest.load(folder).layer_style == "rtl", "nothing was changed"
    assert "--layers hls" in refusal("hls", "report", folder)
    assert "rtl" in refusal("verify", folder, "--layers", "hls")
    assert "engine rtl" in refusal("run", "--source", "astronaut", "--engine", "csim", "-a", folder)
