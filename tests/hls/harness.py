"""HLS layers alone: configurations in, one program of them all compiled and run, every difference named."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpga_facedet.simulation.csim import FLAGS, ap_types

from ..conftest import REPOSITORY
from .reference import Integers

LIBRARY = REPOSITORY / "hls"
RUNNER = Path(__file__).with_name("run_layers.hpp")
OTHER_STREAMS = Path(__file__).parent / "library" / "other_streams"
"""An hls_stream.h of the public interface alone, found before the one of ap_types: that of Vitis is another too."""
PATIENCE_SECONDS = 120
"""No program here runs for more than a second; one that does hangs."""


Seen = dict[str, Any]
"""What a program saw of a case: its frames' values, what was left, trips and schedule; or the error that stopped it."""


@dataclass(frozen=True)
class Integer:
    """An integer type of the library."""

    bits: int
    signed: bool

    @property
    def least(self) -> int:
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def most(self) -> int:
        return 2 ** (self.bits - self.signed) - 1

    def __str__(self) -> str:
        return f"{'Signed' if self.signed else 'Unsigned'}<{self.bits}>"


@dataclass(frozen=True)
class Lanes:
    """A stream between layers."""

    kind: Integer
    lanes: int

    def __str__(self) -> str:
        return f"Stream<{self.kind}, {self.lanes}>"


@dataclass(frozen=True)
class Words:
    """A stream at a port, whose words are compared byte by byte."""

    size: int

    def __str__(self) -> str:
        return f"hls::stream<ap_uint<{8 * self.size}>>"


@dataclass(frozen=True)
class Table:
    """Weights or thresholds of `bits` each."""

    bits: int
    values: Integers

    def define(self, name: str) -> str:
        """Return the definition in C++, as the compiler's back end writes it."""
        sizes = "".join(f"[{size}]" for size in self.values.shape)
        literals = str(self.values.tolist()).replace("[", "{").replace("]", "}")
        return f"const Constant<{self.bits}> {name}{sizes} = {literals};\n"


@dataclass(frozen=True, repr=False)
class Case:
    """One layer in one configuration: `call` in C++, frames int64 (frames, beats in, lanes in), what must come out.

    `schedule` int64 (beats in,): the beats that the layer has written when it reads each of its input.
    """

    call: str
    source: Lanes | Words
    sink: Lanes | Words
    frames: Integers
    expected: Integers
    trips: int
    schedule: Integers
    tables: tuple[Table, ...] = ()

    @property
    def cuts(self) -> Integers:
        """Return the beats of a frame whose place in the schedule is looked at: the first, the last, some between."""
        beats = len(self.schedule)
        between = np.random.default_rng(beats).integers(0, beats, 12)
        return np.unique([0, *between, beats - 1])

    def __repr__(self) -> str:
        return self.call

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """How hypothesis prints an example: without the arrays."""
        printer.text(self.call)

    def definition(self, number: int) -> str:
        """Return its tables and a function that runs it as case `number` of the program."""
        names = [f"table_{number}_{index}" for index in range(len(self.tables))]
        tables = "".join(table.define(name) for table, name in zip(self.tables, names, strict=True))
        frames, beats, _ = self.frames.shape
        cuts = ", ".join(map(str, self.cuts))
        run = f'run_alone<{self.source}, {self.sink}>("{self.call}", {frames}, {beats}, {{{cuts}}}'
        arguments = ", ".join(["in", "out", *names])
        return (
            f"{tables}void case_{number}() {{\n"
            f"    {run}, [](auto& in, auto& out) {{ {self.call}({arguments}); }});\n}}\n"
        )

    def differences(self, seen: Seen) -> list[str]:
        """Return how what the program saw differs from what must be, in words."""
        if "error" in seen:
            return [seen["error"]]
        found = [
            f"{what} {seen[what]}, not {wanted}"
            for what, wanted in (("left in the stream", 0), ("trips", len(self.frames) * self.trips))
            if seen[what] != wanted
        ]
        for number, (values, wanted) in enumerate(zip(seen["frames"], self.expected, strict=True)):
            if len(values) != wanted.size:
                found.append(f"frame {number} has {len(values)} values, not {wanted.size}")
            elif (wrong := np.argwhere(np.reshape(values, wanted.shape) != wanted)).size:
                beat, lane = wrong[0]
                value = np.reshape(values, wanted.shape)[beat, lane]
                found.append(
                    f"frame {number}, beat {beat}, lane {lane}: {value}, not {wanted[beat, lane]} ({len(wrong)} differ)"
                )
        found += [
            f"reads beat {beat} with {written} beats written, not {self.schedule[beat]}"
            for beat, written in zip(self.cuts, seen["schedule"], strict=True)
            if written != self.schedule[beat]
        ]
        return found


def source_of(cases: Sequence[Case]) -> str:
    """Return one program that runs every case."""
    calls = "".join(f"    case_{number}();\n" for number in range(len(cases)))
    definitions = "\n".join(case.definition(number) for number, case in enumerate(cases))
    return f'#include "{RUNNER.name}"\n\n{definitions}\nint main() {{\n{calls}}}\n'


@dataclass(frozen=True)
class Build:
    """A compiler, its flags beside those of the C simulation, and the environment of what it makes."""

    compiler: str = "g++"
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def compile(self, source: Path) -> Path:
        """Return the program of `source`, beside it."""
        program = source.with_suffix("")
        command = [
            self.compiler,
            *FLAGS,
            *self.flags,
            f"-I{LIBRARY}",
            f"-I{RUNNER.parent}",
            "-isystem",
            str(ap_types()),
        ]
        result = subprocess.run([*command, str(source), "-o", str(program)], capture_output=True, text=True)
        if result.returncode:
            pytest.fail(f"{self.compiler} refused {source}:\n{result.stderr[:4000]}")
        return program

    def run(self, program: Path, data: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        environment = {**os.environ, **self.environment}
        return subprocess.run([program], input=data, capture_output=True, timeout=PATIENCE_SECONDS, env=environment)


def run_cases(folder: Path, cases: Sequence[Case], build: Build) -> list[Seen]:
    """Return what is seen of each case, in two programs: there are two processors at least."""

    def half(first: int) -> list[Seen]:
        some = cases[first::2]
        source = folder / f"layers_{build.compiler}_{first}.cpp"
        source.write_text(source_of(some))
        return _outcome(
            build.run(build.compile(source), b"".join(case.frames.astype("<i8").tobytes() for case in some))
        )

    seen: list[Seen] = [{} for _ in cases]
    with ThreadPoolExecutor(2) as threads:
        seen[0::2], seen[1::2] = threads.map(half, range(2))
    return seen


def _outcome(result: "subprocess.CompletedProcess[bytes]") -> list[Seen]:
    if result.returncode:
        # The last case that it named is the one that stopped it; a sanitizer's report follows.
        report = result.stderr.decode(errors="replace")
        pytest.fail(f"stopped with {result.returncode} in {report[report.rfind('case ') :][:4000]}")
    # The streams of ap_types warn on standard output too.
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith(b"{")]


def check(cases: Sequence[Case], seen: Sequence[Seen]) -> None:
    """Fail with every case that differs, the shortest first: it is the easiest to follow."""
    wrong = [
        (case.trips, f"{case.call}: {'; '.join(differences)}")
        for case, one in zip(cases, seen, strict=True)
        if (differences := case.differences(one))
    ]
    if wrong:
        pytest.fail(f"{len(wrong)} of {len(cases)} configurations:\n" + "\n".join(text for _, text in sorted(wrong)))
