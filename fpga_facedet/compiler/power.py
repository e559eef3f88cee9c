"""What an accelerator and its chip draw, and what a frame costs: an estimate from published coefficients, with a range.

    power = static + clock * (luts * e_lut + flip-flops * e_ff + block RAMs * e_bram + DSPs * e_dsp) + processor system

Every coefficient has a low, a likely and a high value and says where it is from, or that it is assumed. The likely
energies are a published Vivado report of a routed design divided by what that design uses, with Vivado's default
toggle rate, which UG440 calls the average of customer designs. docs/power.md has the derivations and the check against
LPYOLO's board. The DMA and the interconnect around the accelerator, and what the board itself adds (regulators, memory
chips, Ethernet), are not in any of it.
"""

from dataclasses import asdict, dataclass
from typing import Any

from fpga_facedet.boards import ULTRASCALE, ZYNQ_7000, Board
from fpga_facedet.compiler.cost import Resources
from fpga_facedet.errors import InternalError

TOGGLE_RATE = 0.125
"""Share of the clock cycles in which the average net changes: Vivado's default, what the likely energies hold for."""

PAPER_WATTS, PAPER_FPS = 2.4, 18.0
"""LPYOLO 4W4A on its PYNQ-Z2: the whole board, and frames a second of the whole pipeline (arXiv 2207.10482)."""
PAPER_MILLIJOULES = 1000 * PAPER_WATTS / PAPER_FPS

REFERENCES = {
    "canny": "github.com/xuankinh/canny-edge-zynq7000, README: Vivado's power report of a routed Zynq-7020 design with "
    "7,673 LUTs, 8,740 flip-flops, 20 halves of block RAM and 16 DSPs at 100 MHz",
    "cva6": "Thales, cva6-softcore-contest, README of the edition on energy: Vivado's power report of an XC7Z020 at a "
    "junction of 28 degrees",
    "cambridge": "D. J. Greaves, University of Cambridge, SoC design patterns, 'Spreadsheet-based Energy Accounting': "
    "Xilinx's 28 nm Zynq spreadsheet",
    "ug440": "Xilinx Power Estimator User Guide, UG440: logic's power follows its toggle rate, 12.5 % by default",
}
"""What the coefficients' sources name by one word."""


@dataclass(frozen=True)
class Coefficient:
    """One coefficient: what it is of, its range and likely value in `unit`, and where they are from."""

    name: str
    low: float
    likely: float
    high: float
    unit: str
    source: str


@dataclass(frozen=True)
class _Family:
    """The coefficients of a chip family.

    `dynamic` is by the name of the resource, in pJ a clock cycle and element.
    """

    static: Coefficient
    processor: Coefficient
    dynamic: dict[str, Coefficient]


_ZYNQ_7000 = _Family(
    static=Coefficient(
        "static power", 0.113e6 / 53_200, 0.145e6 / 53_200, 0.29e6 / 53_200, "uW a LUT of the chip",
        "0.145 W of an XC7Z020 (canny); low 0.113 W (cva6); high twice the likely, for a warm chip (assumed)",
    ),
    processor=Coefficient(
        "processor system", 415e-12 * 650e6, 1.533, 1.7, "W",
        "1.533 W (canny); low one ARM core at 650 MHz, 415 pJ a cycle (cambridge); high (assumed)",
    ),
    dynamic={
        "lut": Coefficient(
            "logic and signals", 0.5 * 0.0508, 0.0508, 2 * 0.0508, "pJ a cycle and LUT",
            "18 + 21 mW (canny); low and high at half and twice the toggle rate (ug440)",
        ),
        "ff": Coefficient(
            "clocks", 0.5 * 0.0355, 0.0355, 1.5 * 0.0355, "pJ a cycle and flip-flop",
            "31 mW (canny); low and high half and one and a half times that (assumed)",
        ),
        "bram18": Coefficient(
            "block RAM", 0.5 * 4.25, 5.5, 2 * 4.25, "pJ a cycle and 18-kbit half",
            "11 mW (canny); low and high one read in two cycles and two a cycle, 8.5 pJ each of 36 kbit (cambridge)",
        ),
        "dsp": Coefficient(
            "DSP", 0.5 * 5.6, 5.6, 23.0, "pJ a cycle and slice",
            "9 mW (canny); low half of that (assumed); high 23 pJ a multiplication (cambridge)",
        ),
    },
)  # fmt: skip


