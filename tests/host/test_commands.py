import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.host.commands import describe_message, describe_result, run, serve, watch
from fpga_facedet.host.pipeline import Pipeline
from tests.host.conftest import MANIFEST, BrightnessEngine
from tests.stream.conftest import Watcher, seqs


class Serving:
    """`serve` in a thread, as the command does it in the main one."""

    def __init__(self, source, engine, **options):
        self.port = 0
        self.counts = []
        self.summary = None
        self.error = None
        self._listening = threading.Event()

        def listening(where):
            self.port = where.port
            self._listening.set()

        def work():
            try:
                self.summary = serve(
                    str(source),
                    engine,
                    port=0,
                    on_listening=listening,
                    on_watchers=self.counts.append,
                    on_warning=lambda text: None,
                    **options,
                )
            except BaseException as error:
                self.error = error
                self._listening.set()

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        assert self._listening.wait(120)  # the native library may have to be compiled first

    def done(self):
        self.thread.join(30)
        assert not self.thread.is_alive()
        if self.error:
            raise self.error
        return self.summary


def lines_of(path):
    return [json.loads(text) for text in Path(path).read_text().splitlines()]


def test_run_writes_one_line_a_picture_and_the_annotated_pictures(folder, tmp_path, engine):
    found = []
    places = {"jsonl": tmp_path / "f.jsonl", "annotated": tmp_path / "out"}
    summary = run(str(folder), engine, min_score=0.01, on_result=found.append, **places)
    lines = lines_of(tmp_path / "f.jsonl")
    assert [set(line) for line in lines] == [{"source", "width", "height", "faces"}] * 4
    assert [line["source"] for line in lines] == ["a.PNG", "b/y.jpeg", "b/z.bmp", "c.jpg"]
    assert [line["width"] for line in lines] == [130, 150, 140, 120] and lines[0]["height"] == 90
    assert sum(len(line["faces"]) for line in lines) == summary.metrics.faces > 8
    for line in lines:
        scores = [face["score"] for face in line["faces"]]
        assert scores == sorted(scores, reverse=True) and min(scores) >= 0.01
        for x1, y1, x2, y2 in (face["box"] for face in line["faces"]):
            assert 0 <= x1 < x2 <= line["width"] and 0 <= y1 < y2 <= line["height"]
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert names == ["a.PNG", "b/y.jpeg", "b/z.bmp", "c.jpg"]
    assert not summary.stopped and summary.skipped == 0 and len(found) == 4
    json.dumps(summary.to_dict())


def test_a_higher_score_takes_from_the_same_faces(folder, tmp_path, engine):
    for score in (0.0, 0.4):
        run(str(folder), engine, min_score=score, jsonl=tmp_path / f"{score}.jsonl")
    loose, strict = lines_of(tmp_path / "0.0.jsonl"), lines_of(tmp_path / "0.4.jsonl")
    assert [[face for face in line["faces"] if face["score"] >= 0.4] for line in loose] == [
        line["faces"] for line in strict
    ]


def test_the_same_run_writes_the_same_bytes(folder, tmp_path, engine):
    for name in ("one", "two"):
        run(str(folder), engine, jsonl=tmp_path / name, on_result=lambda result: None)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_default_score_is_the_manifests(folder, tmp_path, engine):
    run(str(folder), engine, jsonl=tmp_path / "default")
    run(str(folder), engine, jsonl=tmp_path / "said", min_score=MANIFEST.head.score_threshold)
    assert (tmp_path / "default").read_bytes() == (tmp_path / "said").read_bytes()


