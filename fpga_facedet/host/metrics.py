"""How fast a run was: frames a second, time in each stage, frames dropped; measured on the machine that runs it."""

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

EVIDENCE = "measured on this machine"
"""Of every figure here; plain "measured" is kept for an accelerator's own figures, taken on its board."""
STAGES = ("capture", "preprocess", "inference", "postprocess", "send")
_RECENT = 512
"""Percentiles look at the latest frames only, so a run of weeks takes no more memory than one of minutes."""
NOW_SECONDS = 3.0
"""What `fps_now` looks back at: long enough for a slow engine's frames, short enough to show a change."""
_TICKS = 100
"""Frames are counted together for so many parts of a second, so that a fast run takes no more memory than a slow."""


@dataclass(frozen=True)
class StageTime:
    """Milliseconds that one stage spent on a frame: mean of the whole run, median and 95th percentile of late."""

    mean_ms: float
    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Metrics:
    """What a run did so far. `fps` is frames sent over seconds since the first was captured; all of it measured.

    `dropped` frames were passed over for newer ones, `lost` ones failed in the engine, `restarts` counts how often the
    source or the engine was opened again. `fps_now` is frames sent over the last NOW_SECONDS, or since the first was
    asked for where that is less. `stages` has each of STAGES, and `total`: from capture to sent, waiting in queues
    included. `inference` is from when the engine could begin a frame (it was handed over, and the result before it was
    out) to its result.
    """

    frames: int
    faces: int
    dropped: int
    lost: int
    restarts: int
    seconds: float
    fps: float
    fps_now: float
    stages: dict[str, StageTime]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready dictionaries, rounded to microseconds, with the evidence of the figures."""
        counts = {name: getattr(self, name) for name in ("frames", "faces", "dropped", "lost", "restarts")}
        rates = {"seconds": round(self.seconds, 3), "fps": round(self.fps, 2), "fps_now": round(self.fps_now, 2)}
        rounded = {stage: {k: round(v, 3) for k, v in asdict(time).items()} for stage, time in self.stages.items()}
        return {**counts, **rates, "evidence": EVIDENCE, "stages": rounded}


class Recorder:
    """Collects the times of all stages; every method may be called by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sum = dict.fromkeys((*STAGES, "total"), 0.0)
        self._count = dict.fromkeys((*STAGES, "total"), 0)
        self._recent: dict[str, deque[float]] = {stage: deque(maxlen=_RECENT) for stage in self._sum}
        self._frames = self._faces = self._dropped = self._lost = self._restarts = 0
        # Frames sent of late: tick -> how many, the ticks rising.
        self._late: dict[int, int] = {}
        self._start: float | None = None
        self._last_sent = 0.0

    def time(self, stage: str, seconds: float) -> None:
        """Add the seconds that `stage` spent on one frame."""
        with self._lock:
            self._sum[stage] += seconds
            self._count[stage] += 1
            self._recent[stage].append(seconds)

    def start(self, now: float) -> None:
        """Note when the first frame was asked for; a restart's first frame goes on with the same run."""
        with self._lock:
            if self._start is None:
                self._start = now

    def sent(self, now: float, faces: int) -> None:
        """Count one frame with `faces` faces as done."""
        with self._lock:
            tick = int(now * _TICKS)
            self._late[tick] = self._late.get(tick, 0) + 1
            self._forget(tick)
            self._last_sent = now
            self._frames += 1
            self._faces += faces

    def dropped(self) -> None:
        """Count one frame that a newer one replaced."""
        with self._lock:
            self._dropped += 1

    def lost(self) -> None:
        """Count one frame that the engine lost."""
        with self._lock:
            self._lost += 1

    def restarted(self) -> None:
        """Count one opening of the source or the engine after a failure."""
        with self._lock:
            self._restarts += 1

    def metrics(self, now: float) -> Metrics:
        """Return what was measured up to `now`, in seconds of the clock that `start` and `sent` were given."""
        with self._lock:
            stages = {}
            for stage, recent in self._recent.items():
                if recent:
                    median, p95 = (float(v) * 1e3 for v in np.percentile(np.array(recent), (50, 95)))
                    stages[stage] = StageTime(self._sum[stage] / self._count[stage] * 1e3, median, p95)
            seconds = self._last_sent - self._start if self._frames and self._start is not None else 0.0
            fps = self._frames / seconds if seconds > 0 else 0.0
            counts = (self._frames, self._faces, self._dropped, self._lost, self._restarts)
            return Metrics(*counts, seconds, fps, self._rate(now), stages)

    def _forget(self, tick: int) -> None:
        """Drop the counts of the ticks that are no longer of NOW_SECONDS at `tick`."""
        while self._late and (oldest := next(iter(self._late))) <= tick - _TICKS * NOW_SECONDS:
            del self._late[oldest]

    def _rate(self, now: float) -> float:
        """Return the frames a second of the last NOW_SECONDS, or since the start where that is less."""
        tick = int(now * _TICKS)
        self._forget(tick)
        first = tick / _TICKS - NOW_SECONDS + 1 / _TICKS
        seconds = now - (first if self._start is None else max(first, self._start))
        return sum(self._late.values()) / seconds if seconds > 0 else 0.0
