"""Cameras and engines that fail or hang, and a service that goes on without them for as long as its policy says."""

import threading
import time

import pytest

from fpga_facedet.engines.ring import RingEngine
from fpga_facedet.errors import UserError
from fpga_facedet.host import pipeline as pipeline_module
from fpga_facedet.host import supervisor as supervisor_module
from fpga_facedet.host.metrics import Recorder
from fpga_facedet.host.notify import Notifier
from fpga_facedet.host.pipeline import Pipeline
from fpga_facedet.host.sinks import CallSink
from fpga_facedet.host.supervisor import Supervisor, heart
from fpga_facedet.host.watchdog import GaveUpError, RestartPolicy, StalledError
from tests.host.conftest import BrightnessEngine, Camera
from tests.host.test_notify import listen

QUICK = RestartPolicy(most=3, within=600, first=0.01, factor=1, longest=0.01)


class Failing(Camera):
    """A camera that stops delivering after `good` frames."""

    def __init__(self, good, skipped=0):
        super().__init__(2000)
        self.good, self.skipped = good, skipped

    def __iter__(self):
        for frame in super().__iter__():
            if frame.seq == self.good:
                raise UserError("drawn stopped delivering.")
            yield frame


class Service:
    """A supervisor with what it was given, and what came of it; `sources` are opened one after the other."""

    def __init__(self, sources, engines, *, limit=None, policy=QUICK, stall=20.0):
        self.sources, self.engines = list(sources), list(engines)
        self.opened, self.results, self.warnings = [], [], []
        self.recorder = Recorder()
        self.closed = []
        test = self

        class Sink(CallSink):
            def close(self, complete):
                test.closed.append(complete)

        self.sinks = [Sink(lambda result: self.results.append(result.frame.seq))]

        def make(source, engine, first_seq, done):
            left = None if limit is None else limit - done
            options = {"latest": False, "limit": left, "first_seq": first_seq, "recorder": self.recorder}
            return Pipeline(source, engine, self.sinks, **options)

        self.supervisor = Supervisor(
            make,
            self.sources.pop(0),
            self.engines.pop(0),
            open_source=lambda: self.open(self.sources),
            open_engine=(lambda: self.open(self.engines)) if self.engines else None,
            policy=policy,
            stall_seconds=stall,
            recorder=self.recorder,
            on_warning=self.warnings.append,
        )

    def open(self, things):
        thing = things.pop(0)
        if isinstance(thing, Exception):
            raise thing
        self.opened.append(thing)
        return thing


def test_a_camera_that_fails_is_opened_again_and_the_numbers_go_on():
    cameras = [Failing(5, skipped=1), UserError("There is no camera."), Failing(4, skipped=2), Camera(2000)]
    first = cameras[0]
    service = Service(cameras, [BrightnessEngine()], limit=15)
    service.supervisor.run()
    service.supervisor.close()
    assert service.results == sorted(set(service.results)) and service.results[-1] >= 14 - 2
    assert service.recorder.metrics(time.perf_counter()).restarts == 3
    assert first.closed >= 1 and all(camera.closed for camera in service.opened)
    assert service.warnings[0] == (
        "Opening it again in 0.01 s (restart 1 of at most 3 within 600 s): drawn stopped delivering."
    )
    assert service.warnings[1].endswith(": There is no camera.")
    assert service.supervisor.skipped == 3 and service.closed == [True] and not service.supervisor.stopped


def test_one_failure_too_many_ends_the_service_with_the_last_reason():
    service = Service([Failing(2) for _ in range(4)], [BrightnessEngine()])
    with pytest.raises(GaveUpError, match=r"^Gave up after 3 restarts within 600 s: drawn stopped delivering\.$"):
        service.supervisor.run()
    assert len(service.warnings) == 3 and GaveUpError.exit_code == 3
    assert service.closed == [False]


def test_without_a_policy_a_failure_is_the_end():
    service = Service([Failing(2), Camera()], [BrightnessEngine()], policy=None)
    with pytest.raises(UserError, match="drawn stopped delivering"):
        service.supervisor.run()
    assert service.opened == []


class Dying(BrightnessEngine):
    """An engine that breaks at its sixth frame and counts how often it was closed."""

    closed = 0

    def infer(self, frames):
        if self.inferred == 5:
            raise RuntimeError("the board has gone")
        return super().infer(frames)

    def close(self):
        self.closed += 1


