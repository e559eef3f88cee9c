"""What `facedet run`, `serve` and `watch` do, without their command line."""

import contextlib
import os
from collections.abc import Callable
from typing import Any

from fpga_facedet.engines.protocol import Engine
from fpga_facedet.host.jobs import Result
from fpga_facedet.host.pipeline import Pipeline, Sink
from fpga_facedet.host.serving import DEFAULT_HOST as DEFAULT_HOST
from fpga_facedet.host.serving import Listening as Listening
from fpga_facedet.host.serving import serve as serve
from fpga_facedet.host.sinks import AnnotatedSink, CallSink, JsonLinesSink, check_annotated_folder
from fpga_facedet.host.sinks import is_stdout as is_stdout  # for the command line, which then prints on stderr
from fpga_facedet.host.sources import Source, Warn, log_warning, open_source
from fpga_facedet.host.stopping import closing_in_time as closing_in_time
from fpga_facedet.host.stopping import stopping_on_signals
from fpga_facedet.host.summary import Summary, check_limit
from fpga_facedet.stream.client import Reconnect, parse_address
from fpga_facedet.stream.client import watch as watch_stream
from fpga_facedet.stream.protocol import Message, faces_as_json

StrPath = str | os.PathLike[str]


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
    check_limit(limit)
    frames = open_source(source, warn=on_warning)
    pipeline: Pipeline | None = None
    try:
        if annotated is not None:
            check_annotated_folder(annotated, source, frames)
        on_open(frames)
        sinks: list[Sink] = []
        pipeline = Pipeline(
            frames,
            engine,
            sinks,
            score_threshold=min_score,
            nms_iou=nms_iou,
            latest=latest,
            limit=limit,
            on_warning=on_warning,
        )
        if annotated is not None:
            sinks.append(AnnotatedSink(annotated, frames.still))
        lines = JsonLinesSink(jsonl, frames.still) if jsonl is not None else None
        if lines is not None:
            sinks.append(lines)
        sinks.append(CallSink(on_result))
        with stopping_on_signals(pipeline.stop):
            metrics = pipeline.run()
        if pipeline.stopped and lines is not None:
            on_warning(f"Stopped before the end of {frames.name}; the lines up to there are in {lines.place}.")
        return Summary(frames.name, engine.name, metrics, frames.skipped, pipeline.stopped)
    finally:
        if pipeline is None or "capture" not in pipeline.hung:
            frames.close()


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
    check_limit(count)
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
