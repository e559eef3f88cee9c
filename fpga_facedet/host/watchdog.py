"""When a run has stalled, and how often it may begin again: the two rules of a service that nobody looks after."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fpga_facedet.errors import FacedetError, UserError
from fpga_facedet.host.metrics import STAGES

STALL_SECONDS = 20.0
"""A stage that works on one frame for so long has stalled. A network stream's own time-out is 10 s, a watcher's 5 s."""

OPEN_SECONDS = 20.0
"""The least that a device may take to open: a network stream has 5 s to answer, then 10 s for its first frame."""

WORKING = "has worked on one frame"
OPENING = "has been opening its device"
Clock = Callable[[], float]


class GaveUpError(FacedetError):
    """A service's camera, stream or engine kept failing, or hung; starting the process again may help."""

    exit_code = 3


class StalledError(GaveUpError):
    """One stage of the pipeline, `stage`, did not finish a frame in time, or did not end when it was told to."""

    def __init__(self, stage: str, seconds: float, doing: str = WORKING) -> None:
        super().__init__(f"The stage '{stage}' {doing} for {seconds:.0f} s and hangs; {_REMEDIES[stage]}.")
        self.stage = stage


_REMEDIES = {
    "capture": "check the camera or the network",
    "preprocess": "check how busy this machine is",
    "inference": "check the accelerator, power-cycle the board",
    "postprocess": "check how busy this machine is",
    "send": "check the disk that pictures or lines are written to",
}


@dataclass(frozen=True)
class RestartPolicy:
    """How often what failed is opened again: at most `most` times within `within` seconds, then never.

    The first time after `first` seconds, each further one within that time `factor` times later, up to `longest`.
    """

    most: int = 5
    within: float = 600.0
    first: float = 1.0
    factor: float = 2.0
    longest: float = 30.0

    def __post_init__(self) -> None:
        if self.most < 0:
            raise UserError(f"{self.most} restarts cannot be; give 0 or more (--restarts).")
        if not 0 < self.within < math.inf:
            raise UserError(
                f"No restart can be counted within {self.within / 60:g} minutes; give a time above 0, such as 10 "
                "(--restart-minutes)."
            )
        if not (0 <= self.first <= self.longest < math.inf and 1 <= self.factor < math.inf):
            raise UserError(
                f"Restarts after {self.first:g} s, {self.factor:g} times as long each time, up to {self.longest:g} s, "
                "cannot be; give first >= 0, factor >= 1 and longest >= first."
            )


class Restarts:
    """Keeps a RestartPolicy over time; `clock` gives seconds."""

    def __init__(self, policy: RestartPolicy, clock: Clock = time.monotonic) -> None:
        self.policy, self._clock = policy, clock
        self._recent: deque[float] = deque()

    def next_delay(self) -> float | None:
        """Return how many seconds to wait before the next restart, which is counted; None: no more of them."""
        now = self._clock()
        while self._recent and now - self._recent[0] >= self.policy.within:
            self._recent.popleft()
        if len(self._recent) >= self.policy.most:
            return None
        delay = min(self.policy.first * self.policy.factor ** len(self._recent), self.policy.longest)
        self._recent.append(now)
        return delay

    @property
    def recent(self) -> int:
        """How many restarts the policy counts now."""
        return len(self._recent)


class Activity:
    """Which stages are at work on a frame, and since when; each is told by its own thread, anyone may look.

    A stage that waits for the one before or behind it is not at work, so a stall has one name: that of its cause.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float | None] = dict.fromkeys(STAGES)

    @contextlib.contextmanager
    def at_work(self, stage: str) -> Iterator[None]:
        """Note that `stage` is at one frame for as long as this lasts."""
        self._since[stage] = self._clock()
        try:
            yield
        finally:
            self._since[stage] = None

    def check(self, seconds: float, patient: frozenset[str] = frozenset(), doing: str = WORKING) -> None:
        """Raise StalledError where a stage, other than those of `patient`, is at one frame for `seconds` or more."""
        now = self._clock()
        for stage, since in self._since.items():
            if since is not None and stage not in patient and now - since >= seconds:
                raise StalledError(stage, now - since, doing)
