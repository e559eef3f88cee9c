"""Boards by name."""

import pytest

from fpga_facedet.boards import get_board
from fpga_facedet.errors import UserError


def test_the_pynq_z2_is_a_zynq_7020() -> None:
    board = get_board("pynq-z2")
    assert (board.part, board.lut, board.bram18, board.dsp) == ("xc7z020clg400-1", 53_200, 280, 220)


def test_an_unknown_board_lists_the_known() -> None:
    with pytest.raises(UserError, match="Unknown board 'de10-nano'; choose one of: pynq-z1, pynq-z2"):
        get_board("de10-nano")
