"""The RTL engine on a tiny accelerator written by hand."""

from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.engines.rtl import RtlEngine
from fpga_facedet.errors import UserError
from fpga_facedet.simulation.verilator import DeadlockError, SimulationError

from ..verification import tiny


def frames_of(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 256, (count, tiny.HEIGHT, tiny.WIDTH, 3), np.uint8)


def test_infer_equals_the_mathematics(tmp_path: Path, rng: np.random.Generator) -> None:
    engine = RtlEngine(tiny.write(tmp_path / "tiny"))
    frames = frames_of(rng, 5)
    outputs = engine.infer(frames)
    assert outputs.dtype == np.int8
    np.testing.assert_array_equal(outputs, tiny.TinyGolden().infer(frames))
    np.testing.assert_array_equal(engine.infer(frames[3:4]), outputs[3:4])
    with pytest.raises(UserError, match=r"got frames uint8 \(1, 6, 6, 3\)"):
        engine.infer(np.zeros((1, 6, 6, 3), np.uint8))
    engine.close()


def test_second_engine_finds_the_simulator_built(tmp_path: Path, rng: np.random.Generator) -> None:
    folder = tiny.write(tmp_path / "tiny", share_simulators=False)
    said: list[str] = []
    RtlEngine(folder, lambda what, share: said.append(what))
    assert any("translating" in what for what in said)
    said.clear()
    engine = RtlEngine(folder, lambda what, share: said.append(what))
    assert said == []
    engine.infer(frames_of(rng, 1))
    assert said == ["simulating"]
    assert [path.name for path in (folder / "simulator").iterdir() if path.name.startswith(".")] == []


def test_deadlock_names_frame_and_beat(tmp_path: Path, rng: np.random.Generator) -> None:
    engine = RtlEngine(tiny.write(tmp_path / "tiny", stuck="beat >= 15"))
    # A frame gives 12 beats. The 15th beat, number 2 of frame 1, follows input beat 13 of that frame (row 1, column 5);
    # beat 14 is accepted while it is taken, and nothing after that.
    with pytest.raises(DeadlockError, match=r"input beat 15 of frame 1 and at output beat 3 of frame 1\."):
        engine.infer(frames_of(rng, 3))


def test_failed_assertion_is_told(tmp_path: Path, rng: np.random.Generator) -> None:
    extra = 'if(ap_rst_n) assert(beat < 20) else $error("beat %0d is one too many", beat);'
    engine = RtlEngine(tiny.write(tmp_path / "tiny", extra=extra))
    engine.infer(frames_of(rng, 1))
    with pytest.raises(SimulationError, match="beat 20 is one too many"):
        engine.infer(frames_of(rng, 3))


def test_missing_parts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"accelerator\.json"):
        RtlEngine(tmp_path)
    folder = tiny.write(tmp_path / "tiny")
    (folder / "rtl" / "salt.dat").unlink()
    with pytest.raises(SimulationError, match=r"salt\.dat"):
        RtlEngine(folder).infer(np.zeros((1, tiny.HEIGHT, tiny.WIDTH, 3), np.uint8))
    (folder / "rtl" / "top.sv").unlink()
    with pytest.raises(UserError, match=r"top\.sv"):
        RtlEngine(folder)
