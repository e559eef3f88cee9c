"""From names to engines: what a machine lacks is said in a sentence."""

import sys
from pathlib import Path

import pytest

from fpga_facedet import zoo
from fpga_facedet.engines.choose import NAMES, open_engine
from fpga_facedet.errors import UserError

MODEL = "lpyolo-4w4a"


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_board_that_lacks_a_package_of_golden_hears_what_to_do(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    loaded = [name for name in sys.modules if name.startswith(("fpga_facedet.engines.", "fpga_facedet.network."))]
    for name in loaded:
        if name not in ("fpga_facedet.engines.choose", "fpga_facedet.engines.protocol"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    wanted = rf"golden needs the package {package}, which is not .* on a board give --engine board, .*\[golden\]"
    with pytest.raises(UserError, match=wanted):
        open_engine("golden", zoo.model_path(MODEL))


@pytest.mark.parametrize("name", ["rtl", "csim"])
def test_a_simulator_needs_an_accelerator(name: str, tmp_path: Path) -> None:
    assert name in NAMES
    with pytest.raises(UserError, match=f"The engine {name} simulates an accelerator; give its folder with --acc"):
        open_engine(name, zoo.model_path(MODEL))
    with pytest.raises(UserError, match=r"accelerator\.json"):
        open_engine(name, zoo.model_path(MODEL), tmp_path)


def test_an_unknown_engine() -> None:
    with pytest.raises(UserError, match="Unknown engine 'hls'; choose one of: golden, rtl, csim, board"):
        open_engine("hls", zoo.model_path(MODEL))
