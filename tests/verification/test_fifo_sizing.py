"""FIFO sizing on a small accelerator: what is too deep shrinks, what is too shallow is caught, and all or nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fpga_facedet.boards import get_board
from fpga_facedet.compiler import fifos, flow
from fpga_facedet.compiler.report_findings import FIFOS_FILE
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import FifoInfo, Manifest
from fpga_facedet.verification import fifo_sizing
from fpga_facedet.verification.fifo_sizing import size_fifos
from tests.folders import contents

from . import small

BURDEN = 700
"""Places of every FIFO before it is sized."""


@pytest.fixture
def accelerator(tmp_path: Path) -> Path:
    """A copy of the small accelerator with FIFOs that are much too deep."""
    folder = tmp_path / "accelerator"
    shutil.copytree(small.accelerator(), folder)
    depths = {fifo.before: BURDEN for fifo in Manifest.load(folder).fifos}
    assert {fifo.depth for fifo in flow.resize_fifos(folder, depths).fifos} == {BURDEN}
    return folder


def test_too_deep_shrinks_and_too_shallow_is_caught_and_deepened(
    accelerator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = fifo_sizing._places
    board = get_board("pynq-z2")
    wanted = {}

    def shallow(each: fifo_sizing._Occupancy, chip: object) -> int:
        # Half of what is needed, the first time; twice that is the second try.
        wanted[each.fifo.before] = right(each, board)
        return wanted[each.fifo.before] // 4

    monkeypatch.setattr(fifo_sizing, "_places", shallow)
    shares: list[float] = []
    sizes = size_fifos(accelerator, progress=lambda what, share: shares.append(share))
    assert shares == sorted(shares) and shares[-1] == 1.0
    # A frame took longer; the proof saw it, and nobody got those depths.
    assert len(sizes.restored) in (1, 2) and "cycles, not" in sizes.restored[0]
    assert sizes.full <= sizes.sized <= sizes.full * 1.001 < sizes.stalled
    built = {fifo.before: fifo for fifo in Manifest.load(accelerator).fifos}
    for fifo in sizes.fifos:
        assert fifo.depth == (built[fifo.before].depth if fifo.before in built else 0) < BURDEN
        assert fifo.name == (built[fifo.before].name if fifo.before in built else None)
    assert {fifo.before for fifo in sizes.fifos if fifo.most > 3} <= set(built)
    told = json.loads((accelerator / FIFOS_FILE).read_text())
    assert told["cycles_per_frame"] == {"full": sizes.full, "sized": sizes.sized, "stalled": sizes.stalled}
    assert [each["most"] for each in told["fifos"]] == [fifo.most for fifo in sizes.fifos]
    manifest = Manifest.load(accelerator)
    assert told["rtl_sha256"] == manifest.files["rtl_sha256"]
    figure = manifest.figure("cycles_per_frame")
    assert figure is not None
    assert (figure.value, figure.evidence) == (sizes.sized, "simulated")
    # What was proven is what a verification finds built.
    assert len(list((accelerator / "simulator").glob("*/simulator"))) == 1


@pytest.mark.parametrize("step", ["_watch", "_prove"])
def test_interrupted_sizing_leaves_all_as_it_was(accelerator: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fifo_sizing, "_watch", lambda *_: fifo_sizing._Seen(1, []))
    monkeypatch.setattr(fifo_sizing, step, interrupted)
    before = contents(accelerator)
    with pytest.raises(KeyboardInterrupt):
        size_fifos(accelerator)
    assert contents(accelerator) == before


def test_interrupted_last_build_leaves_all_as_it_was(accelerator: Path) -> None:
    before = contents(accelerator)

    def interrupt(what: str, share: float) -> None:
        if "sources" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        flow.resize_fifos(accelerator, {fifo.before: 5 for fifo in Manifest.load(accelerator).fifos}, interrupt)
    assert contents(accelerator) == before


def test_only_rtl_layers_have_cycles() -> None:
    with pytest.raises(UserError, match="has HLS layers.*size one of RTL"):
        size_fifos(small.accelerator("hls"))


def occupancies(*held: int) -> list[fifo_sizing._Occupancy]:
    places = [FifoInfo(f"StreamingFIFO_rtl_{index}", f"LAYER_{index}", 9, 8) for index in range(len(held))]
    records = tuple(
        f"facedet_core.{fifo.name}.impl.recorder most {count + 1} held {count} places {fifo.depth}"
        for fifo, count in zip(places, held, strict=True)
    )
    manifest = replace(Manifest.load(small.accelerator()), fifos=tuple(places))
    # The simulator says it in an order of its own.
    return fifo_sizing._occupancies(manifest, records[::-1])


def test_a_deadlock_is_placed_by_the_beats_that_nobody_takes() -> None:
    stopped = fifo_sizing._where(occupancies(9, 4, 0))
    assert (
        stopped == "4 beats wait in the FIFO in front of LAYER_1 (9 places), and the FIFO in front of LAYER_2 is empty."
    )
    assert fifo_sizing._where(occupancies(9, 9, 9)) == "9 beats wait in the FIFO in front of LAYER_2 (9 places)."
    assert "layers in front of LAYER_0 put nothing out" in fifo_sizing._where(occupancies(0, 0, 0))


@pytest.mark.parametrize(("most", "places"), [(3, 0), (4, 33), (31, 33), (32, 65), (100, 129)])
def test_a_fifo_never_fills_and_takes_whole_memories(most: int, places: int) -> None:
    held = fifo_sizing._Occupancy(FifoInfo("StreamingFIFO_rtl_0", "MVAU_rtl_0", 2000, 16), most, 0, 2000)
    assert fifo_sizing._places(held, get_board("pynq-z2")) == places
    assert fifos.cheapest_memory(2000, 16, get_board("pynq-z2")) == "block"