def test_a_truncated_jpeg_in_a_folder_is_left_out_with_one_warning(folder, tmp_path, engine):
    data = (folder / "c.jpg").read_bytes()
    (folder / "c.jpg").write_bytes(data[: len(data) // 2])
    warnings = []
    summary = run(str(folder), engine, jsonl=tmp_path / "f.jsonl", on_warning=warnings.append)
    assert summary.skipped == 1 and len(lines_of(tmp_path / "f.jsonl")) == 3
    assert warnings == [f"Left out c.jpg: the JPEG is cut short at {len(data) // 2} bytes, or damaged."]


def test_a_truncated_jpeg_alone_is_an_error_and_leaves_no_file(folder, tmp_path, engine):
    data = (folder / "c.jpg").read_bytes()
    (folder / "c.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="the JPEG is cut short"):
        run(str(folder / "c.jpg"), engine, jsonl=tmp_path / "f.jsonl")
    assert not (tmp_path / "f.jsonl").exists()


@pytest.mark.parametrize("options", [{"min_score": 2.0}, {"limit": 0}, {"nms_iou": -1.0}])
def test_wrong_options_of_run_are_errors_before_a_file_is_touched(folder, tmp_path, engine, options):
    with pytest.raises(UserError, match="give"):
        run(str(folder), engine, jsonl=tmp_path / "f.jsonl", **options)
    assert list(tmp_path.glob("f.jsonl*")) == []


def test_run_stops_at_sigint_in_order_and_keeps_what_is_done(folder, tmp_path, engine, monkeypatch):
    """The real signal, to this very process; pytest runs tests in the main thread."""
    stop, told = Pipeline.stop, threading.Event()

    def tell(pipeline):
        stop(pipeline)
        told.set()

    def take(result):
        if result.frame.seq == 1:
            os.kill(os.getpid(), signal.SIGINT)
            assert told.wait(60)

    monkeypatch.setattr(Pipeline, "stop", tell)
    before = signal.getsignal(signal.SIGINT)
    warnings = []
    summary = run(str(folder), engine, jsonl=tmp_path / "f.jsonl", on_result=take, on_warning=warnings.append)
    assert warnings == [f"Stopped before the end of pictures; the lines up to there are in {tmp_path}/f.jsonl.part."]
    assert summary.stopped and signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "f.jsonl").exists() and len(lines_of(tmp_path / "f.jsonl.part")) == 2


def test_serve_gives_three_watchers_every_frame_in_order(video, engine):
    serving = Serving(video, engine, wait_clients=3, fps=0.0)
    watchers = [Watcher(serving.port).read() for _ in range(3)]
    # What the server says of its speed comes when a watcher can take it, so each sees that at another place.
    all_messages = [[m for m in watcher.done() if m["type"] != "metrics"] for watcher in watchers]
    summary = serving.done()
    for messages in all_messages:
        assert messages[0]["type"] == "hello" and messages[0]["source"] == "moving.avi"
        assert seqs(messages) == list(range(30))
        assert messages[-1] == {"type": "end", "frames": 30, "reason": "finished"}
        assert messages == all_messages[0]
    assert summary.metrics.frames == 30 and not summary.stopped


def test_watchers_that_come_later_get_every_frame_of_a_file_too(video, engine):

    def come(result):
        """In the sending thread, so that the video waits for them."""
        if result.frame.seq in (3, 10, 25):
            watchers.append(Watcher(serving.port).read())
            deadline = time.monotonic() + 30
            while serving.counts[-1] != len(watchers):
                assert time.monotonic() < deadline
                time.sleep(0.005)

    watchers = []
    serving = Serving(video, engine, on_result=come, wait_clients=1)
    watchers.append(Watcher(serving.port).read())
    assert serving.done().metrics.frames == 30
    for watcher in watchers:
        messages = watcher.done()
        assert messages[0]["type"] == "hello" and seqs(messages) == list(range(30))
        assert messages[-1] == {"type": "end", "frames": 30, "reason": "finished"}
    assert len(watchers) == 4


def test_a_later_watcher_of_a_loop_starts_at_the_frame_of_that_moment(video, engine):
    """In the main thread, since a signal ends the loop; the late watcher comes once frame 20 is out."""
    late = []

    def follow(where):
        def each(message):
            if message.get("seq") == 20:
                late.append(Watcher(where.port))
                late[0].read(stop)

        Watcher(where.port).read(each)

    def stop(message):
        if message["type"] == "frame" and len(seqs(late[0].messages)) == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    summary = serve(str(video), engine, port=0, loop=True, fps=100.0, wait_clients=1, on_listening=follow)
    got = seqs(late[0].done())
    assert summary.stopped and got[0] > 20 and got == list(range(got[0], got[-1] + 1)) and len(got) >= 5


def test_the_stream_says_what_run_writes(video, engine, tmp_path):
    run(str(video), engine, jsonl=tmp_path / "f.jsonl", annotated=tmp_path / "run")
    serving = Serving(video, engine, fps=0.0, annotated=tmp_path / "serve")
    streamed = [message for message in Watcher(serving.port).read().done() if message["type"] == "frame"]
    assert [message["faces"] for message in streamed] == [line["faces"] for line in lines_of(tmp_path / "f.jsonl")]
    serving.done()
    assert len(list((tmp_path / "run").iterdir())) == 30
    for picture in (tmp_path / "run").iterdir():
        assert picture.read_bytes() == (tmp_path / "serve" / picture.name).read_bytes()


def test_the_street_video_reaches_three_watchers_while_two_more_vanish(shared_dir, engine):
    serving = Serving(shared_dir / "data/video/street_faces_ccby4.mp4", engine, wait_clients=5, fps=0.0)
    watchers = [Watcher(serving.port).read() for _ in range(3)]
    reset, silent = Watcher(serving.port), Watcher(serving.port, 4096)
    reset.vanish()
    Watcher(serving.port).read()  # takes the place of the one that was reset, should it be noticed before the start
    for watcher in watchers:
        assert seqs(watcher.done()) == list(range(177))
    assert serving.done().metrics.frames == 177
    silent.socket.close()


def test_serve_plays_a_video_in_its_own_time(video, engine):
    serving = Serving(video, engine)
    began = time.monotonic()
    assert len(seqs(Watcher(serving.port).read().done())) == 30
    assert time.monotonic() - began >= 28 / 25
    serving.done()


def test_serve_loops_until_sigterm_and_says_that_it_was_stopped(video, engine):
    """In the main thread, as the command runs; a watcher in another sees frames past the video's end."""
    messages = []

    def follow(where):
        def work():
            count = watch(f"127.0.0.1:{where.port}", messages.append)
            messages.append({"type": "count", "frames": count})

        def stop(message):
            if message.get("seq") == 70:  # once: a second signal ends the process, as it should
                os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=work, daemon=True).start()
        Watcher(where.port).read(stop)

    summary = serve(str(video), engine, port=0, loop=True, fps=0.0, wait_clients=2, on_listening=follow)
    assert summary.stopped and summary.metrics.frames > 70
    deadline = time.monotonic() + 30
    while messages[-1]["type"] != "count" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert messages[-2]["type"] == "end" and messages[-2]["reason"] == "stopped"
    assert seqs(messages) == list(range(messages[-1]["frames"]))


def test_sigint_while_serve_waits_for_watchers_ends_it(video, engine):
    summary = serve(
        str(video), engine, port=0, wait_clients=3, on_listening=lambda where: os.kill(os.getpid(), signal.SIGINT)
    )
    assert summary.stopped and summary.metrics.frames == 0


def test_serve_fails_before_it_listens_where_it_can(video, engine):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Cannot listen on 127.0.0.1:{port}: address already in use"):
            serve(str(video), engine, port=port)
    wrong = (({"fps": -1.0}, "-1 frames a second"), ({"min_score": 7.0}, "outside"), ({"limit": 0}, "limit of 0"))
    for options, said in wrong:
        with pytest.raises(UserError, match=said):
            serve(str(video), engine, port=0, **options)
    with pytest.raises(UserError, match="There is no source"):
        serve("nowhere", engine, port=0)


def test_an_engine_that_fails_ends_serve_and_the_watchers(video):
    class Failing(BrightnessEngine):
        def infer(self, frames):
            if self.inferred == 5:
                raise RuntimeError("the board has gone")
            return super().infer(frames)

    serving = Serving(video, Failing(), fps=0.0)
    messages = Watcher(serving.port).read().done()
    assert messages[-1]["type"] == "end" and messages[-1]["reason"] == "failed"
    with pytest.raises(RuntimeError, match="the board has gone"):
        serving.done()


def test_watch_counts_and_leaves_after_as_many_as_asked(video, engine):
    serving = Serving(video, engine, fps=0.0)
    seen = []
    assert watch(f"127.0.0.1:{serving.port}", seen.append, count=5) == 5
    assert [message["type"] for message in seen] == ["hello"] + ["frame"] * 5
    assert serving.done().metrics.frames == 30


def test_watch_says_when_nobody_is_there():
    with pytest.raises(UserError, match="No stream at 127.0.0.1:1 "):
        watch("127.0.0.1:1", lambda message: None)


def test_lines_for_people(folder, engine):
    results = []
    run(str(folder), engine, min_score=0.45, on_result=results.append)
    text = describe_result(results[0])
    assert text.startswith("a.PNG  130x90  ") and " at " in text and "\n" not in text
    evil = {"type": "hello", "model": "\x1b[2J\nx", "engine": "golden", "source": "s"}
    assert describe_message(evil) == "[2Jx on engine golden, watching s"
    frame = {"type": "frame", "seq": 3, "width": 4, "height": 5, "faces": []}
    assert describe_message(frame) == "     3  4x5  0 faces"
    assert describe_message({"type": "end", "frames": 9, "reason": "finished"}) == "End after 9 frames (finished)."


def test_a_black_picture_has_no_faces(tmp_path, engine):
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((64, 96, 3), np.uint8))
    results = []
    run(str(tmp_path / "black.png"), engine, on_result=results.append)
    assert describe_result(results[0]) == "black.png  96x64  0 faces"
