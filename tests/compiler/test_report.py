from html.parser import HTMLParser

import numpy as np

from fpga_facedet.boards import Board
from fpga_facedet.compiler import report
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


def test_names_are_escaped(built: Built, board: Board) -> None:
    data = built.manifest.to_dict()
    data["model"]["name"] = "<script>"
    assert "<script>" not in report.page(Manifest.from_dict(data), board)


def test_the_json_report_is_the_manifest(built: Built) -> None:
    assert Manifest.load(built.folder / "report.json") == built.manifest
