"""The pipeline on engines that stream: lost frames, engines that hang, and what is left of an engine afterwards."""

import itertools
import resource
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.engines.protocol import EngineStopped, LostFrameError
from fpga_facedet.engines.ring import RingEngine, as_streaming
from fpga_facedet.host import pipeline as pipeline_module
from fpga_facedet.host.pipeline import LOST_IN_A_ROW, Pipeline
from fpga_facedet.host.sinks import CallSink
from fpga_facedet.host.sources import Frame
from fpga_facedet.host.watchdog import StalledError
from tests.host.conftest import BrightnessEngine, Camera, picture
from tests.host.test_pipeline import facedet_threads


class Losing(BrightnessEngine):
    """Loses the frames with these numbers of its own count."""

    def __init__(self, *lost):
        super().__init__()
        self.losing = set(lost)

    def infer(self, frames):
        output = super().infer(frames)
        if self.inferred - 1 in self.losing:
            raise LostFrameError(f"Frame {self.inferred - 1} got no result.")
        return output


@pytest.fixture
def patient(monkeypatch):
    """For runs that end by themselves: a stage that gets no processor for a while is none that hangs."""
    monkeypatch.setattr(pipeline_module, "DRAIN_SECONDS", 30.0)
    monkeypatch.setattr(pipeline_module, "STOP_SECONDS", 60.0)


def seqs_of(engine, source, **options):
    seqs, warnings = [], []
    sink = CallSink(lambda result: seqs.append(result.frame.seq))
    pipeline = Pipeline(source, engine, [sink], on_warning=warnings.append, **options)
    return seqs, warnings, pipeline


def test_a_lost_frame_is_counted_and_told_once_and_the_others_keep_their_faces():
    faces = {}
    for engine in (BrightnessEngine(), Losing(3, 4, 9)):
        seen = {}
        sink = CallSink(lambda result, seen=seen: seen.update({result.frame.seq: result.faces.boxes.tolist()}))
        warnings = []
        metrics = Pipeline(Camera(1000, 20), engine, [sink], latest=False, on_warning=warnings.append).run()
        faces[type(engine)] = seen
    assert list(faces[Losing]) == [seq for seq in range(20) if seq not in (3, 4, 9)]
    assert faces[Losing].items() <= faces[BrightnessEngine].items()
    assert (metrics.frames, metrics.lost, metrics.dropped) == (17, 3, 0)
    assert warnings == ["Frame 3 was lost: Frame 3 got no result. Further losses are only counted."]


def test_too_many_losses_in_a_row_are_a_failure_of_the_engine():
    some = range(2, 2 + LOST_IN_A_ROW)
    seqs, _, pipeline = seqs_of(Losing(*some), Camera(1000, 20), latest=False)
    assert pipeline.run().lost == LOST_IN_A_ROW and seqs[-1] == 19
    _, _, pipeline = seqs_of(Losing(*some, 2 + LOST_IN_A_ROW), Camera(1000, 20), latest=False)
    with pytest.raises(LostFrameError, match=f"Frame {2 + LOST_IN_A_ROW} got no result"):
        pipeline.run()
    assert pipeline.failed_stage == "inference" and facedet_threads() == []


def test_a_stopped_run_leaves_a_streaming_engine_empty_and_fit_for_the_next(patient):
    ring = RingEngine(BrightnessEngine(), depth=3)
    for _ in range(3):

        def stop_at_20(result):
            if result.frame.seq >= 20:
                threading.Thread(target=pipeline.stop).start()  # noqa: B023 - it ends within this round

        pipeline = Pipeline(Camera(2000), ring, [CallSink(stop_at_20)])
        assert pipeline.run().frames > 0
    seqs, _, pipeline = seqs_of(ring, Camera(2000, 30), latest=False)
    pipeline.run()
    assert seqs == list(range(30))
    # All slots are free again.
    assert len({ring.acquire().number for _ in range(3)}) == 3
    ring.close()


def test_a_failure_elsewhere_leaves_the_engine_usable_too(patient):
    ring = RingEngine(BrightnessEngine())

    def break_at_5(result):
        if result.frame.seq >= 5:  # the fifth itself may have been dropped for a newer one
            raise RuntimeError("the disk")

    with pytest.raises(RuntimeError, match="the disk"):
        Pipeline(Camera(2000), ring, [CallSink(break_at_5)]).run()
    seqs, _, pipeline = seqs_of(ring, Camera(2000, 10), latest=False)
    pipeline.run()
    assert seqs == list(range(10))
    ring.close()


