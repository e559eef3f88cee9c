"""benchmarks/setfolding.py at a reduced size: both sides of its table are there, and ours is no worse."""

from pathlib import Path

import pytest

from benchmarks import setfolding
from fpga_facedet.boards import Board
from fpga_facedet.compiler.cost import Resources
from fpga_facedet.manifest import Manifest

FPS = 2_000.0


@pytest.fixture(scope="module")
def compared(model: Path, board: Board, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[setfolding.Side]]:
    folder = tmp_path_factory.mktemp("setfolding")
    return folder, setfolding.build(model, board, FPS, folder, margin=1.0)


def test_ours_takes_half_the_dsps_and_no_more_of_the_rest(compared: tuple[Path, list[setfolding.Side]]) -> None:
    _, (finn, ours, narrow) = compared
    assert finn.estimated.dsp > 0 and ours.estimated.dsp <= finn.estimated.dsp / 2
    assert ours.estimated.lut <= finn.estimated.lut and ours.estimated.bram18 <= finn.estimated.bram18
    assert ours.says == ours.timed <= 1e8 / FPS and finn.says <= 1e8 / FPS
    assert narrow.name != finn.name and narrow.estimated.lut > 0
    (estimated, synthesized) = setfolding.verdicts(finn, ours)
    assert estimated.endswith("LUTs and block RAMs no more") and synthesized == "synthesized: not measured"


def test_what_is_compared_are_two_foldings_of_one_network(compared: tuple[Path, list[setfolding.Side]]) -> None:
    folder, _ = compared
    finn, ours = (Manifest.load(folder / name) for name in ("finn", "ours"))
    assert finn.model == ours.model and finn.stream != ours.stream
    layers = {each.name for each in finn.layers if each.op == "MVAU"}
    assert layers == {each.name for each in ours.layers if each.op == "MVAU"} and layers
    assert [each.folding for each in finn.layers] != [each.folding for each in ours.layers]


def test_finns_folding_is_not_explained_by_our_search(compared: tuple[Path, list[setfolding.Side]]) -> None:
    folder, _ = compared
    assert (folder / "ours" / "search.json").is_file() and not (folder / "finn" / "search.json").exists()


def test_a_side_that_is_worse_is_called_worse() -> None:
    finn, ours = (
        setfolding.Side(name, 1, 1, Resources(lut=lut, bram18=4, dsp=10)) for name, lut in (("finn", 90), ("ours", 91))
    )
    assert setfolding.verdicts(finn, ours)[0] == "estimated: 10 DSPs for FINN's 10 (100%), but more lut"
