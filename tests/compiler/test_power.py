import json
import re
from dataclasses import replace

import pytest

from fpga_facedet.boards import BOARDS, get_board
from fpga_facedet.compiler import power
from fpga_facedet.compiler.cost import RESOURCE_NAMES, Resources
from fpga_facedet.errors import InternalError

PYNQ = get_board("pynq-z2")
CANNY = Resources(lut=7_673, ff=8_740, bram18=20, dsp=16)


def whole(share: float) -> Resources:
    return Resources(**{name: share * getattr(PYNQ, name) for name in RESOURCE_NAMES})


def test_the_published_design_comes_out_as_vivado_reported_it() -> None:
    drawn = power.estimate(CANNY, PYNQ, 100.0, 60.0)
    milliwatts = {name: 1000 * watts for name, watts in drawn.dynamic_w.items()}
    expected = {"logic and signals": 39, "clocks": 31, "block RAM": 11, "DSP": 9}
    assert milliwatts == pytest.approx(expected, rel=0.01)
    assert (drawn.static_w, drawn.processor_w) == pytest.approx((0.145, 1.533))
    assert drawn.total_w == pytest.approx(1.768, abs=0.001)


def test_the_total_is_the_sum_and_lies_in_its_range() -> None:
    for share in (0.0, 0.3, 1.0):
        drawn = power.estimate(whole(share), PYNQ, 100.0, 18.0)
        assert drawn.total_w == pytest.approx(drawn.static_w + drawn.processor_w + sum(drawn.dynamic_w.values()))
        assert drawn.low_w < drawn.total_w < drawn.high_w
        for watts, millijoules in (
            (drawn.low_w, drawn.energy_low_mj),
            (drawn.total_w, drawn.energy_mj),
            (drawn.high_w, drawn.energy_high_mj),
        ):
            assert millijoules == pytest.approx(1000 * watts / 18)


@pytest.mark.parametrize("name", RESOURCE_NAMES)
def test_each_resource_counts_once_and_in_proportion_to_the_clock(name: str) -> None:
    idle = power.estimate(Resources(), PYNQ, 100.0, 1.0)
    one, three = (power.estimate(Resources(**{name: count}), PYNQ, 100.0, 1.0) for count in (1e4, 3e4))
    fast = power.estimate(Resources(**{name: 1e4}), PYNQ, 200.0, 1.0)
    for level in ("low_w", "total_w", "high_w"):
        still, single, triple, double = (getattr(each, level) for each in (idle, one, three, fast))
        assert single > still
        assert triple - still == pytest.approx(3 * (single - still))
        assert double - still == pytest.approx(2 * (single - still))
    assert sum(watts > 0 for watts in one.dynamic_w.values()) == 1


def test_lpyolos_board_lies_in_the_range_whatever_it_used() -> None:
    # Its utilisation is not known; the board draws more than the chip. Both ends of what a design can use bound it.
    least, most = (power.estimate(whole(share), PYNQ, 100.0, power.PAPER_FPS) for share in (0.0, 1.0))
    assert least.total_w < power.PAPER_WATTS < most.high_w
    half = power.estimate(whole(0.5), PYNQ, 100.0, power.PAPER_FPS)
    assert half.low_w < power.PAPER_WATTS < half.high_w
    assert half.total_w == pytest.approx(power.PAPER_WATTS, rel=0.15)
    assert pytest.approx(133.3, abs=0.1) == power.PAPER_MILLIJOULES


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_each_coefficient_has_a_range_and_a_source_or_says_assumed(board) -> None:
    coefficients = power.coefficients(board)
    assert len(coefficients) == 2 + len(RESOURCE_NAMES)
    for each in coefficients:
        assert 0 < each.low < each.likely < each.high, each.name
        named = re.findall(r"\((\w+)\)", each.source)
        assert named and set(named) <= {"assumed", *power.REFERENCES}, each.name


def test_every_reference_is_of_some_coefficient() -> None:
    sources = " ".join(each.source for each in power.coefficients(PYNQ))
    assert all(f"({name})" in sources for name in power.REFERENCES)


def test_the_range_of_ultrascale_is_wider_and_assumed() -> None:
    boards = {name: power.coefficients(get_board(name)) for name in ("pynq-z2", "zcu104")}
    for ours, theirs in zip(*boards.values(), strict=True):
        assert theirs.name == ours.name and "assumed" in theirs.source
        if theirs.name != "processor system":
            assert theirs.high / theirs.low > ours.high / ours.low


def test_the_lines_of_sources_give_value_range_and_unit() -> None:
    drawn = power.estimate(CANNY, PYNQ, 100.0, 60.0)
    assert len(drawn.sources) == 6
    assert drawn.sources[5].startswith("DSP: 5.6 (2.8 to 23) pJ a cycle and slice; ")
    assert json.loads(json.dumps(drawn.to_dict()))["total_w"] == drawn.total_w


@pytest.mark.parametrize(("clock", "fps"), [(0.0, 10.0), (100.0, 0.0), (-1.0, 1.0)])
def test_no_clock_and_no_frames_are_our_mistake(clock: float, fps: float) -> None:
    with pytest.raises(InternalError, match="There is no power"):
        power.estimate(CANNY, PYNQ, clock, fps)


def test_static_power_goes_with_the_size_of_the_chip() -> None:
    small, large = (power.estimate(Resources(), replace(PYNQ, lut=factor * PYNQ.lut), 100.0, 1.0) for factor in (1, 3))
    assert large.static_w == pytest.approx(3 * small.static_w)
    for level, static in (("low_w", 0.113), ("total_w", 0.145), ("high_w", 0.29)):
        assert getattr(large, level) - getattr(small, level) == pytest.approx(2 * static)