def test_latest_frames_wait_nowhere():
    """With an engine that is far behind, a frame begins at most two results after it was captured."""
    gate = threading.Semaphore(0)

    class Gated(BrightnessEngine):
        def infer(self, frames):
            assert gate.acquire(timeout=60)
            return super().infer(frames)

    captured, got = [], []

    class Telling(Camera):
        def __iter__(self):
            for frame in super().__iter__():
                captured.append(frame.seq)
                yield frame

    def take(result):
        got.append(result.frame.seq)

    ring = RingEngine(Gated(), depth=3)
    pipeline = Pipeline(Telling(500), ring, [CallSink(take)])
    thread = threading.Thread(target=pipeline.run, daemon=True)
    thread.start()

    def wait_for(condition):
        deadline = time.monotonic() + 30
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.002)
        assert condition()

    try:
        wait_for(lambda: len(captured) > 60)
        for count in range(1, 6):
            before = len(captured)
            gate.release()
            wait_for(lambda count=count: len(got) == count)
            wait_for(lambda before=before: len(captured) > before + 30)
    finally:
        pipeline.stop()
        for _ in range(5):
            gate.release()
        thread.join(30)
        ring.close()
    assert not thread.is_alive()
    # Two were in the engine when everything stood still, and one slot was being filled; all others are of later.
    assert got == sorted(set(got)) and got[2] < got[3] and got[3] > 60


def test_an_engine_aborted_by_somebody_else_ends_the_run_quietly():
    ring = RingEngine(BrightnessEngine())
    _, _, pipeline = seqs_of(ring, Camera(500))
    threading.Timer(0.1, ring.abort).start()
    pipeline.run()
    assert pipeline.stopped
    with pytest.raises(EngineStopped):
        ring.acquire()
    ring.close()


@pytest.mark.parametrize("stage", ["capture", "inference", "send"])
def test_a_stage_that_hangs_cannot_keep_a_stopped_run_and_is_named(monkeypatch, stage):
    monkeypatch.setattr(pipeline_module, "DRAIN_SECONDS", 0.2)
    monkeypatch.setattr(pipeline_module, "STOP_SECONDS", 3.0)
    free, hangs = threading.Event(), threading.Event()

    def hang():
        hangs.set()
        free.wait(60)

    class Hanging(Camera):
        def __iter__(self):
            for frame in super().__iter__():
                if stage == "capture" and frame.seq == 5:
                    hang()
                yield frame

    class Stuck(RingEngine):
        def collect(self):
            output = super().collect()
            if stage == "inference":
                hang()  # deaf to abort, as a driver that spins would be
            return output

    def take(result):
        if stage == "send":
            hang()

    camera, closed = Hanging(), []

    class Sink(CallSink):
        def close(self, complete):
            closed.append(complete)

    pipeline = Pipeline(camera, Stuck(BrightnessEngine()), [Sink(take)])
    threading.Thread(target=lambda: hangs.wait(60) and pipeline.stop(), daemon=True).start()
    with pytest.raises(StalledError, match=f"The stage '{stage}' was told to stop and has not for") as error:
        pipeline.run()
    assert pipeline.hung == (stage,) and error.value.exit_code == 3
    assert closed == ([] if stage == "send" else [False])
    assert camera.closed == 0
    free.set()
    pipeline._engine.close()
    assert facedet_threads() == []
    assert camera.closed == (stage == "capture")  # by the thread that was reading it


def test_the_inference_time_is_the_engines_not_the_queues():
    """Frames that wait behind one another are not counted twice."""

    class Slow(BrightnessEngine):
        def infer(self, frames):
            time.sleep(0.02)
            return super().infer(frames)

    ring = RingEngine(Slow(), depth=4)
    _, _, pipeline = seqs_of(ring, Camera(2000, 30), latest=False)
    metrics = pipeline.run()
    ring.close()
    assert metrics.stages["inference"].mean_ms >= 20
    assert metrics.stages["inference"].mean_ms * 30 <= metrics.seconds * 1e3
    assert metrics.stages["total"].mean_ms * 30 > metrics.seconds * 1e3


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
def test_memory_does_not_grow_over_100_000_frames():
    # The allocator takes 4 to 6 MiB once, somewhere in the first 100,000; 100 bytes a frame would be 9 MiB.
    frames, warm_up, allowed = 100_000, 10_000, 8 << 20
    image = picture(0, 96, 64)

    class Endless(Camera):
        live = False

        def __iter__(self):
            return (Frame(seq, 0.0, image.copy(), self.name) for seq in itertools.count())

    output = BrightnessEngine().infer(np.ascontiguousarray(image[None, ..., ::-1]))

    class Instant(BrightnessEngine):
        def infer(self, frames):
            self.inferred += 1
            return output

    memory = {}

    def take(result):
        if result.frame.seq in (warm_up, frames - 1):
            memory[result.frame.seq] = resident()

    seqs_seen = itertools.count()

    class InOrder(CallSink):
        def send(self, result):
            assert result.frame.seq == next(seqs_seen)
            take(result)

    engine = as_streaming(Instant())
    metrics = Pipeline(Endless(), engine, [InOrder(take)], limit=frames).run()
    engine.close()
    assert (metrics.frames, metrics.dropped, metrics.lost) == (frames, 0, 0)
    assert memory[frames - 1] - memory[warm_up] < allowed
