"""Verification on a tiny accelerator written by hand: what is equal passes, what is not is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.manifest import Figure, Manifest
from fpga_facedet.verification.pictures import make_frames
from fpga_facedet.verification.verify import verify

from . import tiny


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
    assert "0 of 144 bytes differ" in result.describe()
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
    folder = tiny.write(tmp_path / "tiny", flaw="(beat == 17? 24'h000100 : 24'd0)")
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
    assert (result.frames, result.total_bytes, result.cycles_per_frame) == (1, 36, 48)


def test_frames_are_different_and_repeatable(astronaut_bgr: np.ndarray) -> None:
    wanted = tiny.MANIFEST.input
    frames = make_frames(wanted, 9, seed=3, pictures=[astronaut_bgr])
    assert frames.shape == (9, tiny.HEIGHT, tiny.WIDTH, 3) and frames.dtype == np.uint8
    assert len({frame.tobytes() for frame in frames}) == 9
    np.testing.assert_array_equal(frames, make_frames(wanted, 9, seed=3))
    assert (frames[1] != make_frames(wanted, 2, seed=4)[1]).any()


@pytest.mark.parametrize("count", [0, -1])
def test_no_frames(tmp_path: Path, count: int) -> None:
    from fpga_facedet.errors import UserError

    with pytest.raises(UserError, match="give 1 or more"):
        verify(tmp_path, frames=count)
