"""How to train: one frozen set of numbers, and the learning rate that follows from it."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from fpga_facedet.errors import UserError

DEFAULT_MINUTES = 60.0

OURS_TO_CHANGE = ("minutes", "steps", "processes", "device", "save_minutes")
"""What a resumed run takes from its new call; everything else stays as the run began.

Its length (`minutes`, `steps`) too, where the new call gives neither.
"""

_ABOVE_ZERO = ("minutes", "steps", "batch", "processes", "learning_rate", "clip", "save_minutes")
_NOT_BELOW_ZERO = ("seed", "final_rate", "weight_decay", "quantize_at", "calm_at", "frozen_at", "scales_frozen_at")
_SHARES = ("warmup", "average")


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. A run ends after `steps` steps if given, else after `minutes` of training.

    `minutes` None is DEFAULT_MINUTES for a new run, and for a resumed one what it began with: see `resolved`.

    `batch` windows a process and step (of the small size), `processes` replicas on the CPU (None: one for each core;
    under torchrun it says how many). `quantize_at`: share of the run after which weights and activations are
    quantized; `calm_at`: share after which the windows come closer to what the detector will see; `frozen_at`: share
    after which BatchNorm uses its running statistics, folded into the weights (a third faster); `scales_frozen_at`:
    share after which the learned scales of the activations stay. `start`: a finished checkpoint to begin with (None:
    random weights); where it is quantized the run is quantized, and BatchNorm frozen, from the first step. `device`:
    "cpu", "cuda" or "auto", a GPU where there is one. UserError where a number cannot be meant.
    """

    minutes: float | None = None
    steps: int | None = None
    batch: int = 16
    processes: int | None = None
    seed: int = 1
    learning_rate: float = 2e-3
    final_rate: float = 0.02
    warmup: float = 0.02
    weight_decay: float = 0.02
    clip: float = 10.0
    quantize_at: float = 0.4
    calm_at: float = 0.75
    average: float = 0.998
    frozen_at: float = 0.5
    scales_frozen_at: float = 0.9
    start: str | None = None
    device: str = "auto"
    save_minutes: float = 4.0

    def __post_init__(self) -> None:
        for name in (*_ABOVE_ZERO, *_NOT_BELOW_ZERO, *_SHARES):
            value = getattr(self, name)
            if value is None:
                continue
            if name in _ABOVE_ZERO and not 0 < value < math.inf:
                raise UserError(f"Training with {name} = {value} cannot be; give a number above 0.")
            if name in _NOT_BELOW_ZERO and not 0 <= value < math.inf:
                raise UserError(f"Training with {name} = {value} cannot be; give 0 or a number above.")
            if name in _SHARES and not 0 <= value <= 1:
                raise UserError(f"Training with {name} = {value} cannot be; give a share, 0 to 1.")

    def resolved(self) -> "TrainingConfig":
        """Return the configuration with its `minutes` filled in."""
        return dataclasses.replace(self, minutes=self.minutes or DEFAULT_MINUTES)

    def share_done(self, steps: int, minutes: float) -> float:
        """Return the share of the run (0..1, or a little over) that `steps` steps in `minutes` are."""
        return minutes / (self.minutes or DEFAULT_MINUTES) if self.steps is None else steps / self.steps

    def rate_at(self, progress: float) -> float:
        """Return the learning rate after the share `progress` (0..1) of the run.

        It rises linearly over the share `warmup`, and falls as half a cosine from `learning_rate` to `final_rate`
        times that (arXiv 1608.03983, without restarts).
        """
        warm = min(1.0, (progress + 1e-4) / self.warmup) if self.warmup > 0 else 1.0
        fall = self.final_rate + (1 - self.final_rate) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return self.learning_rate * warm * fall

    def continuing(self, saved: dict[str, Any]) -> "TrainingConfig":
        """Return the configuration of a run begun with `saved` (a saved `asdict`) and resumed with this one.

        What shapes the curve comes from `saved`, so that a resumed run ends where an unbroken one does. How long it
        runs (if this one says so), where, and how often it saves come from this one: OURS_TO_CHANGE.
        """
        known = {field.name for field in dataclasses.fields(self)} - set(OURS_TO_CHANGE)
        if self.minutes is None and self.steps is None:
            known |= {"minutes", "steps"}
        return dataclasses.replace(self, **{name: value for name, value in saved.items() if name in known})
