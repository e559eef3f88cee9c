"""sd_notify, on real datagram sockets."""

import os
import socket

import pytest

from fpga_facedet.host.notify import Notifier


def listen(address):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(address)
    manager.settimeout(5)
    return manager


@pytest.mark.parametrize("abstract", [False, True])
def test_the_states_arrive_as_systemd_wants_them(socket_path, abstract):
    name = f"facedet-{os.getpid()}" if abstract else socket_path
    with listen("\0" + name if abstract else name) as manager:
        notifier = Notifier({"NOTIFY_SOCKET": f"@{name}" if abstract else name})
        notifier.ready()
        notifier.status("97.9 frames\na second")
        notifier.ping()
        notifier.stopping()
        notifier.stopping()  # from the signal, then from the end: said once
        said = [manager.recv(1000) for _ in range(4)]
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(1000)
    assert said == [b"READY=1", b"STATUS=97.9 frames a second", b"WATCHDOG=1", b"STOPPING=1"]
    notifier.ping()  # the manager has gone
    notifier.close()
    notifier.ping()


def test_without_a_manager_nothing_is_said():
    notifier = Notifier({"WATCHDOG_USEC": "1000000"})
    notifier.ready()
    notifier.close()
    assert notifier.ping_seconds is None


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_pings_are_due_twice_in_the_watchdogs_time(environment, seconds):
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **environment}).ping_seconds == seconds
