"""Do two engines give the same integers? Counted output by output, and explained where one of them is torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import InternalError

if TYPE_CHECKING:
    from fpga_facedet.assessment.boundaries import BoundaryCases
    from fpga_facedet.network.tinyyolo import TinyYolo


@dataclass(frozen=True)
class Disagreement:
    """A picture whose outputs differ: how many, by at most how much, and the boundary cases found.

    `unexplained` is how many of these outputs no boundary case accounts for; None where nobody looked.
    """

    picture: str
    outputs: int
    largest: int
    unexplained: int | None = None
    flips: Sequence["BoundaryCases"] = ()
    ties: Sequence["BoundaryCases"] = ()

    @property
    def farthest(self) -> float:
        """The greatest distance of a boundary case from its boundary, in units of the integer sum."""
        return max((float(case.units.max()) for case in (*self.flips, *self.ties)), default=0.0)


@dataclass
class Agreement:
    """Two engines on the same pictures, output by output."""

    engines: tuple[str, str]
    outputs: int = 0
    differing: list[Disagreement] = field(default_factory=list)

    @property
    def different(self) -> int:
        """How many outputs differ."""
        return sum(item.outputs for item in self.differing)

    @property
    def unexplained(self) -> int | None:
        """How many of them no boundary case explains; None where the reasons were not looked for."""
        counts = [item.unexplained for item in self.differing]
        return None if any(count is None for count in counts) else sum(cast(list[int], counts))

    @property
    def farthest(self) -> float:
        """The greatest distance of a boundary case from its boundary, in units of the integer sum."""
        return max((item.farthest for item in self.differing), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, and each picture that differs, JSON-ready."""
        return {
            "engines": list(self.engines),
            "outputs": self.outputs,
            "different": self.different,
            "unexplained": self.unexplained,
            "farthest_from_a_boundary": self.farthest,
            "pictures": [
                {
                    "picture": item.picture,
                    "outputs": item.outputs,
                    "largest": item.largest,
                    "unexplained": item.unexplained,
                    "flips": {case.layer: len(case.units) for case in item.flips},
                    "ties": {case.layer: len(case.units) for case in item.ties},
                    "farthest_from_a_boundary": item.farthest,
                }
                for item in self.differing
            ],
        }

    def describe(self) -> str:
        """Return one sentence."""
        one, two = self.engines
        text = f"{one} and {two}: {self.different} of {self.outputs:,} outputs differ"
        if not self.different:
            return text
        if self.unexplained is None:
            return f"{text}, in {len(self.differing)} pictures"
        known = self.different - self.unexplained
        return (
            f"{text}; {known} where a float sum falls on a rounding boundary (at most {self.farthest:.2g} of an "
            f"integer sum's unit from it), {self.unexplained} unexplained"
        )


def compare_outputs(
    agreement: Agreement,
    pictures: Sequence[str],
    frames: npt.NDArray[np.uint8],
    first: npt.NDArray[np.int8],
    second: npt.NDArray[np.int8],
    network: "TinyYolo | None" = None,
) -> None:
    """Add pictures to `agreement`: their `frames` uint8 (N, H, W, 3) and what two engines gave, int8 (N, gh, gw, C).

    `network` is the torch network where one of the engines is torch: it tells why outputs differ (see `boundaries`).
    """
    if first.shape != second.shape:
        raise InternalError(f"The engines {agreement.engines} gave {first.shape} and {second.shape}.")
    agreement.outputs += first.size
    for name, frame, one, two in zip(pictures, frames, first, second, strict=True):
        differs = one != two
        if not differs.any():
            continue
        largest = int(np.abs(one.astype(np.int16) - two).max())
        count = int(differs.sum())
        if network is None:
            agreement.differing.append(Disagreement(name, count, largest))
            continue
        from fpga_facedet.assessment.boundaries import examine

        result = examine(network, frame)
        mine, other = (one, two) if agreement.engines[0] == "torch" else (two, one)
        unexplained = int(result.unexplained(mine, other).sum())
        agreement.differing.append(Disagreement(name, count, largest, unexplained, result.flips, result.ties))
