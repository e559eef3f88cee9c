"""How the boards' processing systems (Zynq-7000 PS7) are wired and clocked: the values Vivado is to be given.

The facts are those that PYNQ's own hardware project for the board's Linux sets: Xilinx/PYNQ image_v3.1 (Vivado 2024.1),
boards/Pynq-Z1/petalinux_bsp/hardware_project/pynqz1.tcl and boards/Pynq-Z2/.../pynqz2.tcl, whose values are the same on
both boards. Only what a person chooses is here; what Vivado computes from it (dividers, actual frequencies, MIO
directions) is left to Vivado. The board boots with the loader of its image: a .bit changes none of this, but Vivado
must know it to time the design and to describe it.
"""

from fpga_facedet.boards import Board
from fpga_facedet.errors import UserError

IO_PLL_MHZ = 1000.0
"""The I/O PLL: the 50 MHz crystal times 20; the fabric clocks are divided from it."""
MAX_CLOCK_MHZ = 250.0
"""The fastest clock from the processing system into the logic (DS187, PS-PL clock performance, speed grade -1)."""
MAX_DIVISOR = 63
"""Each of a fabric clock's two dividers has 6 bits (UG585, SLCR FPGA0_CLK_CTRL)."""
DDR_BYTES = 512 << 20

_CLOCKS = {
    "PCW_CRYSTAL_PERIPHERAL_FREQMHZ": "50",
    "PCW_APU_PERIPHERAL_FREQMHZ": "650",
    "PCW_PRESET_BANK0_VOLTAGE": "LVCMOS 3.3V",
    "PCW_PRESET_BANK1_VOLTAGE": "LVCMOS 1.8V",
}

# One DDR3 chip of 256 M x 16, and the lengths of its traces as the board's maker gives them.
_MEMORY = {
    "PCW_UIPARAM_DDR_PARTNO": "MT41J256M16 RE-125",
    "PCW_UIPARAM_DDR_BUS_WIDTH": "16 Bit",
    "PCW_UIPARAM_DDR_FREQ_MHZ": "525",
    "PCW_UIPARAM_DDR_TRAIN_DATA_EYE": "1",
    "PCW_UIPARAM_DDR_TRAIN_READ_GATE": "1",
    "PCW_UIPARAM_DDR_TRAIN_WRITE_LEVEL": "1",
    "PCW_UIPARAM_DDR_USE_INTERNAL_VREF": "0",
    "PCW_UIPARAM_DDR_BOARD_DELAY0": "0.223",
    "PCW_UIPARAM_DDR_BOARD_DELAY1": "0.212",
    "PCW_UIPARAM_DDR_BOARD_DELAY2": "0.085",
    "PCW_UIPARAM_DDR_BOARD_DELAY3": "0.092",
    "PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_0": "0.040",
    "PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_1": "0.058",
    "PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_2": "-0.009",
    "PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_3": "-0.033",
    "PCW_UIPARAM_DDR_CLOCK_0_LENGTH_MM": "25.8",
    "PCW_UIPARAM_DDR_CLOCK_1_LENGTH_MM": "25.8",
    "PCW_UIPARAM_DDR_DQS_0_LENGTH_MM": "15.6",
    "PCW_UIPARAM_DDR_DQS_1_LENGTH_MM": "18.8",
    "PCW_UIPARAM_DDR_DQ_0_LENGTH_MM": "16.5",
    "PCW_UIPARAM_DDR_DQ_1_LENGTH_MM": "18",
}

_PERIPHERALS = {
    "PCW_QSPI_PERIPHERAL_ENABLE": "1",
    "PCW_QSPI_QSPI_IO": "MIO 1 .. 6",
    "PCW_QSPI_GRP_SINGLE_SS_ENABLE": "1",
    "PCW_QSPI_GRP_FBCLK_ENABLE": "1",
    "PCW_QSPI_PERIPHERAL_FREQMHZ": "200",
    "PCW_ENET0_PERIPHERAL_ENABLE": "1",
    "PCW_ENET0_ENET0_IO": "MIO 16 .. 27",
    "PCW_ENET0_GRP_MDIO_ENABLE": "1",
    "PCW_ENET0_GRP_MDIO_IO": "MIO 52 .. 53",
    "PCW_ENET0_RESET_ENABLE": "1",
    "PCW_ENET0_RESET_IO": "MIO 9",
    "PCW_SD0_PERIPHERAL_ENABLE": "1",
    "PCW_SD0_SD0_IO": "MIO 40 .. 45",
    "PCW_SD0_GRP_CD_ENABLE": "1",
    "PCW_SD0_GRP_CD_IO": "MIO 47",
    "PCW_SDIO_PERIPHERAL_FREQMHZ": "50",
    "PCW_UART0_PERIPHERAL_ENABLE": "1",
    "PCW_UART0_UART0_IO": "MIO 14 .. 15",
    "PCW_UART0_BAUD_RATE": "115200",
    "PCW_UART_PERIPHERAL_FREQMHZ": "100",
    "PCW_USB0_PERIPHERAL_ENABLE": "1",
    "PCW_USB0_USB0_IO": "MIO 28 .. 39",
    "PCW_USB0_RESET_ENABLE": "1",
    "PCW_USB0_RESET_IO": "MIO 46",
    "PCW_GPIO_MIO_GPIO_ENABLE": "1",
    "PCW_GPIO_MIO_GPIO_IO": "MIO",
}

PRESETS: dict[str, dict[str, str]] = dict.fromkeys(("pynq-z1", "pynq-z2"), _CLOCKS | _MEMORY | _PERIPHERALS)
"""For each board, the parameters of processing_system7 5.5 that describe the board itself."""


def preset(board: Board) -> dict[str, str]:
    """Return the processing system's parameters of `board`; UserError where nobody has described them."""
    try:
        return dict(PRESETS[board.name])
    except KeyError:
        raise UserError(
            f"The processing system of the board '{board.name}' is not described; overlays are made for "
            f"{', '.join(sorted(PRESETS))}."
        ) from None


def clock_divisors(clock_mhz: float) -> tuple[int, int]:
    """Return the two dividers of the I/O PLL for a fabric clock of `clock_mhz` MHz, or the next slower one there is.

    Of the pairs that give it, the most balanced, the greater one first. UserError where the clock is out of reach.
    """
    if not 0 < clock_mhz <= MAX_CLOCK_MHZ:
        raise UserError(
            f"The processing system makes clocks of up to {MAX_CLOCK_MHZ:g} MHz, not {clock_mhz:g} MHz; "
            "build the accelerator for another clock."
        )
    pairs = [(first, second) for first in range(1, MAX_DIVISOR + 1) for second in range(1, first + 1)]
    # A tolerance far below a divider's step takes 142.857 for a seventh of 1000.
    slow_enough = [pair for pair in pairs if IO_PLL_MHZ / (pair[0] * pair[1]) <= clock_mhz * 1.000_01]
    if not slow_enough:
        raise UserError(
            f"The processing system makes clocks down to {IO_PLL_MHZ / MAX_DIVISOR**2:g} MHz, not {clock_mhz:g} MHz; "
            "build the accelerator for another clock."
        )
    return min(slow_enough, key=lambda pair: (pair[0] * pair[1], pair[0] - pair[1]))
