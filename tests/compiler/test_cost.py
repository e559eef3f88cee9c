"""What RTL layers cost: block RAMs and DSPs by hand and by yosys, LUTs by what the formulas must hold."""

import pytest
from onnx import NodeProto

from fpga_facedet.boards import Board, get_board
from fpga_facedet.compiler import cost
from fpga_facedet.compiler.cost import Budget, Resources, converter, fifo, memory
from fpga_facedet.compiler.cost_lut_unit import LutUnit
from fpga_facedet.compiler.cost_memory import Memory, mapped
from fpga_facedet.compiler.cost_shapes import DSP48E1, DSP48E2, MatrixUnit, lane_places, lanes, sum_tree
from fpga_facedet.compiler.cost_streams import cleared
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.matrix_units import ADDERS, DSP, LUT, is_matrix_unit, set_multiplier
from fpga_facedet.errors import InternalError, UserError
from tests.compiler.conftest import Built


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "count"),
    [(4, 4, 4), (8, 8, 2), (2, 4, 5), (3, 5, 4), (4, 2, 5), (6, 4, 3), (8, 3, 2)],
)
def test_lanes_of_a_dsp48e1(weight_bits: int, activation_bits: int, count: int) -> None:
    assert lanes(weight_bits, activation_bits) == count


def test_a_lowest_weight_takes_a_bit_and_a_dsp48e2_has_two_more() -> None:
    assert (lanes(4, 4, narrow=False), lanes(4, 4, DSP48E2, narrow=False)) == (3, 4)
    assert (lanes(8, 8), lanes(6, 4, DSP48E2), lanes(6, 6, DSP48E2)) == (2, 3, 2)
    assert (lanes(2, 4), lanes(2, 4, DSP48E2)) == (5, 6)


def test_lanes_share_the_product_with_the_wider_ones_to_the_right() -> None:
    # 25 bits less one of 4 leave 21 for three lanes; the last one goes on to the width of the result.
    assert lane_places(4, 4, 13, DSP48E1, narrow=True) == [0, 7, 14, 21, 34]
    assert lane_places(4, 2, 9, DSP48E1, narrow=True) == [0, 6, 11, 16, 21, 30]


@pytest.mark.parametrize(("pe", "simd", "dsp"), [(4, 9, 9), (26, 1, 7), (8, 12, 24), (1, 6, 6), (5, 2, 4)])
def test_a_rest_of_pe_takes_whole_dsps(pe: int, simd: int, dsp: int) -> None:
    assert MatrixUnit(72, 8 * pe, pe, simd, 4, 4, 14, "distributed").dsp == dsp


def test_a_tree_adds_what_both_operands_have() -> None:
    # Nine numbers of 7 bits: four pairs, and so on to 11 bits.
    assert sum_tree(9, 7, False) == (4 * 7 + 7 + 8 + 8 + 9, 4 * 8 + 9 + 9 + 10 + 11)
    assert sum_tree(1, 7, False) == sum_tree(1, 2, True) == (0, 0)


@pytest.mark.parametrize(
    ("words", "width", "read_only", "blocks"),
    [
        (512, 36, False, 1),
        (513, 36, False, 2),
        (20_000, 1, False, 2),
        # As yosys counted them: weights of LPYOLO, windows, FIFOs.
        (96, 6, True, 1),
        (1456, 32, True, 3),
        (1872, 72, True, 8),
        (1944, 36, True, 4),
        (513, 96, False, 6),
        (698, 24, False, 2),
        # Two block RAMs in cascade are read a bit at a time, so four banks of single ones are cheaper.
        (8112, 96, True, 43),
    ],
)
def test_block_rams_are_those_of_yosys(words: int, width: int, read_only: bool, blocks: int) -> None:
    assert mapped(words, width, "block", read_only=read_only).bram18 == blocks


def test_memories_that_may_lie_anywhere_lie_where_they_are_cheapest() -> None:
    assert mapped(416, 12, read_only=True) == Memory(rom=12 * 7, choices=12 * 2)
    assert mapped(832, 12, read_only=True).bram18 == 1
    assert mapped(64, 4).lut == 8 and mapped(512, 16).bram18 == 1


def test_luts_of_a_memory_are_those_of_its_slices() -> None:
    # 64 words of 3 bits take the four LUTs of a slice; of four banks a LUT chooses each bit.
    assert mapped(199, 64, "distributed") == Memory(lut=4 * 4 * 22, choices=64)
    assert mapped(32, 12, "distributed") == Memory(lut=8)


@pytest.mark.parametrize(
    ("depth", "width", "style", "blocks"), [(64, 36, None, 0), (65, 36, None, 1), (64, 36, "block", 1)]
)
def test_a_memory_lies_where_it_is_told_or_by_its_depth(depth: int, width: int, style: str | None, blocks: int) -> None:
    assert memory(depth, width, style).bram18 == blocks
    assert (memory(depth, width, style).lut == 0) == bool(blocks)


def test_resources_add_up_and_fit(board: Board) -> None:
    total = Resources(lut=1000, ff=70, bram18=2, dsp=3) + Resources(lut=500, ff=7, bram18=0, dsp=1)
    assert total == Resources(lut=1500, ff=77, bram18=2, dsp=4)
    assert total.to_dict() == {"lut": 1500, "ff": 77, "bram18": 2, "dsp": 4}
    assert total.fits(board) and not Resources(dsp=221).fits(board)
    assert Resources(lut=board.lut, dsp=board.dsp, ff=9).share_of(board) == 2


