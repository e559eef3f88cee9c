"""Servers and watchers on real loopback sockets."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fpga_facedet.detections import Detections
from fpga_facedet.manifest import HeadInfo, InputInfo, Manifest, ModelInfo
from fpga_facedet.stream.protocol import frame_line, hello_line
from fpga_facedet.stream.server import StreamServer

MANIFEST = Manifest(
    model=ModelInfo("lpyolo-4w4a", "ab" * 32, {}),
    input=InputInfo(416, 416, 3, 114),
    head=HeadInfo(13, 13, 18, 32, ((10, 14), (23, 27), (37, 58)), 1 / 128, 0.3, 0.45),
)
HELLO = hello_line(MANIFEST, "golden", "street.mp4", 0.3, "5f0c")


def line(seq: int, faces: int = 1) -> bytes:
    boxes = np.arange(4 * faces, dtype=np.float32).reshape(-1, 4)
    return frame_line(seq, 1.5 + seq, "street.mp4", 480, 270, Detections(boxes, np.full(faces, 0.5, np.float32)))


@pytest.fixture
def start() -> Iterator[Callable[..., StreamServer]]:
    """Start servers that are closed with the test."""
    servers = []

    def make(patient: bool = True, **options) -> StreamServer:
        servers.append(StreamServer("127.0.0.1", options.pop("port", 0), HELLO, patient=patient, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.give_up()
        server.close(within=0.1)


class Watcher:
    """A bare socket that reads lines in a thread of its own."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self.messages: list[dict] = []
        self.thread: threading.Thread | None = None

    def read(self, each: Callable[[dict], object] = lambda message: None) -> "Watcher":
        """Begin to read; `each` is called with every message."""

        def work() -> None:
            with self.socket.makefile("rb") as lines:
                for text in lines:
                    self.messages.append(json.loads(text))
                    each(self.messages[-1])

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        return self

    def done(self) -> list[dict]:
        """Wait for the end of the connection and return all messages."""
        assert self.thread is not None
        self.thread.join(20)
        assert not self.thread.is_alive(), "the server has not closed the connection"
        self.socket.close()
        return self.messages

    def vanish(self) -> None:
        """Break the connection off with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def seqs(messages: list[dict]) -> list[int]:
    return [message["seq"] for message in messages if message["type"] == "frame"]
