"""Capture, preprocess, inference, postprocess, send: five threads that work on different frames at once."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from fpga_facedet.engines.protocol import Engine, EngineStopped, LostFrameError, StreamingEngine
from fpga_facedet.engines.ring import as_streaming
from fpga_facedet.host.decode import check_threshold, faces_in_frame
from fpga_facedet.host.jobs import Captured, Finished, Inferred, Result, Submitted
from fpga_facedet.host.metrics import STAGES, Metrics, Recorder
from fpga_facedet.host.queues import Aborted, BoundedQueue
from fpga_facedet.host.sources import Frame, Source, Warn, log_warning
from fpga_facedet.host.watchdog import Activity, StalledError
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.native import library
from fpga_facedet.waiting import wait_awake

T = TypeVar("T")
U = TypeVar("U")

QUEUE_SIZE = 4
"""Frames between two stages where every frame counts. Where only the latest does there is one: the engine then has a
frame that it works on and the next, ready to begin, and a third would only grow old."""
LOST_IN_A_ROW = 5
"""The engine may lose so many frames one after the other; with the next one it has failed."""
DRAIN_SECONDS = 2.0
"""How long a stopped pipeline lets the engine finish what it has, so that it can be used again; then it is aborted."""
STOP_SECONDS = 8.0
"""How long a stopped pipeline waits for its stages in all; then it leaves without those that hang, and names them."""


class Sink(Protocol):
    """Takes results, in order, from the pipeline's sending thread."""

    def send(self, result: Result) -> None:
        """Take one result; an exception stops the pipeline."""
        ...

    def close(self, complete: bool) -> None:
        """Finish; `complete` says that the source came to its end, False that the run was stopped or failed."""
        ...


@contextlib.contextmanager
def _streaming(engine: Engine) -> Iterator[StreamingEngine]:
    """Lend `engine` as one that works on a frame while the next is filled in; it stays open and the caller's."""
    streaming = as_streaming(engine)
    try:
        yield streaming
    finally:
        if streaming is not engine:
            # Ends the thread of the wrapping alone.
            streaming.abort()


