"""The stream's client: messages of a server one by one, across interruptions."""

import os
import socket
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from fpga_facedet.errors import UserError
from fpga_facedet.stream.protocol import DEFAULT_PORT, MAX_LINE, Message, check_hello, parse_line

_CONNECT_TIMEOUT = 5.0
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A server whose power went answers no probes: noticed after 25 seconds, however seldom it sends frames."""


@dataclass(frozen=True)
class Reconnect:
    """When to try again after a lost connection: after `first` seconds, then ever `factor` times later up to `longest`.

    It ends once `give_up_after` seconds have been waited in vain; every connection that works starts it afresh.
    """

    first: float = 0.5
    factor: float = 2.0
    longest: float = 8.0
    give_up_after: float = 60.0

    def delays(self) -> Iterator[float]:
        """Yield the seconds to wait before each attempt.

        >>> list(Reconnect(first=1, factor=2, longest=4, give_up_after=12).delays())
        [1, 2, 4, 4]
        """
        delay, waited = self.first, 0.0
        while waited + delay <= self.give_up_after:
            yield delay
            waited += delay
            delay = min(delay * self.factor, self.longest)


def watch(
    host: str, port: int, reconnect: Reconnect | None = Reconnect(), *, metrics: bool = False
) -> Generator[Message, None, None]:
    """Yield the messages of a server, checked, until its `end`: a hello for each connection, frames, the end.

    With `metrics` also what the server says of its speed, about once a second.

    A connection that breaks off before the end is made again as `reconnect` says; None takes that as an error. Each
    frame comes once, also where the server sends them from the first again. Types of message that this version does
    not know are left out. Raises UserError in one sentence where nobody answers the first time, the server stays away,
    or what answers does not speak this protocol.
    """
    server = f"{host}:{port}"
    connection = _connect(host, port)
    stream, latest = None, -1
    wanted = ("hello", "frame", "end", "metrics") if metrics else ("hello", "frame", "end")
    while True:
        try:
            for message in _messages(connection, server):
                if message["type"] not in wanted:
                    continue
                if message["type"] == "hello" and (stream is None or message.get("stream") != stream):
                    stream, latest = message.get("stream"), -1
                if message["type"] == "frame":
                    if message["seq"] <= latest:
                        continue
                    latest = message["seq"]
                yield message
                if message["type"] == "end":
                    return
        except OSError:
            pass  # Broken off: the same to us as a close before the end.
        finally:
            connection.close()
        if reconnect is None:
            raise UserError(f"{server} closed the connection before the end of its stream; start it again and watch.")
        connection = _connect_again(host, port, reconnect)


def parse_address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, `HOST`, `:PORT` or `[IPv6]:PORT`; the loopback and DEFAULT_PORT where left out."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    if not port.isdecimal() or not 0 < int(port) <= 65535 or (":" in host and not host.startswith("[")):
        raise UserError(f"'{text}' is no address; give HOST:PORT, such as 192.168.2.99:{DEFAULT_PORT}.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _connect(host: str, port: int) -> socket.socket:
    """Return a connection; UserError in one sentence where there is nobody."""
    try:
        connection = socket.create_connection((host, port), _CONNECT_TIMEOUT)
    except socket.gaierror as error:
        raise UserError(f"There is no machine called '{host}'; check the name, or give its address.") from error
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else "no answer"
        raise UserError(
            f"No stream at {host}:{port} ({reason}); start one with facedet serve, or check the address and the port."
        ) from error
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection


def _connect_again(host: str, port: int, reconnect: Reconnect) -> socket.socket:
    """Try until somebody answers or the policy ends; UserError then."""
    for delay in reconnect.delays():
        time.sleep(delay)
        try:
            return _connect(host, port)
        except UserError:
            continue
    raise UserError(
        f"{host}:{port} has not come back in {reconnect.give_up_after:g} s; check the server and its network."
    )


def _messages(connection: socket.socket, server: str) -> Iterator[Message]:
    """Yield the messages of one connection, the hello checked; ends where the server closes."""
    greeted = False
    with connection.makefile("rb") as lines:
        while line := lines.readline(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                raise UserError(f"{server} sent a line of over {MAX_LINE} bytes; it is no facedet stream.")
            if not line.endswith(b"\n"):
                return  # The server went in the middle of a line.
            message = parse_line(line, server)
            if not greeted:
                check_hello(message, server)
                greeted = True
            yield message
