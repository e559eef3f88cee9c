"""What `facedet run`, `serve` and `watch` do, without their command line."""

import contextlib
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

from fpga_facedet.engines.protocol import Engine
from fpga_facedet.errors import UserError
from fpga_facedet.host.metrics import Metrics
from fpga_facedet.host.pipeline import Pipeline, Result, Sink
from fpga_facedet.host.sinks import AnnotatedSink, CallSink, JsonLinesSink, StreamSink, check_annotated_folder
from fpga_facedet.host.sinks import is_stdout as is_stdout  # for the command line, which then prints on stderr
from fpga_facedet.host.sources import Source, Warn, log_warning, open_source
from fpga_facedet.stream.client import Reconnect, parse_address
from fpga_facedet.stream.client import watch as watch_stream
from fpga_facedet.stream.protocol import DEFAULT_PORT, Message, faces_as_json, hello_line
from fpga_facedet.stream.server import StreamServer

DEFAULT_HOST = "127.0.0.1"
"""Only this machine may watch, unless told otherwise: the stream has no password. On a board give 0.0.0.0."""

SETTLE_SECONDS = 0.5
"""A source that waits for watchers begins when no further one came for so long.

Later ones get every line too, but a source may be over before they come.
"""

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Summary:
    """How a run went. `skipped` pictures could not be read; `stopped` says that it was ended before its source was."""

    source: str
    engine: str
    metrics: Metrics
    skipped: int
    stopped: bool

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready dictionaries."""
        return {**asdict(self), "metrics": self.metrics.to_dict()}


@dataclass(frozen=True)
class Listening:
    """Where a stream can be watched; `total` is the number of frames to come where it is known."""

    host: str
    port: int
    total: int | None


def run(
    source: str,
    engine: Engine,
    *,
    min_score: float | None = None,
    nms_iou: float | None = None,
    jsonl: StrPath | None = None,
    annotated: StrPath | None = None,
    latest: bool | None = None,
    limit: int | None = None,
    on_open: Callable[[Source], None] = lambda source: None,
    on_result: Callable[[Result], None] = lambda result: None,
    on_warning: Warn = log_warning,
) -> Summary:
    """Find the faces of `source` (see `open_source`) with `engine`, which stays the caller's to close.

    Writes JSON lines to `jsonl` and annotated pictures to the folder `annotated`. Every face with score >= `min_score`
    after suppression at `nms_iou` counts; both default to the manifest's. `latest` drops frames where the engine is
    slower than the source (by default for cameras and network streams only). `on_result` is called for each frame in
    the sending thread. SIGINT and SIGTERM end it early and in order. Raises UserError for all a user can put right.
    """
    _check_limit(limit)
    frames = open_source(source, warn=on_warning)
    with contextlib.closing(frames):
        if annotated is not None:
            check_annotated_folder(annotated, source, frames)
        on_open(frames)
        sinks: list[Sink] = []
        pipeline = Pipeline(
            frames, engine, sinks, score_threshold=min_score, nms_iou=nms_iou, latest=latest, limit=limit
        )
        if annotated is not None:
            sinks.append(AnnotatedSink(annotated, frames.still))
        lines = JsonLinesSink(jsonl, frames.still) if jsonl is not None else None
        if lines is not None:
            sinks.append(lines)
        sinks.append(CallSink(on_result))
        with _stopping_on_signals(pipeline.stop):
            metrics = pipeline.run()
        if pipeline.stopped and lines is not None:
            on_warning(f"Stopped before the end of {frames.name}; the lines up to there are in {lines.place}.")
        return Summary(frames.name, engine.name, metrics, frames.skipped, pipeline.stopped)


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
    annotated: StrPath | None = None,
    latest: bool | None = None,
    limit: int | None = None,
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
    Raises UserError for all a user can put right: a busy port, a source that is not there.
    """
    _check_limit(limit)
    if fps is not None and fps < 0:
        raise UserError(f"A rate of {fps} frames a second is below 0; give one above, or 0 for as fast as it goes.")
    frames = open_source(source, loop=loop, warn=on_warning)
    with contextlib.closing(frames):
        if annotated is not None:
            check_annotated_folder(annotated, source, frames)
        if wait_clients is None:
            wait_clients = 0 if frames.live or loop else 1
        latest = frames.live if latest is None else latest
        threshold = engine.manifest.head.score_threshold if min_score is None else min_score
        sinks: list[Sink] = []
        pipeline = Pipeline(
            frames,
            engine,
            sinks,
            score_threshold=threshold,
            nms_iou=nms_iou,
            latest=latest,
            pace=(None if frames.live else frames.rate) if fps is None else fps,
            limit=limit,
        )
        hello = hello_line(engine.manifest, engine.name, frames.name, threshold, secrets.token_hex(8))
        replay = not (loop or frames.live or latest)
        server = StreamServer(host, port, hello, patient=not latest, replay=replay, on_change=on_watchers)
        sinks.append(StreamSink(server))
        if annotated is not None:
            sinks.append(AnnotatedSink(annotated, frames.still))
        sinks.append(CallSink(on_result))

        def stop() -> None:
            pipeline.stop()
            server.give_up()

        reason = "failed"
        try:
            with _stopping_on_signals(stop):
                on_listening(Listening(server.host, server.port, frames.total))
                server.wait_for_watchers(wait_clients, SETTLE_SECONDS if wait_clients else 0.0)
                metrics = pipeline.run()
            reason = "stopped" if pipeline.stopped else "finished"
        finally:
            server.close(reason, within=None if reason == "finished" else 1.0)
        return Summary(frames.name, engine.name, metrics, frames.skipped, pipeline.stopped)


