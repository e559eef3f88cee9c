"""The picture of a calibration: LUTs that the formulas say against LUTs that yosys counted, a point for each layer."""

from pathlib import Path

from fpga_facedet.files import saving
from fpga_facedet.synthesis.calibration import SMALL_LUTS, Calibration, estimate

FILE = "costs.png"

_WORST = 0.25
"""The error that the band in the picture ends at."""


def draw(found: Calibration, path: Path) -> None:
    """Write the picture to `path`, a PNG; UserError where it cannot be written.

    Layers that the formulas were fitted to are hollow, all others filled.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    most = 1.5 * max(point.used.lut for point in found.points)
    ends = [SMALL_LUTS / 2, most]
    axes.plot(ends, ends, color="#888888", linewidth=0.8)
    axes.fill_between(ends, [(1 - _WORST) * end for end in ends], [(1 + _WORST) * end for end in ends], color="#eeeeee")
    for number, formula in enumerate(sorted(found.coefficients)):
        for fitted in (True, False):
            points = [point for point in found.points if (point.shape.formula, point.fitted) == (formula, fitted)]
            colour = f"C{number % 10}"
            axes.scatter(
                [point.used.lut for point in points],
                [estimate(point.shape, found.coefficients).lut for point in points],
                s=18,
                marker="os^"[number // 5],
                edgecolors=colour,
                facecolors="none" if fitted else colour,
                label=None if fitted else formula,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(ends[0], ends[1])
    axes.set_ylim(ends[0], ends[1])
    axes.set_xlabel(f"LUTs counted by {found.tool}")
    axes.set_ylabel("LUTs by the formulas (estimated)")
    axes.set_title(f"Filled: not fitted to. Band: within {_WORST:.0%}.", fontsize=10)
    axes.legend(fontsize=8, frameon=False)
    with saving(path) as temporary:
        figure.savefig(temporary, dpi=110)
