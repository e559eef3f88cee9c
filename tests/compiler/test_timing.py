"""The cycles of a layer in its place; that they are those of a simulation is seen in tests/compiler/test_explore.py."""

from dataclasses import replace

import pytest

from fpga_facedet.compiler.timing import PaddingTiming, Timing, UnitTiming, WindowTiming

WINDOW = WindowTiming(0, 8, height=10, width=12, kernel=(3, 3), pixel_cycles=1, window_cycles=9, reads_ahead=True)
"""8 x 10 windows; the first one is whole after 27 pixels."""


def test_a_window_reads_ahead_but_for_the_first_rows() -> None:
    assert WINDOW.behind(None).cycles == 27 + 80 * 9 - 9
    assert WINDOW.behind(PaddingTiming(0, 4, pixel_cycles=2)).cycles == 2 * 27 + 80 * 9 - 9
    # Rows that come slower than they are worked on set the pace.
    slow = WINDOW.behind(PaddingTiming(0, 1, pixel_cycles=8))
    assert slow.cycles == 8 * 27 + 8 * 8 * 12 - 9


def test_a_whole_window_comes_with_each_pixel_but_for_the_ends_of_rows() -> None:
    whole = replace(WINDOW, window_cycles=1, reads_ahead=False, holds_window=True, pipeline=2)
    assert whole.behind(None).cycles == 10 * 12 + 2
    # At stride 2 the last row and column fill no window, and are taken in all the same.
    strided = replace(whole, stride=(2, 2))
    assert strided.behind(None).cycles == 10 * 12 + 2


def test_a_unit_of_one_pass_goes_at_the_pace_of_its_windows() -> None:
    source = WINDOW.behind(None)
    unit = UnitTiming(720, 4, vectors=80, words=9, passes=1, lanes_in=8)
    assert unit.behind(source).cycles == source.cycles
    assert unit.behind(source).idle == source.cycles - 80 * 9


def test_a_unit_waits_for_words_that_it_has_no_place_for() -> None:
    source = WINDOW.behind(None)
    # 9 words: 7 come early into a memory of 16; the other two in the last pass.
    assert UnitTiming(0, 4, vectors=80, words=9, passes=4, lanes_in=8, early=7).vector_cycles(9) == 36
    # Words that come in six cycles each: the last of 8 late ones is there 45 cycles after the last pass began, where
    # 36 take that pass and the first one over the next vector.
    late = UnitTiming(0, 4, vectors=80, words=18, passes=8, lanes_in=8, early=10)
    assert late.vector_cycles(18 * 6) == 18 * 8 + 3 + 7 * 6 - 2 * 18
    assert late.vector_cycles(18 * 4) == replace(late, early=18).vector_cycles(18 * 6) == 18 * 8
    # As simulated: 8 words of 9 lanes out of beats of 2.
    assert UnitTiming(0, 1, vectors=1, words=8, passes=8, lanes_in=9, early=0).vector_cycles(36) == 86
    # The first rows of a frame come while the unit is at the last vector of the frame before.
    placed = UnitTiming(0, 4, vectors=80, words=9, passes=4, lanes_in=8, early=7).behind(source)
    assert (placed.cycles, placed.idle) == (80 * 36, 0)


def test_behind_a_fifo_words_come_at_the_rate_of_their_width() -> None:
    unit = UnitTiming(0, 4, vectors=10, words=8, passes=2, lanes_in=4, early=0)
    assert unit.behind(Timing(0, 4)).cycles == 10 * 16
    assert unit.behind(Timing(0, 1)).cycles == 10 * 8 * 4
    assert unit.behind(None).cycles == 10 * 16


def test_layers_behind_wait_for_what_cannot_come() -> None:
    unit = UnitTiming(0, 4, vectors=80, words=9, passes=1, lanes_in=8).behind(WINDOW.behind(None))
    levels = Timing(900, 1).behind(unit)
    assert levels.cycles == 900 + unit.idle
    assert Timing(500, 1).behind(levels).cycles == 500 + unit.idle
    padding = PaddingTiming(600, 4, pixel_cycles=2)
    assert padding.behind(levels) == padding


@pytest.mark.parametrize("source", [None, WINDOW])
def test_what_is_carried_on_leaves_the_own_cycles_behind(source: WindowTiming | None) -> None:
    placed = UnitTiming(0, 4, vectors=80, words=9, passes=2, lanes_in=8).behind(source)
    assert placed.carried == replace(placed, cycles=0)
