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
"""Percentiles and rates look at the latest frames only, so a run of weeks takes no more memory than one of minutes."""


@dataclass(frozen=True)
class StageTime:
    """Milliseconds that one stage spent on a frame: mean of the whole run, median and 95th percentile of late."""

    mean_ms: float
    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Metrics:
    """What a run did so far. `fps` is frames sent over seconds since the first was captured; all of it measured.

    `stages` has each of STAGES, and `total`: from capture to sent, waiting in queues included.
    """

    frames: int
    faces: int
    dropped: int
    seconds: float
    fps: float
    stages: dict[str, StageTime]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready dictionaries, rounded to microseconds, with the evidence of the figures."""
        rounded = {stage: {k: round(v, 3) for k, v in asdict(time).items()} for stage, time in self.stages.items()}
        figures = {"seconds": round(self.seconds, 3), "fps": round(self.fps, 2), "evidence": EVIDENCE}
        return {"frames": self.frames, "faces": self.faces, "dropped": self.dropped, **figures, "stages": rounded}


class Recorder:
    """Collects the times of all stages; every method may be called by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sum = dict.fromkeys((*STAGES, "total"), 0.0)
        self._count = dict.fromkeys((*STAGES, "total"), 0)
        self._recent: dict[str, deque[float]] = {stage: deque(maxlen=_RECENT) for stage in self._sum}
        self._frames = self._faces = 0
        self._start = self._last = 0.0

    def time(self, stage: str, seconds: float) -> None:
        """Add the seconds that `stage` spent on one frame."""
        with self._lock:
            self._sum[stage] += seconds
            self._count[stage] += 1
            self._recent[stage].append(seconds)

    def start(self, now: float) -> None:
        """Note when the first frame was asked for."""
        with self._lock:
            self._start = self._last = now

    def sent(self, now: float, faces: int) -> None:
        """Count one frame with `faces` faces as done."""
        with self._lock:
            self._last = now
            self._frames += 1
            self._faces += faces

    def metrics(self, dropped: int) -> Metrics:
        """Return what was measured up to now."""
        with self._lock:
            seconds = self._last - self._start
            stages = {}
            for stage, recent in self._recent.items():
                if recent:
                    median, p95 = (float(v) * 1e3 for v in np.percentile(np.array(recent), (50, 95)))
                    stages[stage] = StageTime(self._sum[stage] / self._count[stage] * 1e3, median, p95)
            fps = self._frames / seconds if seconds > 0 else 0.0
            return Metrics(self._frames, self._faces, dropped, seconds, fps, stages)
