"""Boards by name."""

import pytest

from fpga_facedet.boards import BOARDS, WITH_SHELL, get_board
from fpga_facedet.errors import UserError


def test_the_pynq_z2_is_a_zynq_7020() -> None:
    board = get_board("pynq-z2")
    assert (board.part, board.lut, board.bram18, board.dsp) == ("xc7z020clg400-1", 53_200, 280, 220)


def test_boards_of_one_chip_differ_by_their_shell() -> None:
    ours, other = get_board("pynq-z2"), get_board("zybo-z7-20")
    assert (other.part, other.lut, other.ff, other.bram18, other.dsp, other.clock_mhz) == (
        ours.part, ours.lut, ours.ff, ours.bram18, ours.dsp, ours.clock_mhz,
    )  # fmt: skip
    assert WITH_SHELL == ("pynq-z1", "pynq-z2")


@pytest.mark.parametrize(
    ("name", "part", "resources"),
    [
        ("ultra96-v2", "xczu3eg-sbva484-1-e", (70_560, 141_120, 432, 360)),
        ("zcu104", "xczu7ev-ffvc1156-2-e", (230_400, 460_800, 624, 1_728)),
        ("kv260", "xck26-sfvc784-2LV-c", (117_120, 234_240, 288, 1_248)),
    ],
)
def test_ultrascale_boards_say_what_is_assumed(name: str, part: str, resources: tuple[int, ...]) -> None:
    board = get_board(name)
    assert (board.part, (board.lut, board.ff, board.bram18, board.dsp)) == (part, resources)
    assert "fitted on 7-series" in board.remark and f"{board.clock_mhz:g} MHz is an assumption" in board.remark


def test_every_chip_has_two_flip_flops_a_lut() -> None:
    assert all(board.ff == 2 * board.lut and board.clock_mhz >= 100 for board in BOARDS.values())


def test_an_unknown_board_lists_the_known() -> None:
    with pytest.raises(
        UserError,
        match="Unknown board 'de10-nano'; choose one of: kv260, pynq-z1, pynq-z2, ultra96-v2, zcu104, zybo-z7-20",
    ):
        get_board("de10-nano")
