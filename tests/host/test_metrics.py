"""The rates of a run, on a clock that the test turns."""

import pytest

from fpga_facedet.host.metrics import NOW_SECONDS, Recorder


def rate(moments, now, start=0.0):
    recorder = Recorder()
    recorder.start(start)
    for moment in moments:
        recorder.sent(moment, 0)
    return recorder.metrics(now).fps_now


@pytest.mark.parametrize("fps", [0.5, 1, 12.5, 100, 170, 400, 2500])
def test_a_steady_rate_is_told_as_it_is(fps):
    sent = [number / fps for number in range(1, int(20 * fps))]
    # No more than one frame is in or out of three seconds by chance.
    assert rate(sent, sent[-1]) == pytest.approx(fps, abs=1.01 / (NOW_SECONDS - 0.01))


def test_a_burst_before_a_silence_counts_for_the_whole_time():
    burst = [100 + number / 100 for number in range(11)]
    assert rate(burst, 102.95) == pytest.approx(11 / 3, rel=0.01)
    assert rate(burst, 103.2) == 0.0


def test_frames_far_apart_are_counted_while_they_are_late():
    sent = [4.0, 8.0, 12.0]
    assert rate(sent, 12.5) == pytest.approx(1 / 3, rel=0.01)
    assert rate(sent, 15.5) == 0.0


def test_a_run_that_has_just_begun_is_measured_over_its_own_time():
    assert rate([50.5, 51.0], 51.0, start=50.0) == pytest.approx(2.0)
    assert rate([], 51.0, start=50.0) == 0.0
    assert Recorder().metrics(51.0).fps_now == 0.0


def test_a_fast_run_of_hours_takes_bounded_memory():
    recorder = Recorder()
    recorder.start(0.0)
    for number in range(50_000):
        recorder.sent(number / 5, 0)
        recorder.sent(number / 5 + 0.001, 0)
    assert len(recorder._late) <= 100 * NOW_SECONDS
    for number in range(20_000):
        recorder.sent(10_000 + number / 2000, 0)
    assert len(recorder._late) <= 100 * NOW_SECONDS
    assert recorder.metrics(10_010.0).fps_now == pytest.approx(2000, rel=0.01)
