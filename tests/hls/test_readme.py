"""What hls/README.md shows is so: its code stands in the headers, its numbers are computed, its commands run."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given

from fpga_facedet.compiler.hls.plan import MOST_COMPARED

from ..conftest import REPOSITORY
from .drawn import LAYERS, mixed, sweep
from .harness import Case
from .reference import completing, output_size

README = (REPOSITORY / "hls" / "README.md").read_text()
PROSE = " ".join(README.split())
HEADERS = {path.name: path.read_text() for path in (REPOSITORY / "hls" / "facedet").glob("*.hpp")}
WALK = (
    ("padding.hpp", "FMPadding_0"),
    ("sliding_window.hpp", "ConvolutionInputGenerator_0"),
    ("matrix_vector.hpp", "MVAU_0"),
    ("thresholds.hpp", "Thresholding_0"),
    ("max_pool.hpp", "StreamingMaxPool_0"),
)
"""The headers that the walk goes through, and the layer of the network that each is shown with."""
PORTS = {"read_port", "write_port"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def excerpts() -> dict[str, str]:
    """Return the quoted lines by the header that the block's first line names."""
    named = [block.split("\n", 1) for block in blocks("cpp") if re.match(r"// \w+\.hpp\n", block)]
    return {first.removeprefix("// "): lines for first, lines in named}


def table() -> dict[str, tuple[str, str]]:
    """Return each function's template parameters and its formula of trips."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| `([^`]+)` \|", README, re.MULTILINE)
    return {function: (parameters, trips) for function, parameters, trips in rows}


def parameters_of(function: str) -> list[str]:
    """Return the names of a function's template parameters as its header declares them, without packs."""
    (declared,) = {
        found.group(1)
        for text in HEADERS.values()
        for found in re.finditer(rf"^template <([^;{{}}]*?)>\s*void {function}\(", text, re.MULTILINE)
    }
    return [part.split()[-1] for part in declared.split(",") if "..." not in part]


@pytest.fixture(scope="module")
def picture() -> ModuleType:
    """The script that draws the picture."""
    specification = importlib.util.spec_from_file_location(
        "frame_through_hls", REPOSITORY / "docs/frame_through_hls.py"
    )
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("header", [header for header, _ in WALK])
def test_the_code_that_it_quotes_stands_in_the_header(header: str) -> None:
    assert excerpts()[header] in HEADERS[header]


def test_its_table_has_every_layer_with_the_template_parameters_of_the_header() -> None:
    assert set(table()) == set(LAYERS) - PORTS
    assert {name: parameters.split(", ") for name, (parameters, _) in table().items()} == {
        name: parameters_of(name) for name in table()
    }


def test_its_trips_are_those_of_any_configuration() -> None:
    layers = [strategy for name, strategy in LAYERS.items() if name not in PORTS]

    @sweep
    @given(mixed(layers, 20))
    def holds(cases: list[Case]) -> None:
        assert {case.call: trips_of(case.call) for case in cases} == {case.call: case.trips for case in cases}

    holds()


def trips_of(call: str) -> float:
    """Evaluate the table's formula with a call's template arguments and the words that the text above it explains."""
    function, arguments = re.fullmatch(r"(\w+)<(.*)>", call).groups()  # type: ignore[union-attr]
    parameters, formula = table()[function]
    known: dict[str, Any] = {
        name: int(argument) if re.fullmatch(r"-?\d+", argument) else argument
        for name, argument in zip(parameters.split(", "), arguments.split(", "), strict=True)
    }
    if lanes := known.get("SIMD", known.get("PE")):
        known["FOLDS"] = known.get("CHANNELS", lanes) // lanes
    if "KERNEL_H" in known:
        size, kernel, stride = ((known[name[0]], known[name[1]]) for name in WINDOW)
        known["OH"], known["OW"] = output_size(size, kernel, stride)
        known["LAST"] = int(size[0] * size[1] - 1 in completing(size, kernel, stride))
    return float(eval(formula, {"max": max}, known))


WINDOW = (("HEIGHT", "WIDTH"), ("KERNEL_H", "KERNEL_W"), ("STRIDE_H", "STRIDE_W"))


def test_its_limits_are_those_of_the_code() -> None:
    (lutram,) = re.findall(r"LUTRAM_WORDS = (\d+);", HEADERS["integers.hpp"])
    (search,) = re.findall(r"SEARCH_LUTRAM_WORDS = (\d+);", HEADERS["thresholds.hpp"])
    assert f"Buffers of more than {lutram} words and a search's ROMs of more than {search} are" in PROSE
    assert f"up to {MOST_COMPARED} are compared at once" in PROSE


def test_a_layer_alone_compiles_and_says_what_is_shown(tmp_path: Path) -> None:
    (commands,), (shown,) = blocks("sh"), blocks("text")
    commands = commands.replace("/tmp/", f"{tmp_path}/").replace(".venv/bin/python", sys.executable)
    ran = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, shown, "")


@pytest.mark.slow
def test_its_numbers_and_the_picture_are_those_of_the_compiled_network(
    picture: ModuleType, lpyolo_hls_accelerator: Path
) -> None:
    from PIL import Image

    layers = picture.calls(lpyolo_hls_accelerator)
    quoted = "".join(next(block for block in blocks("cpp") if block.startswith("pad<")).split())
    assert quoted == "".join("".join(written(layers[name]).split()) for _, name in WALK)
    for header, name in WALK:
        (told,) = (paragraph for paragraph in README.split("\n\n") if paragraph.startswith(f"**[{header}]"))
        assert facts(layers[name]) in " ".join(told.split())
    passes, _, pe, simd = layers["MVAU_0"].weights.shape
    assert f"here {pe} × {simd}, so the {passes * pe} channels take {passes} passes" in PROSE
    search = layers["Thresholding_0"]
    assert f"{search.staircase.levels} of them are searched in {search.stages} stages" in PROSE
    head = list(layers.values())[-1]
    (told,) = (paragraph for paragraph in README.split("\n\n") if paragraph.startswith(f"**[{head.function}.hpp]"))
    assert head.function == "hard_tanh" and facts(head) in " ".join(told.split())
    with Image.open(picture.PICTURE) as kept:
        assert kept.info["Description"] == picture.draw(picture.walk(layers)).description, (
            "draw it again: python docs/frame_through_hls.py"
        )


def written(layer: Any) -> str:
    """Return a layer's call as the compiler writes it into top.cpp, but for blanks and line ends."""
    arguments = ("in", "out", *(table.name for table in layer.tables))
    return f"{layer.function}<{','.join(map(str, layer.template))}>({','.join(arguments)});"


def facts(layer: Any) -> str:
    return f"{layer.source.beats:,} beats in, {layer.result.beats:,} out, {layer.cycles:,} trips."
