"""The HLS layers with address and undefined-behaviour sanitizers: nothing read or written beside an array."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given

from .drawn import LAYERS, mixed, sweep
from .harness import Build, Case, check, run_cases

# To extend a sign, ap_types shift negative numbers left. C++17 leaves that undefined, C++20 and both compilers define
# it. That check alone goes on after a report, so that the run time library can leave out reports from that one file;
# halt_on_error stops at any other.
FLAGS = (
    "-O0",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fsanitize-recover=shift-base",
    "-D_GLIBCXX_ASSERTIONS",
)
LEFT_OUT = "shift-base:ap_private.h"

OUTSIDE = {
    "an index outside an array": "const int table[2][3] = {}; const volatile int index = 3; return table[0][index];",
    "a stack buffer's end": "char ring[8]; volatile int index = 8; char *slot = ring; slot[index] = 1; return 0;",
    "a shift of a negative number": "volatile int value = -1; return value << 3;",
    "a sum beyond its type": "volatile int value = 2147483647; return value + 1;",
}


@pytest.fixture(params=["g++", "clang++"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    """A compiler with its sanitizers' libraries, which Debian packs apart for clang."""
    compiler = request.param
    source = tmp_path / "nothing.cpp"
    source.write_text("int main() {}\n")
    command = [compiler, *FLAGS, str(source), "-o", str(tmp_path / "nothing")]
    if shutil.which(compiler) is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"needs {compiler} with its sanitizers (Debian: g++, clang and libclang-rt-14-dev)")
    suppressions = tmp_path / "left_out.txt"
    suppressions.write_text(f"{LEFT_OUT}\n")
    return Build(compiler, FLAGS, {"UBSAN_OPTIONS": f"halt_on_error=1:suppressions={suppressions}"})


def test_no_layer_does_what_the_language_leaves_undefined(build: Build, tmp_path: Path) -> None:
    @sweep
    @given(mixed(LAYERS.values(), 2))
    def holds(cases: list[Case]) -> None:
        check(cases, run_cases(tmp_path, cases, build))

    holds()


@pytest.mark.parametrize("what", OUTSIDE)
def test_the_sanitizers_see_what_is_ours(build: Build, tmp_path: Path, what: str) -> None:
    source = tmp_path / "ours.cpp"
    source.write_text(f"int main() {{ {OUTSIDE[what]} }}\n")
    result = build.run(build.compile(source))
    assert result.returncode
    assert b"ours.cpp" in result.stderr