def test_an_engine_that_fails_is_closed_and_opened_again():
    first, second, last = Dying(), Dying(), BrightnessEngine()
    cameras = [Camera(2000) for _ in range(3)]
    service = Service(cameras, [first, second, last], limit=60)
    service.supervisor.run()
    service.supervisor.close()
    assert (first.closed, second.closed) == (1, 1) and service.opened[1::2] == cameras[1:]
    assert [engine for engine in service.opened if isinstance(engine, BrightnessEngine)] == [second, last]
    assert service.results == sorted(set(service.results)) and len(service.results) > 20
    assert service.warnings[0].endswith(": the board has gone.")


def test_an_engine_that_nobody_can_open_again_ends_the_service():
    service = Service([Camera(2000), Camera(2000)], [Dying()])
    with pytest.raises(RuntimeError, match="the board has gone"):
        service.supervisor.run()


def test_a_broken_sink_is_nothing_that_a_restart_cures():
    service = Service([Camera(2000), Camera(2000)], [BrightnessEngine(), BrightnessEngine()])
    service.sinks.append(CallSink(lambda result: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        service.supervisor.run()
    assert service.opened == []


class Stuck(Camera):
    """A camera that delivers a few frames and then waits, as a driver does whose device has gone."""

    def __init__(self, free):
        super().__init__(2000)
        self.free = free

    def __iter__(self):
        for frame in super().__iter__():
            if frame.seq == 5:
                self.free.wait(60)
            yield frame


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(pipeline_module, "DRAIN_SECONDS", 2.5)
    monkeypatch.setattr(pipeline_module, "STOP_SECONDS", 3.0)


def test_a_camera_that_hangs_is_left_behind_and_another_opened(hasty):
    free = threading.Event()
    stuck = Stuck(free)
    ring = RingEngine(BrightnessEngine())
    service = Service([stuck, Camera(2000)], [ring], limit=40, stall=2.5)
    with heart(lambda: "beat", service.supervisor.check, Notifier({})):
        service.supervisor.run()
    ring.close()
    assert service.results[-1] == 39 and stuck.closed == 0
    assert "The stage 'capture' has worked on one frame for" in service.warnings[0]
    free.set()
    deadline = time.monotonic() + 30
    while not stuck.closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stuck.closed == 1


def test_a_stall_in_a_simulated_engine_is_none():
    class Simulated(BrightnessEngine):
        name = "rtl"

        def infer(self, frames):
            time.sleep(3.5)
            return super().infer(frames)

    service = Service([Camera(2000)], [Simulated()], limit=1, stall=2.5)
    with heart(lambda: "beat", service.supervisor.check, Notifier({})):
        service.supervisor.run()
    assert service.results == [0]


def test_an_engine_that_hangs_for_good_ends_the_service(hasty):
    free = threading.Event()

    class Deaf(RingEngine):
        def collect(self):
            free.wait(60)
            return super().collect()

    deaf = Deaf(BrightnessEngine())
    service = Service([Camera(2000), Camera(2000)], [deaf, BrightnessEngine()], stall=2.5)
    with (
        heart(lambda: "beat", service.supervisor.check, Notifier({})),
        pytest.raises(StalledError, match="'inference'"),
    ):
        service.supervisor.run()
    assert service.opened == []
    free.set()
    deaf.close()


def test_a_stop_while_waiting_to_try_again_is_heard():
    policy = RestartPolicy(first=3600, longest=3600)
    service = Service([Failing(2), Camera()], [BrightnessEngine()], policy=policy)
    # The warning is said just before the wait.
    service.supervisor._warn = lambda text: threading.Thread(target=service.supervisor.stop).start()
    service.supervisor.run()
    assert service.supervisor.stopped and service.opened == [] and service.closed == [False]


def test_pings_stay_away_while_something_hangs(socket_path):
    failure = []

    def check():
        if failure:
            raise StalledError("inference", 20)

    environment = {"NOTIFY_SOCKET": socket_path, "WATCHDOG_USEC": "40000"}
    with listen(socket_path) as manager, heart(lambda: "fine", check, Notifier(environment)):
        assert {manager.recv(1000) for _ in range(4)} == {b"WATCHDOG=1", b"STATUS=fine"}
        failure.append(True)
        while not manager.recv(1000).startswith(b"STATUS=The stage"):
            pass  # what was said before
        said = [manager.recv(1000) for _ in range(30)]
    assert set(said) == {
        b"STATUS=The stage 'inference' has worked on one frame for 20 s and hangs; check the accelerator, power-cycle "
        b"the board."
    }


@pytest.mark.parametrize("device", ["capture", "inference"])
def test_an_opening_that_hangs_ends_the_service_and_what_opens_late_is_closed(monkeypatch, device):
    monkeypatch.setattr(supervisor_module, "OPEN_SECONDS", 0.1)
    free, late = threading.Event(), (Camera() if device == "capture" else Dying())
    first = [Failing(2), BrightnessEngine()] if device == "capture" else [Camera(2000), Dying()]
    service = Service([first[0], Camera(2000)], [first[1], BrightnessEngine()], stall=0.05)

    def hang():
        assert free.wait(20)
        return late

    monkeypatch.setattr(service.supervisor, "_open_source" if device == "capture" else "_open_engine", hang)
    with pytest.raises(StalledError, match=f"The stage '{device}' has been opening its device for"):
        service.supervisor.run()
    assert service.closed == [False] and len(service.warnings) == 1
    free.set()
    deadline = time.monotonic() + 30
    while not late.closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert late.closed == 1


def test_a_stop_while_a_device_opens_is_heard_and_what_opens_late_is_closed():
    free, late = threading.Event(), Camera()
    service = Service([Failing(2), Camera(2000)], [BrightnessEngine()])

    def hang():
        threading.Thread(target=service.supervisor.stop).start()
        assert free.wait(20)
        return late

    service.supervisor._open_source = hang
    service.supervisor.run()
    service.supervisor.close()
    assert service.supervisor.stopped and service.closed == [False] and not late.closed
    free.set()
    deadline = time.monotonic() + 30
    while not late.closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert late.closed == 1


@pytest.mark.parametrize("call", ["acquire", "submit"])
def test_an_engine_that_ends_is_opened_again_whichever_stage_hears_of_it_first(call):
    """The stage that fills the slots is told first here; the one that collects only hears it afterwards."""
    told = threading.Event()

    class Ended(RingEngine):
        def fail(self):
            told.set()
            raise RuntimeError("the board has gone")

        def acquire(self):
            slot = super().acquire()
            if call == "acquire" and slot.number == 1:
                self.fail()
            return slot

        def submit(self, slot):
            if call == "submit" and slot.number == 1:
                self.fail()
            super().submit(slot)

        def collect(self):
            assert told.wait(20)
            time.sleep(0.05)
            raise RuntimeError("the board has gone")

    service = Service([Camera(2000), Camera(2000)], [Ended(BrightnessEngine()), BrightnessEngine()], limit=20)
    service.supervisor.run()
    service.supervisor.close()
    assert service.recorder.metrics(time.perf_counter()).restarts == 1
    assert service.results == sorted(set(service.results)) and len(service.results) > 10
    assert service.warnings == ["Opening it again in 0.01 s (restart 1 of at most 3 within 600 s): the board has gone."]


def test_an_engine_that_takes_no_slot_back_is_the_engines_failure():
    class Ended(RingEngine):
        def release(self, slot):
            raise RuntimeError("the board has gone")

    engine = Ended(BrightnessEngine())
    pipeline = Pipeline(Camera(2000, 3), engine, [], latest=False)
    with pytest.raises(RuntimeError, match="the board has gone"):
        pipeline.run()
    engine.close()
    assert pipeline.failed_stage == "inference"


def test_a_policy_of_no_restarts_ends_with_the_failure_itself():
    service = Service([Failing(2), Camera()], [BrightnessEngine()], policy=RestartPolicy(most=0))
    with pytest.raises(UserError, match=r"^drawn stopped delivering\.$"):
        service.supervisor.run()
    assert service.opened == [] and service.warnings == []


def test_one_restart_in_vain_is_told_as_one():
    service = Service([Failing(2), Failing(2)], [BrightnessEngine()], policy=RestartPolicy(most=1, first=0.01))
    with pytest.raises(GaveUpError, match=r"^Gave up after one restart within 600 s: drawn stopped delivering\.$"):
        service.supervisor.run()
