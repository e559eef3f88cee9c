"""Every HLS layer alone, over drawn types, PE, SIMD, channels and sizes: values, order, trips and schedule exactly."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given

from .drawn import LAYERS, batches, mixed, sweep
from .harness import Build, Case, check, run_cases

QUICK = Build(flags=("-O0",))
"""Optimizing takes longer than it saves here; the comparison of the compilers has the flags of the C simulation."""


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_alone_equals_its_reference(layer: str, tmp_path: Path) -> None:
    @sweep
    @given(batches(LAYERS[layer], 24))
    def holds(cases: list[Case]) -> None:
        check(cases, run_cases(tmp_path, cases, QUICK))

    holds()


@pytest.mark.skipif(shutil.which("clang++") is None, reason="needs clang++")
def test_both_compilers_make_the_same_of_a_layer(tmp_path: Path) -> None:
    @sweep
    @given(mixed(LAYERS.values(), 2))
    def holds(cases: list[Case]) -> None:
        seen = [run_cases(tmp_path, cases, Build(compiler)) for compiler in ("g++", "clang++")]
        check(cases, seen[0])
        assert seen[0] == seen[1]

    holds()
