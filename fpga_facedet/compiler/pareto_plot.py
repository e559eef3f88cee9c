"""The picture of a Pareto front: frames a second against LUTs, DSPs, block RAMs and power, a panel for each."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fpga_facedet.boards import Board

if TYPE_CHECKING:
    from fpga_facedet.compiler.folding import Found

PICTURES = ("pareto.svg", "pareto.png")

_PANELS = (
    ("lut", "LUTs"),
    ("dsp", "DSPs"),
    ("bram18", "18-kbit block RAMs"),
    ("power_w", "power of chip and processor, W"),
)
_COLOURS = ("#0b5394", "#b45f06", "#38761d", "#741b47", "#134f5c", "#7f6000")
"""Dark enough to read in print; boards of one chip have one line."""


def draw(title: str, fronts: Mapping[Board, "Found"]) -> dict[str, bytes]:
    """Return the picture of the boards' fronts as SVG and PNG, by file name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title}: the least share of the chip at each frame rate (estimated)")
    panels = figure.subplots(2, 2)
    for (name, label), panel in zip(_PANELS, panels.flat, strict=True):
        for colour, (boards, found) in zip(_COLOURS, _by_chip(fronts).items(), strict=False):
            _line(panel, name, boards, found, colour)
        panel.set_xlabel("frames a second")
        panel.set_ylabel(label)
        panel.set_xlim(left=0)
        # Not a single DSP is a line at 0, not an axis of hundredths.
        panel.set_ylim(0, max(1.0, 1.08 * panel.dataLim.y1))
        if name != "power_w":
            panel.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
        panel.grid(visible=True, color="#dddddd", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    lines, names = panels.flat[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=2, frameon=False)
    return {name: _saved(figure, name.rsplit(".", 1)[1]) for name in PICTURES}


def _by_chip(fronts: Mapping[Board, "Found"]) -> dict[str, "Found"]:
    """Return one front for each chip and clock, by the names of the boards that have it."""
    names: dict[tuple[str, float], list[str]] = {}
    found: dict[tuple[str, float], Found] = {}
    for board, front in fronts.items():
        key = (board.part, board.clock_mhz)
        names.setdefault(key, []).append(board.title)
        found[key] = front
    return {f"{', '.join(names[key])} ({key[1]:g} MHz)": front for key, front in found.items()}


def _line(panel: Any, name: str, boards: str, found: "Found", colour: str) -> None:
    points = [point.to_dict() for point in found.pareto]
    panel.plot(
        [point["fps"] for point in points], [point[name] for point in points],
        marker="o", markersize=4, linewidth=1.5, color=colour, label=boards,
    )  # fmt: skip
    if name != "power_w":
        limit = getattr(found.board, name) * getattr(found.request.budget, name)
        if limit < 1.6 * max(point[name] for point in points):
            panel.axhline(limit, color=colour, linewidth=1, linestyle="--")
            panel.annotate(
                f"budget {limit:,.0f}", (1, limit), xycoords=("axes fraction", "data"),
                ha="right", va="bottom", fontsize=8, color=colour,
            )  # fmt: skip


def _saved(figure: Any, kind: str) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None)
    return picture.getvalue()
