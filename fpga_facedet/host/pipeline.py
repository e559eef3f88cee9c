"""Capture, preprocess, inference, postprocess, send: five threads that work on five frames at once."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import Detections
from fpga_facedet.engines.protocol import Engine
from fpga_facedet.host.decode import check_threshold, faces_in_frame
from fpga_facedet.host.metrics import Metrics, Recorder
from fpga_facedet.host.queues import Aborted, BoundedQueue
from fpga_facedet.host.sources import Frame, Source
from fpga_facedet.letterbox import Letterbox

T = TypeVar("T")
U = TypeVar("U")

QUEUE_SIZE = 4
"""Frames between two stages where every frame counts; where only the latest does, there is one."""


@dataclass(frozen=True)
class Result:
    """One frame and its faces, in pixels of the frame as stored, best first."""

    frame: Frame
    faces: Detections

    @property
    def width(self) -> int:
        """Width of the frame, pixels."""
        return int(self.frame.image.shape[1])

    @property
    def height(self) -> int:
        """Height of the frame, pixels."""
        return int(self.frame.image.shape[0])


class Sink(Protocol):
    """Takes results, in order, from the pipeline's sending thread."""

    def send(self, result: Result) -> None:
        """Take one result; an exception stops the pipeline."""
        ...

    def close(self, complete: bool) -> None:
        """Finish; `complete` says that the source came to its end, False that the run was stopped or failed."""
        ...


@dataclass(frozen=True)
class _Captured:
    """A frame to preprocess; `started` is when its capture ended, in seconds of time.perf_counter."""

    frame: Frame
    started: float


@dataclass(frozen=True)
class _Prepared:
    """A frame to infer; `pixels` is the detector's input, uint8 (1, H, W, 3)."""

    captured: _Captured
    letterbox: Letterbox
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Inferred:
    """A frame to postprocess; `output` is the head's, int8 (grid_h, grid_w, C)."""

    captured: _Captured
    letterbox: Letterbox
    output: npt.NDArray[np.int8]


@dataclass(frozen=True)
class _Finished:
    """A frame to send."""

    captured: _Captured
    result: Result


class Pipeline:
    """Runs a source through an engine into sinks.

    `latest` drops the oldest waiting frame where the engine is slower than the source (the default for live sources);
    otherwise every frame is done, and the source waits. `pace` is the highest rate, frames a second, at which frames
    are taken; `limit` ends the run after so many frames. Thresholds default to the manifest's.
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
    ) -> None:
        head = engine.manifest.head
        self._score = check_threshold(head.score_threshold if score_threshold is None else score_threshold)
        self._iou = check_threshold(head.nms_iou if nms_iou is None else nms_iou)
        self._source, self._engine, self._sinks = source, engine, sinks
        self._pace, self._limit = pace, limit
        self._recorder = Recorder()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._failing = threading.Lock()
        latest = source.live if latest is None else latest
        size = 1 if latest else QUEUE_SIZE
        # Only the first drops: what is past it has cost work already.
        self._captured: BoundedQueue[_Captured] = BoundedQueue(size, latest)
        self._prepared: BoundedQueue[_Prepared] = BoundedQueue(size)
        self._inferred: BoundedQueue[_Inferred] = BoundedQueue(size)
        self._finished: BoundedQueue[_Finished] = BoundedQueue(size)

    @property
    def stopped(self) -> bool:
        """Whether the run was stopped, or failed, before its source's end."""
        return self._stopping.is_set()

    def metrics(self) -> Metrics:
        """Return what was measured up to now; any thread may ask."""
        return self._recorder.metrics(self._captured.dropped)

    def stop(self) -> None:
        """End the run soon: each stage finishes the frame it has, those waiting are left. Any thread may call it."""
        self._stopping.set()
        self._captured.abort()
        self._prepared.abort()
        self._inferred.abort()
        self._finished.abort()

    def run(self) -> Metrics:
        """Work until the source ends, `limit` is reached or `stop` is called; then close the sinks.

        Raises what any stage raised first, after all stages have left.
        """
        self._recorder.start(time.perf_counter())
        stages: dict[str, Callable[[], None]] = {
            "capture": self._capture,
            "preprocess": lambda: self._each("preprocess", self._preprocess, self._captured, self._prepared),
            "inference": lambda: self._each("inference", self._infer, self._prepared, self._inferred),
            "postprocess": lambda: self._each("postprocess", self._postprocess, self._inferred, self._finished),
            "send": lambda: self._each("send", self._send, self._finished, None),
        }
        threads = [
            threading.Thread(target=self._guard, args=(stage,), name=f"facedet-{name}", daemon=True)
            for name, stage in stages.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._close_sinks()
        if self._failure is not None:
            raise self._failure
        return self.metrics()

    def _guard(self, stage: Callable[[], None]) -> None:
        """Be one stage's thread: a failure in it stops all."""
        try:
            stage()
        except Aborted:
            pass
        except BaseException as error:
            self._fail(error)

    def _each(self, name: str, work: Callable[[T], U], before: BoundedQueue[T], after: BoundedQueue[U] | None) -> None:
        """Do `work` on all that comes from `before`, pass the results and at last the end on to `after`."""
        for job in before:
            began = time.perf_counter()
            done = work(job)
            self._recorder.time(name, time.perf_counter() - began)
            if after is not None:
                after.put(done)
        if after is not None:
            after.close()

    def _fail(self, error: BaseException) -> None:
        with self._failing:
            if self._failure is None:
                self._failure = error
        self.stop()

    def _close_sinks(self) -> None:
        """Close every sink, also after one of them fails."""
        for sink in self._sinks:
            try:
                sink.close(not self.stopped)
            except BaseException as error:
                self._fail(error)

    def _capture(self) -> None:
        frames = iter(self._source)
        count = 0
        due = time.perf_counter()
        while self._limit is None or count < self._limit:
            if self._pace:
                # A frame that comes late does not make the next ones hurry.
                due = max(due, time.perf_counter() - 1 / self._pace)
                if self._stopping.wait(max(0.0, due - time.perf_counter())):
                    return
                due += 1 / self._pace
            began = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                break
            ended = time.perf_counter()
            self._recorder.time("capture", ended - began)
            self._captured.put(_Captured(frame, ended))
            count += 1
        self._captured.close()

    def _preprocess(self, captured: _Captured) -> _Prepared:
        wanted = self._engine.manifest.input
        image = captured.frame.image
        letterbox = Letterbox.fit(image.shape[1], image.shape[0], wanted.width, wanted.height)
        return _Prepared(captured, letterbox, letterbox.apply(image, wanted.fill)[None])

    def _infer(self, prepared: _Prepared) -> _Inferred:
        return _Inferred(prepared.captured, prepared.letterbox, self._engine.infer(prepared.pixels)[0])

    def _postprocess(self, inferred: _Inferred) -> _Finished:
        faces = faces_in_frame(inferred.output, self._engine.manifest, inferred.letterbox, self._score, self._iou)
        return _Finished(inferred.captured, Result(inferred.captured.frame, faces))

    def _send(self, finished: _Finished) -> None:
        for sink in self._sinks:
            sink.send(finished.result)
        now = time.perf_counter()
        self._recorder.time("total", now - finished.captured.started)
        self._recorder.sent(now, len(finished.result.faces))
