"""The boards an accelerator is built for: chip, clock and what the chip holds."""

from dataclasses import dataclass

from fpga_facedet.errors import UserError

ZYNQ_7000, ULTRASCALE = "zynq-7000", "zynq-ultrascale+"


@dataclass(frozen=True)
class Board:
    """A board and its programmable logic.

    `clock_mhz` is the accelerator's clock in MHz. `lut`, `ff`, `bram18` (18-kbit block RAM halves) and `dsp` are
    what the chip offers: Zynq-7000 SoC Overview (DS190), Zynq UltraScale+ MPSoC Overview (DS891), Kria K26 SOM
    (DS987). `family` is "zynq-7000" or "zynq-ultrascale+", `remark` a sentence on what is less certain for this board.
    """

    name: str
    title: str
    part: str
    clock_mhz: float
    lut: int
    ff: int
    bram18: int
    dsp: int
    family: str = ZYNQ_7000
    remark: str = ""


def _zynq_7020(name: str, title: str, remark: str = "") -> Board:
    return Board(name, title, "xc7z020clg400-1", 100.0, lut=53_200, ff=106_400, bram18=280, dsp=220, remark=remark)


WITH_SHELL = ("pynq-z1", "pynq-z2")
"""The boards that our shell was made for: those that overlays can be built for and loaded on."""

_ASSUMED = "Costs were fitted on 7-series; the clock of {clock:g} MHz is an assumption, nothing was routed."


def _ultrascale(name: str, title: str, part: str, clock: float, **resources: int) -> Board:
    return Board(name, title, part, clock, family=ULTRASCALE, remark=_ASSUMED.format(clock=clock), **resources)


BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        _zynq_7020("pynq-z1", "Digilent PYNQ-Z1"),
        _zynq_7020("pynq-z2", "TUL PYNQ-Z2"),
        _zynq_7020(
            "zybo-z7-20", "Digilent Zybo Z7-20", "The chip of the PYNQ-Z2; there is no board shell for it."
        ),
        _ultrascale(
            "ultra96-v2", "Avnet Ultra96-V2", "xczu3eg-sbva484-1-e", 200.0, lut=70_560, ff=141_120, bram18=432, dsp=360
        ),
        _ultrascale(
            "zcu104", "AMD ZCU104", "xczu7ev-ffvc1156-2-e", 250.0, lut=230_400, ff=460_800, bram18=624, dsp=1_728
        ),
        _ultrascale(
            "kv260", "AMD Kria KV260", "xck26-sfvc784-2LV-c", 250.0, lut=117_120, ff=234_240, bram18=288, dsp=1_248
        ),
    )
}  # fmt: skip


def get_board(name: str) -> Board:
    """Return the board called `name`; UserError that lists the known ones otherwise."""
    try:
        return BOARDS[name]
    except KeyError:
        raise UserError(f"Unknown board '{name}'; choose one of: {', '.join(sorted(BOARDS))}.") from None
