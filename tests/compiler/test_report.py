from html.parser import HTMLParser

import numpy as np
from qonnx.custom_op.registry import getCustomOp

from fpga_facedet.boards import Board
from fpga_facedet.compiler import report
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.hls.cycles import interval, trips
from fpga_facedet.manifest import Manifest
from tests.compiler.conftest import Built


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
    assert set(found) == {"cycles_per_frame", "fps", "lut", "bram18", "dsp"}
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


class Checker(HTMLParser):
    """Collects open tags and what a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_self_contained(built: Built) -> None:
    checker = Checker()
    page = (built.folder / "report.html").read_text()
    checker.feed(page)
    assert not checker.open and not checker.loads
    for layer in built.manifest.layers:
        assert layer.name in page
    assert "estimated" in page and "TUL PYNQ-Z2" in page


def test_the_page_says_the_style_and_that_hls_waits_for_a_report(built: Built, built_hls: Built) -> None:
    rtl, hls = ((one.folder / "report.html").read_text() for one in (built, built_hls))
    assert "all layers in SystemVerilog" in rtl and "Vitis" not in rtl
    assert "all layers in C++ for Vitis HLS" in hls and "Estimated" in hls
    assert "a report of Vitis HLS takes its place once there is one (facedet hls report)" in hls
    assert [part.split("<")[0] for part in rtl.split("<h2>")] == [part.split("<")[0] for part in hls.split("<h2>")]


def test_each_style_reports_its_own_cycles_and_resources(built: Built, built_hls: Built) -> None:
    nodes = {node.name: node for node in built.graph("fifos").graph.node}
    with finn_session():
        loops = {name: (trips(node), interval(node)) for name, node in nodes.items()}
    before, refill = 0, 0
    for layer in built_hls.manifest.layers:
        if layer.op == "StreamingDataWidthConverter":
            assert layer.cycles == loops[layer.name][0]
            continue
        own = loops[layer.name][1]
        waited = max(own, before) + refill if layer.op == "MVAU" else own
        assert (layer.cycles, layer.style) == (waited, "hls"), layer.name
        window = layer.op == "ConvolutionInputGenerator"
        before, refill = own, getCustomOp(nodes[layer.name]).get_buffer_depth() if window else 0
    for layer in built.manifest.layers:
        known = getCustomOp(nodes[layer.name]).get_nodeattr("cycles_estimate")
        assert layer.cycles == (known or loops[layer.name][0]) and layer.style == "rtl"
    assert built.manifest.figure("lut") != built_hls.manifest.figure("lut")
    for one in (built, built_hls):
        assert one.manifest.figure("dsp").value == sum(layer.resources["dsp"] for layer in one.manifest.layers)


def test_names_are_escaped(built: Built, board: Board) -> None:
    data = built.manifest.to_dict()
    data["model"]["name"] = "<script>"
    assert "<script>" not in report.page(Manifest.from_dict(data), board)


def test_the_json_report_is_the_manifest(built: Built) -> None:
    assert Manifest.load(built.folder / "report.json") == built.manifest