class Pipeline:
    """Runs a source through an engine into sinks, once.

    `latest` drops the oldest waiting frame where the engine is slower than the source (the default for live sources);
    otherwise every frame is done, and the source waits. `pace` is the highest rate, frames a second, at which frames
    are taken; `limit` ends the run after so many frames. Thresholds default to the manifest's. `first_seq` is added to
    the numbers of the frames, and `recorder` goes on with an earlier run's figures, where this is the same stream
    after a restart. `on_warning` takes a sentence for the first frame that the engine lost.

    After a failure `failed_stage` names where it was. `hung` names the stages whose threads did not end in
    STOP_SECONDS: they are left behind, and what they use must not be used again. `engine_spent` says that the engine
    failed or did not finish in time and was aborted, so that it can only be closed.
    """

    def __init__(
        self,
        source: Source,
        engine: Engine,
        sinks: Sequence[Sink],
        *,
        score_threshold: float | None = None,
        nms_iou: float | None = None,
        latest: bool | None = None,
        pace: float | None = None,
        limit: int | None = None,
        first_seq: int = 0,
        recorder: Recorder | None = None,
        on_warning: Warn = log_warning,
    ) -> None:
        head = engine.manifest.head
        self._score = check_threshold(head.score_threshold if score_threshold is None else score_threshold)
        self._iou = check_threshold(head.nms_iou if nms_iou is None else nms_iou)
        self._source, self._sinks, self._given = source, sinks, engine
        self._pace, self._limit, self._warn = pace, limit, on_warning
        self._recorder = recorder or Recorder()
        self.activity = Activity()
        self.captured = 0
        self.next_seq = self._first_seq = first_seq
        self.failed_stage: str | None = None
        self.hung: tuple[str, ...] = ()
        self.engine_spent = False
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._left = threading.Condition()
        self._running: set[str] = set()
        self._lost_in_a_row = 0
        self._losses_told = False
        self._result_before = 0.0
        latest = source.live if latest is None else latest
        size = 1 if latest else QUEUE_SIZE
        # Only the first drops: what is past it has cost work already.
        self._captured: BoundedQueue[Captured] = BoundedQueue(size, latest)
        self._submitted: BoundedQueue[Submitted] = BoundedQueue(size)
        self._inferred: BoundedQueue[Inferred] = BoundedQueue(size)
        self._finished: BoundedQueue[Finished] = BoundedQueue(size)

    @property
    def stopped(self) -> bool:
        """Whether the run was stopped, or failed, before its source's end."""
        return self._stopping.is_set()

    def metrics(self) -> Metrics:
        """Return what was measured up to now; any thread may ask."""
        return self._recorder.metrics(time.perf_counter())

    def stop(self) -> None:
        """End the run soon: each stage finishes the frame it has, those waiting are left. Any thread may call it."""
        self._stopping.set()
        self._captured.abort()
        # What the engine has is still collected, by the inference stage, which throws it away.
        self._inferred.abort()
        self._finished.abort()
        with self._left:
            self._left.notify_all()

    def fail(self, error: BaseException, stage: str) -> None:
        """Stop because of `error` in `stage`; the first failure is the one that `run` raises."""
        with self._left:
            if self._failure is None:
                self._failure, self.failed_stage = error, stage
        self.stop()

    def run(self) -> Metrics:
        """Work until the source ends, `limit` is reached or `stop` is called; then close the sinks.

        Raises what any stage raised first, after all stages have left, and StalledError where one did not.
        """
        try:
            self.work()
        finally:
            self.close_sinks()
        if self._failure is not None:
            raise self._failure
        return self.metrics()

    def work(self) -> None:
        """Work as `run` does, but leave the sinks open, for another pipeline that goes on with the same stream."""
        # The first use may compile it, for half a minute on a board: no frame's time, and no stage that hangs.
        library()
        self._recorder.start(time.perf_counter())
        stages: dict[str, Callable[[], None]] = {
            "capture": self._capture,
            "preprocess": self._preprocess,
            "inference": self._infer,
            "postprocess": lambda: self._each("postprocess", self._postprocess, self._inferred, self._finished),
            "send": lambda: self._each("send", self._send, self._finished, None),
        }
        self._running.update(stages)
        with _streaming(self._given) as self._engine:
            for name, stage in stages.items():
                threading.Thread(target=self._guard, args=(name, stage), name=f"facedet-{name}", daemon=True).start()
            self._wait()
        if self._failure is not None:
            raise self._failure

    def close_sinks(self) -> None:
        """Close every sink, also after one of them fails; none where one of them hangs in the sending stage."""
        for sink in self._sinks if "send" not in self.hung else ():
            try:
                sink.close(not self.stopped)
            except BaseException as error:
                self.fail(error, "send")

    def _wait(self) -> None:
        """Wait for all stages to leave: for ever while the run goes on, not for long once it is stopped."""
        with self._left:
            wait_awake(self._left, lambda: not self._running or self._stopping.is_set())
            if not self._left.wait_for(lambda: not self._running, DRAIN_SECONDS):
                if self._running & {"preprocess", "inference"}:
                    self._give_up_engine()
                self._left.wait_for(lambda: not self._running, STOP_SECONDS - DRAIN_SECONDS)
            self.hung = tuple(stage for stage in STAGES if stage in self._running)
        if self.hung:
            self.fail(StalledError(self.hung[0], STOP_SECONDS, "was told to stop and has not"), self.hung[0])

    def _give_up_engine(self) -> None:
        """Wake the stages that wait for the engine; it can only be closed then."""
        self._engine.abort()
        self._submitted.abort()
        # What as_streaming put around an engine is thrown away anyhow.
        self.engine_spent = self._engine is self._given

    def _guard(self, name: str, stage: Callable[[], None]) -> None:
        """Be one stage's thread: a failure in it stops all."""
        try:
            stage()
        except Aborted:
            pass
        except EngineStopped:
            self.stop()
        except BaseException as error:
            self.fail(error, name)
        finally:
            with self._left:
                self._running.discard(name)
                late = name in self.hung
                self._left.notify_all()
            if late and name == "capture":
                # Nobody else could close a device that was being read.
                self._source.close()

    @contextlib.contextmanager
    def _at_work(self, stage: str) -> Iterator[None]:
        """Time what `stage` does with one frame."""
        began = time.perf_counter()
        with self.activity.at_work(stage):
            yield
        self._recorder.time(stage, time.perf_counter() - began)

    def _each(self, name: str, work: Callable[[T], U], before: BoundedQueue[T], after: BoundedQueue[U] | None) -> None:
        """Do `work` on all that comes from `before`, pass the results and at last the end on to `after`."""
        for job in before:
            with self._at_work(name):
                done = work(job)
            if after is not None:
                after.put(done)
        if after is not None:
            after.close()

    def _capture(self) -> None:
        frames = iter(self._source)
        due = time.perf_counter()
        while self._limit is None or self.captured < self._limit:
            if self._pace:
                # A frame that comes late does not make the next ones hurry.
                due = max(due, time.perf_counter() - 1 / self._pace)
                if self._stopping.wait(max(0.0, due - time.perf_counter())):
                    return
                due += 1 / self._pace
            frame = self._next(frames)
            if frame is None:
                break
            if self._captured.put(Captured(frame, time.perf_counter())):
                self._recorder.dropped()
        self._captured.close()

    def _next(self, frames: Iterator[Frame]) -> Frame | None:
        """Return the source's next frame under its number in the stream, None at the end."""
        began = time.perf_counter()
        with self.activity.at_work("capture"):
            frame = next(frames, None)
        if frame is None:
            return None
        self._recorder.time("capture", time.perf_counter() - began)
        if self._first_seq:
            frame = replace(frame, seq=frame.seq + self._first_seq)
        self.captured, self.next_seq = self.captured + 1, frame.seq + 1
        return frame

    def _preprocess(self) -> None:
        """Letterbox frames into the engine's own memory.

        The slot comes first: a frame that waited for one would grow old while newer ones could take its place.
        """
        frames = iter(self._captured)
        try:
            while True:
                self._submitted.wait_for_room()
                with self._engines_own():
                    slot = self._engine.acquire()
                try:
                    filled = self._filled(frames, slot.pixels)
                except BaseException:
                    with self._engines_own():
                        self._engine.release(slot)
                    raise
                with self._engines_own():
                    if filled is None:
                        self._engine.release(slot)
                        return
                    submitted = time.perf_counter()
                    self._engine.submit(slot)
                self._submitted.put(Submitted(*filled, submitted))
        finally:
            self._submitted.close()

    @contextlib.contextmanager
    def _engines_own(self) -> Iterator[None]:
        """Count what an engine raises as its own stage's failure, whichever stage was the first to ask it."""
        try:
            yield
        except Exception as error:
            if isinstance(error, EngineStopped):
                raise
            self.fail(error, "inference")
            raise Aborted from error

    def _filled(self, frames: Iterator[Captured], pixels: npt.NDArray[np.uint8]) -> tuple[Captured, Letterbox] | None:
        """Fill `pixels` with the next of `frames`; None at their end."""
        captured = next(frames, None)
        if captured is None:
            return None
        with self._at_work("preprocess"):
            image, wanted = captured.frame.image, self._engine.manifest.input
            letterbox = Letterbox.fit(image.shape[1], image.shape[0], wanted.width, wanted.height)
            letterbox.apply_rgbx(image, pixels, wanted.fill)
        return captured, letterbox

    def _infer(self) -> None:
        """Collect all that was submitted, in order; after a stop too, so that the engine is empty again."""
        try:
            for submitted in self._submitted:
                output = self._collect(submitted)
                if output is not None and not self._stopping.is_set():
                    with contextlib.suppress(Aborted):
                        self._inferred.put(Inferred(submitted.captured, submitted.letterbox, output))
        except BaseException:
            self._give_up_engine()
            raise
        self._inferred.close()

    def _collect(self, submitted: Submitted) -> npt.NDArray[np.int8] | None:
        """Return the output of the oldest frame in the engine, None where it was lost."""
        try:
            with self.activity.at_work("inference"):
                output = self._engine.collect()
        except LostFrameError as error:
            self._lose(submitted, error)
            return None
        self._lost_in_a_row = 0
        now = time.perf_counter()
        self._recorder.time("inference", now - max(submitted.submitted, self._result_before))
        self._result_before = now
        return output

    def _lose(self, submitted: Submitted, error: Exception) -> None:
        """Count a frame that the engine lost; too many in a row are a failure."""
        self._recorder.lost()
        self._lost_in_a_row += 1
        if self._lost_in_a_row > LOST_IN_A_ROW:
            raise error
        if not self._losses_told:
            self._losses_told = True
            self._warn(f"Frame {submitted.captured.frame.seq} was lost: {error} Further losses are only counted.")

    def _postprocess(self, inferred: Inferred) -> Finished:
        faces = faces_in_frame(inferred.output, self._engine.manifest, inferred.letterbox, self._score, self._iou)
        return Finished(inferred.captured, Result(inferred.captured.frame, faces))

    def _send(self, finished: Finished) -> None:
        for sink in self._sinks:
            sink.send(finished.result)
        now = time.perf_counter()
        self._recorder.time("total", now - finished.captured.started)
        self._recorder.sent(now, len(finished.result.faces))
