"""What computes behind the DMA: the board shell with an accelerator, as the DMA and the processor see it."""

import threading
from collections.abc import Callable
from typing import Protocol

from fpga_facedet.manifest import Manifest

Accepted = Callable[[], None]
"""Told when the last beat of a packet has been accepted."""
Take = Callable[[bytes, bool], None]
"""Given beats that come out, and whether they end their packet."""


class Compute(Protocol):
    """The shell: two streams and its registers.

    The board and everything on it share `lock`. All methods are called with it held, and what they were given to call
    back is called with it held too, from a thread of the compute's own; they do not wait.
    """

    manifest: Manifest
    lock: threading.RLock
    failure: BaseException | None
    """Why it computes no more, None while it does."""

    def set_time(self, frame_seconds: float, interval_seconds: float) -> None:
        """Take this modelled time of a frame, and between frames; UserError where the compute has a time of its own."""
        ...

    def start(self) -> None:
        """Begin anew, as after configuration: no frame inside, all counters 0."""
        ...

    def read(self, offset: int) -> int:
        """Return the register at `offset`; an unknown one reads 0."""
        ...

    def write(self, offset: int, value: int) -> None:
        """Write the register at `offset`."""
        ...

    def send(self, packet: bytes, accepted: Accepted) -> None:
        """Offer a packet with TLAST on its last beat."""
        ...

    def cut_input(self) -> None:
        """Take back all that has not been accepted: the packet ends without TLAST."""
        ...

    def arm(self, take: Take, delay: float = 0.0) -> None:
        """Let results out to `take` from now on, or `delay` seconds later."""
        ...

    def disarm(self) -> None:
        """Hold results back."""
        ...

    def stop(self) -> None:
        """Stop computing, as when the power goes or the overlay does; `start` may follow."""
        ...