def test_a_budget_is_a_share_of_each_resource(board: Board) -> None:
    assert Resources(lut=45_220, bram18=252, dsp=209, ff=106_400).fits(board, Budget())
    for over in (Resources(lut=45_221), Resources(bram18=253), Resources(dsp=210), Resources(ff=106_401)):
        assert not over.fits(board, Budget())
        assert Resources(lut=1).fits(board, Budget(lut=0.5)) and not Resources(lut=26_601).fits(board, Budget(lut=0.5))


def test_a_budget_is_read_in_percent() -> None:
    assert Budget.parse("lut=70, bram=50,dsp=95") == Budget(lut=0.7, bram18=0.5, dsp=0.95)
    assert Budget.parse("bram18=90,ff=80") == Budget(ff=0.8)
    assert Budget.parse("lut=85").to_dict() == {"lut": 0.85, "ff": 1.0, "bram18": 0.9, "dsp": 0.95}


@pytest.mark.parametrize(
    ("text", "named"),
    [("lut=0", "0 % of lut"), ("dsp=101", "101 % of dsp"), ("uram=9", "uram=9"), ("lut=8,lut=9", "lut=9"),
     ("lut=many", "many"), ("lut", "''"), ("lut=nan", "nan % of lut"), ("", "''")],
)  # fmt: skip
def test_a_senseless_budget_is_refused(text: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        Budget.parse(text)


def test_converters() -> None:
    assert converter(32, 32) == Resources()
    assert converter(32, 24) is None
    wider, narrower = converter(4, 32), converter(32, 4)
    # Both keep a whole wide beat; only to narrow does each bit of it choose where it comes from.
    assert wider is not None and narrower is not None
    assert wider.lut < 28 <= narrower.lut and abs(wider.ff - narrower.ff) < 4 and wider.ff >= 32


def test_fifos_grow_from_lut_memory_to_block_ram() -> None:
    assert fifo(32, 8).lut < fifo(200, 8, "distributed").lut
    assert (fifo(64, 8).bram18, fifo(65, 8).bram18, fifo(65, 8, "distributed").bram18) == (0, 1, 0)


def test_every_layer_of_an_accelerator_has_an_estimate(built: Built) -> None:
    graph = built.graph("fifos")
    with finn_session():
        found = {node.name: cost.resources(node, graph) for node in graph.graph.node}
    for name, used in found.items():
        assert used.lut > 0 and used.ff > 0, name
        assert used.bram18 == int(used.bram18) and used.dsp == int(used.dsp), name
        assert used.dsp == 0 or name.startswith("MVAU"), name


def _unit(built: Built) -> NodeProto:
    nodes = built.graph("fold").graph.node
    node = next(node for node in nodes if is_matrix_unit(node) and node.name == "MVAU_rtl_1")
    set_multiplier(node, DSP)
    return node


def test_other_chips_and_other_weights_have_other_lanes(built: Built, board: Board) -> None:
    graph, node = built.graph("fold"), _unit(built)
    with finn_session():
        assert cost.resources(node, graph, board) == cost.resources(node)
        assert cost.dsp_slice(get_board("zcu104")) == DSP48E2 and cost.dsp_slice(board) == DSP48E1
        graph.set_initializer(node.input[1], graph.get_initializer(node.input[1]) * 0 - 8)
        shape = cost.shape_of(node, graph)
    assert isinstance(shape, MatrixUnit) and not shape.narrow


def test_each_multiplier_has_its_own_cost(built: Built) -> None:
    node = _unit(built)
    with finn_session():
        on_dsps = cost.resources(node)
        set_multiplier(node, LUT)
        in_luts, shape = cost.resources(node), cost.shape_of(node)
        set_multiplier(node, ADDERS)
        with pytest.raises(InternalError, match="follows from its weights"):
            cost.resources(node)
    assert isinstance(shape, LutUnit)
    assert on_dsps.dsp > 0 == in_luts.dsp and on_dsps != in_luts


def test_a_unit_in_luts_adds_each_digit_as_it_makes_it() -> None:
    # A weight of 4 bits has two digits; four lanes of 4-bit values chain up to 8 bits each, PE times.
    terms = [LutUnit(72, 8, pe, 4, 4, 4, 13, "block", 32).lut_terms() for pe in (1, 2)]
    assert terms[1]["bits of digits"] == 2 * terms[0]["bits of digits"] > 2 * 2 * 4 * 5
    # All weights at once are constants, and need no memory to read them from.
    whole = LutUnit(9, 8, 8, 9, 4, 4, 11, "distributed", 1)
    assert whole.bram18 == 0 == whole.lut_terms()["bits of digits"] < whole.lut_terms()["bits of digits of constants"]


def test_a_unit_in_luts_pays_for_each_word_of_a_table_of_weights() -> None:
    # A LUT for each bit of 64 words, and one to choose from up to four of them; in block RAM none.
    short, long = (LutUnit(72, outputs, 1, 8, 4, 4, 13, "distributed", 32) for outputs in (7, 16))
    assert (short.lut_terms()["tables of weights"], short.lut_terms()["choices"]) == (32, 0)
    assert (long.lut_terms()["tables of weights"], long.lut_terms()["choices"]) == (3 * 32, 32)
    assert LutUnit(72, 16, 1, 8, 4, 4, 13, "block", 32).lut_terms()["tables of weights"] == 0


@pytest.mark.parametrize(("count", "bits"), [(1, 0), (2, 0), (64, 0), (5, 2), (63, 6), (832, 3)])
def test_a_counter_that_wraps_by_itself_clears_nothing(count: int, bits: int) -> None:
    assert cleared(count) == bits
