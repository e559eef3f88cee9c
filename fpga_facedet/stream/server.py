"""The stream's server: the same lines to any number of watchers, none of which can hold up or fell it."""

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.stream.protocol import end_line, error_line

QUEUE_LINES = 64
"""Lines kept for watchers that are behind; also the most that one of them is sent before the others' turn."""
REPLAY_LINES = 100_000
REPLAY_BYTES = 64 * 1024 * 1024
"""Lines and bytes kept where later watchers begin at the first line: an hour at 27 frames a second."""
SEND_BUFFER = 64 * 1024
"""Bytes the kernel may hold for one watcher (it doubles them): its default of megabytes hides a stall for minutes."""
STALL_SECONDS = 5.0
"""A watcher that takes nothing for so long while lines wait for it is closed."""
MAX_WATCHERS = 64
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
_LISTEN_BACKLOG = 128


class _Log:
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
class _Watcher:
    """One connection, and where it is in the server's log.

    `next` is the number of the line behind `current`, the rest of the line being sent; `moved` is when it last took
    any; `noticed` is the number of the log's notice that it has got. `listening` says that its side may still send;
    one that has closed that half (`nc` without a terminal) still reads.
    """

    socket: socket.socket
    log: _Log
    next: int
    current: memoryview
    moved: float
    noticed: int = 0
    listening: bool = True

    @property
    def waiting(self) -> bool:
        return bool(self.current) or self.next < self.log.end or self.noticed < self.log.notices

    def send(self) -> None:
        """Send what the socket takes without waiting, a turn at most; raises OSError where the connection is gone."""
        last = self.next + QUEUE_LINES
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


