"""The folder `hls/` of an accelerator: top, parameters, library, simulation, test bench and scripts for Vitis.

All of it follows from the folded graph, byte for byte; `files.txt` names every file. The folder stands alone: it can be
copied to where Vitis HLS is, simulated there by any C++17 compiler, and changed.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fpga_facedet.compiler.finn_session import place_without_room
from fpga_facedet.compiler.hls import library, vitis_tcl
from fpga_facedet.compiler.hls.calls import HlsLayer, Stream, Table
from fpga_facedet.compiler.hls.plan import plan
from fpga_facedet.compiler.hls.styles import Segment
from fpga_facedet.compiler.layout import FILE_LIST
from fpga_facedet.compiler.rtl import stream_of
from fpga_facedet.errors import InternalError
from fpga_facedet.files import explain_os_error, saving_folder
from fpga_facedet.manifest import HLS
from fpga_facedet.network.metadata import PREFIX

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

    from fpga_facedet.boards import Board

Words = npt.NDArray[np.uint8]
"""Words of a stream, uint8 (frames, beats, bytes), as `fpga_facedet.beats` packs them."""

_TOP, _SIMULATION = "top.cpp", "csim.cpp"

_WIDTH = 110
"""Characters of a generated line, at most."""

_TESTBENCH = """\
// Runs frames through one segment and compares the words that come out with the right ones. Written by facedet build.
//
// Vitis HLS takes it as test bench. Without Vitis, with the ap_types headers of hls4ml in the folder AP_TYPES:
//   g++ -std=c++17 -O2 -Wno-unknown-pragmas -isystem AP_TYPES testbench.cpp top.cpp && ./a.out
// Arguments: the folder of the frames ({data}) and the segment's name ({first}). Exit code 0 where all words are equal.
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

// ap_int.h takes up to 1024 bits unless told (UG1399); a word may have 4096.
#ifndef AP_INT_MAX_W
#define AP_INT_MAX_W 4096
#endif
#include <ap_int.h>
#include <hls_stream.h>

{declarations}
template <int BITS>
using Port = hls::stream<ap_uint<BITS>>;
using Bytes = std::vector<unsigned char>;

static Bytes read_file(const std::string &path) {{
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path + "; give the folder of the frames");
  return Bytes(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}}

// Writes `beats` words, the lowest byte of each first in `bytes`.
template <int BITS>
static void write_frame(Port<BITS> &port, const unsigned char *bytes, unsigned long beats) {{
  for (unsigned long beat = 0; beat < beats; ++beat) {{
    ap_uint<BITS> word = 0;
    for (int bit = 0; bit < BITS; bit += 8) word.range(bit + 7, bit) = *bytes++;
    port.write(word);
  }}
}}

// Reads `beats` words; returns whether they are `bytes`, and tells the first difference.
template <int BITS>
static bool frame_equals(Port<BITS> &port, const unsigned char *bytes, unsigned long beats, unsigned long frame) {{
  bool equal = true;
  for (unsigned long beat = 0; beat < beats; ++beat) {{
    if (port.empty()) {{
      std::printf("frame %lu: only %lu of %lu words came out\\n", frame, beat, beats);
      return false;
    }}
    const ap_uint<BITS> word = port.read();
    for (int bit = 0; bit < BITS; bit += 8) {{
      const unsigned found = word.range(bit + 7, bit).to_uint(), expected = *bytes++;
      if (equal && found != expected)
        std::printf("frame %lu, beat %lu, byte %d: %u instead of %u\\n", frame, beat, bit / 8, found, expected);
      equal = equal && found == expected;
    }}
  }}
  return equal;
}}

// Runs all frames of the segment `name` through `run`, which is its function; returns whether all words are equal.
template <int BITS_IN, int BITS_OUT, class RUN>
static bool all_equal(const std::string &folder, const std::string &name, unsigned long beats_in,
                      unsigned long beats_out, RUN run) {{
  const Bytes input = read_file(folder + "/" + name + "_in.bin"), output = read_file(folder + "/" + name + "_out.bin");
  const unsigned long bytes_in = beats_in * (BITS_IN / 8), bytes_out = beats_out * (BITS_OUT / 8);
  const unsigned long frames = input.size() / bytes_in;
  if (frames == 0 || input.size() != frames * bytes_in || output.size() != frames * bytes_out)
    throw std::runtime_error("the files in " + folder + " hold no whole frames of " + name);
  bool equal = true;
  for (unsigned long frame = 0; frame < frames; ++frame) {{
    Port<BITS_IN> in0_V("in0_V");
    Port<BITS_OUT> out0_V("out0_V");
    write_frame(in0_V, &input[frame * bytes_in], beats_in);
    run(in0_V, out0_V);
    equal = frame_equals(out0_V, &output[frame * bytes_out], beats_out, frame) && equal;
    if (!in0_V.empty() || !out0_V.empty()) {{
      std::printf("frame %lu: words were left in a port\\n", frame);
      equal = false;
    }}
  }}
  std::printf("%s: %lu frames, %s\\n", name.c_str(), frames, equal ? "all words as expected" : "with differences");
  return equal;
}}

