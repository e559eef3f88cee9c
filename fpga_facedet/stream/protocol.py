"""The lines of the stream, facedet/1: made and read here alone. docs/stream.md describes them for the outside."""

import json
from collections.abc import Mapping
from typing import Any

from fpga_facedet.detections import Detections
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import Manifest

PROTOCOL = "facedet/1"
DEFAULT_PORT = 5566
MAX_LINE = 1 << 20
"""Longest line in bytes that a client takes; a frame with the 507 boxes of a 13 x 13 grid stays below 32 KiB."""

STAGE_TIMES = ("mean_ms", "median_ms", "p95_ms")
"""What metrics say of each stage, in milliseconds."""

MOST = 1e12
"""No count, time, rate or coordinate of a message is above this: what shows one knows how long it gets."""

Message = Mapping[str, Any]
"""One line of the stream as a dictionary; always with `type`."""


def faces_as_json(faces: Detections) -> list[dict[str, Any]]:
    """Return faces as JSON-ready dictionaries: `box` x1, y1, x2, y2 in pixels, 2 decimals; `score`, 5 decimals.

    Five decimals keep different scores of an 8-bit head different (they lie 1/65536 apart), so their order stays.
    """
    return [
        {"box": [round(float(v), 2) for v in box], "score": round(float(score), 5)}
        for box, score in zip(faces.boxes, faces.scores, strict=True)
    ]


def hello_line(manifest: Manifest, engine: str, source: str, score_threshold: float, stream: str) -> bytes:
    """Return the first line of every connection: what is spoken, what looks at what.

    `stream` is another one for each run of a server.
    """
    hello = {
        "type": "hello",
        "protocol": PROTOCOL,
        "stream": stream,
        "model": manifest.model.name,
        "model_sha256": manifest.model.sha256,
        "engine": engine,
        "input": {
            "width": manifest.input.width,
            "height": manifest.input.height,
            "channels": manifest.input.channels,
        },
        "source": source,
        "score_threshold": score_threshold,
    }
    return _line(hello)


def frame_line(seq: int, captured_at: float, source: str, width: int, height: int, faces: Detections) -> bytes:
    """Return the line of one frame; `captured_at` in seconds since the Unix epoch, boxes in the frame's pixels."""
    frame = {
        "type": "frame",
        "seq": seq,
        "captured_at": round(captured_at, 6),
        "source": source,
        "width": width,
        "height": height,
        "faces": faces_as_json(faces),
    }
    return _line(frame)


def metrics_line(at: float, engine: str, source: str, watchers: int, figures: Mapping[str, Any]) -> bytes:
    """Return the line that says how the server fares: `at` in seconds since the Unix epoch, figures of the host."""
    about = {"at": round(at, 3), "engine": engine, "source": source, "watchers": watchers}
    return _line({"type": "metrics", **about, **figures})


def end_line(frames: int, reason: str) -> bytes:
    """Return the last line: how many frames were sent; `reason` is `finished` (source over), `stopped` or `failed`."""
    return _line({"type": "end", "frames": frames, "reason": reason})


def error_line(message: str) -> bytes:
    """Return a line that says in one sentence why the server closes this connection."""
    return _line({"type": "error", "message": message})


def parse_line(line: bytes, server: str) -> Message:
    """Read one line of `server`, with or without its newline; UserError where it is not a message of this protocol."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        shown = line[:60].decode("ascii", "replace")
        raise UserError(f"{server} does not speak {PROTOCOL}: it sent {shown!r}; check the address and the port.")
    if message["type"] == "frame" and not _is_frame(message):
        raise UserError(f"{server} sent a frame without what {PROTOCOL} asks for; run the same version on both ends.")
    if message["type"] == "metrics" and not _is_metrics(message):
        raise UserError(f"{server} sent metrics without what {PROTOCOL} asks for; run the same version on both ends.")
    return message


def check_hello(message: Message, server: str) -> None:
    """Raise UserError unless `message` is a hello of this protocol."""
    if message["type"] == "error":
        raise UserError(f"{server} refused: {message.get('message', 'no reason given')}")
    if message["type"] != "hello" or message.get("protocol") != PROTOCOL:
        raise UserError(
            f"{server} speaks {message.get('protocol')!r}, this program {PROTOCOL}; run the same version on both ends."
        )


def _is_frame(message: Message) -> bool:
    """Return whether a frame has its numbers and its faces."""
    faces = message.get("faces")
    return (
        all(_is_count(message.get(key)) for key in ("seq", "width", "height"))
        and _is_number(message.get("captured_at"))
        and isinstance(faces, list)
        and all(_is_face(face) for face in faces)
    )


def _is_metrics(message: Message) -> bool:
    """Return whether metrics have their numbers, and times for each stage that they name."""
    stages = message.get("stages")
    return (
        all(_is_count(message.get(key)) for key in ("frames", "dropped", "lost", "restarts"))
        and all(_is_number(message.get(key)) for key in ("at", "seconds", "fps", "fps_now"))
        and isinstance(stages, dict)
        and all(
            isinstance(times, dict) and all(_is_number(times.get(key)) for key in STAGE_TIMES)
            for times in stages.values()
        )
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= MOST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value)


def _is_face(face: Any) -> bool:
    """Return whether a face has four numbers as its box, and a score."""
    if not isinstance(face, dict) or not _is_number(face.get("score")) or face["score"] > 1:
        return False
    box = face.get("box")
    return isinstance(box, list) and len(box) == 4 and all(_is_number(v) for v in box)


def _line(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"
