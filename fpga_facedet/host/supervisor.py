"""A service's run: one pipeline after the other on the same stream, until it ends, is stopped, or fails too often."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from fpga_facedet.engines.protocol import Engine
from fpga_facedet.host.metrics import Recorder
from fpga_facedet.host.notify import Notifier
from fpga_facedet.host.pipeline import Pipeline
from fpga_facedet.host.sources import Source, Warn
from fpga_facedet.host.stopping import Closable, Opening, close_in_time
from fpga_facedet.host.watchdog import OPEN_SECONDS, GaveUpError, RestartPolicy, Restarts, StalledError

BEAT_SECONDS = 1.0
"""How often a service looks at itself, says how it fares, and pings its manager."""
_SIMULATED = frozenset({"rtl", "csim"})
"""Engines that take as long for a frame as a simulation does: they cannot stall."""

D = TypeVar("D", bound=Closable)
OpenSource = Callable[[], Source]
OpenEngine = Callable[[], Engine]


class MakePipeline(Protocol):
    """Makes a pipeline of a source and an engine that goes on at `first_seq`, after `done` frames of the limit."""

    def __call__(self, source: Source, engine: Engine, first_seq: int, done: int) -> Pipeline:
        """Return it, not yet running."""
        ...


class Supervisor:
    """Runs what `make` makes; opens the source, and the engine with `open_engine`, again where they fail.

    `policy` None, or one of no restarts, restarts nothing. `close` closes the source and the engines opened here; the
    first engine is the caller's and is closed here only where it has failed (a second time must be harmless). A stage
    that hangs is found by `check`, which the caller calls about once a second. Frames go on counting in the same
    stream. `skipped` counts the pictures that sources left out.
    """

    def __init__(
        self,
        make: MakePipeline,
        source: Source,
        engine: Engine,
        *,
        open_source: OpenSource,
        open_engine: OpenEngine | None,
        policy: RestartPolicy | None,
        stall_seconds: float,
        recorder: Recorder,
        on_warning: Warn,
    ) -> None:
        self._make, self._recorder, self._warn = make, recorder, on_warning
        self._open_source, self._open_engine = open_source, open_engine
        self._source: Source | None = source
        self._engine: Engine | None = engine
        self._first_engine = engine
        self._restarts = Restarts(policy) if policy is not None and policy.most else None
        self._stall = stall_seconds
        self._patient = frozenset({"inference"}) if engine.name in _SIMULATED else frozenset[str]()
        self._stopping = threading.Event()
        self._pipeline: Pipeline | None = None
        self._watched: Pipeline | None = None
        self._source_hangs = False
        self._stop_opening: Callable[[], None] = lambda: None
        self._next_seq = self._done = self.skipped = 0

    @property
    def stopped(self) -> bool:
        """Whether the run was stopped, or failed, before its source's end."""
        return self._stopping.is_set() or (self._pipeline is not None and self._pipeline.stopped)

    def stop(self) -> None:
        """End the run soon and in order; any thread may call it."""
        self._stopping.set()
        pipeline = self._pipeline
        if pipeline is not None:
            pipeline.stop()
        self._stop_opening()

    def check(self) -> None:
        """Break off the pipeline where a stage has stalled; raises StalledError then, for whoever reports it."""
        pipeline = self._watched
        if pipeline is None:
            return
        try:
            pipeline.activity.check(self._stall, self._patient)
        except StalledError as error:
            pipeline.fail(error, error.stage)
            raise

    def run(self) -> None:
        """Work to the end of the source, the limit or `stop`; then close the sinks.

        Raises what failed; GaveUpError after restarts in vain, StalledError where opening a device hangs.
        """
        try:
            while (failure := self._attempt()) is not None:
                self._wait_before_next(failure)
                if self._stopping.is_set():
                    return
        finally:
            if self._pipeline is not None:
                self._pipeline.close_sinks()

    def close(self) -> None:
        """Close the source and the engines opened here."""
        self._close_source()
        if self._engine is not self._first_engine:
            self._close_engine()

    def _attempt(self) -> Exception | None:
        """Open what is missing and run a pipeline; return a failure that another attempt may cure, raise any other."""
        try:
            opened = self._opened()
        except StalledError:
            # Its driver has it still: nothing but the end of the process helps.
            raise
        except Exception as error:
            return error
        if opened is None:
            return None
        source, engine = opened
        pipeline = self._pipeline = self._watched = self._make(source, engine, self._next_seq, self._done)
        if self._stopping.is_set():
            pipeline.stop()
        failure: Exception | None = None
        try:
            pipeline.work()
        except Exception as error:
            if not self._curable(pipeline):
                raise
            failure = error
        finally:
            self._watched = None
            self._source_hangs = "capture" in pipeline.hung
        if failure is not None:
            self._put_away(pipeline)
        return failure

    def _opened(self) -> tuple[Source, Engine] | None:
        """Return the source and the engine, opened where they are missing; None where a stop came first."""
        if self._engine is None and self._open_engine is not None:
            self._engine = self._open("inference", self._open_engine)
        if self._source is None and not self._stopping.is_set():
            self._source = self._open("capture", self._open_source)
            self._source_hangs = False
        if self._engine is None or self._source is None:
            return None
        return self._source, self._engine

    def _open(self, stage: str, open_device: Callable[[], D]) -> D | None:
        """Open what `stage` works with; None where a stop came first."""
        opening = Opening(stage, open_device)
        self._stop_opening = opening.stop
        if self._stopping.is_set():
            return None
        return opening.wait(None if stage in self._patient else max(self._stall, OPEN_SECONDS))

    def _curable(self, pipeline: Pipeline) -> bool:
        """Return whether the source or the engine, opened again, may go on after the failure of `pipeline`."""
        if self._restarts is None or self._stopping.is_set() or set(pipeline.hung) - {"capture"}:
            return False
        if pipeline.failed_stage not in ("capture", "inference"):
            return False
        return self._open_engine is not None or not self._engine_failed(pipeline)

    @staticmethod
    def _engine_failed(pipeline: Pipeline) -> bool:
        return pipeline.failed_stage == "inference" or pipeline.engine_spent

    def _put_away(self, pipeline: Pipeline) -> None:
        """Close what is to be opened again: always the source, whose frames cannot be gone through twice."""
        self._next_seq = pipeline.next_seq
        self._done += pipeline.captured
        self._close_source()
        if self._engine_failed(pipeline):
            self._close_engine()

    def _wait_before_next(self, failure: Exception) -> None:
        """Wait as the policy says; GaveUpError where it says no more."""
        assert self._restarts is not None
        policy, delay = self._restarts.policy, self._restarts.next_delay()
        said = str(failure).rstrip(". ") or type(failure).__name__
        if delay is None:
            times = "one restart" if policy.most == 1 else f"{policy.most} restarts"
            raise GaveUpError(f"Gave up after {times} within {policy.within:g} s: {said}.") from failure
        count = f"restart {self._restarts.recent} of at most {policy.most} within {policy.within:g} s"
        self._warn(f"Opening it again in {delay:g} s ({count}): {said}.")
        self._recorder.restarted()
        self._stopping.wait(delay)

    def _close_source(self) -> None:
        """Close the source, unless a thread is still reading it, which then does so itself."""
        if self._source is not None:
            self.skipped += self._source.skipped
            if not self._source_hangs:
                self._source.close()
        self._source = None

    def _close_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            close_in_time(engine)


@contextlib.contextmanager
def heart(beat: Callable[[], str], check: Callable[[], None], notifier: Notifier) -> Iterator[None]:
    """Call `beat` about once a second, from a thread of its own, and show what it returns as the service's status.

    The service manager is pinged while `check` raises no StalledError; one that does is the status instead.
    """
    over = threading.Event()
    seconds = min(BEAT_SECONDS, notifier.ping_seconds or BEAT_SECONDS)

    def work() -> None:
        while not over.wait(seconds):
            try:
                check()
            except StalledError as error:
                notifier.status(str(error))
                continue
            notifier.ping()
            notifier.status(beat())

    thread = threading.Thread(target=work, name="facedet-heart", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(BEAT_SECONDS)
