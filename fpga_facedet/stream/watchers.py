"""What a stream's server keeps: the latest lines, and where each of its watchers is in them."""

import contextlib
import socket
import time
from dataclasses import dataclass

TURN_LINES = 64
"""The most that one watcher is sent before the others' turn."""


class Log:
    """The latest lines, once for all watchers, each under its number: `first` is the oldest kept, `end` the next.

    `notice` is beside them: only the newest one counts, and `notices` is how many there have been.
    """

    def __init__(self, most_lines: int, most_bytes: int) -> None:
        self.first = self.end = self.notices = 0
        self.notice = b""
        self._most_lines, self._most_bytes = most_lines, most_bytes
        self._lines: dict[int, bytes] = {}
        self._bytes = 0

    def __getitem__(self, number: int) -> bytes:
        return self._lines[number]

    def first_to_keep(self) -> int:
        """Return the number of the oldest line that stays when one more comes."""
        first, size = self.first, self._bytes
        while first < self.end and (self.end - first >= self._most_lines or size >= self._most_bytes):
            size -= len(self._lines[first])
            first += 1
        return first

    def forget(self, before: int) -> None:
        """Drop the lines before that number."""
        while self.first < before:
            self._bytes -= len(self._lines.pop(self.first))
            self.first += 1

    def append(self, line: bytes) -> None:
        """Add a line; nothing is dropped here."""
        self._lines[self.end] = line
        self._bytes += len(line)
        self.end += 1


@dataclass(eq=False)
class Watcher:
    """One connection, and where it is in the server's log.

    `next` is the number of the line behind `current`, the rest of the line being sent; `moved` is when it last took
    any; `noticed` is the number of the log's notice that it has got. `listening` says that its side may still send;
    one that has closed that half (`nc` without a terminal) still reads.
    """

    socket: socket.socket
    log: Log
    next: int
    current: memoryview
    moved: float
    noticed: int = 0
    listening: bool = True

    @property
    def waiting(self) -> bool:
        """Whether there is anything to send."""
        return bool(self.current) or self.next < self.log.end or self.noticed < self.log.notices

    def send(self, turn: int = TURN_LINES) -> None:
        """Send what the socket takes without waiting, `turn` lines at most; OSError where the connection is gone."""
        last = self.next + turn
        with contextlib.suppress(BlockingIOError):
            while self.waiting and self.next < last:
                if not self.current:
                    self._take()
                self.current = self.current[self.socket.send(self.current) :]
                self.moved = time.monotonic()

    def _take(self) -> None:
        """Begin with what comes next: the newest notice, so that it does not wait behind lines, then the next line."""
        if self.noticed < self.log.notices:
            self.current, self.noticed = memoryview(self.log.notice), self.log.notices
        else:
            self.current = memoryview(self.log[self.next])
            self.next += 1
