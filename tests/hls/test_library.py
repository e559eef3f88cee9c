"""The HLS library: its headers, what it refuses, its path through synthesis, and what it adds in C simulation."""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fpga_facedet.simulation.csim import FLAGS, ap_types

from ..conftest import REPOSITORY
from .harness import OTHER_STREAMS

LIBRARY = REPOSITORY / "hls"
HEADERS = sorted((LIBRARY / "facedet").glob("*.hpp"))
SIMULATION_ONLY = ("simulation.hpp", "trace.hpp")
SYNTHESIZED = [header for header in HEADERS if header.name not in SIMULATION_ONLY]
LAYERS = [header for header in SYNTHESIZED if header.name not in ("integers.hpp", "layers.hpp", "stream.hpp")]
PROGRAMS = Path(__file__).with_name("library")
SYNTHESIS = "-DFACEDET_SYNTHESIS"
"""Chooses what Vitis HLS sees; its own macro would be refused by ap_types, which are for simulation."""
COMPILERS = ("g++", "clang++")


def compiled(compiler: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    command = [compiler, *FLAGS, "-isystem", str(ap_types())]
    return subprocess.run([*command, f"-I{LIBRARY}", *map(str, arguments)], capture_output=True, text=True)


# ----------------------------------------------------------------------------------------------------------------------
# Headers


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.name)
def test_each_header_compiles_alone_and_twice(header: Path, tmp_path: Path) -> None:
    source = tmp_path / "alone.cpp"
    source.write_text(f'#include "facedet/{header.name}"\n' * 2)
    result = compiled("g++", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unknown-pragmas", source)
    assert result.returncode == 0 and not result.stderr, result.stderr


@pytest.mark.parametrize("path", [(), (SYNTHESIS,)], ids=["simulated", "synthesized"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_layer_compiles_without_a_warning(compiler: str, path: Sequence[str]) -> None:
    warnings = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wno-unknown-pragmas", "-Wno-unused-label")
    result = compiled(compiler, "-fsyntax-only", *warnings, *path, PROGRAMS / "every_layer.cpp")
    assert result.returncode == 0 and not result.stderr, result.stderr


def test_all_layers_are_in_the_header_of_all() -> None:
    included = re.findall(r'#include "(\w+\.hpp)"', (LIBRARY / "facedet" / "layers.hpp").read_text())
    assert included == [header.name for header in SYNTHESIZED if header.name != "layers.hpp"]


@pytest.mark.parametrize("header", LAYERS, ids=lambda header: header.name)
def test_a_layer_s_header_states_order_interval_trips_and_resources(header: Path) -> None:
    comment = "".join(line for line in header.read_text().splitlines(keepends=True) if line.startswith("//"))
    for said in ("Stream order", "Initiation interval 1; trips: ", "Resources: "):
        assert said in comment, f"{header.name} does not say '{said}'"


# ----------------------------------------------------------------------------------------------------------------------
# Pragmas: no compiler here reads them, so a slip in one would go unseen.

PRAGMA = re.compile(r"^#pragma HLS (\w+)(.*)$", re.MULTILINE)
FORMS = {
    "PIPELINE": r" II=1",
    "UNROLL": r"",
    "INLINE": r"",
    "AGGREGATE": r" variable=\w+ compact=bit",
    "ARRAY_PARTITION": r" variable=\w+ complete dim=[0-4]",
    "ARRAY_RESHAPE": r" variable=\w+ complete dim=[1-4]",
    "BIND_STORAGE": r" variable=\w+ type=(rom_1p|ram_s2p) impl=(bram|lutram)",
    "BIND_OP": r" variable=\w+ op=mul impl=(dsp|fabric)",
    "DEPENDENCE": r" variable=\w+ type=intra dependent=false",
}


@pytest.mark.parametrize("header", SYNTHESIZED, ids=lambda header: header.name)
def test_pragmas_are_well_formed_and_name_what_exists(header: Path) -> None:
    text = header.read_text()
    code = PRAGMA.sub("", re.sub(r"//.*", "", text))
    for kind, options in PRAGMA.findall(text):
        assert kind in FORMS and re.fullmatch(FORMS[kind], options), f"#pragma HLS {kind}{options}"
        for variable in re.findall(r"variable=(\w+)", options):
            assert re.search(rf"[\w>)&]\)? *\(?&?{variable}\)?( =|;|\[|\)\[)", code), f"{variable} is not declared"
    assert text.count("#pragma HLS") == len(PRAGMA.findall(text))


@pytest.mark.parametrize("header", LAYERS, ids=lambda header: header.name)
def test_every_loop_is_pipelined_and_counted_or_unrolled(header: Path) -> None:
    loops = re.findall(r"^ *for \(int (\w+) = 0;.*\{\n((?:.*\n){2})", header.read_text(), re.MULTILINE)
    assert any(counter == "trip" for counter, _ in loops)
    for counter, body in loops:
        first, second = body.splitlines()
        if counter == "trip":
            assert (first, second.strip()) == ("#pragma HLS PIPELINE II=1", "FACEDET_TRIP")
        else:
            assert first == "#pragma HLS UNROLL"


# ----------------------------------------------------------------------------------------------------------------------
# What is refused


def promised() -> set[str]:
    """Return the message of every static_assert in the headers."""
    text = "".join(header.read_text() for header in SYNTHESIZED)
    return set(re.findall(r'static_assert\([^"]*"([^"]*)"\);', text))


def test_each_refusal_says_why() -> None:
    source = PROGRAMS / "refused.cpp"
    wanted = {
        number: line.partition(" // ")[2]
        for number, line in enumerate(source.read_text().splitlines(), 1)
        if line.startswith("    ") and " // " in line
    }
    result = compiled("g++", "-fsyntax-only", "-DREFUSED", source)
    found: dict[int, set[str]] = {}
    line = 0
    for text in result.stderr.splitlines():
        if place := re.search(r"refused\.cpp:(\d+):.*required from here", text):
            line = int(place[1])
        if message := re.search(r"static assertion failed: (.*)", text):
            found.setdefault(line, set()).add(message[1])
    silent = {number: message for number, message in wanted.items() if message not in found.get(number, set())}
    assert not silent, silent
    assert set(wanted.values()) == promised()


def test_what_is_allowed_is_not_refused() -> None:
    result = compiled("g++", "-fsyntax-only", PROGRAMS / "refused.cpp")
    assert result.returncode == 0, result.stderr


# ----------------------------------------------------------------------------------------------------------------------
# Synthesis


def test_what_is_synthesized_has_nothing_of_the_simulation() -> None:
    result = compiled("g++", "-E", "-fdirectives-only", SYNTHESIS, PROGRAMS / "every_layer.cpp")
    assert result.returncode == 0, result.stderr
    lines, ours = [], False
    for line in result.stdout.splitlines():
        if marker := re.match(r'# \d+ "(.*?)"', line):
            ours = Path(marker[1]).parent == LIBRARY / "facedet"
        elif ours:
            lines.append(line.partition("//")[0])
    code = "\n".join(line for line in lines if not line.startswith("#"))
    for layer in LAYERS:
        assert any(name in code for name in re.findall(r"^void (\w+)\(", layer.read_text(), re.MULTILINE)), layer
    for word in ("std::", "throw", "try", "virtual", "new", "delete", "trace", "long double", "static"):
        assert not re.search(rf"(?<!\w){word}(?!\w)", code.replace("static constexpr", "")), word


def test_names_and_counts_are_nothing_in_synthesis(tmp_path: Path) -> None:
    source = tmp_path / "marks.cpp"
    source.write_text(
        '#include "facedet/stream.hpp"\nFACEDET_LAYER("a") b; FACEDET_TRIP c; FACEDET_PORT_FILLED(d, e) f;\n'
    )
    assert compiled("g++", "-E", "-P", SYNTHESIS, source).stdout.splitlines()[-1].split() == ["b;", "c;", "f;"]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    folder = tmp_path_factory.mktemp("every_layer")

    def run(compiler: str, *path: str) -> str:
        program = folder / (compiler + "".join(map(str, path)).replace("/", "_"))
        if not program.exists():
            result = compiled(compiler, "-O0", *path, PROGRAMS / "every_layer.cpp", "-o", program)
            assert result.returncode == 0, result.stderr
        return subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout

    return run


def test_synthesized_and_simulated_forms_give_the_same(printed: Callable[..., str]) -> None:
    """Native constants for ap_int, and streams that watch for plain ones, change no value."""
    seen = printed("g++")
    assert len(seen.splitlines()) == 2 * 7 + 3
    assert printed("g++", SYNTHESIS) == seen


def test_no_stream_leans_on_what_another_release_s_hls_stream_lacks(printed: Callable[..., str]) -> None:
    assert printed("g++", f"-I{OTHER_STREAMS}") == printed("g++")
    result = compiled("g++", "-fsyntax-only", f"-I{OTHER_STREAMS}", PROGRAMS / "segments.cpp")
    assert result.returncode == 0, result.stderr


def test_a_word_has_its_lanes_in_order_and_gives_them_back(printed: Callable[..., str]) -> None:
    words, lanes = (line.split(": ")[1] for line in printed("g++").splitlines() if line.startswith("packed"))
    assert words.split() == ["7f81ff", "8", "f", "f", "f"]
    assert lanes.split() == ["-1", "-127", "127", "-8", *["-1"] * 1023]


def test_both_compilers_give_the_same(printed: Callable[..., str]) -> None:
    assert printed("clang++") == printed("g++")


def test_constants_keep_every_value_of_their_bits(printed: Callable[..., str]) -> None:
    values = [int(word) for word in printed("g++").splitlines()[-1].split()]
    assert values == [value for bits in range(48, 0, -1) for value in (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)]


# ----------------------------------------------------------------------------------------------------------------------
# Simulation


@dataclass(frozen=True)
class Segments:
    """A shared library with the C functions of simulation.hpp."""

    library: ctypes.CDLL

    def names(self) -> list[tuple[str, list[int]]]:
        sizes = (ctypes.c_uint64 * 4)()
        found = []
        for index in range(self.library.facedet_segments()):
            name = self.library.facedet_segment(index, sizes).decode()
            found.append((name, list(sizes)))
        return found

    def run(
        self, name: str, frames: Sequence[Sequence[int]], record: bool = False, message_bytes: int = 500
    ) -> tuple[list[list[int]], str]:
        """Return the frames that came out, byte by byte, and the message; both are of one call."""
        index, sizes = next((place, sizes) for place, (known, sizes) in enumerate(self.names()) if known == name)
        words = np.array(frames, np.uint8)
        out = np.zeros((len(frames), sizes[3]), np.uint8)
        message = ctypes.create_string_buffer(b"untouched", 500)
        status = self.library.facedet_run(
            index,
            ctypes.c_uint64(len(frames)),
            pointer(words),
            pointer(out),
            record,
            message,
            ctypes.c_uint64(message_bytes),
        )
        assert (status == 0) == (message.value == b"") or message_bytes < 2
        return out.tolist(), message.value.decode()

    def streams(self) -> list[tuple[str, int, list[list[int]]]]:
        beats, lanes, values = ctypes.c_uint64(), ctypes.c_int(), ctypes.POINTER(ctypes.c_int32)()
        found = []
        for index in range(self.library.facedet_streams()):
            name = self.library.facedet_stream(
                index, ctypes.byref(beats), ctypes.byref(lanes), ctypes.byref(values)
            ).decode()
            all_values = np.ctypeslib.as_array(values, (beats.value, lanes.value))
            found.append((name, lanes.value, all_values.tolist()))
        return found

    def trips(self) -> dict[str, int]:
        trips = ctypes.c_uint64()
        found = {}
        for index in range(self.library.facedet_layers()):
            name = self.library.facedet_layer(index, ctypes.byref(trips)).decode()
            found[name] = trips.value
        return found


def pointer(array: npt.NDArray[np.uint8]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def opened(path: Path) -> Segments:
    library = ctypes.CDLL(str(path))
    for function in (library.facedet_segment, library.facedet_stream, library.facedet_layer):
        function.restype = ctypes.c_char_p
    return Segments(library)


@pytest.fixture(scope="module", params=COMPILERS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("segments") / "segments.so"
    result = compiled(request.param, "-O0", "-shared", "-fPIC", PROGRAMS / "segments.cpp", "-o", path)
    assert result.returncode == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def segments(built: Path) -> Iterator[Segments]:
    yield opened(built)


FRAMES = [[0x01, 0x02, 0x03, 0x04], [0xF8, 0xF7, 0x0F, 0x00]]
VALUES = [[1, 2, 3, 4], [-8, 7, -1, 0]]
"""What segment `fine` reads in them: the low four bits, two's complement."""


def test_segments_and_their_sizes(segments: Segments) -> None:
    assert segments.names() == [
        ("fine", [4, 4, 4, 4]),
        ("hangs", [4, 4, 8, 8]),
        ("leaves", [4, 4, 3, 3]),
        ("wants_more", [4, 4, 5, 5]),
        ("wants_less", [4, 4, 3, 3]),
        ("writes_less", [4, 4, 5, 5]),
        ("wide", [4, 8, 4, 8]),
        ("hangs_in_turn", [4, 4, 4, 4]),
    ]


def test_frames_run_one_after_another(segments: Segments) -> None:
    words = [[0, 0x21, 0x43, 0], [0, 0x78, 0x0F, 0]]
    assert segments.run("fine", FRAMES) == (words, "")


def test_words_are_little_endian_and_their_padding_is_zero(segments: Segments) -> None:
    frame = [0x34, 0xF2, 0xFF, 0xFF, 0x00, 0x08, 0xFF, 0x07]
    assert segments.run("wide", [frame], record=True) == ([[0x34, 0x02, 0xFF, 0x0F, 0x00, 0x08, 0xFF, 0x07]], "")
    assert segments.streams() == [("in0", 1, [[0x234], [-1], [-2048], [2047]])]


def test_streams_are_recorded_over_all_frames(segments: Segments) -> None:
    segments.run("fine", FRAMES, record=True)
    padded = [[0, 0, *values, 0, 0] for values in VALUES]
    assert segments.streams() == [
        ("in0", 1, [[value] for values in VALUES for value in values]),
        ("FMPadding_0", 1, [[value] for values in padded for value in values]),
        ("StreamingDataWidthConverter_0", 2, np.reshape(padded, (8, 2)).tolist()),
    ]
    segments.run("fine", FRAMES[:1], record=True)
    assert segments.streams()[0] == ("in0", 1, [[value] for value in VALUES[0]])
    segments.run("fine", FRAMES)
    assert segments.streams() == []


def test_trips_are_counted_by_layer_over_all_frames(segments: Segments) -> None:
    segments.run("fine", FRAMES)
    trips = {"in0": 8, "FMPadding_0": 16, "StreamingDataWidthConverter_0": 16, "out0": 8}
    assert list(segments.trips().items()) == list(trips.items())
    segments.run("fine", FRAMES[:1])
    assert segments.trips() == {name: count // 2 for name, count in trips.items()}


def test_a_layer_that_reads_from_an_empty_stream_says_which_and_when(segments: Segments) -> None:
    _, message = segments.run("hangs", FRAMES)
    assert message == (
        "layer MVAU_0 reads beat 4 of stream in0 in frame 0, but only 4 beats were written: "
        "the hardware would wait for ever"
    )
    assert segments.trips() == {"in0": 4, "MVAU_0": 5}


def test_it_says_in_which_frame(segments: Segments) -> None:
    words, message = segments.run("hangs_in_turn", FRAMES)
    assert "reads beat 4 of stream in0 in frame 1, but only 4" in message
    assert words[0] == segments.run("fine", FRAMES)[0][0]


def test_a_frame_that_is_too_short_says_so(segments: Segments) -> None:
    _, message = segments.run("wants_more", FRAMES)
    assert message == (
        "layer in0 reads beat 4 of the input port in frame 0, but only 4 beats were written: "
        "the hardware would wait for ever"
    )


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("leaves", "stream in0 still holds 1 of 4 beats after frame 0"),
        ("wants_less", "1 words of in0_V were not read in frame 0"),
        ("writes_less", "4 words were written to out0_V, not 5 in frame 0"),
    ],
)
def test_beats_left_over_are_reported(
    segments: Segments, name: str, wanted: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert segments.run(name, FRAMES)[1] == wanted
    assert capfd.readouterr() == ("", "")


def test_a_failed_run_leaves_nothing_for_the_next(segments: Segments) -> None:
    for name in ("hangs", "leaves", "wants_more"):
        segments.run(name, FRAMES)
        assert segments.run("fine", FRAMES)[1] == ""


def test_a_message_is_cut_to_the_room_it_gets(segments: Segments) -> None:
    assert segments.run("leaves", FRAMES, message_bytes=10)[1] == "stream in"
    assert segments.run("leaves", FRAMES, message_bytes=1)[1] == ""
    assert segments.run("leaves", FRAMES, message_bytes=0)[1] == "untouched"


def test_indices_that_do_not_exist(segments: Segments) -> None:
    message = ctypes.create_string_buffer(500)
    assert segments.library.facedet_run(8, ctypes.c_uint64(0), None, None, 0, message, ctypes.c_uint64(500)) == 1
    assert message.value == b"no such segment"
    for function in (segments.library.facedet_segment, segments.library.facedet_stream, segments.library.facedet_layer):
        assert function(-1, None, None, None) is None
        assert function(100, None, None, None) is None


def test_two_libraries_in_one_process_keep_apart(built: Path, tmp_path: Path) -> None:
    first = opened(built)
    second = opened(Path(shutil.copy(built, tmp_path / "second.so")))
    first.run("fine", FRAMES, record=True)
    second.run("leaves", FRAMES[1:], record=True)
    assert len(first.streams()) == 3 and first.trips()["FMPadding_0"] == 16
    assert [name for name, *_ in second.streams()] == ["in0"] and second.trips() == {"in0": 4, "out0": 3}
