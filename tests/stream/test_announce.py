"""Announcements: what only counts while it is new, beside the lines that all count."""

import json
import time

from fpga_facedet.stream.client import watch
from fpga_facedet.stream.protocol import end_line, metrics_line
from tests.stream.conftest import HELLO, Watcher, line, seqs

TIMES = {"mean_ms": 1.0, "median_ms": 1.0, "p95_ms": 1.0}


def news(frames):
    figures = {"frames": frames, "dropped": 0, "lost": 0, "restarts": 0, "seconds": 1.0, "fps": 1.0, "fps_now": 1.0}
    return metrics_line(1.5, "golden", "street.mp4", 1, {**figures, "stages": {"send": TIMES}})


def counts(messages):
    return [message["frames"] for message in messages if message["type"] == "metrics"]


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_everyone_gets_an_announcement_and_it_is_no_frame(start):
    server = start()
    watchers = [Watcher(server.port).read() for _ in range(3)]
    server.wait_for_watchers(3)
    server.announce(news(1))
    for watcher in watchers:
        wait_for(lambda watcher=watcher: len(watcher.messages) == 2)
    server.publish(line(0))
    for watcher in watchers:
        wait_for(lambda watcher=watcher: len(watcher.messages) == 3)
    server.announce(news(2))
    server.close()
    for watcher in watchers:
        messages = watcher.done()
        assert [message["type"] for message in messages] == ["hello", "metrics", "frame", "metrics", "end"]
        assert counts(messages) == [1, 2] and messages[-1]["frames"] == 1


def test_a_later_watcher_gets_the_latest_announcement_alone_and_all_frames(start):
    server = start(replay=True)
    for seq in range(5):
        server.publish(line(seq))
        server.announce(news(seq))
    watcher = Watcher(server.port).read()
    server.wait_for_watchers(1)
    server.close()
    messages = watcher.done()
    assert messages[0] == json.loads(HELLO) and counts(messages) == [4] and seqs(messages) == list(range(5))


def test_announcements_wait_for_nobody_and_pile_up_nowhere(start):
    server = start(stall_seconds=20)
    silent = Watcher(server.port, 4096)
    server.wait_for_watchers(1)
    for number in range(200_000):
        server.announce(news(number))
        if number % 10_000 == 0:
            time.sleep(0.01)
    silent.read()
    server.close()
    messages = silent.done()
    got = counts(messages)
    # Only those that the kernel took while nobody read, and the newest one.
    assert got == sorted(set(got)) and got[-1] == 199_999 and len(got) < 10_000
    assert messages[-1]["type"] == "end"


def test_nothing_comes_after_the_end(start):
    server = start()
    watcher = Watcher(server.port).read()
    server.wait_for_watchers(1)
    server.close()
    server.announce(news(1))
    assert [message["type"] for message in watcher.done()] == ["hello", "end"]


def test_a_client_gets_them_only_where_it_asks(start):
    for wanted in (False, True):
        server = start(replay=True)
        server.announce(news(7))
        server.publish(line(0))
        messages = watch("127.0.0.1", server.port, None, metrics=wanted)
        got = [next(messages)]
        server.close(within=5)
        got += messages
        assert [message["type"] for message in got] == ["hello", *(["metrics"] if wanted else []), "frame", "end"]


def test_a_watcher_of_the_bytes_sees_the_line_as_it_is(start):
    server = start()
    server.announce(news(3))
    watcher = Watcher(server.port)
    server.wait_for_watchers(1)
    server.close()
    assert watcher.socket.makefile("rb").read() == HELLO + news(3) + end_line(0, "finished")
    watcher.socket.close()
