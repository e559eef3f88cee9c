"""The generated folder, compiled by plain g++: its test bench compares all words with FINN's execution of the graph."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from fpga_facedet.boards import Board
from fpga_facedet.compiler.equivalence import noise, scene
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.hls import emit, library
from fpga_facedet.compiler.hls.emit import Words
from fpga_facedet.compiler.hls.styles import Segment, Styles, segments
from fpga_facedet.compiler.hls.vectors import record
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import HLS
from fpga_facedet.simulation.csim import FLAGS, ap_types
from tests.compiler.conftest import Built
from tests.hls.harness import OTHER_STREAMS

SOME = (("Thresholding_*", HLS), ("StreamingMaxPool_0", HLS), ("FMPadding_1", HLS), ("MVAU_3", HLS), ("Conv*_2", HLS))
"""Layers chosen so that HLS segments begin and end at every kind of layer, of one layer or several."""

CHOICES = {
    "hls": Styles.hls(),
    "mixed": Styles("rtl", SOME),
    "the rest": Styles(HLS, tuple((pattern, "rtl") for pattern, _ in SOME)),
}

Emitted = tuple[Path, list[Segment], dict[str, tuple[Words, Words]]]


def recorded(graph: ModelWrapper, cut: Sequence[Segment]) -> dict[str, tuple[Words, Words]]:
    _, height, width, channels = graph.get_tensor_shape(graph.graph.input[0].name)
    with finn_session():
        return record(graph, cut, [make(height, width, channels) for make in (noise, scene)])


@pytest.fixture(scope="module", params=CHOICES)
def emitted(
    request: pytest.FixtureRequest, built: Built, board: Board, tmp_path_factory: pytest.TempPathFactory
) -> Emitted:
    graph, folder = built.graph("fifos"), tmp_path_factory.mktemp("emitted") / "hls"
    cut = segments(graph, CHOICES[request.param].of_graph(graph))
    vectors = recorded(graph, cut)
    emit.generate(graph, cut, board, folder, vectors)
    return folder, [segment for segment in cut if segment.style == HLS], vectors


def bench(program: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("emitted", ["mixed", "the rest"], indirect=True)
def test_every_segment_computes_what_the_graph_does(emitted: Emitted, tmp_path: Path) -> None:
    folder, cut, _ = emitted
    program = tmp_path / "testbench"
    # Compiling takes longer than running. The headers of ap_types leave values uninitialized until they are set.
    flags: list[str | Path] = [*FLAGS, "-O0", "-Wall", "-Werror", "-Wno-maybe-uninitialized", "-isystem", ap_types()]
    sources = [folder / "testbench.cpp", folder / "top.cpp"]
    subprocess.run(["g++", *flags, *sources, "-o", program], check=True)
    # Vitis HLS compiles both with an hls_stream.h of its own.
    subprocess.run(["g++", *flags, "-fsyntax-only", "-I", OTHER_STREAMS, *sources], check=True)
    for segment in cut:
        found = bench(program, str(folder / "vectors"), segment.name)
        assert found == (0, f"{segment.name}: 2 frames, all words as expected\n")
    first = cut[0].name
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    right = (folder / "vectors" / f"{first}_out.bin").read_bytes()
    (wrong / f"{first}_in.bin").write_bytes((folder / "vectors" / f"{first}_in.bin").read_bytes())
    (wrong / f"{first}_out.bin").write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    code, text = bench(program, str(wrong))
    assert code == 1
    assert f"frame 1, beat {emitted[2][first][1].shape[1] - 1}, byte " in text and "with differences" in text
    (wrong / f"{first}_out.bin").write_bytes(right[:-1])
    assert bench(program, str(wrong)) == (2, f"the files in {wrong} hold no whole frames of {first}\n")
    assert bench(program, str(tmp_path / "none"))[0] == 2
    assert bench(program, str(wrong), "facedet_hls_99") == (
        2,
        "there is no HLS segment facedet_hls_99; top.cpp has them\n",
    )


def test_the_folder_holds_what_its_list_names(emitted: Emitted) -> None:
    folder, cut, vectors = emitted
    names = (folder / "files.txt").read_text().splitlines()
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(names) and sorted([*names, "files.txt"]) == found
    assert {f"facedet/{path.name}" for path in library.headers()} <= set(names)
    for segment in cut:
        words_in, words_out = vectors[segment.name]
        assert (folder / "vectors" / f"{segment.name}_in.bin").read_bytes() == words_in.tobytes()
        assert (folder / "vectors" / f"{segment.name}_out.bin").read_bytes() == words_out.tobytes()
        assert f"hls_config_{segment.name}.cfg" in names
        assert f"void {segment.name}(hls::stream<ap_uint<" in (folder / "top.cpp").read_text()
    inside = {node.name.replace("_rtl", "") for segment in cut for node in segment.nodes}
    assert {name.removesuffix(".hpp") for name in names if name.startswith(("MVAU", "Thresholding"))} == {
        name for name in inside if name.startswith(("MVAU", "Thresholding"))
    }


def test_sources_are_readable_and_name_no_place(emitted: Emitted) -> None:
    folder, _, _ = emitted
    for path in folder.rglob("*"):
        if path.suffix in (".cpp", ".hpp"):
            text = path.read_text()
            assert max(map(len, text.splitlines())) <= 130, path
            assert (
                str(folder) not in text and str(Path.home()) not in text and str(Path(__file__).parents[3]) not in text
            )


@pytest.mark.parametrize("emitted", ["hls"], indirect=True)
def test_emitting_again_gives_the_same_bytes(emitted: Emitted, built: Built, board: Board, tmp_path: Path) -> None:
    folder, _, vectors = emitted
    graph = built.graph("fifos")
    (tmp_path / "hls").mkdir()
    (tmp_path / "hls" / "stale.hpp").write_text("int stale;")
    emit.generate(graph, segments(graph, Styles.hls().of_graph(graph)), board, tmp_path / "hls", vectors)
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert sorted(names) == sorted(
        path.relative_to(tmp_path / "hls") for path in (tmp_path / "hls").rglob("*") if path.is_file()
    )
    for name in names:
        assert (tmp_path / "hls" / name).read_bytes() == (folder / name).read_bytes(), name
    assert [path.name for path in tmp_path.iterdir()] == ["hls"]


@pytest.mark.parametrize("emitted", ["hls"], indirect=True)
def test_the_top_says_what_each_stream_and_layer_is(emitted: Emitted) -> None:
    top = (emitted[0] / "top.cpp").read_text()
    assert "void facedet_hls_0(hls::stream<ap_uint<24>> &in0_V, hls::stream<ap_uint<8>> &out0_V) {\n" in top
    assert "// A frame: 2,048 words of 24 bits in, " in top
    assert "// FMPadding_0: 32 x 64 x 3 -> 34 x 66 x 3, SIMD 3; 2,244 cycles.\n" in top
    assert '  Stream<Unsigned<8>, 3> fm_padding_0("FMPadding_0");\n' in top
    assert "#pragma HLS STREAM variable=fm_padding_0 depth=2\n" in top
    assert (
        "static void FMPadding_0(Stream<Unsigned<8>, 3> &in, Stream<Unsigned<8>, 3> &out) {\n#pragma HLS INLINE off\n"
        '  FACEDET_LAYER("FMPadding_0")\n  pad<Unsigned<8>, 3, 3, 32, 64, 1, 1, 1, 1>(in, out);\n}\n'
    ) in top
    assert "\n  FMPadding_0(in0, fm_padding_0);\n" in top
    assert top.count("#pragma HLS STREAM") == top.count("#pragma HLS BIND_STORAGE") == top.count(">(") - 1
    assert top.count("\nstatic void ") == top.count("#pragma HLS INLINE off") == top.count(">(") - 2


@pytest.mark.parametrize("emitted", ["hls"], indirect=True)
def test_writes_whole_or_not_at_all(emitted: Emitted, built: Built, board: Board, tmp_path: Path) -> None:
    graph = built.graph("fifos")
    cut = segments(graph, Styles.hls().of_graph(graph))
    (tmp_path / "hls").mkdir()
    (tmp_path / "hls" / "earlier").write_text("")
    words_in, words_out = emitted[2]["facedet_hls_0"]
    with pytest.raises(InternalError, match="test vectors of facedet_hls_0_out have the shape"):
        emit.generate(graph, cut, board, tmp_path / "hls", {"facedet_hls_0": (words_in, words_out[:, 1:])})
    assert [path.name for path in tmp_path.rglob("*")] == ["hls", "earlier"]
    with pytest.raises(UserError, match="Cannot save"):
        emit.generate(graph, cut, board, tmp_path / "hls" / "earlier" / "hls", emitted[2])


def test_a_table_keeps_its_dimensions_and_short_lines() -> None:
    values = np.arange(-3, 21).reshape(3, 2, 4)
    assert " ".join(emit._filled(emit._tokens(values[:1]))) == "{{{-3, -2, -1, 0}, {1, 2, 3, 4}}}"
    assert " ".join(emit._tokens(values)) == str(values.tolist()).replace("[", "{").replace("]", "}")
    lines = list(emit._filled(emit._tokens(np.arange(10_000).reshape(5, 1, 2000))))
    assert max(map(len, lines)) <= 110 and len(lines) < 700


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "__file__", str(tmp_path / "a" / "b" / "c" / "library.py"))
    with pytest.raises(UserError, match="lacks the HLS library"):
        library.headers()
