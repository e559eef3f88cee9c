"""The host with the engine that people use: the shipped model, exact integers."""

import numpy as np
import pytest

from fpga_facedet import zoo
from fpga_facedet.host.commands import run
from fpga_facedet.host.decode import faces_in_frame
from fpga_facedet.letterbox import Letterbox
from tests.host.test_commands import Serving, lines_of
from tests.stream.conftest import Watcher, seqs


@pytest.fixture(scope="module")
def golden():
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module, reason=f"the golden engine runs on a PC with {module}")
    from fpga_facedet.engines.golden import GoldenEngine

    engine = GoldenEngine(zoo.model_path("lpyolo-4w4a"))
    yield engine
    engine.close()


def test_run_writes_what_the_parts_say_one_by_one(golden, astronaut_bgr, tmp_path):
    run("astronaut", golden, min_score=0.01, jsonl=tmp_path / "f.jsonl")
    (line,) = lines_of(tmp_path / "f.jsonl")
    wanted = golden.manifest.input
    letterbox = Letterbox.fit(512, 512, wanted.width, wanted.height)
    output = golden.infer(letterbox.apply(astronaut_bgr, wanted.fill)[None])[0]
    faces = faces_in_frame(output, golden.manifest, letterbox, 0.01)
    assert (line["source"], line["width"], line["height"]) == ("astronaut", 512, 512)
    assert len(line["faces"]) == len(faces) > 0
    np.testing.assert_allclose([face["box"] for face in line["faces"]], faces.boxes, atol=0.0051)
    np.testing.assert_allclose([face["score"] for face in line["faces"]], faces.scores, atol=0.0000051)


def test_three_watchers_get_every_frame_of_the_street(golden, shared_dir):
    video = str(shared_dir / "data/video/street_faces_ccby4.mp4")
    serving = Serving(video, golden, wait_clients=3, fps=0.0, limit=60)
    watchers = [Watcher(serving.port).read() for _ in range(3)]
    for messages in [watcher.done() for watcher in watchers]:
        assert messages[0]["model"] == "lpyolo-4w4a" and messages[0]["engine"] == "golden"
        assert seqs(messages) == list(range(60)) and messages[-1]["type"] == "end"
        assert {(m["width"], m["height"]) for m in messages if m["type"] == "frame"} == {(480, 270)}
    serving.done()
