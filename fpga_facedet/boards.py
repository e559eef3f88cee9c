"""The boards an accelerator is built for: chip, clock and what the chip holds."""

from dataclasses import dataclass

from fpga_facedet.errors import UserError


@dataclass(frozen=True)
class Board:
    """A board and its programmable logic.

    `clock_mhz` is the accelerator's clock in MHz. `lut`, `ff`, `bram18` (18-kbit block RAM halves) and `dsp` are
    what the chip offers (Zynq-7000 SoC Overview, DS190).
    """

    name: str
    title: str
    part: str
    clock_mhz: float
    lut: int
    ff: int
    bram18: int
    dsp: int


_ZYNQ_7020 = {"lut": 53_200, "ff": 106_400, "bram18": 280, "dsp": 220}

BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        Board("pynq-z1", "Digilent PYNQ-Z1", "xc7z020clg400-1", 100.0, **_ZYNQ_7020),
        Board("pynq-z2", "TUL PYNQ-Z2", "xc7z020clg400-1", 100.0, **_ZYNQ_7020),
    )
}


def get_board(name: str) -> Board:
    """Return the board called `name`; UserError that lists the known ones otherwise."""
    try:
        return BOARDS[name]
    except KeyError:
        raise UserError(f"Unknown board '{name}'; choose one of: {', '.join(sorted(BOARDS))}.") from None
