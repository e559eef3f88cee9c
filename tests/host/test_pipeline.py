import threading
import time

import numpy as np
import pytest

from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.host import pipeline as pipeline_module
from fpga_facedet.host.decode import faces_in_frame
from fpga_facedet.host.metrics import STAGES, Recorder
from fpga_facedet.host.pipeline import QUEUE_SIZE, Pipeline
from fpga_facedet.host.sinks import CallSink
from fpga_facedet.host.sources import open_source
from fpga_facedet.letterbox import Letterbox
from tests.host.conftest import MANIFEST, BrightnessEngine, Camera


class Closing(CallSink):
    """Also remembers how it was closed."""

    complete = None

    def close(self, complete):
        self.complete = complete


def collect(source, engine, **options):
    results = []
    sink = Closing(results.append)
    pipeline = Pipeline(source, engine, [sink], **options)
    metrics = pipeline.run()
    return results, metrics, sink


def facedet_threads():
    """What is left of our threads; that of an engine's wrapping may need a moment to end."""
    deadline = time.monotonic() + 5
    while True:
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("facedet-")]
        if not names or time.monotonic() > deadline:
            return names
        time.sleep(0.01)


def test_the_threads_find_what_one_after_the_other_finds(video, engine):
    results, metrics, sink = collect(open_source(str(video)), engine)
    for result, frame in zip(results, open_source(str(video)), strict=True):
        letterbox = Letterbox.fit(120, 90, 96, 64)
        output = engine.infer(letterbox.apply(frame.image, MANIFEST.input.fill)[None])[0]
        alone = faces_in_frame(output, MANIFEST, letterbox)
        np.testing.assert_array_equal(result.faces.boxes, alone.boxes)
        np.testing.assert_array_equal(result.faces.scores, alone.scores)
        assert (result.frame.seq, result.width, result.height) == (frame.seq, 120, 90)
    assert sum(len(result.faces) for result in results) == metrics.faces > 30
    assert (metrics.frames, metrics.dropped, sink.complete) == (30, 0, True)
    assert facedet_threads() == []


def test_metrics_tell_each_stage_and_where_they_were_measured(video, engine):
    _, metrics, _ = collect(open_source(str(video)), engine)
    told = metrics.to_dict()
    assert list(told["stages"]) == [*STAGES, "total"] and told["evidence"] == "measured on this machine"
    assert all(time["mean_ms"] > 0 and time["p95_ms"] >= time["median_ms"] for time in told["stages"].values())
    assert told["fps"] == pytest.approx(30 / metrics.seconds, rel=0.01)


def test_stages_overlap(engine):
    """With the engine held, capture goes on until its two slots and the queue are full."""
    go = threading.Event()

    class Held(BrightnessEngine):
        def infer(self, frames):
            assert go.wait(10)
            return super().infer(frames)

    taken = []

    class Counting(Camera):
        live = False

        def __iter__(self):
            for frame in super().__iter__():
                taken.append(frame.seq)
                if frame.seq == 2 + QUEUE_SIZE:
                    go.set()  # never reached, were the stages to run in turn
                yield frame

    results, _, _ = collect(Counting(1000, 20), Held())
    assert [result.frame.seq for result in results] == list(range(20))


def test_a_slow_engine_gets_the_latest_frames_of_a_camera():
    class Slow(BrightnessEngine):
        def infer(self, frames):
            time.sleep(0.03)
            return super().infer(frames)

    results, metrics, _ = collect(Camera(400, 120), Slow())
    seqs = [result.frame.seq for result in results]
    assert seqs == sorted(set(seqs)) and seqs[-1] == 119
    assert metrics.dropped > 40 and metrics.frames + metrics.dropped == 120
    every, metrics, _ = collect(Camera(400, 20), Slow(), latest=False)
    assert [result.frame.seq for result in every] == list(range(20)) and metrics.dropped == 0


def test_stop_ends_an_endless_source_at_the_frame_of_that_moment(engine):
    captured_at_stop = []

    def take(result):
        if result.frame.seq >= 20 and not captured_at_stop:
            pipeline.stop()
            captured_at_stop.append(pipeline.captured)

    pipeline = Pipeline(Camera(200), engine, [sink := Closing(take)])
    metrics = pipeline.run()
    assert pipeline.captured <= captured_at_stop[0] + 1, "only the frame that was being captured came after"
    assert metrics.frames > 0 and pipeline.stopped and sink.complete is False
    assert facedet_threads() == []


def test_a_limit_ends_the_run_as_complete(engine):
    results, metrics, sink = collect(Camera(500), engine, limit=7, latest=False)
    assert [result.frame.seq for result in results] == list(range(7))
    assert metrics.frames == 7 and sink.complete is True


def test_pace_is_kept(video, engine):
    _, metrics, _ = collect(open_source(str(video)), engine, pace=100.0)
    assert metrics.seconds >= 29 / 100


class BrokenError(RuntimeError):
    pass


def test_the_native_library_is_there_before_the_clock_and_the_stages_start(video, engine, monkeypatch):
    """Compiling it takes half a minute on a board, which is no frame's time and no hang of a stage."""
    order = []
    monkeypatch.setattr(pipeline_module, "library", lambda: order.append("library"))

    class Telling(Recorder):
        def start(self, now):
            order.append("start")
            super().start(now)

        def time(self, stage, seconds):
            order.append(stage)
            super().time(stage, seconds)

    Pipeline(open_source(str(video)), engine, [], recorder=Telling()).run()
    assert order[:3] == ["library", "start", "capture"] and order.count("library") == 1


@pytest.mark.parametrize("stage", ["capture", "inference", "send", "output"])
def test_a_failure_in_any_stage_stops_all_and_is_raised(video, stage):
    class Failing(BrightnessEngine):
        def infer(self, frames):
            output = super().infer(frames)
            if stage == "inference" and self.inferred > 5:
                raise BrokenError(stage)
            return output[:, :1] if stage == "output" else output

    class FailingCamera(Camera):
        def __iter__(self):
            for frame in super().__iter__():
                if stage == "capture" and frame.seq == 5:
                    raise BrokenError(stage)
                yield frame

    def take(result):
        if stage == "send" and result.frame.seq >= 5:
            raise BrokenError(stage)

    sink = Closing(take)
    pipeline = Pipeline(FailingCamera(1000), Failing(), [sink])
    with pytest.raises((BrokenError, InternalError), match=stage if stage != "output" else "The engine gave int8"):
        pipeline.run()
    assert sink.complete is False and facedet_threads() == []


def test_a_sink_that_cannot_finish_is_told_and_the_others_still_close(video, engine):
    class Unfinished(Closing):
        def close(self, complete):
            raise BrokenError("close")

    last = Closing(lambda result: None)
    with pytest.raises(BrokenError, match="close"):
        Pipeline(open_source(str(video)), engine, [Unfinished(lambda result: None), last]).run()
    assert last.complete is False


@pytest.mark.parametrize("options", [{"score_threshold": 1.5}, {"nms_iou": -0.1}])
def test_thresholds_outside_0_to_1_are_refused_before_anything_runs(video, engine, options):
    with pytest.raises(UserError, match=r"outside 0\.\.1"):
        Pipeline(open_source(str(video)), engine, [], **options)
    assert engine.inferred == 0
