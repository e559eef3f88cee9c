"""The command line as its users meet it: fixed forms, exit codes, one sentence for each mistake."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from fpga_facedet import zoo
from fpga_facedet.detections import iou_matrix
from fpga_facedet.host.annotate import save_picture
from fpga_facedet.network.metadata import read_metadata, write_metadata
from tests.compiler import nets

MODEL = zoo.model_path("lpyolo-4w4a")
COMMANDS = (
    *("data", "train", "eval", "export", "build", "verify", "explore", "synth", "calibrate", "hls", "overlay"),
    *("run", "serve", "watch", "top", "demo", "doctor"),
)


FACEDET = (sys.executable, "-c", "from fpga_facedet.cli import main; main()")
"""The command line in a process of its own, whatever is on the PATH."""


def facedet(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a person does."""
    return subprocess.run(
        [*FACEDET, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "120", **environment},
    )


def refusal(*words: object, **environment: str) -> str:
    """Return the one sentence that a user's mistake gets; its exit code is 2 and stdout stays empty."""
    result = facedet(*words, **environment)
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("facedet: ")]
    assert "Traceback" not in result.stderr
    return sentence


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nets.export(nets.spec(), tmp_path_factory.mktemp("small") / "small.onnx")


def test_help_names_every_command() -> None:
    text = facedet("--help").stdout
    for command in COMMANDS:
        assert f" {command} " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    result = facedet(command, "--help")
    assert result.returncode == 0 and "Usage: facedet" in result.stdout


def test_doctor_prints_json() -> None:
    parts = json.loads(facedet("doctor", "--json").stdout)["parts"]
    assert {"Vivado", "native library", "verilator"} <= {part["part"] for part in parts}


def test_a_word_that_does_not_exist() -> None:
    result = facedet("run", "--source", "astronaut", "--engin", "golden")
    assert result.returncode == 2 and "--engin" in result.stderr


def test_run_prints_the_fixed_form(tmp_path: Path, astronaut_bgr: npt.NDArray[np.uint8]) -> None:
    """One line a picture, boxes in pixels of the picture as stored, at the size it is stored."""
    pictures = tmp_path / "pictures"
    save_picture(pictures / "a.png", astronaut_bgr)
    save_picture(pictures / "deep" / "b.png", astronaut_bgr[:, ::-1])
    out = tmp_path / "faces.jsonl"
    result = facedet("run", "--source", pictures, "--engine", "golden", "--min-score", "0.01", "--jsonl", out)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["source"] for line in lines] == ["a.png", "deep/b.png"]
    for line, truth in zip(lines, ([178, 65, 270, 176], [512 - 270, 65, 512 - 178, 176]), strict=True):
        assert list(line) == ["source", "width", "height", "faces"]
        assert (line["width"], line["height"]) == (512, 512)
        assert all(set(face) == {"box", "score"} and 0.01 <= face["score"] <= 1 for face in line["faces"])
        best = np.array([line["faces"][0]["box"]], np.float32)
        assert iou_matrix(best, np.array([truth], np.float32))[0, 0] >= 0.5


def test_a_truncated_jpeg(tmp_path: Path, astronaut_bgr: npt.NDArray[np.uint8]) -> None:
    path = tmp_path / "half.jpg"
    save_picture(path, astronaut_bgr)
    path.write_bytes(path.read_bytes()[:9000])
    assert "half.jpg" in refusal("run", "--source", path)


def test_a_missing_model() -> None:
    assert "no model 'absent.onnx'" in refusal("run", "--source", "astronaut", "--model", "absent.onnx")


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "corrupt.onnx"
    path.write_bytes(MODEL.read_bytes()[:5000])
    assert "corrupt.onnx" in refusal("run", "--source", "astronaut", "--model", path)
    assert "corrupt.onnx" in refusal("build", "--model", path, "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "accelerator.json").exists()


def test_an_unsupported_operator_is_named_with_its_layer(tmp_path: Path) -> None:
    shape = [1, 3, 64, 64]
    node = helper.make_node("Sigmoid", ["in"], ["out"], name="squash_scores")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("in", "out")]
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 13)]
    )
    write_metadata(model, read_metadata(MODEL))
    path = tmp_path / "sigmoid.onnx"
    onnx.save(model, str(path))
    sentence = refusal("build", "--model", path, "--out", tmp_path / "out")
    assert "Sigmoid" in sentence and "squash_scores" in sentence


