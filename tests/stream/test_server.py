import resource
import socket
import threading
import time
import tracemalloc
from types import SimpleNamespace

import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.stream import server as server_module
from fpga_facedet.stream import watchers as watchers_module
from fpga_facedet.stream.server import QUEUE_LINES, StreamServer
from tests.stream.conftest import HELLO, Watcher, line, seqs


def wait_until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it has not come true"
        time.sleep(0.005)


def test_three_watchers_get_hello_every_line_in_order_and_the_end(start):
    server = start()
    watchers = [Watcher(server.port).read() for _ in range(3)]
    server.wait_for_watchers(3)
    for seq in range(2000):
        server.publish(line(seq))
    server.close()
    for watcher in watchers:
        messages = watcher.done()
        assert messages[0]["type"] == "hello" and seqs(messages) == list(range(2000))
        assert messages[-1] == {"type": "end", "frames": 2000, "reason": "finished"} and len(messages) == 2002


def test_watchers_that_start_together_all_see_the_first_frame(start):
    """The wait goes on while somebody still comes, also past the count that was asked for."""
    server = start()
    waiting = threading.Thread(target=server.wait_for_watchers, args=(1, 3.0))
    waiting.start()
    first = Watcher(server.port).read()
    waiting.join(0.2)
    assert waiting.is_alive(), "it began although others may still come"
    second = Watcher(server.port).read()
    waiting.join(30)
    assert not waiting.is_alive() and server.watchers == 2
    server.publish(line(0))
    server.close()
    assert seqs(first.done()) == seqs(second.done()) == [0]


def test_a_later_watcher_begins_at_the_frame_of_that_moment(start):
    server = start()
    for seq in range(10):
        server.publish(line(seq))
    late = Watcher(server.port).read()
    server.wait_for_watchers(1)
    for seq in range(10, 20):
        server.publish(line(seq))
    server.close("stopped")
    messages = late.done()
    assert messages[0]["type"] == "hello" and seqs(messages) == list(range(10, 20))
    assert messages[-1] == {"type": "end", "frames": 20, "reason": "stopped"}


def test_with_replay_every_watcher_gets_every_line_whenever_it_comes(start):
    server = start(replay=True)
    watchers = []
    for seq in range(3000):
        if seq in (0, 1, 1500, 2999):
            watchers.append(Watcher(server.port).read())
        server.publish(line(seq))
    watchers.append(Watcher(server.port).read())
    server.wait_for_watchers(5)
    server.close()
    for watcher in watchers:
        messages = watcher.done()
        assert messages[0]["type"] == "hello" and seqs(messages) == list(range(3000))
        assert messages[-1] == {"type": "end", "frames": 3000, "reason": "finished"}


def test_with_replay_a_watcher_that_is_behind_holds_up_nobody_and_misses_nothing(start):
    """A publish that waited for the slow one would wait for ever: it reads only once the quick one has all lines."""
    server = start(replay=True, stall_seconds=1000)
    quick, slow = Watcher(server.port).read(), Watcher(server.port, 4096)
    server.wait_for_watchers(2)
    publishing = threading.Thread(
        target=lambda: [server.publish(line(seq, faces=4)) for seq in range(3000)], daemon=True
    )
    publishing.start()
    wait_until(lambda: len(seqs(quick.messages)) == 3000)
    publishing.join(10)
    assert server.watchers == 2 and not publishing.is_alive()
    slow.read()
    server.close()
    assert seqs(slow.done()) == list(range(3000)) and server.dropped == 0


def test_closing_waits_as_long_as_a_watcher_that_is_behind_takes_lines(start, monkeypatch):
    """By a clock that only the watcher's reading moves: 90 s in all, where a stall is 40."""
    clock = SimpleNamespace(now=0.0, sleep=time.sleep)
    clock.monotonic = lambda: clock.now
    for module in (server_module, watchers_module):
        monkeypatch.setattr(module, "time", clock)
    server = start(replay=True, stall_seconds=40)
    slow = Watcher(server.port, 4096)
    server.wait_for_watchers(1)
    for seq in range(3000):
        server.publish(line(seq, faces=4))

    def take(message):
        clock.now += 0.03

    slow.read(take)
    server.close()
    assert clock.now > 40, "it must last longer than a stall for this test to mean anything"
    assert seqs(slow.done()) == list(range(3000))


