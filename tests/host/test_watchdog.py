"""The rules of a service, on a clock that the test turns."""

import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.host.watchdog import Activity, RestartPolicy, Restarts, StalledError


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_restarts_come_ever_later_and_only_so_often():
    clock = Clock()
    restarts = Restarts(RestartPolicy(most=5, within=600, first=1, factor=2, longest=10), clock)
    delays = []
    for _ in range(7):
        delays.append(restarts.next_delay())
        clock.now += 20
    assert delays == [1, 2, 4, 8, 10, None, None]
    assert restarts.recent == 5


def test_old_restarts_are_forgotten_one_by_one():
    clock = Clock()
    restarts = Restarts(RestartPolicy(most=2, within=60, first=1, factor=3, longest=30), clock)
    assert restarts.next_delay() == 1
    clock.now += 50
    assert restarts.next_delay() == 3
    clock.now += 9.9
    assert restarts.next_delay() is None
    clock.now += 0.1  # the first one is a minute ago
    assert restarts.next_delay() == 3
    assert restarts.next_delay() is None
    clock.now += 1000
    assert restarts.next_delay() == 1


def test_no_restart_at_all_is_a_policy_too():
    assert Restarts(RestartPolicy(most=0)).next_delay() is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"most": -1}, r"-1 restarts cannot be; give 0 or more \(--restarts\)"),
        ({"within": 0}, r"counted within 0 minutes; give a time above 0, such as 10 \(--restart-minutes\)"),
        ({"within": float("nan")}, r"counted within nan minutes; .*--restart-minutes"),
        ({"within": float("inf")}, r"counted within inf minutes; .*--restart-minutes"),
        ({"factor": 0.5}, "0.5 times as long each time"),
        ({"first": 9, "longest": 3}, "up to 3 s, cannot be"),
        ({"first": float("nan")}, "Restarts after nan s"),
    ],
)
def test_policies_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(UserError, match=said) as error:
        RestartPolicy(**wrong)
    assert "RestartPolicy" not in str(error.value)


def test_a_stage_at_one_frame_for_too_long_is_named():
    clock = Clock()
    activity = Activity(clock)
    with activity.at_work("inference"):
        clock.now += 19.9
        activity.check(20)
        clock.now += 0.2
        with pytest.raises(StalledError, match="stage 'inference' has worked on one frame for 20 s and hangs; check"):
            activity.check(20)
        activity.check(20, frozenset({"inference"}))
    clock.now += 1000
    activity.check(20)


def test_a_stage_that_fails_is_no_longer_at_work():
    clock = Clock()
    activity = Activity(clock)
    with pytest.raises(ZeroDivisionError), activity.at_work("send"):
        1 / 0  # noqa: B018
    clock.now += 1000
    activity.check(20)