def test_an_unsupported_bit_width(tmp_path: Path) -> None:
    spec = tmp_path / "wide.toml"
    spec.write_text(zoo.spec_path("lpyolo-4w4a").read_text().replace("activation = 4", "activation = 12"))
    assert "activation_bits: 12 bits" in refusal("train", "--spec", spec, "--data", tmp_path, "--out", tmp_path / "run")


def test_an_input_size_that_is_no_multiple_of_32(tmp_path: Path) -> None:
    spec = tmp_path / "odd.toml"
    spec.write_text(zoo.spec_path("lpyolo-4w4a").read_text().replace("width = 416", "width = 400"))
    sentence = refusal("train", "--spec", spec, "--data", tmp_path, "--out", tmp_path / "run")
    assert "input.width: 400 is not a positive multiple of 32" in sentence


def test_an_unknown_board(tmp_path: Path) -> None:
    assert "Unknown board 'de10-nano'" in refusal("build", "--board", "de10-nano", "--out", tmp_path)


def test_a_folding_that_cannot_reach_the_fps(tmp_path: Path, small_model: Path) -> None:
    sentence = refusal("build", "--model", small_model, "--target-fps", "5000000", "--out", tmp_path / "out")
    assert "5e+06" in sentence or "5000000" in sentence
    assert "the nearest that fits is" in sentence
    assert not (tmp_path / "out" / "accelerator.json").exists()


@pytest.mark.slow
def test_build_verify_and_both_engines(tmp_path: Path, small_model: Path) -> None:
    """The main job on a small network: one build, the proof in its fixed form, and the same faces from both engines."""
    folder = tmp_path / "small"
    built = facedet("build", "--model", small_model, "--board", "pynq-z2", "--out", folder, "--json")
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["figures"]["fps"]["evidence"] == "estimated"
    proof = facedet("verify", folder, "--frames", "3", "--stalls", "--json")
    assert proof.returncode == 0, proof.stderr
    result = json.loads(proof.stdout)
    assert list(result) == ["frames", "mismatched_bytes", "cycles_per_frame", "latency_cycles", "clock_mhz", "fps"]
    assert (result["frames"], result["mismatched_bytes"], result["clock_mhz"]) == (3, 0, 100)
    assert result["fps"] == pytest.approx(1e8 / result["cycles_per_frame"], abs=0.01)
    assert "simulated" in (folder / "report.html").read_text()
    words = ["run", "--source", "astronaut", "--accelerator", folder, "--min-score", "0.01"]
    golden, rtl = (facedet(*words, "--engine", engine) for engine in ("golden", "rtl"))
    assert golden.returncode == rtl.returncode == 0, rtl.stderr
    assert golden.stdout == rtl.stdout and "face" in golden.stdout


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert str(port) in refusal("serve", "--source", "astronaut", "--port", port)


def test_a_full_disk_at_save(tmp_path: Path) -> None:
    """The kernel refuses the eleventh byte, as a full disk does: one sentence, not a trace."""
    target = tmp_path / "full"
    target.mkdir()
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)); from fpga_facedet.cli import main; main()"
    )
    words = ["run", "--source", "astronaut", "--min-score", "0.01", "--jsonl", str(target / "faces.jsonl")]
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=300)
    assert result.returncode == 2
    assert "disk is full" in result.stderr and "Traceback" not in result.stderr


def test_verify_and_rtl_need_an_accelerator(tmp_path: Path) -> None:
    assert "build the accelerator first" in refusal("verify", tmp_path)
    assert "build the accelerator first" in refusal("run", "--source", "astronaut", "--engine", "rtl", "-a", tmp_path)
    assert "Unknown engine 'gpu'" in refusal("run", "--source", "astronaut", "--engine", "gpu")


def test_a_reader_that_leaves_is_no_error() -> None:
    """`facedet ... | head`: the pipe closes early, and that is fine."""
    process = subprocess.Popen(
        [*FACEDET, "doctor"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(60)
