import json
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.boards import Board
from fpga_facedet.compiler import power, report
from fpga_facedet.compiler.choices import cycles_by_layer
from fpga_facedet.compiler.cost import RESOURCE_NAMES, Resources
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.matrix_units import multiplier_of
from fpga_facedet.manifest import Manifest
from tests.compiler.conftest import Built
from tests.html_page import Page


def test_the_manifest_describes_every_layer(built: Built) -> None:
    nodes = [node.name for node in built.graph("fifos").graph.node]
    described = {layer.name for layer in built.manifest.layers} | {fifo.name for fifo in built.manifest.fifos}
    assert described == set(nodes)
    for layer in built.manifest.layers:
        assert layer.cycles > 0 and layer.folding and layer.resources["lut"] > 0, layer.name
        assert layer.evidence == "estimated"
    assert {fifo.before for fifo in built.manifest.fifos} <= set(nodes)


def test_figures_carry_their_evidence(built: Built) -> None:
    found = {figure.name: figure for figure in built.manifest.figures}
    assert set(found) == {"cycles_per_frame", "fps", "power", "energy", *RESOURCE_NAMES}
    assert {figure.evidence for figure in found.values()} == {"estimated"}
    assert found["fps"].value == round(1e8 / found["cycles_per_frame"].value, 1)


def test_the_streams_carry_the_whole_picture_and_the_whole_grid(built: Built) -> None:
    stream = built.manifest.stream
    assert (stream.beats_in, stream.lanes_in, stream.bits_in) == (32 * 64, 3, 8)
    assert stream.beats_out * stream.lanes_out == np.prod([4, 8, 12])
    assert stream.bits_out == 8


def test_versions_and_files_are_named(built: Built) -> None:
    assert {"fpga-facedet", "finn-plus", "qonnx"} <= set(built.manifest.versions)
    assert built.manifest.files["sources"] == "rtl/files.txt"
    made_by_da4ml = any("adder_graph" in layer.folding for layer in built.manifest.layers)
    assert ("da4ml" in built.manifest.versions) == made_by_da4ml


def test_the_page_shows_every_layer_and_is_well_formed(built: Built) -> None:
    read = Page((built.folder / "report.html").read_text())
    assert not read.loads and "TUL PYNQ-Z2" in read.text
    (found,) = read.tables["Layers"]
    names = found.column("layer")
    for layer in built.manifest.layers:
        converter = layer.op == "StreamingDataWidthConverter"
        assert converter or sum(name.endswith(layer.name) for name in names) == 1, layer.name


def test_power_and_energy_are_of_the_estimated_resources(built: Built, board: Board) -> None:
    found = {figure.name: figure.value for figure in built.manifest.figures}
    used = Resources(**{name: found[name] for name in RESOURCE_NAMES})
    drawn = power.estimate(used, board, board.clock_mhz, found["fps"])
    assert found["power"] == pytest.approx(drawn.total_w, abs=0.006)
    assert found["energy"] == pytest.approx(drawn.energy_mj, abs=0.006)


def test_the_manifest_says_what_a_matrix_unit_multiplies_with(built: Built) -> None:
    nodes = {node.name: node for node in built.graph("fifos").graph.node}
    units = [layer for layer in built.manifest.layers if layer.op == "MVAU"]
    assert units
    for layer in units:
        multiplier = multiplier_of(nodes[layer.name])
        assert bool(layer.folding.get("adder_graph")) == (multiplier == "adders")
        assert bool(layer.folding.get("lut_multipliers")) == (multiplier == "lut")


def test_a_later_command_finds_what_lies_in_the_folder(built: Built, board: Board, tmp_path: Path) -> None:
    first = built.manifest.fifos[0]
    fifo = {"name": first.name, "before": first.before, "width": first.width, "estimated": 9, "most": 7, "depth": 8}
    found = {"evidence": "simulated", "frames": 2, "fifos": [fifo | {"memory": "SRL"}], "cycles_per_frame": {}}
    (tmp_path / "fifos.json").write_text(json.dumps(found))
    report.write(built.manifest, board, tmp_path)
    read = Page((tmp_path / "report.html").read_text())
    assert read.tables["FIFOs"][0].column("most held")[0] == "7"
    assert Manifest.load(tmp_path / "report.json") == built.manifest


def test_the_page_says_the_style_and_that_hls_waits_for_a_report(built: Built, built_hls: Built) -> None:
    rtl, hls = ((one.folder / "report.html").read_text() for one in (built, built_hls))
    assert "all layers in SystemVerilog" in rtl and "Vitis" not in rtl
    assert "all layers in C++ for Vitis HLS" in hls and "Estimated" in hls
    assert "a report of Vitis HLS takes its place once there is one (facedet hls report)" in hls
    assert [part.split("<")[0] for part in rtl.split("<h2>")] == [part.split("<")[0] for part in hls.split("<h2>")]


def test_each_style_reports_its_own_cycles_and_resources(built: Built, built_hls: Built) -> None:
    for one, style in ((built, "rtl"), (built_hls, "hls")):
        with finn_session():
            expected = cycles_by_layer((node, style) for node in one.graph("fifos").graph.node)
        described = {layer.name: layer.cycles for layer in one.manifest.layers}
        assert described == {name: expected[name] for name in described}
        assert {layer.style for layer in one.manifest.layers} == {style}
        assert one.manifest.figure("dsp").value == sum(layer.resources["dsp"] for layer in one.manifest.layers)
    assert built.manifest.figure("lut") != built_hls.manifest.figure("lut")


def test_the_json_report_is_the_manifest(built: Built) -> None:
    assert Manifest.load(built.folder / "report.json") == built.manifest
