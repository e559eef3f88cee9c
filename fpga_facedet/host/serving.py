"""What `facedet serve` does: a source's faces over TCP, for a minute or for a year."""

import contextlib
import math
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from fpga_facedet.engines.protocol import Engine
from fpga_facedet.errors import UserError
from fpga_facedet.host.decode import check_threshold
from fpga_facedet.host.jobs import Result
from fpga_facedet.host.metrics import Metrics, Recorder
from fpga_facedet.host.notify import Notifier
from fpga_facedet.host.pipeline import Pipeline, Sink
from fpga_facedet.host.sinks import AnnotatedSink, CallSink, StreamSink, check_annotated_folder
from fpga_facedet.host.sources import Source, Warn, log_warning, open_source
from fpga_facedet.host.stopping import stopping_on_signals
from fpga_facedet.host.summary import Summary, check_limit
from fpga_facedet.host.supervisor import Supervisor, heart
from fpga_facedet.host.watchdog import STALL_SECONDS, RestartPolicy
from fpga_facedet.native import library
from fpga_facedet.stream.protocol import DEFAULT_PORT, hello_line, metrics_line
from fpga_facedet.stream.server import StreamServer

DEFAULT_HOST = "127.0.0.1"
"""Only this machine may watch, unless told otherwise: the stream has no password. On a board give 0.0.0.0."""

SETTLE_SECONDS = 0.5
"""A source that waits for watchers begins when no further one came for so long.

Later ones get every line too, but a source may be over before they come.
"""


@dataclass(frozen=True)
class Listening:
    """Where a stream can be watched; `total` is the number of frames to come where it is known."""

    host: str
    port: int
    total: int | None


@dataclass(frozen=True)
class _Plan:
    """What every pipeline of one stream has in common; calling it makes one."""

    sinks: list[Sink]
    recorder: Recorder
    min_score: float
    nms_iou: float | None
    latest: bool
    pace: float | None
    limit: int | None
    warn: Warn

    def __call__(self, source: Source, engine: Engine, first_seq: int, done: int) -> Pipeline:
        """Return a pipeline whose frames begin at `first_seq`, after `done` of the limit."""
        return Pipeline(
            source,
            engine,
            self.sinks,
            score_threshold=self.min_score,
            nms_iou=self.nms_iou,
            latest=self.latest,
            pace=self.pace,
            limit=None if self.limit is None else self.limit - done,
            first_seq=first_seq,
            recorder=self.recorder,
            on_warning=self.warn,
        )


