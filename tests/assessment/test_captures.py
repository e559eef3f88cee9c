from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.assessment.captures import NOTE, Captures, save_capture, save_note
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import HeadInfo, InputInfo, Manifest, ModelInfo

MANIFEST = Manifest(
    model=ModelInfo("tiny", "ab" * 32, {}),
    input=InputInfo(6, 8, 3, 114),
    head=HeadInfo(3, 4, 6, 2, ((1.0, 1.0),), 1 / 128, 0.5, 0.5),
)
OUTPUT = np.arange(-36, 36, dtype=np.int8).reshape(3, 4, 6)


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    save_note(tmp_path, MANIFEST, "golden")
    save_capture(tmp_path, "event/a.jpg", OUTPUT)
    save_capture(tmp_path, "event/a.png", OUTPUT[::-1])
    read = Captures(tmp_path, MANIFEST).outputs(["event/a.png", "event/a.jpg"])
    np.testing.assert_array_equal(read, [OUTPUT[::-1], OUTPUT])
    assert read.dtype == np.int8


def test_a_board_needs_numpy_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "a.jpg.npy", OUTPUT)
    np.testing.assert_array_equal(Captures(tmp_path, MANIFEST).outputs(["a.jpg"])[0], OUTPUT)


@pytest.mark.parametrize(
    "wrong", [OUTPUT[:2], OUTPUT.astype(np.int16), np.array({"a": 1}, object)], ids=["shape", "dtype", "pickle"]
)
def test_a_wrong_capture_is_named(tmp_path: Path, wrong: np.ndarray) -> None:
    np.save(tmp_path / "a.jpg.npy", wrong)
    with pytest.raises(UserError, match=r"a\.jpg\.npy"):
        Captures(tmp_path, MANIFEST).outputs(["a.jpg"])


def test_a_missing_or_damaged_capture_is_named(tmp_path: Path) -> None:
    captures = Captures(tmp_path, MANIFEST)
    with pytest.raises(UserError, match=r"no capture .*a\.jpg\.npy"):
        captures.outputs(["a.jpg"])
    save_capture(tmp_path, "a.jpg", OUTPUT)
    path = tmp_path / "a.jpg.npy"
    for size in (0, 40, 150):
        path.write_bytes(path.read_bytes()[:size] if size else b"")
        with pytest.raises(UserError, match="damaged"):
            captures.outputs(["a.jpg"])
        save_capture(tmp_path, "a.jpg", OUTPUT)


def test_captures_of_another_model_are_refused(tmp_path: Path) -> None:
    other = Manifest(ModelInfo("tiny", "cd" * 32, {}), MANIFEST.input, MANIFEST.head)
    save_note(tmp_path, other, "golden")
    with pytest.raises(UserError, match="cdcdcdcdcdcd is not abababababab"):
        Captures(tmp_path, MANIFEST)
    (tmp_path / NOTE).write_text("[]")
    with pytest.raises(UserError, match="damaged"):
        Captures(tmp_path, MANIFEST)
    with pytest.raises(UserError, match="no folder"):
        Captures(tmp_path / "nowhere", MANIFEST)


def test_a_picture_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leads out"):
        save_capture(tmp_path / "captures", "../a.jpg", OUTPUT)
    assert not (tmp_path / "a.jpg.npy").exists()
