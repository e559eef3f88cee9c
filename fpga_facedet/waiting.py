"""Waiting in the main thread, which has signals to hear."""

import threading
from collections.abc import Callable

_SECONDS = 1.0


def wait_awake(condition: threading.Condition, true: Callable[[], bool], seconds: float | None = None) -> bool:
    """Wait as `condition.wait_for` does, for ever where `seconds` is None; return whether it has come true.

    Python's main thread handles a signal that comes just before it falls asleep only when it wakes: here within 1 s.
    """
    if seconds is not None:
        return condition.wait_for(true, seconds)
    while not condition.wait_for(true, _SECONDS):
        pass
    return True