def serve(
    source: str,
    engine: Engine,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    loop: bool = False,
    wait_clients: int | None = None,
    fps: float | None = None,
    min_score: float | None = None,
    nms_iou: float | None = None,
    annotated: str | os.PathLike[str] | None = None,
    latest: bool | None = None,
    limit: int | None = None,
    reopen_engine: Callable[[], Engine] | None = None,
    restarts: RestartPolicy | None = RestartPolicy(),
    stall_seconds: float = STALL_SECONDS,
    on_listening: Callable[[Listening], None] = lambda listening: None,
    on_watchers: Callable[[int], None] = lambda count: None,
    on_result: Callable[[Result], None] = lambda result: None,
    on_warning: Warn = log_warning,
) -> Summary:
    """Stream the faces of `source` over TCP (docs/stream.md) until it ends, or SIGINT or SIGTERM.

    `port` 0 takes a free one; `on_listening` says which. `fps` is the highest rate: a video's own by default, so that
    a watcher sees it in real time; 0 goes as fast as engine and watchers can. It begins once `wait_clients` watch: by
    default one for a source that ends, so that it does not play to nobody, and none for a camera or with `loop`.
    Every frame of a source that ends reaches every watcher that takes its lines, also one that comes later: it gets
    the frames so far first (up to the server's REPLAY_LINES). Of a live source or with `loop` a later watcher starts
    at the frame of that moment; of a live source, or with `latest`, a slow one misses some.
    `annotated` also saves the pictures, with boxes, to a folder. SIGINT and SIGTERM end it in order.

    A source without an end (live, or `loop`) that fails, or stalls for `stall_seconds`, is opened again as `restarts`
    says (None: never), and so is the engine by `reopen_engine` where that is given; the failed one is closed before,
    also the first, which is the caller's to close otherwise. Under systemd (NOTIFY_SOCKET) it says how it fares.

    Raises UserError for all a user can put right: a busy port, a source that is not there; GaveUpError where restarts
    were in vain, StalledError where a stage hangs.
    """
    min_score = _check(engine, limit, fps, min_score, stall_seconds)
    # The first use may compile it, for half a minute on a board: before anyone is told that this is ready.
    library()
    frames = open_source(source, loop=loop, warn=on_warning)
    latest = frames.live if latest is None else latest
    pace = (None if frames.live else frames.rate) if fps is None else fps
    recorder = Recorder()
    sinks: list[Sink] = []
    supervisor = Supervisor(
        _Plan(sinks, recorder, min_score, nms_iou, latest, pace, limit, on_warning),
        frames,
        engine,
        open_source=lambda: open_source(source, loop=loop, warn=on_warning),
        open_engine=reopen_engine,
        policy=restarts if frames.live or loop else None,
        stall_seconds=stall_seconds,
        recorder=recorder,
        on_warning=on_warning,
    )
    with contextlib.closing(supervisor):
        if annotated is not None:
            check_annotated_folder(annotated, source, frames)
        if wait_clients is None:
            wait_clients = 0 if frames.live or loop else 1
        hello = hello_line(engine.manifest, engine.name, frames.name, min_score, secrets.token_hex(8))
        replay = not (loop or frames.live or latest)
        server = StreamServer(host, port, hello, patient=not latest, replay=replay, on_change=on_watchers)
        sinks.append(StreamSink(server))
        if annotated is not None:
            sinks.append(AnnotatedSink(annotated, frames.still))
        sinks.append(CallSink(on_result))
        station = _Station(server, supervisor, recorder, engine.name, frames.name)
        metrics = station.run(lambda: on_listening(Listening(server.host, server.port, frames.total)), wait_clients)
    return Summary(frames.name, engine.name, metrics, supervisor.skipped, supervisor.stopped)


def _check(
    engine: Engine, limit: int | None, fps: float | None, min_score: float | None, stall_seconds: float
) -> float:
    """Raise UserError for options that make no sense, before anything is opened; return the score in force."""
    check_limit(limit)
    if fps is not None and not 0 <= fps < math.inf:
        raise UserError(
            f"A rate of {fps:g} frames a second cannot be kept; give one above 0 (--fps), or 0 for as fast as it goes."
        )
    if not stall_seconds > 0:
        raise UserError(f"Work cannot be told from a stall after {stall_seconds:g} s; give a time above 0, such as 20.")
    return check_threshold(engine.manifest.head.score_threshold if min_score is None else min_score)


@dataclass(frozen=True)
class _Station:
    """A supervised run with its server: waits for watchers, tells them and systemd how it fares, ends in order."""

    server: StreamServer
    supervisor: Supervisor
    recorder: Recorder
    engine: str
    source: str

    def run(self, on_listening: Callable[[], None], wait_clients: int) -> Metrics:
        """Run to the end and close the server; return how it went."""
        notifier = Notifier()
        reason = "failed"

        def stop() -> None:
            notifier.stopping()
            self.supervisor.stop()
            self.server.give_up()

        try:
            with stopping_on_signals(stop), heart(self.tell, self.supervisor.check, notifier):
                on_listening()
                notifier.ready()
                self.server.wait_for_watchers(wait_clients, SETTLE_SECONDS if wait_clients else 0.0)
                self.supervisor.run()
            reason = "stopped" if self.supervisor.stopped else "finished"
        finally:
            notifier.stopping()
            self.tell()
            self.server.close(reason, within=None if reason == "finished" else 1.0)
            notifier.close()
        return self._metrics()

    def tell(self) -> str:
        """Give the watchers the figures of this moment, and return them in a few words."""
        metrics = self._metrics()
        about = (time.time(), self.engine, self.source, self.server.watchers)
        self.server.announce(metrics_line(*about, metrics.to_dict()))
        counts = f"{metrics.frames} frames, {metrics.dropped} dropped, {metrics.lost} lost, {metrics.restarts} restarts"
        return f"{metrics.fps_now:.1f} frames a second; {counts}"

    def _metrics(self) -> Metrics:
        return self.recorder.metrics(time.perf_counter())
