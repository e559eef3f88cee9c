import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fpga_facedet.compiler import adder_graph
from fpga_facedet.compiler.adder_graph import Adder, AdderGraph, Output, solve
from fpga_facedet.errors import InternalError

PIXELS = (0, 255)
SIGNED = (-8, 7)

SPECIAL = {
    "one by one": [[5]],
    "one zero": [[0]],
    "a power of two": [[64]],
    "minus one": [[-1]],
    "all zero": [[0, 0], [0, 0]],
    "a zero column and a zero row": [[3, 0, -7], [0, 0, 0], [11, 0, 5]],
    "powers of two": [[1, -2, 4], [-8, 16, -32], [64, -128, 1]],
    "negative only": [[-3, -5], [-7, -1], [-127, -11]],
    "repeated columns": [[3, 3, -3, 6], [-5, -5, 5, -10], [7, 7, -7, 14]],
    "a difference both ways": [[4, -4], [-1, 1]],
    "one column": [[23], [-45], [99], [1]],
    "one row": [[23, -45, 99, 1, 0, -1]],
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "facedet"


def extremes(weights: np.ndarray, limits: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield for each column the inputs that make its least and its largest sum."""
    for column in weights.T:
        yield np.where(column > 0, limits[0], limits[1]), np.where(column > 0, limits[1], limits[0])


def check(weights: np.ndarray, limits: tuple[int, int], seed: int = 0) -> None:
    graph = solve(weights, limits)
    rng = np.random.default_rng(seed)
    x = rng.integers(limits[0], limits[1] + 1, (50, len(weights)))
    np.testing.assert_array_equal(graph.evaluate(x), x @ weights)
    for output, column, inputs in zip(graph.outputs, weights.T, extremes(weights, limits), strict=True):
        found = (0, 0) if output.source is None else graph.ranges[output.source]
        assert [end << output.shift for end in found] == [int(x @ column) for x in inputs]


@pytest.mark.parametrize("limits", [PIXELS, SIGNED], ids=["unsigned", "signed"])
@pytest.mark.parametrize("case", SPECIAL)
def test_special_matrices(case: str, limits: tuple[int, int]) -> None:
    check(np.array(SPECIAL[case]), limits)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    weights=arrays.arrays(
        np.int64,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=7),
        elements=st.integers(-128, 127) | st.sampled_from([0, 0, 1, -1, 64, -128]),
    ),
    limits=st.sampled_from([PIXELS, SIGNED, (0, 1), (-128, 127), (0, 3)]),
)
def test_equals_numpy(weights: np.ndarray, limits: tuple[int, int]) -> None:
    check(weights, limits)


def test_few_adders_for_a_first_layer() -> None:
    weights = np.random.default_rng(4).integers(-7, 8, (27, 8))
    graph = solve(weights, PIXELS)
    digits = sum(_digits(int(weight)) for weight in weights.ravel())
    # What several columns share is added once.
    assert len(graph.adders) < 0.75 * (digits - 8)


def _digits(number: int) -> int:
    """Count the non-zero signed digits of a number, the fewest there are."""
    return bin(abs(number) ^ (3 * abs(number))).count("1")


def test_adders_that_no_output_needs_go() -> None:
    used, unused = Adder(0, 1, 0, 2, True), Adder(0, 1, 0, 0, False)
    graph = AdderGraph(2, 0, 255, (unused, used, Adder(2, 3, 0, 0, True), Adder(3, 1, 0, 0, False)), (Output(5),))
    kept = adder_graph._without_unused(graph)
    assert kept.adders == (used, Adder(2, 1, 0, 0, False)) and kept.outputs == (Output(3),)
    np.testing.assert_array_equal(kept.evaluate([[3, 5], [9, 1]]), graph.evaluate([[3, 5], [9, 1]]))


def test_widths_are_those_of_the_ranges() -> None:
    adders = (Adder(0, 1, 0, 2, True), Adder(None, 0, 0, 0, True), Adder(0, 1, 0, 0, False))
    graph = AdderGraph(2, 0, 255, adders, (Output(2), Output(3), Output(4)))
    assert graph.ranges == ((0, 255), (0, 255), (-1020, 255), (-255, 0), (0, 510))
    assert [graph.width(value) for value in range(5)] == [8, 8, 11, 9, 9]
    assert [graph.signed(value) for value in range(5)] == [False, False, True, True, False]
    assert AdderGraph(1, -128, 127, (), (Output(0),)).width(0) == 8
    assert AdderGraph(1, -129, 127, (), (Output(0),)).width(0) == 9


def test_solved_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.array([[3, -5], [7, 9]])
    graph = solve(weights, PIXELS)
    (kept,) = cache.glob("adders-*.json")
    monkeypatch.setattr(adder_graph, "_candidates", lambda *_: pytest.fail("solved again"))
    assert solve(weights.astype(np.float32), PIXELS) == graph
    for other, limits in ((weights, SIGNED), (weights.reshape(1, 4), PIXELS), (weights + 1, PIXELS)):
        with pytest.raises(pytest.fail.Exception, match="solved again"):
            solve(other, limits)
    assert list(cache.glob("adders-*.json")) == [kept]


@pytest.mark.parametrize("damage", ["cut", "other", "number", "list"])
def test_a_damaged_cache_is_made_again(cache: Path, damage: str) -> None:
    weights = np.array([[3, -5], [7, 9]])
    graph = solve(weights, PIXELS)
    (kept,) = cache.glob("adders-*.json")
    content = json.loads(kept.read_text())
    content["outputs"] = content["outputs"][::-1]
    kept.write_text({"cut": kept.read_text()[:40], "other": json.dumps(content), "number": "7", "list": "[]"}[damage])
    assert solve(weights, PIXELS) == graph
    assert solve(weights, PIXELS) == graph and json.loads(kept.read_text())["outputs"] == content["outputs"][::-1]


def test_without_a_place_for_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    check(np.array([[3, -5], [7, 9]]), PIXELS)
    monkeypatch.setattr(adder_graph, "cache_folder", lambda: None)
    check(np.array([[3, -5], [7, 9]]), PIXELS)
    assert os.listdir(tmp_path) == ["file"]


def test_a_wrong_graph_is_ours_to_answer_for(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = AdderGraph(2, 0, 255, (Adder(0, 1, 0, 1, False),), (Output(2),))
    monkeypatch.setattr(adder_graph, "_candidates", lambda *_: iter([wrong]))
    assert solve([[1], [2]], PIXELS) == wrong
    with pytest.raises(InternalError, match="does not compute the matrix"):
        solve([[1], [3]], PIXELS)


@pytest.mark.parametrize(
    ("weights", "limits"), [([[0.5]], PIXELS), ([1, 2], PIXELS), (np.zeros((0, 3)), PIXELS), ([[1]], (3, 3))]
)
def test_what_has_no_graph(weights: list[list[float]], limits: tuple[int, int]) -> None:
    with pytest.raises(InternalError, match="no adder graph for weights"):
        solve(weights, limits)


def test_a_cost_of_bits_that_meet() -> None:
    def luts(*adders: Adder) -> float:
        graph = AdderGraph(2, 0, 255, adders, tuple(Output(2 + index) for index in range(len(adders))))
        return graph.cost().lut - AdderGraph(2, 0, 255, (), (Output(0),)).cost().lut

    assert luts(Adder(0, 1, 0, 0, False)) == 8
    assert luts(Adder(0, 1, 0, 2, False)) == 6
    assert luts(Adder(0, 1, 0, 8, False)) == 0
    # 4 x0 - x1: two bits of x1 alone, six of both, two of x0 alone; of a sum only those of both would need a LUT.
    assert luts(Adder(0, 1, 2, 0, True)) == 2 + 6 + 2
    assert luts(Adder(0, 1, 0, 2, True)) == 6 + 2
    assert luts(Adder(None, 1, 0, 0, True)) == 8
    # The sum of 9 bits less 4 x1: two bits pass, seven meet another, one is of x1 alone, and the sign is the carry's.
    assert luts(Adder(0, 1, 0, 0, False), Adder(2, 1, 0, 2, True)) == 8 + 8


def test_registers_of_the_pipeline() -> None:
    graph = AdderGraph(2, 0, 255, (Adder(0, 1, 0, 0, False), Adder(2, 1, 0, 0, False)), (Output(3), Output(0)))
    # One adder a stage: x0 waits for two cycles, x1 for one, the sums of 9 and 10 bits for one each, and two bits say
    # which stages hold a vector.
    assert graph.cost(levels=1).ff == 2 * 8 + 8 + 9 + 10 + 2
    assert graph.cost(levels=2).ff == 8 + 10 + 1
