"""`serve` as a service: what it says of itself, what systemd hears, and its end at SIGTERM, in a real process."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.host import serving
from fpga_facedet.host.sources import open_source
from fpga_facedet.host.stopping import close_in_time, closing_in_time
from fpga_facedet.host.watchdog import RestartPolicy, StalledError
from fpga_facedet.native import binding
from tests.conftest import REPOSITORY
from tests.host.conftest import BrightnessEngine, Camera
from tests.host.test_commands import Serving
from tests.host.test_notify import listen
from tests.stream.conftest import Watcher, seqs


def test_the_stream_says_how_the_server_fares(video, engine):
    serving = Serving(video, engine, fps=0.0)
    messages = Watcher(serving.port).read().done()
    summary = serving.done()
    metrics = [message for message in messages if message["type"] == "metrics"][-1]
    assert messages[-1]["type"] == "end" and seqs(messages) == list(range(30))
    assert (metrics["frames"], metrics["dropped"], metrics["lost"], metrics["restarts"]) == (30, 0, 0, 0)
    assert (metrics["engine"], metrics["source"], metrics["watchers"]) == ("brightness", "moving.avi", 1)
    assert metrics["evidence"] == "measured on this machine" and metrics["faces"] == summary.metrics.faces
    assert metrics["stages"] == summary.metrics.to_dict()["stages"]


def test_figures_come_about_once_a_second_also_before_the_first_frame(video, engine):
    def hold(result):
        """In the sending thread: the video waits for the second figure."""
        deadline = time.monotonic() + 30
        while result.frame.seq == 15 and time.monotonic() < deadline:
            if sum(message["type"] == "metrics" for message in early.messages) >= 2:
                return
            time.sleep(0.01)

    serving = Serving(video, engine, fps=20.0, wait_clients=2, on_result=hold)
    early = Watcher(serving.port).read()
    deadline = time.monotonic() + 30
    while not [m for m in early.messages if m["type"] == "metrics"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [message["type"] for message in early.messages[:2]] == ["hello", "metrics"]
    assert early.messages[1]["frames"] == 0 and early.messages[1]["stages"] == {}
    Watcher(serving.port).read()
    figures = [message["frames"] for message in early.done() if message["type"] == "metrics"]
    serving.done()
    assert figures[-1] == 30 and sorted(figures) == figures and len(figures) >= 3


def test_a_camera_that_comes_back_goes_on_in_the_same_stream(monkeypatch, engine):
    class Unplugged(Camera):
        def __iter__(self):
            for frame in super().__iter__():
                if frame.seq == 10:
                    raise UserError("drawn stopped delivering after 10 frames; check the device or the network.")
                yield frame

    cameras = [Unplugged(200), Camera(200)]
    monkeypatch.setattr(serving, "open_source", lambda text, **options: cameras.pop(0))
    policy = RestartPolicy(most=2, first=0.05, longest=0.05)
    run = Serving("0", engine, wait_clients=1, limit=30, latest=False, restarts=policy)
    messages = Watcher(run.port).read().done()
    assert run.done().metrics.restarts == 1
    got = seqs(messages)
    assert [message["type"] for message in messages].count("hello") == 1 and messages[-1]["reason"] == "finished"
    assert got == sorted(set(got)) and got[-1] == 29 and len(got) > 15


@pytest.mark.parametrize(
    "options", [{"stall_seconds": 0.0}, {"stall_seconds": float("nan")}, {"min_score": 1.5}, {"fps": float("nan")}]
)
def test_options_that_make_no_sense_are_refused_before_anything_is_opened(monkeypatch, engine, options):
    monkeypatch.setattr(serving, "open_source", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(UserError, match="give a|give one"):
        serving.serve("0", engine, **options)


def test_a_compiler_that_takes_long_is_no_stage_that_hangs_and_comes_before_ready(video, engine, monkeypatch, tmp_path):
    """As on a board at the first start; this one compiles nothing in the end, which costs speed alone."""
    compiler, done = tmp_path / "c++", tmp_path / "done"
    compiler.write_text(f"#!/bin/sh\nsleep 5\ntouch {done}\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FACEDET_NATIVE", raising=False)
    monkeypatch.setattr(binding, "_found", functools.cache(binding._found.__wrapped__))
    order = []
    frames = open_source(str(video))
    monkeypatch.setattr(serving, "open_source", lambda *_, **__: order.append(done.exists()) or frames)
    run = Serving(video, engine, fps=0.0, stall_seconds=3.0)
    messages = Watcher(run.port).read().done()
    assert run.done().metrics.frames == 30 and messages[-1]["reason"] == "finished" and order == [True]


HANGING_DRIVER = """
    import ctypes, sys
    from fpga_facedet.errors import FacedetError, UserError
    from fpga_facedet.host import commands, serving
    from tests.host.conftest import BrightnessEngine, Camera

    class Unplugged(Camera):
        def __iter__(self):
            for frame in super().__iter__():
                if frame.seq == 5:
                    raise UserError("drawn stopped delivering.")
                yield frame

    opened = []

    def open_source(text, **options):
        opened.append(text)
        if len(opened) == 2:
            print("opening", flush=True)
            library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
            library.pthread_mutex_lock(mutex)
            library.pthread_mutex_lock(mutex)  # for good, and no signal gets in, as in a driver
        return Unplugged(200)

    serving.open_source = open_source
    with commands.closing_in_time(BrightnessEngine()) as engine:
        summary = commands.serve(
            "0", engine, port=0, wait_clients=1, restarts=serving.RestartPolicy(first=0.01),
            on_listening=lambda where: print(where.port, flush=True), on_warning=lambda text: None,
        )
    print("stopped", summary.stopped, flush=True)
