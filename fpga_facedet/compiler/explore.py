"""What a network can reach on several boards, and at what cost: a search and a Pareto front for each, without a build.

The graph of hardware layers comes about as in a build (`flow`), but no step is proven against the model; the choices
of each layer are made once for all boards of one chip family.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpga_facedet.boards import Board
from fpga_facedet.compiler import folding, layers, pareto_plot, streamline
from fpga_facedet.compiler.choices import layers_of
from fpga_facedet.compiler.cost import RESOURCE_NAMES
from fpga_facedet.compiler.finn_session import finn_session
from fpga_facedet.compiler.folding import Found, Request
from fpga_facedet.compiler.hls.plan import MOST_BEAT_BITS, check_supported
from fpga_facedet.compiler.hls.styles import Styles
from fpga_facedet.compiler.search import Space
from fpga_facedet.errors import UserError
from fpga_facedet.files import write_bytes, write_text
from fpga_facedet.network.metadata import manifest_of_model, normalisation_of_model
from fpga_facedet.progress import Progress, unwatched

JSON_FILE, TABLE_FILE = "explore.json", "explore.md"


@dataclass(frozen=True)
class OnBoard:
    """What the search found for one board; `refusal` says in a sentence why it found nothing."""

    board: Board
    found: Found | None
    refusal: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as one JSON object."""
        board = {"board": self.board.name, "part": self.board.part, "clock_mhz": self.board.clock_mhz}
        about = board | ({"remark": self.board.remark} if self.board.remark else {})
        if self.found is None:
            return about | {"refusal": self.refusal}
        found = self.found
        used = {name: round(getattr(found.chain.used, name)) for name in RESOURCE_NAMES}
        return about | {"fps": round(found.fps, 1), "cycles_per_frame": found.chain.slowest, **used} | found.to_dict()


@dataclass(frozen=True)
class Exploration:
    """A network on boards: what was found for each, and the seconds that all of it took."""

    model: str
    boards: tuple[OnBoard, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-ready; everything is estimated."""
        return {
            "model": self.model,
            "evidence": "estimated",
            "seconds": round(self.seconds, 1),
            "boards": [each.to_dict() for each in self.boards],
        }

    def table(self) -> str:
        """Return a Markdown table with a row for each board."""
        return markdown([(self.model, each) for each in self.boards])

    def save(self, out: Path) -> list[Path]:
        """Write JSON, table and a picture of the Pareto fronts into the folder `out`; return their paths."""
        written = [out / JSON_FILE, out / TABLE_FILE]
        write_text(written[0], json.dumps(self.to_dict(), indent=2) + "\n")
        write_text(written[1], self.table())
        fronts = {each.board: each.found for each in self.boards if each.found is not None}
        for name, picture in pareto_plot.draw(self.model, fronts).items():
            write_bytes(out / name, picture)
            written.append(out / name)
        return written


def explore(
    model: str | Path,
    boards: Sequence[Board],
    request: Request | None = None,
    styles: Styles | None = None,
    progress: Progress = unwatched,
) -> Exploration:
    """Search the best folding of the QONNX file `model` for each of the boards, without building anything.

    Args:
        request: what to fold for; the highest frame rate within the default budget where None.
        styles: the style of each layer; SystemVerilog for all where None.

    A board that cannot meet the request is in the result with the sentence that says why; UserError where the model is
    bad or has a layer without a hardware form.
    """
    begun, name = time.monotonic(), manifest_of_model(Path(model)).model.name
    request, styles = request or Request(math.inf), styles or Styles.rtl()
    found: list[OnBoard] = []
    spaces = _Spaces(Path(model), styles, progress)
    for index, board in enumerate(boards):
        progress(f"Searching for {board.title}", 0.5 + 0.5 * index / len(boards))
        found.append(_on(board, request, spaces.of))
    progress("Done", 1.0)
    return Exploration(name, tuple(found), time.monotonic() - begun)


def _on(board: Board, request: Request, space_of: Callable[[Board], Space]) -> OnBoard:
    try:
        return OnBoard(board, folding.find(space_of(board), board, request))
    except UserError as error:
        return OnBoard(board, None, str(error))


class _Spaces:
    """The choices of a network's layers, made once for each chip family."""

    def __init__(self, model: Path, styles: Styles, progress: Progress) -> None:
        self._styles = styles
        self._made: dict[str, Space] = {}
        progress("Choosing hardware layers", 0.0)
        with finn_session():
            pixels = streamline.take_pixels(streamline.load(model), normalisation_of_model(model))
            self._graph = layers.minimise(layers.to_hardware(streamline.lower(streamline.tidy(pixels))))

    def of(self, board: Board) -> Space:
        """Return the choices on a board's family of chips; UserError where a layer has no form there."""
        if board.family not in self._made:
            with finn_session():
                graph = layers.specialise(copy.deepcopy(self._graph), board.part)
                styles = self._styles.of_graph(graph)
                check_supported(graph, styles)
                widest = MOST_BEAT_BITS if self._styles.wants_hls else None
                self._made[board.family] = Space(layers_of(graph, styles, board, widest), board)
        return self._made[board.family]


def markdown(rows: Sequence[tuple[str, OnBoard]]) -> str:
    """Return a Markdown table of networks on boards: highest frame rate, what binds it, what it takes, power."""
    lines = [
        "| network | board | frames a second | bound by | LUT | BRAM18 | DSP | power | mJ a frame |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in rows:
        if each.found is None:
            lines.append(f"| {name} | {each.board.name} | none | {each.refusal} | | | | | |")
            continue
        found, used, board = each.found, each.found.chain.used, each.board
        shares = " | ".join(
            f"{getattr(used, kind):,.0f} ({getattr(used, kind) / getattr(board, kind):.0%})"
            for kind in ("lut", "bram18", "dsp")
        )
        lines.append(
            f"| {name} | {board.name} ({board.clock_mhz:g} MHz) | {found.fps:,.0f} | {found.binding} | {shares} | "
            f"{found.power_w:.1f} W | {1000 * found.power_w / found.fps:.1f} |"
        )
    return "\n".join(lines) + "\n"
