"""How a run went, and what a user may ask of one."""

from dataclasses import asdict, dataclass
from typing import Any

from fpga_facedet.errors import UserError
from fpga_facedet.host.metrics import Metrics


@dataclass(frozen=True)
class Summary:
    """How a run went. `skipped` pictures could not be read; `stopped` says that it was ended before its source was."""

    source: str
    engine: str
    metrics: Metrics
    skipped: int
    stopped: bool

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready dictionaries."""
        return {**asdict(self), "metrics": self.metrics.to_dict()}


def check_limit(limit: int | None) -> None:
    """Raise UserError for a limit, in frames, that leaves nothing to do."""
    if limit is not None and limit < 1:
        raise UserError(f"A limit of {limit} frames leaves nothing to do; give 1 or more.")
