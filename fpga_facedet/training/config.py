"""How to train: one frozen set of numbers, and the learning rate that follows from it."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

OURS_TO_CHANGE = ("minutes", "steps", "processes", "device", "save_minutes")
"""What a resumed run takes from its new call; everything else stays as the run began."""


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. A run ends after `steps` steps if given, else after `minutes` of training.

    `batch` windows a process and step (of the small size), `processes` replicas on the CPU (None: one for each core;
    under torchrun it says how many). `quantize_at`: share of the run after which weights and activations are
    quantized; `calm_at`: share after which the windows come closer to what the detector will see; `frozen_at`: share
    after which BatchNorm uses its running statistics, folded into the weights (a third faster); `scales_frozen_at`:
    share after which the learned scales of the activations stay. `start`: a finished checkpoint to begin with (None:
    random weights); where it is quantized the run is quantized, and BatchNorm frozen, from the first step. `device`:
    "cpu", "cuda" or "auto", a GPU where there is one.
    """

    minutes: float = 60.0
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
        runs, where, and how often it saves come from this one: OURS_TO_CHANGE.
        """
        known = {field.name for field in dataclasses.fields(self)} - set(OURS_TO_CHANGE)
        return dataclasses.replace(self, **{name: value for name, value in saved.items() if name in known})