"""


def test_sigterm_is_heard_while_a_driver_hangs_in_opening():
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HANGING_DRIVER)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        watcher = Watcher(int(process.stdout.readline())).read()
        assert process.stdout.readline() == "opening\n"
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, output) == (0, "stopped True\n")
    assert watcher.done()[-1]["reason"] == "stopped"


PROGRAM = """
    import sys, threading
    from fpga_facedet.errors import FacedetError
    from fpga_facedet.host import commands, pipeline, stopping
    from tests.host.conftest import BrightnessEngine
    pipeline.DRAIN_SECONDS = 0.3
    if {hangs}:
        stopping.CLOSE_SECONDS = 3.0

    class Engine(BrightnessEngine):
        def infer(self, frames):
            if {hangs} and self.inferred == 20:
                threading.Event().wait()
            return super().infer(frames)

        def close(self):
            print("engine closed", flush=True)
            if {hangs}:
                threading.Event().wait()

    try:
        with commands.closing_in_time(Engine()) as engine:
            summary = commands.serve(
                {source!r}, engine, port=0, loop=True, fps=100.0, wait_clients=1,
                on_listening=lambda where: print(where.port, flush=True),
            )
        print("stopped", summary.stopped, flush=True)
    except FacedetError as error:
        print(error, flush=True)
        sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("hangs", [False, True])
def test_sigterm_ends_the_process_in_time_and_systemd_hears_all_of_it(video, socket_path, hangs):
    code = textwrap.dedent(PROGRAM).format(hangs=hangs, source=str(video))
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": socket_path,
        "WATCHDOG_USEC": "1000000",
        "PYTHONPATH": str(REPOSITORY),
    }
    with listen(socket_path) as manager:
        manager.settimeout(0.1)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        said, over = [], threading.Event()

        def hear():
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    said.append(manager.recv(1000))

        def wait_for(word):
            deadline = time.monotonic() + 30
            while word not in said and time.monotonic() < deadline:
                time.sleep(0.01)

        ear = threading.Thread(target=hear, daemon=True)
        ear.start()
        watcher = Watcher(int(process.stdout.readline()))

        def at_15(message):
            if message.get("seq") == 15:
                wait_for(b"WATCHDOG=1")
                time.sleep(0.3)
                process.send_signal(signal.SIGTERM)

        messages = watcher.read(at_15).done()
        output, _ = process.communicate(timeout=30)
        wait_for(b"STOPPING=1")
        over.set()
        ear.join()
    assert said.count(b"READY=1") == said.count(b"STOPPING=1") == 1 and b"WATCHDOG=1" in said
    assert said.index(b"READY=1") < said.index(b"STOPPING=1")
    assert messages[-1]["type"] == "end" and messages[-1]["reason"] == "stopped"
    assert any(text.startswith(b"STATUS=") and b" frames a second; " in text for text in said)
    if hangs:
        assert process.returncode == 3 and output.startswith(
            "engine closed\nThe stage 'inference' was told to close and"
        )
    else:
        assert process.returncode == 0
        assert output.split("\n")[:2] == ["engine closed", "stopped True"]


def test_an_engine_is_closed_whatever_happens_and_its_errors_are_told(monkeypatch):
    class Closing(BrightnessEngine):
        closed = 0

        def close(self):
            self.closed += 1
            raise RuntimeError("cannot close")

    engine = Closing()
    with pytest.raises(RuntimeError, match="cannot close"), closing_in_time(engine):
        pass
    with pytest.raises(KeyError), closing_in_time(engine):
        raise KeyError
    assert engine.closed == 2


def test_an_engine_that_does_not_close_is_left_behind(monkeypatch):
    import threading

    from fpga_facedet.host import stopping

    monkeypatch.setattr(stopping, "CLOSE_SECONDS", 0.1)
    free = threading.Event()

    class Deaf(BrightnessEngine):
        def close(self):
            free.wait(20)

    with pytest.raises(StalledError, match="was told to close and has not for 0 s"):
        close_in_time(Deaf())
    free.set()