def _scaled(coefficient: Coefficient, low: float, likely: float, high: float) -> Coefficient:
    """Return a coefficient of UltraScale+: that of 7 series times assumed factors."""
    return Coefficient(
        coefficient.name,
        coefficient.low * low,
        coefficient.likely * likely,
        coefficient.high * high,
        coefficient.unit,
        f"{likely:g} ({low:g} to {high:g}) times that of 7 series (assumed)",
    )


_ULTRASCALE_PLUS = _Family(
    static=_scaled(_ZYNQ_7000.static, 0.7, 1.1, 2.0),
    processor=Coefficient("processor system", 0.7, 2.0, 4.0, "W", "(assumed)"),
    dynamic={name: _scaled(each, 0.4, 0.6, 1.0) for name, each in _ZYNQ_7000.dynamic.items()},
)
_FAMILIES = {ZYNQ_7000: _ZYNQ_7000, ULTRASCALE: _ULTRASCALE_PLUS}


@dataclass(frozen=True)
class Power:
    """An estimate: W, and mJ a frame.

    `dynamic_w` is by what draws it; `total_w` is the chip with its processor system, between `low_w` and `high_w`;
    `energy_mj` is `total_w` over the frame rate, with its own range. `sources` has a line for each coefficient, naming
    REFERENCES by one word.
    """

    static_w: float
    dynamic_w: dict[str, float]
    processor_w: float
    total_w: float
    low_w: float
    high_w: float
    energy_mj: float
    energy_low_mj: float
    energy_high_mj: float
    sources: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        return asdict(self)


def estimate(used: Resources, board: Board, clock_mhz: float, fps: float) -> Power:
    """Return what the chip of `board` draws while `used` of it runs at `clock_mhz` without a pause.

    `fps` is frames a second; the energy of a frame is all that the chip draws meanwhile, idle power included.
    Flip-flops carry the power of the clock tree: where nobody has counted them, the estimate is too low.
    """
    if fps <= 0 or clock_mhz <= 0:
        raise InternalError(f"There is no power at {clock_mhz:g} MHz and {fps:g} frames a second.")
    family = _FAMILIES[board.family]
    low, likely, high = (
        {
            "static": getattr(family.static, level) * board.lut * 1e-6,
            "processor": getattr(family.processor, level),
            **{
                each.name: getattr(used, name) * getattr(each, level) * clock_mhz * 1e-6
                for name, each in family.dynamic.items()
            },
        }
        for level in ("low", "likely", "high")
    )
    totals = [sum(parts.values()) for parts in (low, likely, high)]
    return Power(
        static_w=likely.pop("static"),
        processor_w=likely.pop("processor"),
        dynamic_w=likely,
        total_w=totals[1],
        low_w=totals[0],
        high_w=totals[2],
        energy_mj=1000 * totals[1] / fps,
        energy_low_mj=1000 * totals[0] / fps,
        energy_high_mj=1000 * totals[2] / fps,
        sources=tuple(
            f"{each.name}: {each.likely:.3g} ({each.low:.3g} to {each.high:.3g}) {each.unit}; {each.source}"
            for each in coefficients(board)
        ),
    )


def coefficients(board: Board) -> tuple[Coefficient, ...]:
    """Return the coefficients that hold for the chip of `board`."""
    family = _FAMILIES[board.family]
    return (family.static, family.processor, *family.dynamic.values())
