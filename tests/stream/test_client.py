import itertools
import socket
import struct
import threading
import time

import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.stream.client import Reconnect, parse_address, watch
from fpga_facedet.stream.protocol import DEFAULT_PORT, MAX_LINE, end_line
from tests.stream.conftest import HELLO, line, seqs

QUICK = Reconnect(first=0.02, longest=0.1, give_up_after=2)


class Script:
    """A server that gives each connection in turn the bytes of a script, then resets or closes it."""

    def __init__(self, *connections, port=0):
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, args=(connections,), daemon=True)
        self.thread.start()

    def serve(self, connections):
        for data in connections:
            connection, _ = self.listener.accept()
            with connection:
                connection.sendall(data)
                if data.endswith(b"reset"):
                    time.sleep(0.05)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.listener.close()


def test_messages_come_until_the_end_and_unknown_kinds_are_left_out():
    server = Script(HELLO + line(0) + b'{"type":"weather"}\n' + line(1) + end_line(2, "finished") + line(2))
    messages = list(watch("127.0.0.1", server.port))
    assert [message["type"] for message in messages] == ["hello", "frame", "frame", "end"]
    assert seqs(messages) == [0, 1]


def test_a_lost_connection_is_made_again_with_a_new_hello():
    server = Script(HELLO + line(0), HELLO + line(1) + line(2)[:20], HELLO + line(5) + end_line(6, "finished"))
    messages = list(watch("127.0.0.1", server.port, QUICK))
    assert [m["type"] for m in messages] == ["hello", "frame", "hello", "frame", "hello", "frame", "end"]
    assert seqs(messages) == [0, 1, 5]


def test_frames_that_a_server_sends_again_come_once_and_those_of_another_server_all():
    other = HELLO.replace(b"5f0c", b"9999")
    server = Script(
        HELLO + line(0) + line(1),
        HELLO + line(0) + line(1) + line(2),
        other + line(0) + line(1) + end_line(2, "finished"),
    )
    assert seqs(list(watch("127.0.0.1", server.port, QUICK))) == [0, 1, 2, 0, 1]


def test_a_reset_is_a_lost_connection_too():
    server = Script(HELLO + line(0) + b"reset", HELLO + end_line(1, "finished"))
    assert [m["type"] for m in watch("127.0.0.1", server.port, QUICK)][-1] == "end"


def test_a_server_that_was_away_for_a_while_is_found_again():
    first = Script(HELLO + line(0))
    port = first.port
    messages = watch("127.0.0.1", port, Reconnect(first=0.02, longest=0.1, give_up_after=10))
    assert [next(messages)["type"], next(messages)["type"]] == ["hello", "frame"]
    first.thread.join()
    threading.Timer(0.4, lambda: Script(HELLO + end_line(9, "finished"), port=port)).start()
    assert [m["type"] for m in messages] == ["hello", "end"]


def test_a_server_that_stays_away_ends_in_an_error():
    server = Script(HELLO + line(0))
    messages = watch("127.0.0.1", server.port, Reconnect(first=0.02, longest=0.05, give_up_after=0.2))
    with pytest.raises(UserError, match=r"has not come back in 0\.2 s"):
        list(messages)


def test_without_reconnecting_a_lost_connection_is_an_error():
    server = Script(HELLO + line(0))
    messages = watch("127.0.0.1", server.port, None)
    assert len(list(itertools.islice(messages, 2))) == 2
    with pytest.raises(UserError, match="closed the connection before the end"):
        next(messages)


def test_the_policy_grows_to_its_longest_and_gives_up():
    assert list(Reconnect(first=0.5, factor=2, longest=8, give_up_after=60).delays()) == [0.5, 1, 2, 4, *[8] * 6]
    assert list(Reconnect(first=1, give_up_after=0).delays()) == []


class Never(Reconnect):
    """Must not be asked for another attempt."""

    def delays(self):
        pytest.fail("it tried again")


def test_nobody_there_is_an_error_without_another_attempt():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(UserError, match=rf"No stream at 127\.0\.0\.1:{port} \(connection refused\); start one"):
        next(watch("127.0.0.1", port, Never()))


def test_an_unknown_machine_is_an_error():
    with pytest.raises(UserError, match=r"no machine called 'no\.such\.host\.invalid'"):
        next(watch("no.such.host.invalid", 1))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak facedet/1"),
        (HELLO.replace(b"facedet/1", b"facedet/2"), "speaks 'facedet/2'"),
        (line(0), "speaks None"),
        (b'{"type":"error","message":"Full."}\n', "refused: Full."),
        (HELLO + b"x" * (MAX_LINE + 10), "a line of over"),
    ],
)
def test_what_does_not_speak_the_protocol_is_an_error_not_a_reason_to_try_again(data, said):
    server = Script(data)
    with pytest.raises(UserError, match=said):
        list(watch("127.0.0.1", server.port, QUICK))


def test_leaving_early_closes_the_connection():
    listener = socket.create_server(("127.0.0.1", 0))
    messages = watch("127.0.0.1", listener.getsockname()[1])
    reader = threading.Thread(target=lambda: next(messages), daemon=True)
    reader.start()
    connection, _ = listener.accept()
    connection.sendall(HELLO)
    reader.join(20)
    messages.close()
    connection.settimeout(5)
    assert connection.recv(1) == b""
    connection.close()
    listener.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.168.2.99:7000", ("192.168.2.99", 7000)),
        ("pynq", ("pynq", DEFAULT_PORT)),
        (":7000", ("127.0.0.1", 7000)),
        ("[::1]:7000", ("::1", 7000)),
        ("[::1]", ("::1", DEFAULT_PORT)),
    ],
)
def test_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["host:", "host:x", "host:0", "host:70000", "::1", "1:2:3"])
def test_what_is_no_address(text):
    with pytest.raises(UserError, match="is no address; give HOST:PORT"):
        parse_address(text)