def watch(
    address: str,
    on_message: Callable[[Message], None],
    *,
    count: int | None = None,
    reconnect: Reconnect | None = Reconnect(),
) -> int:
    """Call `on_message` with each message of the stream at `address` (HOST:PORT); return the number of frames.

    Ends at the stream's end, or after `count` frames. Raises UserError where nobody answers (see `client.watch`).
    """
    _check_limit(count)
    host, port = parse_address(address)
    frames = 0
    messages = watch_stream(host, port, reconnect)
    with contextlib.closing(messages):
        for message in messages:
            on_message(message)
            frames += message["type"] == "frame"
            if count is not None and frames >= count:
                break
    return frames


def describe_result(result: Result) -> str:
    """Return one readable line for a frame of `run`: the same for the same faces, whatever engine found them."""
    name = result.frame.name
    return f"{name}  {result.width}x{result.height}  {_describe_faces(faces_as_json(result.faces))}"


def describe_message(message: Message) -> str:
    """Return one readable line for a message of the stream; control characters of the server are left out."""
    if message["type"] == "hello":
        line = f"{message.get('model')} on engine {message.get('engine')}, watching {message.get('source')}"
    elif message["type"] == "frame":
        line = f"{message['seq']:>6}  {message['width']}x{message['height']}  {_describe_faces(message['faces'])}"
    else:
        line = f"End after {message.get('frames')} frames ({message.get('reason')})."
    return "".join(c for c in line if c.isprintable())


def _describe_faces(faces: list[dict[str, Any]]) -> str:
    """Return `2 faces: 0.91 at 178,65,270,176; ...`, the best first."""
    noun = "face" if len(faces) == 1 else "faces"
    shown = "; ".join(f"{f['score']:.5f} at {','.join(f'{v:.2f}' for v in f['box'])}" for f in faces)
    return f"{len(faces)} {noun}" + (f": {shown}" if shown else "")


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise UserError(f"A limit of {limit} frames leaves nothing to do; give 1 or more.")


@contextlib.contextmanager
def _stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first SIGINT or SIGTERM; a second one acts as it would have without us.

    Only the main thread may set signal handlers; elsewhere the caller stops the work itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        restore()
        # A handler runs between two steps of the main thread, which may hold the very locks that stopping needs.
        threading.Thread(target=stop, name="facedet-stop").start()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