def test_a_late_close_still_sends_what_it_can(start, monkeypatch):
    """The server's thread sleeps just before it looks whether it may go, until the time it was given is over."""
    server = start()
    watcher = Watcher(server.port).read()
    server.wait_for_watchers(1)
    attend, asleep, awake = server._attend_all, threading.Event(), threading.Event()
    clock = SimpleNamespace(late=0.0, sleep=time.sleep)
    clock.monotonic = lambda: time.monotonic() + clock.late

    def attend_and_sleep(turn):
        attend(turn)
        asleep.set()
        assert awake.wait(30)

    def ring_late():
        clock.late = 100.0
        awake.set()

    monkeypatch.setattr(server_module, "time", clock)
    monkeypatch.setattr(server, "_attend_all", attend_and_sleep)
    assert asleep.wait(30)
    for seq in range(QUEUE_LINES):
        server.publish(line(seq))
    monkeypatch.setattr(server, "_ring", ring_late)
    server.close("stopped", within=1.0)
    messages = watcher.done()
    assert seqs(messages) == list(range(QUEUE_LINES)) and messages[-1]["reason"] == "stopped"


@pytest.mark.parametrize(("limit", "value"), [("REPLAY_LINES", 100), ("REPLAY_BYTES", 100 * len(line(100)))])
def test_a_replay_that_is_too_long_goes_on_for_those_who_watch_and_starts_now_for_later_ones(
    start, monkeypatch, limit, value
):
    monkeypatch.setattr(server_module, limit, value)
    server = start(replay=True)
    first = Watcher(server.port).read()
    server.wait_for_watchers(1)
    tracemalloc.start()
    for seq in range(1000):
        server.publish(line(seq))
    wait_until(lambda: len(seqs(first.messages)) == 1000)
    held = sum(stat.size for stat in tracemalloc.take_snapshot().statistics("filename") if "protocol" in str(stat))
    tracemalloc.stop()
    late = Watcher(server.port).read()
    server.wait_for_watchers(2)
    server.publish(line(1000))
    server.close()
    assert seqs(first.done()) == list(range(1001)) and seqs(late.done()) == [1000]
    assert 0 < held < 300 * len(line(100))


def test_a_slow_watcher_of_a_file_holds_it_up_and_misses_nothing(start):
    server = start(patient=True)
    slow = Watcher(server.port, 4096).read(lambda message: time.sleep(0.0005))
    server.wait_for_watchers(1)
    for seq in range(1500):
        server.publish(line(seq, faces=4))
    server.close()
    assert seqs(slow.done()) == list(range(1500)) and server.dropped == 0


@pytest.mark.parametrize("patient", [True, False])
def test_who_vanishes_or_stalls_does_not_hurt_the_others(start, patient):
    server = start(patient, stall_seconds=1.5)
    good = Watcher(server.port).read()
    reset, closed, stalled = Watcher(server.port), Watcher(server.port), Watcher(server.port, 4096)
    server.wait_for_watchers(4)
    for seq in range(3000):
        if seq == 100:
            reset.vanish()
        if seq == 200:
            closed.socket.close()
        if seq % 20 == 0:
            wait_until(lambda seq=seq: len(good.messages) > seq)  # a pace at which who reads keeps up
        server.publish(line(seq, faces=4))
    wait_until(lambda: server.watchers == 1)
    server.close()
    assert seqs(good.done()) == list(range(3000))
    stalled.socket.close()


def test_all_stalled_watchers_together_hold_a_file_up_once_not_each(start):
    server = start(patient=True, stall_seconds=2.0)
    stalled = [Watcher(server.port, 4096) for _ in range(8)]
    server.wait_for_watchers(8)
    began = time.monotonic()
    for seq in range(3000):
        server.publish(line(seq, faces=4))
    assert time.monotonic() - began < 10 and server.watchers == 0
    for watcher in stalled:
        watcher.socket.close()


def test_a_stalled_watcher_of_a_camera_takes_bounded_memory_and_no_time(start):
    server = start(patient=False, stall_seconds=30)
    stalled = Watcher(server.port, 4096)
    server.wait_for_watchers(1)
    long_line = line(0, faces=100)
    tracemalloc.start()
    began = time.monotonic()
    for seq in range(5000):
        server.publish(line(seq, faces=100) if seq % 100 == 0 else bytes(bytearray(long_line)))
    assert time.monotonic() - began < 10
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2 * QUEUE_LINES * len(long_line) + 500_000
    # What the kernel may hold is bounded too: all but that and the queue has been dropped.
    assert server.dropped > 5000 - QUEUE_LINES - 400_000 / len(long_line)
    stalled.socket.close()


