"""Cycles a frame of a layer in its place in the pipeline, with what it waits for.

A layer alone takes a fixed number of cycles. In the pipeline three things add to it. A sliding window shows nothing
until the first rows of a frame are in, and whatever works on its windows is idle meanwhile. At the end of a row it may
have to take several pixels before the next window is whole. And a matrix unit has little place for the next vector
while it works on this one. `behind` adds them up along the chain; what a layer is placed behind is described by the
`Timing` that this gave. FIFOs (see `fifos`) uncouple one convolution from the next.
"""

import math
from dataclasses import dataclass, replace

_HANDOVER = 3
"""Cycles from the first read of a matrix unit's last pass until it can read a word that takes the place."""


@dataclass(frozen=True)
class Timing:
    """A layer that takes each beat as it comes: thresholds, pools.

    `cycles` a frame, `lanes` values in a beat of its output, and the cycles of a frame in which nothing can come,
    `idle`, since a sliding window before it is taking in its first rows.
    """

    cycles: int
    lanes: int = 1
    idle: int = 0

    def behind(self, source: "Timing | None") -> "Timing":
        """Return the timing of this layer behind the placed layer `source`, None for the pipeline's input."""
        idle = 0 if source is None else source.idle
        return replace(self, cycles=self.cycles + idle, idle=idle)

    @property
    def carried(self) -> "Timing":
        """What the layers behind need to know of this one: its own cycles are its own affair."""
        return replace(self, cycles=0)


@dataclass(frozen=True)
class PaddingTiming(Timing):
    """A padding, which has a FIFO in front of it: `pixel_cycles` to put out a pixel."""

    pixel_cycles: int = 1

    def behind(self, source: Timing | None) -> Timing:
        """Return itself: the FIFO holds what comes while it waits."""
        return self


@dataclass(frozen=True)
class WindowTiming(Timing):
    """A sliding window over an image of `height` x `width` pixels.

    `pixel_cycles` to take in a pixel, `window_cycles` to put out a window. `reads_ahead` says that it takes pixels in
    while it puts out a window (FINN's serial form); the others do one after the other, and `busy_cycles` of a window
    let no pixel in. `pipeline` cycles a frame come on top.
    """

    height: int = 1
    width: int = 1
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pixel_cycles: int = 1
    window_cycles: int = 1
    busy_cycles: int = 0
    reads_ahead: bool = False
    holds_window: bool = False
    pipeline: int = 0

    @property
    def rows(self) -> int:
        """Rows of windows."""
        return (self.height - self.kernel[0]) // self.stride[0] + 1

    @property
    def columns(self) -> int:
        """Windows of a row."""
        return (self.width - self.kernel[1]) // self.stride[1] + 1

    def behind(self, source: Timing | None) -> "WindowTiming":
        """Return the timing at the pace of the padding before it, if there is one."""
        pace = source.pixel_cycles if isinstance(source, PaddingTiming) else 1
        placed = replace(self, pixel_cycles=max(self.pixel_cycles, pace))
        return replace(placed, cycles=placed.frame(self.window_cycles, 0))

    def frame(self, vector_cycles: float, queued: float) -> int:
        """Return the cycles of a frame where each window takes `vector_cycles` of what works on it.

        `queued` windows wait between both: so many are taken before they are worked on.
        """
        pixel, (kernel_rows, kernel_columns), (down, right) = self.pixel_cycles, self.kernel, self.stride
        first = ((kernel_rows - 1) * self.width + kernel_columns) * pixel
        unused = self.height * self.width - (
            ((self.rows - 1) * down + kernel_rows - 1) * self.width + (self.columns - 1) * right + kernel_columns
        )
        if self.reads_ahead:
            row = max(self.columns * vector_cycles, down * self.width * pixel)
            rest = self.rows * row - vector_cycles
        else:
            inside = max(vector_cycles, self.busy_cycles + right * pixel)
            gap = self.busy_cycles + (down * self.width - (self.columns - 1) * right) * pixel
            change = max(vector_cycles, gap - queued * vector_cycles)
            rest = self.rows * (self.columns - 1) * inside + (self.rows - 1) * change + self.busy_cycles
        waited = max(0.0, first - queued * vector_cycles)
        return round(max(self.rows * self.columns * vector_cycles, waited + rest + unused * pixel)) + self.pipeline


@dataclass(frozen=True)
class UnitTiming(Timing):
    """A matrix unit: `vectors` a frame of `words` beats of `lanes_in` values each, used `passes` times.

    It keeps the vector that it works on, and has places for `early` words of the next one. The others come as the last
    pass over this one frees their places; the last of them may come until the end of the first pass over the next
    vector, or holds that up. `pipeline` cycles a frame come on top.
    """

    vectors: int = 1
    words: int = 1
    passes: int = 1
    lanes_in: int = 1
    early: int = 0
    pipeline: int = 0

    def behind(self, source: Timing | None) -> Timing:
        """Return the timing behind a sliding window, or else behind the FIFO of a 1x1 convolution."""
        if not isinstance(source, WindowTiming):
            arrival = self.words * max(1.0, self.lanes_in / source.lanes) if source is not None else self.words
            cycles = round(self.vectors * self.vector_cycles(arrival)) + self.pipeline
            return Timing(cycles, self.lanes)
        vector = self.vector_cycles(max(source.window_cycles, self.words))
        queued = 1 if (source.holds_window and self.words * self.passes > 1) or self.early >= self.words else 0
        cycles = source.frame(vector, queued) + self.pipeline
        return Timing(cycles, self.lanes, max(0, cycles - round(self.vectors * vector)))

    def vector_cycles(self, arrival: float) -> float:
        """Return the cycles of a vector whose words take `arrival` cycles to come."""
        work = self.words * self.passes
        if self.passes == 1:
            return max(work, arrival)
        late = self.words - self.early
        if late <= 0:
            return max(work, arrival)
        # The first late word waits in front of the unit already; the first pass over the next vector follows the words.
        last = _HANDOVER + (late - 1) * math.ceil(arrival / self.words)
        return max(work + max(0, last - 2 * self.words), arrival)
