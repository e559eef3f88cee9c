"""The queue between two stages of the pipeline."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Aborted(Exception):  # noqa: N818 - a signal to leave, not an error
    """The pipeline is to stop now; what lies in its queues no longer matters."""


class BoundedQueue(Generic[T]):
    """A queue of at most `size` items between two threads, which ends in one of two ways.

    `close`: the reader still gets what lies in it, then its loop ends. `abort`: both sides leave at once.
    A full queue makes the writer wait, or with `latest` drops its oldest item.
    """

    def __init__(self, size: int, latest: bool = False) -> None:
        self._size, self._latest = size, latest
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = self._aborted = False

    def put(self, item: T) -> bool:
        """Add `item` at the end; return whether the oldest one was dropped for it. Raises Aborted."""
        with self._changed:
            drop = self._latest and len(self._items) == self._size
            if drop:
                self._items.popleft()
            self._wait_for_room()
            self._items.append(item)
            self._changed.notify_all()
        return drop

    def wait_for_room(self) -> None:
        """Wait until one more item fits, which stays so for the queue's only writer; raises Aborted."""
        with self._changed:
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        self._changed.wait_for(lambda: len(self._items) < self._size or self._aborted)
        if self._aborted:
            raise Aborted

    def __iter__(self) -> Iterator[T]:
        """Yield items, waiting for them, until the queue is closed and empty; raises Aborted."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed or self._aborted)
                if self._aborted:
                    raise Aborted
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def close(self) -> None:
        """Say that nothing more will be put."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Make both sides leave at once."""
        with self._changed:
            self._aborted = True
            self._items.clear()
            self._changed.notify_all()