def test_a_slow_watcher_of_a_camera_misses_the_oldest_and_sees_the_gap(start):
    server = start(patient=False)
    slow = Watcher(server.port, 4096)
    server.wait_for_watchers(1)
    for seq in range(5000):
        server.publish(line(seq, faces=4))
    slow.read()
    server.close()
    messages = slow.done()
    got = seqs(messages)
    assert messages[0]["type"] == "hello" and messages[-1]["type"] == "end", "neither is ever dropped"
    assert got[-1] == 4999 and got == sorted(set(got)) and len(got) < 5000
    assert len(got) + server.dropped == 5000


def test_a_watcher_that_closes_its_half_as_nc_does_still_gets_all(start):
    server = start()
    half = Watcher(server.port)
    half.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    half.socket.shutdown(socket.SHUT_WR)
    half.read()
    server.wait_for_watchers(1)
    time.sleep(0.3)
    for seq in range(200):
        server.publish(line(seq))
    server.close()
    assert seqs(half.done()) == list(range(200))


def test_an_idle_server_takes_no_processor_time(start):
    server = start()
    half = Watcher(server.port)
    half.socket.shutdown(socket.SHUT_WR)
    server.wait_for_watchers(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    time.sleep(0.5)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 0.2
    half.socket.close()


def test_connections_that_come_and_go_leave_nothing_behind(start):
    counts = []
    server = start(on_change=counts.append)
    for _ in range(60):
        Watcher(server.port).vanish()
    wait_until(lambda: server.watchers == 0)
    steady = Watcher(server.port).read()
    server.wait_for_watchers(1)
    wait_until(lambda: counts and counts[-1] == 1)
    server.publish(line(0))
    server.close()
    assert seqs(steady.done()) == [0]


def test_one_watcher_too_many_is_told_and_the_others_stay(start, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_WATCHERS", 2)
    server = start()
    first = [Watcher(server.port).read() for _ in range(2)]
    server.wait_for_watchers(2)
    extra = Watcher(server.port).read().done()
    assert [message["type"] for message in extra] == ["error"] and "2 watchers already" in extra[0]["message"]
    server.publish(line(0))
    server.close()
    assert [seqs(watcher.done()) for watcher in first] == [[0], [0]]


def test_give_up_frees_who_waits_for_watchers(start):
    server = start()
    began = time.monotonic()
    threading.Timer(0.1, server.give_up).start()
    server.wait_for_watchers(3)
    assert 0.1 <= time.monotonic() - began < 20


def test_give_up_frees_a_publish_that_waits(start):
    server = start(patient=True, stall_seconds=30)
    stalled = Watcher(server.port, 4096)
    server.wait_for_watchers(1)
    threading.Timer(0.3, server.give_up).start()
    began = time.monotonic()
    for seq in range(3000):
        server.publish(line(seq, faces=4))
    server.close("stopped", within=0.2)
    assert time.monotonic() - began < 10
    stalled.socket.close()


def test_closing_does_not_wait_for_a_stalled_watcher_for_ever(start):
    server = start(stall_seconds=0.5)
    stalled = Watcher(server.port, 4096)
    server.wait_for_watchers(1)
    for seq in range(QUEUE_LINES):
        server.publish(line(seq, faces=400))
    began = time.monotonic()
    server.close()
    assert time.monotonic() - began < 20
    server.close()
    stalled.socket.close()


def test_a_port_in_use_is_an_error_in_one_sentence(start):
    taken = start().port
    with pytest.raises(UserError, match=rf"Cannot listen on 127\.0\.0\.1:{taken}: address already in use; choose"):
        StreamServer("127.0.0.1", taken, HELLO, patient=True)


def test_a_port_can_be_had_again_at_once(start):
    server = start()
    watcher = Watcher(server.port).read()
    server.wait_for_watchers(1)
    server.close()
    watcher.done()
    assert start(port=server.port).port == server.port


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70000), ("127.0.0.1", -1), ("no.such.host.invalid", 0)])
def test_an_address_that_cannot_be_is_an_error(host, port):
    with pytest.raises(UserError, match=r"outside 0\.\.65535|is no address of this machine"):
        StreamServer(host, port, HELLO, patient=True)


def test_an_address_of_another_machine_is_an_error():
    with pytest.raises(UserError, match=r"'192\.0\.2\.1' is no address of this machine; use 127\.0\.0\.1 \(--host\)"):
        StreamServer("192.0.2.1", 0, HELLO, patient=True)


def test_ipv6_works_where_there_is_any():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    server = StreamServer("::1", 0, HELLO, patient=True)
    with socket.create_connection(("::1", server.port)) as connection:
        assert connection.makefile("rb").readline() == HELLO
    server.close()
