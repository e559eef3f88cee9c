"""Every notebook runs from its first cell to its last, and what it shows is what the golden engine says.

The real pynq on a software board that computes with the golden engine; nothing in the notebooks knows of it.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fpga_facedet.detections import Detections
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.files import sha256_of
from fpga_facedet.host.decode import faces_in_frame
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.manifest import Manifest
from fpga_facedet.stream.protocol import faces_as_json

from ..board_python import PYNQS
from . import overlays
from .workshop import NOTEBOOKS, Executed, Workshop, outputs_of, text_of

Golden = Callable[[str], GoldenEngine]
MakeWorkshop = Callable[[str], Workshop]
PICTURE = 'import numpy as np; np.savez("probe.npz", picture={0}, boxes={1}.boxes, scores={1}.scores)'


def faces_of(engine: GoldenEngine, picture: npt.NDArray[np.uint8]) -> Detections:
    """Return what the golden engine finds in a picture."""
    size = engine.manifest.input
    letterbox = Letterbox.fit(picture.shape[1], picture.shape[0], size.width, size.height)
    return faces_in_frame(engine.infer(letterbox.apply(picture, size.fill)[None])[0], engine.manifest, letterbox)


def assert_golden(engine: GoldenEngine, probe: Path, count: int) -> None:
    """Check that the faces a notebook found in its picture are the golden engine's, and how many they are."""
    seen = np.load(probe)
    expected = faces_of(engine, seen["picture"])
    assert len(expected) == count
    np.testing.assert_array_equal(seen["boxes"], expected.boxes)
    np.testing.assert_array_equal(seen["scores"], expected.scores)


def kept_text(name: str) -> str:
    """Return the text in the outputs that are kept in the repository."""
    return "\n".join(text_of(output) for output in outputs_of(json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())))


@pytest.mark.slow
@pytest.mark.parametrize("version", PYNQS)
def test_first_detection_finds_both_faces(workshop: MakeWorkshop, golden: Golden, version: str) -> None:
    done = workshop(version).execute("1_first_detection", PICTURE.format("picture", "faces"))
    assert_golden(golden(overlays.MODEL), done.folder / "probe.npz", 2)
    text = done.text()
    assert f"'pynq': '{version}'" in text
    for figure in golden(overlays.MODEL).manifest.figures:
        assert f"{figure.name:17} {figure.value:>10,} {figure.unit:20} {figure.evidence}" in text
    # What is kept in the repository is not of another model than today's.
    found = [line for line in text.splitlines() if line.startswith("score ")]
    assert len(found) == 2
    assert found == [line for line in kept_text("1_first_detection").splitlines() if line.startswith("score ")]


@pytest.mark.slow
def test_live_camera_shows_the_newest_frame_and_stops(workshop: MakeWorkshop, golden: Golden) -> None:
    probe = """
import json, threading
json.dump({
    "frames": metrics.frames, "dropped": metrics.dropped, "lost": metrics.lost, "captured": pipeline.captured,
    "hung": pipeline.hung, "newest": newest.frame.seq, "source": source.name,
    "threads": [t.name for t in threading.enumerate() if t.name.startswith("facedet-")],
}, open("probe.json", "w"))
""" + PICTURE.format("newest.frame.image", "newest.faces")
    done = workshop("3.1.2").execute("2_live_camera", probe)
    assert_golden(golden(overlays.MODEL), done.folder / "probe.npz", 1)
    said = json.loads((done.folder / "probe.json").read_text())
    if said["source"].startswith("synthetic"):
        assert "There is no camera 0" in done.text()
    assert said["frames"] > 10
    # A stop leaves at most what each stage has in hand.
    assert 0 <= said["captured"] - said["frames"] - said["dropped"] <= 8
    assert said["newest"] >= said["frames"] - 1
    assert (said["lost"], said["hung"], said["threads"]) == (0, [], [])


@pytest.mark.slow
def test_both_clients_get_every_line(workshop: MakeWorkshop, golden: Golden) -> None:
    probe = """
json.dump({"lines": lines, "frames": frames, "figures": len(figures)}, open("probe.json", "w"))
import numpy as np
from fpga_facedet.host.picture import read_picture
np.savez("probe.npz", **{path.name: read_picture(path) for path in Path("moving").glob("*.jpg")})
"""
    done = workshop("3.1.2").execute("3_stream_to_a_client", probe)
    said = json.loads((done.folder / "probe.json").read_text())
    if not (done.folder / "moving").is_dir():
        pytest.skip("this machine has a camera: its pictures are not known")
    kinds = [line["type"] for line in said["lines"]]
    assert (kinds[0], kinds[-1], kinds.count("frame")) == ("hello", "end", 120)
    assert said["lines"][0]["engine"] == "board"
    assert said["frames"] == [line for line in said["lines"] if line["type"] == "frame"]
    assert [frame["seq"] for frame in said["frames"]] == list(range(120))
    assert said["figures"] >= 1
    expected = {
        name: faces_as_json(faces_of(golden(overlays.MODEL), picture))
        for name, picture in np.load(done.folder / "probe.npz").items()
    }
    assert len(expected) == 24
    assert sum(len(faces) for faces in expected.values()) >= 20
    for frame in said["frames"]:
        assert frame["faces"] == expected[frame["source"]]


@pytest.mark.slow
@pytest.mark.parametrize("version", PYNQS)
def test_swapped_models_give_each_its_own_faces(workshop: MakeWorkshop, golden: Golden, version: str) -> None:
    probe = "\n".join(
        f'np.savez("{name}.npz", picture=picture, boxes=found["{name}"].boxes, scores=found["{name}"].scores)'
        for name in overlays.MODELS
    )
    done = workshop(version).execute("4_swap_model", probe)
    scores = []
    for name in overlays.MODELS:
        assert_golden(golden(name), done.folder / f"{name}.npz", 2)
        scores.append(np.load(done.folder / f"{name}.npz")["scores"].tolist())
    assert scores[0] != scores[1]
    (table,) = [output["data"]["text/html"] for output in outputs_of(done.book) if "<table>" in str(output) and
                "bits of weights" in str(output)]  # fmt: skip
    assert ">4 / 4<" in "".join(table)
    assert f">{overlays.OTHER_BITS} / 4<" in "".join(table)
    assert "The loaded hardware was built from the model" in done.text()
    assert "is no longer on the board" in done.text()


@pytest.mark.slow
def test_the_bitstream_notebook_makes_accelerator_and_project(regenerated: Executed) -> None:
    accelerator = regenerated.folder / f"build/{overlays.MODEL}-{overlays.BOARD}"
    manifest = Manifest.load(accelerator)
    assert sha256_of(accelerator / "golden.onnx") == manifest.files["golden_sha256"]
    overlay = regenerated.folder / f"bitstreams/{overlays.BOARD}/{overlays.MODEL}"
    assert (overlay / "accelerator.json").is_file(), regenerated.text()
    assert (overlay / f"{overlays.MODEL}.hwh").is_file()
    assert "internal error" not in regenerated.text()
    if shutil.which("vivado") is None:
        assert not list(overlay.glob("*.bit"))
        assert "vivado -mode batch -source" in regenerated.text()