static bool run_segment(const std::string &folder, const std::string &name) {{
{choices}  throw std::runtime_error("there is no HLS segment " + name + "; top.cpp has them");
}}

int main(int count, char **arguments) {{
  try {{
    return run_segment(count > 1 ? arguments[1] : "{data}", count > 2 ? arguments[2] : "{first}") ? 0 : 1;
  }} catch (const std::exception &error) {{
    std::printf("%s\\n", error.what());
    return 2;
  }}
}}
"""


@dataclass(frozen=True, eq=False)
class _Planned:
    """A segment with the calls of its layers."""

    name: str
    layers: list[HlsLayer]

    @property
    def source(self) -> Stream:
        return self.layers[0].source

    @property
    def result(self) -> Stream:
        return self.layers[-1].result

    @property
    def signature(self) -> str:
        ports = (("in0_V", self.source.word_bits), ("out0_V", self.result.word_bits))
        return f"void {self.name}({', '.join(f'hls::stream<ap_uint<{bits}>> &{port}' for port, bits in ports)})"


def generate(
    graph: "ModelWrapper",
    segments: Sequence[Segment],
    board: "Board",
    out: Path,
    vectors: Mapping[str, tuple[Words, Words]],
) -> None:
    """Write the sources of a folded graph's HLS segments into the folder `out`, whole or not at all.

    What stood in `out` before is replaced.

    Args:
        graph: the folded graph, all of it; `plan.check_supported` let it pass.
        segments: the pipeline's segments; those of RTL are left out.
        board: gives the chip and the clock of the scripts for Vitis.
        out: the folder `hls/` of an accelerator.
        vectors: for each HLS segment's name the words of some frames into it and out of it, for the test bench.

    Raises UserError where the disk is full or `out` cannot be written; InternalError for vectors of another size.
    """
    planned = [_Planned(segment.name, plan(graph, segment.nodes)) for segment in segments if segment.style == HLS]
    files = dict(_sources(planned) | _scripts(graph, segments, board) | _vectors(planned, vectors))
    try:
        with saving_folder(out) as folder:
            for name, content in {**files, FILE_LIST: "".join(f"{name}\n" for name in sorted(files)).encode()}.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
    except OSError as error:
        raise explain_os_error(place_without_room(out), error) from error


def _sources(planned: list[_Planned]) -> dict[str, bytes]:
    """Return the C++: top, parameters, the library, simulation and test bench."""
    texts = {_TOP: _top(planned), _SIMULATION: _simulation(planned), vitis_tcl.TEST_BENCH: _testbench(planned)}
    texts |= {_header_name(layer): _header(layer) for layer in _with_tables(planned)}
    copied = {f"{library.FOLDER}/{path.name}": path.read_bytes() for path in library.headers()}
    return {name: text.encode() for name, text in texts.items()} | copied


def _scripts(graph: "ModelWrapper", segments: Sequence[Segment], board: "Board") -> dict[str, bytes]:
    """Return the scripts for Vitis HLS, in both of its syntaxes, and for a Vivado IP."""
    spec = next(item.value for item in graph.model.metadata_props if item.key == f"{PREFIX}spec")
    texts = {
        vitis_tcl.SCRIPT: vitis_tcl.hls_script(segments, board.part, board.clock_mhz),
        vitis_tcl.IP_SCRIPT: vitis_tcl.ip_script(json.loads(spec)["name"], board.part, stream_of(graph.graph.node)),
    }
    for segment in segments:
        if segment.style == HLS:
            texts[vitis_tcl.hls_config_name(segment)] = vitis_tcl.hls_config(segment, board.part, board.clock_mhz)
    return {name: text.encode() for name, text in texts.items()}


def _vectors(planned: list[_Planned], vectors: Mapping[str, tuple[Words, Words]]) -> dict[str, bytes]:
    """Return the words of the test bench's frames, frame after frame."""
    found = {}
    for segment in planned:
        for end, stream, words in zip(
            ("in", "out"), (segment.source, segment.result), vectors[segment.name], strict=True
        ):
            if words.shape[1:] != (stream.beats, stream.word_bits // 8):
                raise InternalError(f"The test vectors of {segment.name}_{end} have the shape {words.shape}.")
            found[f"{vitis_tcl.TEST_DATA}/{segment.name}_{end}.bin"] = words.tobytes()
    return found


def _with_tables(planned: Iterable[_Planned]) -> list[HlsLayer]:
    return [layer for segment in planned for layer in segment.layers if layer.tables]


def _header_name(layer: HlsLayer) -> str:
    return f"{layer.name}.hpp"


def _header(layer: HlsLayer) -> str:
    """Return the source of a layer's parameter arrays."""
    arrays = "\n".join(_array(table) for table in layer.tables)
    return f"""\
// {layer.name}: {layer.about}.
// {layer.order} Written by facedet build.
#pragma once

#include "{library.FOLDER}/integers.hpp"

{arrays}"""


def _array(table: Table) -> str:
    sizes = "".join(f"[{size}]" for size in table.values.shape)
    lines = "\n    ".join(_filled(_tokens(table.values)))
    return f"const facedet::Constant<{table.bits}> {table.name}{sizes} =\n    {lines};\n"


def _tokens(values: npt.NDArray[np.int64]) -> Iterator[str]:
    """Yield the values as C++ with the braces of all dimensions, each with what follows it."""
    blocks = [math.prod(values.shape[axis:]) for axis in range(values.ndim)]
    for index, value in enumerate(values.ravel().tolist(), start=1):
        opened = "{" * sum((index - 1) % block == 0 for block in blocks)
        closed = "}" * sum(index % block == 0 for block in blocks)
        yield f"{opened}{value}{closed}{'' if index == values.size else ','}"


def _filled(tokens: Iterable[str]) -> Iterator[str]:
    """Yield lines of up to _WIDTH characters that hold the tokens, a space between them."""
    line: list[str] = []
    length = 0
    for token in tokens:
        if line and length + len(token) > _WIDTH:
            yield " ".join(line)
            line, length = [], 0
        line.append(token)
        length += len(token) + 1
    yield " ".join(line)


def _top(planned: list[_Planned]) -> str:
    """Return the source of the segments' functions."""
    includes = "".join(f'#include "{_header_name(layer)}"\n' for layer in _with_tables(planned))
    functions = "\n".join(part for segment in planned for part in (*map(_layer, segment.layers), _function(segment)))
    return f"""\
// The network's HLS layers: a function for each, so that it is a module of its name in Vitis's reports; and one for
// each segment of the pipeline, in which they all work at once, each on the stream of the one before it. Written by
// facedet build.
#include "{library.FOLDER}/layers.hpp"
{includes}
using namespace {library.FOLDER};

{functions}"""


def _layer(layer: HlsLayer) -> str:
    """Return the function of one layer."""
    template = ", ".join(map(str, layer.template))
    arguments = ["in", "out", *(table.name for table in layer.tables)]
    call = f"{layer.function}<{template}>({', '.join(arguments)});"
    if len(call) > _WIDTH:
        listed = "\n      ".join(_filled([*(f"{name}," for name in arguments[:-1]), f"{arguments[-1]});"]))
        call = f"{layer.function}<{template}>(\n      {listed}"
    return f"""\
// {layer.name}: {layer.about}; {layer.cycles:,} cycles.
static void {layer.name}({layer.source.cpp} &in, {layer.result.cpp} &out) {{
#pragma HLS INLINE off
  FACEDET_LAYER("{layer.name}")
  {call}
}}
"""


def _function(segment: _Planned) -> str:
    source, result = segment.source, segment.result
    calls = "\n".join(_call(layer) for layer in segment.layers)
    return f"""\
// A frame: {source.beats:,} words of {source.word_bits} bits in, {result.beats:,} words of {result.word_bits} bits out.
{segment.signature} {{
#pragma HLS INTERFACE axis port=in0_V
#pragma HLS INTERFACE axis port=out0_V
#pragma HLS INTERFACE ap_ctrl_none port=return
#pragma HLS DATAFLOW disable_start_propagation

{_declaration(source)}
  FACEDET_LAYER("{source.name}")
  read_port<{source.values.cpp}, {source.lanes}, {source.beats}>(in0_V, {source.variable});

{calls}
  FACEDET_LAYER("out0")
  write_port<{result.values.cpp}, {result.lanes}, {result.beats}>({result.variable}, out0_V);
}}
"""


def _declaration(stream: Stream) -> str:
    return f"""\
  {stream.cpp} {stream.variable}("{stream.name}");
#pragma HLS STREAM variable={stream.variable} depth={stream.depth}
#pragma HLS BIND_STORAGE variable={stream.variable} type=fifo impl={stream.memory}"""


def _call(layer: HlsLayer) -> str:
    return f"""\
{_declaration(layer.result)}
  {layer.name}({layer.source.variable}, {layer.result.variable});
"""


def _simulation(planned: list[_Planned]) -> str:
    """Return the source of the shared library that simulates the segments."""
    table = "".join(
        f"    segment<{segment.source.word_bits}, {segment.result.word_bits}>"
        f'("{segment.name}", {segment.name}, {segment.source.beats}, {segment.result.beats}),\n'
        for segment in planned
    )
    return f"""\
// The C simulation as a shared library: the functions of simulation.hpp for these segments. Written by facedet build.
#include "{library.FOLDER}/simulation.hpp"
#include "{_TOP}"

namespace {library.FOLDER} {{
const std::vector<Segment> segments = {{
{table}}};
}}
"""


def _testbench(planned: list[_Planned]) -> str:
    """Return the source of the test bench; it calls each function by its name, which co-simulation looks for."""
    choices = [
        f"""\
  if (name == "{segment.name}")
    return all_equal<{segment.source.word_bits}, {segment.result.word_bits}>(
        folder, name, {segment.source.beats}, {segment.result.beats},
        [](auto &in0_V, auto &out0_V) {{ {segment.name}(in0_V, out0_V); }});
"""
        for segment in planned
    ]
    return _TESTBENCH.format(
        data=vitis_tcl.TEST_DATA,
        first=planned[0].name,
        declarations="".join(f"{segment.signature};\n" for segment in planned),
        choices="".join(choices),
    )
