"""The highest frame rate of LPYOLO's network at the paper's six bit widths on every board, and the seconds it took.

The weights are random (what a network reaches hardly depends on them), the normalisations of both signs. Two
processes share the widths between them. Prints a Markdown table, the one of docs/compiler.md, and writes it with --out.

    python -m benchmarks.widths --out table.md
"""

import argparse
import math
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import tomllib

from fpga_facedet import zoo
from fpga_facedet.boards import BOARDS
from fpga_facedet.files import write_text
from fpga_facedet.spec import DetectorSpec

WIDTHS = ((2, 4), (3, 5), (4, 2), (4, 4), (6, 4), (8, 3))
"""Bits of weights and of activations; the first and the last layer have 8-bit weights in each."""


def export(bits: tuple[int, int], folder: Path) -> Path:
    """Write LPYOLO's network with random weights of `bits`, weights and activations, into `folder`; return the file."""
    from benchmarks import random_network

    name = "{}w{}a".format(*bits)
    shape = tomllib.loads(zoo.spec_path(zoo.DEFAULT_MODEL).read_text(encoding="utf-8"))
    widths = {**shape["bits"], "weight": bits[0], "activation": bits[1]}
    spec = DetectorSpec.from_dict({**shape, "name": name, "bits": widths})
    return random_network.export(spec, folder / f"{name}.onnx")


def rows_of(bits: tuple[int, int]) -> tuple[str, float]:
    """Return the table's rows of one bit width, and the seconds of its searches with all that leads to them."""
    from fpga_facedet.compiler.explore import explore, markdown
    from fpga_facedet.compiler.folding import Request
    from fpga_facedet.errors import UserError

    warnings.simplefilter("ignore")
    name = "{}W{}A".format(*bits)
    with tempfile.TemporaryDirectory() as folder:
        path = export(bits, Path(folder))
        begun = time.perf_counter()
        try:
            found = explore(path, list(BOARDS.values()), Request(math.inf))
        except UserError as error:
            return f"| {name} | every board | none | {error} | | | | | |\n", time.perf_counter() - begun
    return markdown([(name, each) for each in found.boards]), time.perf_counter() - begun


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the table into this file as well")
    parser.add_argument("--processes", type=int, default=2, help="how many widths are searched at once (default: 2)")
    given = parser.parse_args()
    begun = time.perf_counter()
    with ProcessPoolExecutor(given.processes) as pool:
        found = list(pool.map(rows_of, WIDTHS))
    whole = time.perf_counter() - begun
    head, *_ = (text.splitlines()[:2] for text, _ in found if text.startswith("| network"))
    body = [line for text, _ in found for line in text.splitlines() if line not in head]
    table = "\n".join([*head, *body]) + "\n"
    searched = sum(seconds for _, seconds in found)
    print(table)
    print(
        f"{len(WIDTHS)} bit widths x {len(BOARDS)} boards: {whole:.0f} s with the export of the models, in "
        f"{given.processes} processes; {searched:.0f} s of searching added up."
    )
    if given.out is not None:
        write_text(given.out, table)


if __name__ == "__main__":
    main()
