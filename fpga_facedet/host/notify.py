"""What a service tells systemd (sd_notify(3)), in Python alone; without systemd nothing is said and nothing fails."""

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends the states of this process to the service manager that started it.

    The protocol is one datagram of `NAME=value` lines to the socket named in NOTIFY_SOCKET; a first `@` stands for the
    abstract namespace. `ping_seconds` is how often `ping` must be called at least, None where nobody waits for it:
    half of WATCHDOG_USEC, as sd_watchdog_enabled(3) advises. Any thread may call the methods; none of them waits.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        self._leaving = False
        self.ping_seconds = _ping_seconds(environment) if address else None
        if address.startswith(("/", "@")):
            self._address = "\0" + address[1:] if address.startswith("@") else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def ready(self) -> None:
        """Say that the service has begun: `systemctl start` returns."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in one line what goes on; `systemctl status` shows it."""
        self._send(f"STATUS={' '.join(text.split())}")

    def ping(self) -> None:
        """Say that the service is alive; systemd kills it where this stays away for WatchdogSec."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say, once, that the service is on its way out."""
        if not self._leaving:
            self._leaving = True
            self._send("STOPPING=1")

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        # A manager that is gone, or whose queue is full, must not stop the faces.
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.sendto(text.encode(), self._address)


def _ping_seconds(environment: Mapping[str, str]) -> float | None:
    """Return half of WATCHDOG_USEC in seconds where it is meant for this process (WATCHDOG_PID)."""
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", "0"))
        process = int(environment.get("WATCHDOG_PID", str(os.getpid())))
    except ValueError:
        return None
    return microseconds / 2e6 if microseconds > 0 and process == os.getpid() else None
