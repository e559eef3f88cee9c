"""The stream's server: the same lines to any number of watchers, none of which can hold up or fell it."""

import contextlib
import errno
import os
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.stream.protocol import end_line, error_line
from fpga_facedet.stream.watchers import TURN_LINES, Log, Watcher
from fpga_facedet.waiting import wait_awake

QUEUE_LINES = 64
"""Lines kept for watchers that are behind."""
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
        self._log = Log(REPLAY_LINES if replay else QUEUE_LINES, REPLAY_BYTES)
        self._replay = replay
        self._frames = 0
        self._watchers: set[Watcher] = set()
        self._leaving: list[Watcher] = []
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
                wait_awake(self._changed, lambda: len(self._watchers) >= count or self._over())
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

    def _behind(self) -> list[Watcher]:
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
            over = False
            while not over:
                # Before the round: however late this thread comes, it sends once more what the sockets take.
                over = self._finished()
                for key, events in self._selector.select(0.0 if over else 0.2):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj is self._ear:
                        self._ear.recv(4096)
                    elif events & selectors.EVENT_READ:
                        self._receive(key.data)
                self._attend_all(sys.maxsize if over else TURN_LINES)
                if count != self.watchers:
                    count = self.watchers
                    self._on_change(count)
                over = over and self._finished()
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
            watcher = Watcher(connection, self._log, begin, memoryview(self._hello), time.monotonic())
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

    def _receive(self, watcher: Watcher) -> None:
        """Throw away what a watcher says (the stream has one direction), and notice that it has gone."""
        try:
            watcher.listening = bool(watcher.socket.recv(4096))
        except BlockingIOError:
            pass
        except OSError:
            with self._changed:
                self._drop(watcher)

    def _drop(self, watcher: Watcher) -> None:
        """Take a watcher out; the server's thread closes it on its next round."""
        self._watchers.discard(watcher)
        self._leaving.append(watcher)

    def _attend_all(self, turn: int) -> None:
        """Send to all, `turn` lines at most to each, and close those who stalled, came late or have gone."""
        now = time.monotonic()
        with self._changed:
            for watcher in list(self._watchers):
                try:
                    watcher.send(turn)
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

    def _set_interest(self, watcher: Watcher) -> None:
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
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise UserError(
                f"'{host}' is no address of this machine; use 127.0.0.1 (--host), or 0.0.0.0 for all it has."
            ) from error
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
