"""Ending in order and in time: signals, and engines that will not close."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Generic, Protocol, TypeVar

from fpga_facedet.engines.protocol import Engine
from fpga_facedet.host.watchdog import OPENING, StalledError
from fpga_facedet.waiting import wait_awake

CLOSE_SECONDS = 5.0
"""How long an engine may take to close; then it is left behind."""

E = TypeVar("E", bound=Engine)


class Closable(Protocol):
    """What is given back by `close`: a source, an engine."""

    def close(self) -> None:
        """Give it back."""
        ...


D = TypeVar("D", bound=Closable)


class Opening(Generic[D]):
    """Opens a device in a thread of its own, so that a driver that hangs keeps neither a signal nor the process out.

    `stop`, which any thread may call, ends the wait. A device that opens only after that is closed again by its thread.
    """

    def __init__(self, stage: str, open_device: Callable[[], D]) -> None:
        self._stage, self._open = stage, open_device
        self._changed = threading.Condition()
        self._opened: D | None = None
        self._failure: BaseException | None = None
        self._over = self._stopped = False

    def stop(self) -> None:
        """Let `wait` return now, without the device."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait(self, seconds: float | None) -> D | None:
        """Open the device and return it, None where `stop` was called before it is open.

        Raises what opening it raised, and StalledError after `seconds`; None waits for ever.
        """
        threading.Thread(target=self._work, name="facedet-open", daemon=True).start()
        try:
            with self._changed:
                in_time = wait_awake(self._changed, lambda: self._over or self._stopped, seconds)
        finally:
            # Also where a second signal breaks the wait off.
            opened = self._take()
        if self._failure is not None:
            raise self._failure
        if opened is None and not in_time:
            raise StalledError(self._stage, seconds or 0.0, OPENING)
        return opened

    def _take(self) -> D | None:
        """Return the device where it is open; one that is not yet is nobody's any more."""
        with self._changed:
            self._stopped = True
            return self._opened

    def _work(self) -> None:
        """Be the thread."""
        opened: D | None = None
        failure: BaseException | None = None
        try:
            opened = self._open()
        except BaseException as error:
            failure = error
        with self._changed:
            late = self._stopped
            if not late:
                self._opened, self._failure, self._over = opened, failure, True
            self._changed.notify_all()
        if late and opened is not None:
            opened.close()


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
