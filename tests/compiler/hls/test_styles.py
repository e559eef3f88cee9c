"""Which layer gets which style, and what is refused about the choice."""

from pathlib import Path

import pytest
from qonnx.core.modelwrapper import ModelWrapper

from fpga_facedet.compiler.hls import styles
from fpga_facedet.compiler.hls.styles import Styles
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import HLS, RTL
from tests.compiler.conftest import Built


@pytest.fixture(scope="session")
def graph(built: Built) -> ModelWrapper:
    return built.graph("fifos")


def of_file(folder: Path, text: str) -> Styles:
    path = folder / "styles.toml"
    path.write_text(text)
    return Styles.parse(path)


@pytest.mark.parametrize("style", [RTL, HLS])
def test_one_word_is_for_all(style: str, graph: ModelWrapper) -> None:
    chosen = Styles.parse(style)
    assert chosen == getattr(Styles, style)() and chosen.wants_hls == (style == HLS)
    found = chosen.of_graph(graph)
    assert list(found) == [node.name for node in graph.graph.node] and set(found.values()) == {style}
    (only,) = styles.segments(graph, found)
    assert (only.name, only.style) == (f"facedet_{style}_0", style) and only.nodes == list(graph.graph.node)
    assert styles.label(found) == chosen.describe() == style


def test_names_patterns_and_nodes_of_a_file(graph: ModelWrapper, tmp_path: Path) -> None:
    text = 'default = "hls"\n[layers]\n"MVAU_*" = "rtl"\n"MVAU_?" = "rtl"\nMVAU_1 = "hls"\nFMPadding_rtl_0 = "rtl"\n'
    found = of_file(tmp_path, text).of_graph(graph)
    assert {found[f"MVAU_rtl_{index}"] for index in (0, 2, 3, 4)} == {RTL}
    assert found["MVAU_rtl_1"] == found["Thresholding_rtl_0"] == HLS and found["FMPadding_rtl_0"] == RTL


def test_without_a_default_the_rest_is_rtl(graph: ModelWrapper, tmp_path: Path) -> None:
    chosen = of_file(tmp_path, '[layers]\nMVAU_0 = "hls"\n')
    found = chosen.of_graph(graph)
    assert [name for name, style in found.items() if style == HLS] == ["MVAU_rtl_0"]
    assert chosen.wants_hls and not of_file(tmp_path, "").wants_hls
    assert styles.label(found) == "mixed"
    assert chosen.describe() == {"default": "rtl", "layers": {"MVAU_0": "hls"}}


def test_what_stands_between_is_hls_where_both_sides_are(graph: ModelWrapper) -> None:
    """Every cut of the pipeline in two, and both ways round."""
    names = [node.name for node in graph.graph.node]
    layers = [node.name for node in graph.graph.node if not styles.stands_between(node)]
    assert any(name.startswith("StreamingFIFO") for name in names)
    for cut in range(1, len(layers)):
        head, tail = tuple((name, HLS) for name in layers[:cut]), tuple((name, HLS) for name in layers[cut:])
        last, first = names.index(layers[cut - 1]), names.index(layers[cut])
        found = Styles(RTL, head).of_graph(graph)
        assert [name for name in names if found[name] == HLS] == names[: last + 1]
        found = Styles(RTL, tail).of_graph(graph)
        assert [name for name in names if found[name] == HLS] == names[first:]


def test_segments_are_numbered_along_the_pipeline(graph: ModelWrapper) -> None:
    found = Styles(RTL, (("MVAU_[13]", HLS),)).of_graph(graph)
    parts = styles.segments(graph, found)
    assert [part.name for part in parts] == [
        "facedet_rtl_0", "facedet_hls_1", "facedet_rtl_2", "facedet_hls_3", "facedet_rtl_4",
    ]  # fmt: skip
    assert [node for part in parts for node in part.nodes] == list(graph.graph.node)
    assert [node.name for node in parts[3].nodes] == ["MVAU_rtl_3"]


@pytest.mark.parametrize("pattern", ["MVAU_7", "mvau_0", "StreamingFIFO_*", "hls"])
def test_a_pattern_without_a_layer_is_named_with_all_layers(pattern: str, graph: ModelWrapper) -> None:
    with pytest.raises(
        UserError, match=r"No layer is called .*FMPadding_0, ConvolutionInputGenerator_0.*MVAU_4"
    ) as said:
        Styles(RTL, ((pattern, HLS),)).of_graph(graph)
    assert f"'{pattern}'" in str(said.value) and "FIFO_0" not in str(said.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("default = ", "is not valid TOML|are not valid TOML"),
        ("default = 'verilog'", r"styles\.toml: default is 'verilog'; use one of: rtl, hls\."),
        ("default = true", r"styles\.toml: default is True; use one of"),
        ("[layers]\nMVAU_0 = ['hls']", r"styles\.toml: layers\.MVAU_0 is \['hls'\]; use one of"),
        ("layers = 'hls'", r"styles\.toml: layers is 'hls'; make it a table"),
        ("MVAU_0 = 'hls'", r"styles\.toml has the key 'MVAU_0'; it takes 'default' and a table \[layers\]\."),
    ],
)
def test_a_wrong_file_is_explained_in_a_sentence(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says) as said:
        of_file(tmp_path, text)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("content", [b"\xff", b"x=" + b"[" * 100_000])
def test_a_file_that_is_no_text_is_no_toml(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(content)
    with pytest.raises(UserError, match="not valid TOML"):
        Styles.parse(tmp_path / "binary")


@pytest.mark.parametrize("choice", ["RTL", "verilog", "/no/such/file.toml", "."])
def test_neither_style_nor_file(choice: str) -> None:
    with pytest.raises(UserError, match="is neither rtl nor hls nor a file to read") as said:
        Styles.parse(choice)
    assert f"'{choice}'" in str(said.value)
