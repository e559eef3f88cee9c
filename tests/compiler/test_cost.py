import pytest

from fpga_facedet.boards import Board
from fpga_facedet.compiler.cost import Resources, converter, dsp48e1_lanes, fifo, memory


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "lanes"),
    [(4, 4, 4), (8, 8, 2), (2, 4, 5), (3, 5, 4), (4, 2, 5), (6, 4, 3), (8, 3, 2)],
)
def test_lanes_of_a_dsp48e1(weight_bits: int, activation_bits: int, lanes: int) -> None:
    assert dsp48e1_lanes(weight_bits, activation_bits) == lanes


def test_resources_add_up_and_fit(board: Board) -> None:
    total = Resources(1000, 2, 3) + Resources(500, 0, 1)
    assert total == Resources(1500, 2, 4)
    assert total.fits(board) and not Resources(dsp=221).fits(board)
    assert Resources(lut=board.lut, dsp=board.dsp).share_of(board) == 2


@pytest.mark.parametrize(("depth", "width", "blocks"), [(512, 36, 1), (513, 36, 2), (1024, 18, 1), (20_000, 1, 2)])
def test_deep_memories_are_block_rams(depth: int, width: int, blocks: int) -> None:
    assert memory(depth, width) == Resources(bram18=blocks)


def test_shallow_memories_are_luts() -> None:
    assert memory(64, 32) == Resources(lut=32)


def test_converters() -> None:
    assert converter(32, 32) == Resources()
    assert converter(4, 32).lut < converter(32, 4).lut < 50
    assert converter(32, 24) is None


def test_fifos_grow_from_shift_registers_to_block_rams() -> None:
    assert fifo(32, 8).lut < fifo(256, 8).lut
    assert fifo(1024, 8).bram18 == 1
