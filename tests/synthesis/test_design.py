"""The description of the design: what it refuses, and that the boards' clocks come out."""

from dataclasses import replace

import pytest

from fpga_facedet import shell
from fpga_facedet.boards import WITH_SHELL, get_board
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import InputInfo
from fpga_facedet.synthesis.cores import describe
from fpga_facedet.synthesis.design import Design, board_design
from fpga_facedet.synthesis.ps7 import clock_divisors, preset

from ..verification.tiny import MANIFEST


@pytest.mark.parametrize(
    ("clock", "divisors"),
    [(100, (5, 2)), (200, (5, 1)), (142.857, (7, 1)), (166.667, (3, 2)), (99, (11, 1)), (0.3, (63, 53))],
)
def test_dividers_are_those_that_vivado_chose_for_pynq(clock: float, divisors: tuple[int, int]) -> None:
    # 100, 142.857, 166.667 and 200 MHz: boards/Pynq-Z2/petalinux_bsp/hardware_project/pynqz2.tcl of PYNQ image_v3.1.
    assert clock_divisors(clock) == divisors


@pytest.mark.parametrize("clock", [0.0, -1.0, 0.1, 251.0])
def test_a_clock_out_of_reach_is_refused(clock: float) -> None:
    with pytest.raises(UserError, match="The processing system makes clocks"):
        clock_divisors(clock)


def test_a_clock_that_is_only_nearly_made_is_refused() -> None:
    with pytest.raises(UserError, match="was built for 120 MHz; the processing system makes 111.111 MHz"):
        board_design(replace(MANIFEST, clock_mhz=120.0), get_board("pynq-z2"))


def test_another_chip_is_refused() -> None:
    with pytest.raises(UserError, match="was built for the part xczu3eg.*build it again with --board pynq-z2"):
        board_design(replace(MANIFEST, part="xczu3eg-sbva484-1"), get_board("pynq-z2"))


def test_a_board_that_nobody_described_is_refused() -> None:
    with pytest.raises(UserError, match="'my-board' is not described; overlays are made for pynq-z1, pynq-z2"):
        board_design(MANIFEST, replace(get_board("pynq-z2"), name="my-board"))


def test_a_frame_longer_than_a_transfer_is_refused() -> None:
    huge = replace(MANIFEST, input=InputInfo(2048, 1024, 3, 114))
    with pytest.raises(UserError, match="has 8388608 bytes, the DMA sends at most 8388607 at once"):
        board_design(huge, get_board("pynq-z2"))


def test_every_board_is_described() -> None:
    for board in map(get_board, WITH_SHELL):
        assert preset(board)["PCW_CRYSTAL_PERIPHERAL_FREQMHZ"] == "50"


def test_the_cells_are_those_that_the_host_looks_for(design: Design) -> None:
    names = {cell.name for cell in design.cells}
    assert {shell.PROCESSOR_CELL, shell.DMA_CELL, shell.DETECTOR_CELL, shell.INTERRUPTS_CELL} <= names
    with pytest.raises(KeyError):
        design.cell("vdma")


def test_every_clock_and_reset_input_of_every_cell_is_driven(design: Design) -> None:
    driven = {sink for net in design.nets for sink in net.sinks}
    for cell in design.cells:
        for pin in describe(cell).pins:
            optional = pin.name in ("aux_reset_in", "mb_debug_sys_rst", "dcm_locked")
            assert pin.output or optional or f"{cell.name}/{pin.name}" in driven, f"{cell.name}/{pin.name}"