class StreamServer:
    """Serves lines over TCP from a thread of its own; `publish` gives every watcher the same line.

    A watcher first gets `hello`, then every line published from then on. The latest QUEUE_LINES are kept for those
    that are behind. `patient` decides what happens to one that is further behind: True, `publish` waits for it up to
    `stall_seconds`, then closes it (a file, where every frame counts); False, the watcher loses the oldest line and
    sees a gap in `seq` (a camera, where only now counts). Either way one that takes nothing for `stall_seconds` is
    closed, and the others go on.

    `replay` keeps all lines, so that a watcher begins at the first one whenever it comes, and a slow one holds up
    nobody. Past REPLAY_LINES or REPLAY_BYTES the oldest are dropped and later watchers begin at the next line.

    `host` is the address to bind: the loopback, unless told otherwise by who calls, since there is no password.
    `port` 0 takes a free one; the attribute `port` says which. `on_change` is called with the number of watchers
    when it changes, from the server's thread. Raises UserError where the address cannot be had.
    """

    def __init__(
        self,
        host: str,
        port: int,
        hello: bytes,
        *,
        patient: bool,
        replay: bool = False,
        stall_seconds: float = STALL_SECONDS,
        on_change: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._hello, self._patient, self._stall, self._on_change = hello, patient, stall_seconds, on_change
        self._listener = _listen(host, port)
        self.host: str = self._listener.getsockname()[0]
        self.port: int = self._listener.getsockname()[1]
        self.dropped = 0
        self._log = _Log(REPLAY_LINES if replay else QUEUE_LINES, REPLAY_BYTES)
        self._replay = replay
        self._frames = 0
        self._watchers: set[_Watcher] = set()
        self._leaving: list[_Watcher] = []
        self._changed = threading.Condition()
        self._given_up = False
        self._closing = False
        self._close_by: float | None = None
        self._failure: BaseException | None = None
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="facedet-stream", daemon=True)
        self._thread.start()

    @property
    def watchers(self) -> int:
        """Number of connections now."""
        with self._changed:
            return len(self._watchers)

    def wait_for_watchers(self, count: int, settle: float = 0.0) -> None:
        """Wait until `count` are connected at once and nobody came or went for `settle` seconds.

        `give_up` ends it at once.
        """
        with self._changed:
            while not self._over():
                self._changed.wait_for(lambda: len(self._watchers) >= count or self._over())
                # Watchers started together connect a moment apart; each of them should see the first frame.
                present = set(self._watchers)
                if not self._changed.wait_for(lambda: self._watchers != present or self._over(), settle):  # noqa: B023
                    return

    def _over(self) -> bool:
        return self._given_up or self._failure is not None

    def publish(self, line: bytes) -> None:
        """Give a frame's `line`, newline included, to every watcher; waits as the class says."""
        with self._changed:
            if self._failure is not None:
                raise InternalError(f"The stream's server failed: {self._failure}.") from self._failure
            if self._patient:
                room = self._changed.wait_for(lambda: not self._behind() or self._given_up, self._stall)
                for late in () if room else self._behind():
                    self._drop(late)
            first = self._log.first_to_keep()
            for watcher in self._behind():
                self.dropped += first - watcher.next
                watcher.next = first
            self._log.forget(first)
            self._append(line)
            self._frames += 1
        self._ring()

    def announce(self, line: bytes) -> None:
        """Give `line`, newline included, to every watcher before the lines that wait for it, and to later ones.

        For what only counts while it is new: an announcement that a slow watcher has not begun is replaced by the next
        one, it is no frame, and nobody is waited for. After `close` it is left out.
        """
        with self._changed:
            if self._closing:
                return
            self._mark_waiting()
            self._log.notice, self._log.notices = line, self._log.notices + 1
        self._ring()

    def give_up(self) -> None:
        """Make every wait in this server end now, and `publish` wait no more; any thread may call it."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    def close(self, reason: str = "finished", within: float | None = None) -> None:
        """Send the end line with `reason`, let watchers take what waits, for `within` seconds at most; close all.

        Without `within` it lasts as long as any of them takes something every `stall_seconds`.
        """
        with self._changed:
            if not self._closing:
                self._append(end_line(self._frames, reason))
                self._closing = True
            if within is not None:
                self._close_by = time.monotonic() + within
        self._ring()
        self._thread.join()
        self._bell.close()

    def _append(self, line: bytes) -> None:
        self._mark_waiting()
        self._log.append(line)

    def _mark_waiting(self) -> None:
        """Start the clock of every watcher for whom nothing waited until now."""
        now = time.monotonic()
        for watcher in self._watchers:
            if not watcher.waiting:
                watcher.moved = now

    def _behind(self) -> list[_Watcher]:
        """Return the watchers that still need a line which the next one pushes out."""
        first = self._log.first_to_keep()
        return [watcher for watcher in self._watchers if watcher.next < first]

    def _ring(self) -> None:
        """Wake the server's thread; a full pipe or a closed one means that it needs no waking."""
        with contextlib.suppress(OSError):
            self._bell.send(b"!")

    def _serve(self) -> None:
        """Be the server's thread: accept, send what waits, notice who has gone, until closed."""
        count = 0
        try:
            while not self._finished():
                for key, events in self._selector.select(0.2):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj is self._ear:
                        self._ear.recv(4096)
                    elif events & selectors.EVENT_READ:
                        self._receive(key.data)
                self._attend_all()
                if count != self.watchers:
                    count = self.watchers
                    self._on_change(count)
        except BaseException as error:
            self._failure = error
        finally:
            self._close_everything()

    def _finished(self) -> bool:
        with self._changed:
            if not self._closing:
                return False
            late = self._close_by is not None and time.monotonic() > self._close_by
            return late or not any(watcher.waiting for watcher in self._watchers)

    def _accept(self) -> None:
        """Take everyone who has called."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:
                # Out of file descriptors, or the caller has gone already: the next round sees what is left.
                time.sleep(0.05)
                return
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        with self._changed:
            begin = 0 if self._replay and self._log.first == 0 else self._log.end
            # The hello is being sent from the start, not logged: a log that runs over must never lose it.
            watcher = _Watcher(connection, self._log, begin, memoryview(self._hello), time.monotonic())
            if len(self._watchers) >= MAX_WATCHERS:
                with contextlib.suppress(OSError), connection:
                    connection.send(error_line(f"There are {MAX_WATCHERS} watchers already; try again later."))
                return
            try:
                _prepare(connection, self._stall)
            except OSError:
                connection.close()
                return
            self._watchers.add(watcher)
            self._selector.register(connection, selectors.EVENT_READ, watcher)
            self._changed.notify_all()

    def _receive(self, watcher: _Watcher) -> None:
        """Throw away what a watcher says (the stream has one direction), and notice that it has gone."""
        try:
            watcher.listening = bool(watcher.socket.recv(4096))
        except BlockingIOError:
            pass
        except OSError:
            with self._changed:
                self._drop(watcher)

    def _drop(self, watcher: _Watcher) -> None:
        """Take a watcher out; the server's thread closes it on its next round."""
        self._watchers.discard(watcher)
        self._leaving.append(watcher)

    def _attend_all(self) -> None:
        """Send to all, and close those who stalled, came late or have gone."""
        now = time.monotonic()
        with self._changed:
            for watcher in list(self._watchers):
                try:
                    watcher.send()
                except OSError:
                    self._drop(watcher)
                    continue
                if watcher.waiting and now - watcher.moved > self._stall:
                    self._drop(watcher)
                else:
                    self._set_interest(watcher)
            for watcher in self._leaving:
                if watcher.socket in self._selector.get_map():
                    self._selector.unregister(watcher.socket)
                _reset(watcher.socket)
            self._leaving.clear()
            self._changed.notify_all()

    def _set_interest(self, watcher: _Watcher) -> None:
        """Wake for what a watcher can bring: words while its side is open, room while lines wait."""
        events = (selectors.EVENT_READ if watcher.listening else 0) | (selectors.EVENT_WRITE if watcher.waiting else 0)
        registered = self._selector.get_map().get(watcher.socket)
        if events == (registered.events if registered else 0):
            return
        if registered:
            self._selector.unregister(watcher.socket)
        if events:
            self._selector.register(watcher.socket, events, watcher)

    def _close_everything(self) -> None:
        with self._changed:
            self._selector.close()
            for connection in [watcher.socket for watcher in (*self._watchers, *self._leaving)]:
                connection.close()
            self._listener.close()
            self._ear.close()
            self._watchers.clear()
            self._leaving.clear()
            self._changed.notify_all()


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; UserError in one sentence where the address cannot be had."""
    if not 0 <= port <= 65535:
        raise UserError(f"Port {port} is outside 0..65535; choose one between 1024 and 65535, or 0 for any free one.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=_LISTEN_BACKLOG)
    except socket.gaierror as error:
        raise UserError(
            f"'{host}' is no address of this machine; use 127.0.0.1, or 0.0.0.0 for all of them."
        ) from error
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UserError(
            f"Cannot listen on {host}:{port}: {reason}; choose another port (--port), or 0 for any free one."
        ) from error
    listener.setblocking(False)
    return listener


def _prepare(connection: socket.socket, stall_seconds: float) -> None:
    """Make a watcher's socket prompt, small of buffer, and quick to notice a peer that has vanished."""
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {**_KEEPALIVE, "TCP_USER_TIMEOUT": int(2 * stall_seconds * 1000)}
    for name, value in options.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _reset(connection: socket.socket) -> None:
    """Close at once and let the kernel forget what it still holds for the peer."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
