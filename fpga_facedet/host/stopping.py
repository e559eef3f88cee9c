"""Ending in order and in time: signals, and engines that will not close."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

from fpga_facedet.engines.protocol import Engine
from fpga_facedet.host.watchdog import StalledError

CLOSE_SECONDS = 5.0
"""How long an engine may take to close; then it is left behind."""

E = TypeVar("E", bound=Engine)


def close_in_time(engine: Engine) -> None:
    """Close `engine`; StalledError where that takes more than CLOSE_SECONDS, so that nothing can keep a process."""
    failures: list[BaseException] = []

    def close() -> None:
        try:
            engine.close()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=close, name="facedet-close", daemon=True)
    thread.start()
    thread.join(CLOSE_SECONDS)
    if thread.is_alive():
        raise StalledError("inference", CLOSE_SECONDS, "was told to close and has not")
    if failures:
        raise failures[0]


@contextlib.contextmanager
def closing_in_time(engine: E) -> Iterator[E]:
    """Lend `engine` and close it by `close_in_time`; where an error leaves, that error stays the one that is told."""
    try:
        yield engine
    except BaseException:
        with contextlib.suppress(Exception):
            close_in_time(engine)
        raise
    close_in_time(engine)


@contextlib.contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first SIGINT or SIGTERM; a second one acts as it would have without us.

    Only the main thread may set signal handlers; elsewhere the caller stops the work itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        restore()
        # A handler runs between two steps of the main thread, which may hold the very locks that stopping needs.
        threading.Thread(target=stop, name="facedet-stop").start()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
