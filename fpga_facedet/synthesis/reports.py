"""What Vivado's reports of a routed design say, as figures with the evidence `routed`.

The tables are those of report_utilization, report_timing_summary and report_power (UG906); columns are found by the
headings they stand under, for their number differs between versions.
"""

import re
from pathlib import Path

from fpga_facedet.compiler.cost import UNITS
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.manifest import Figure
from fpga_facedet.synthesis.tcl import POWER_REPORT, TIMING_REPORT, UTILIZATION_REPORT

EVIDENCE = "routed"
# Row of the table, our name, our unit, and how many of ours one of theirs is (a block RAM tile is two of 18 kbit).
_USED = (
    ("Slice LUTs", "lut", UNITS["lut"], 1.0),
    ("Slice Registers", "ff", UNITS["ff"], 1.0),
    ("Block RAM Tile", "bram18", UNITS["bram18"], 2.0),
    ("DSPs", "dsp", UNITS["dsp"], 1.0),
)
_SLACKS = (("WNS(ns)", "setup_slack"), ("WHS(ns)", "hold_slack"))
_POWER = re.compile(r"\|\s*Total On-Chip Power \(W\)\s*\|\s*([0-9.]+)\s*\|")


def routed_figures(reports: Path) -> tuple[Figure, ...]:
    """Return the figures that Vivado's reports in the folder `reports` give; InternalError where one is not as known.

    Slacks are in ns and negative where the design misses its timing; power is Vivado's estimate in W.
    """
    utilization, timing, power = (_read(reports / name) for name in (UTILIZATION_REPORT, TIMING_REPORT, POWER_REPORT))
    figures = [
        Figure(name, scale * _used(utilization, row, reports / UTILIZATION_REPORT), unit, EVIDENCE)
        for row, name, unit, scale in _USED
    ]
    for heading, name in _SLACKS:
        figures.append(Figure(name, _slack(timing, heading, reports / TIMING_REPORT), "ns", EVIDENCE))
    found = _POWER.search(power)
    if found is None:
        raise _unknown(reports / POWER_REPORT, "Total On-Chip Power (W)")
    # Nothing toggled when it was routed: the power is what the tool estimates of the routed design.
    figures.append(Figure("power", float(found[1]), "W", "estimated"))
    return tuple(figures)


def check_timing(figures: tuple[Figure, ...]) -> None:
    """Raise UserError where a slack among `figures` is negative."""
    for figure in figures:
        if figure.name in {name for _, name in _SLACKS} and figure.value < 0:
            raise UserError(
                f"The routed design misses its timing: {figure.name} is {figure.value:g} ns; use a slower clock or "
                "fold the accelerator less."
            )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"Cannot read Vivado's report {path}: {error.strerror}; run Vivado again.") from error


def _used(text: str, row: str, path: Path) -> float:
    """Return the entry of `row` in the column Used."""
    # After synthesis Vivado marks some rows with a star.
    found = re.search(rf"^\|\s*{re.escape(row)}\*?\s*\|\s*([0-9.]+)\s*\|", text, re.MULTILINE)
    if found is None:
        raise _unknown(path, row)
    return float(found[1])


def _slack(text: str, heading: str, path: Path) -> float:
    """Return the value under `heading` in the summary of the whole design, the first table that has it."""
    lines = text.splitlines()
    for number, line in enumerate(lines[:-2]):
        if heading not in line:
            continue
        titles, values = re.split(r"\s{2,}", line.strip()), lines[number + 2].split()
        try:
            return float(values[titles.index(heading)])
        except (ValueError, IndexError):
            break
    raise _unknown(path, heading)


def _unknown(path: Path, what: str) -> InternalError:
    return InternalError(
        f"Vivado's report {path} has no '{what}' where it is looked for; it is from an unknown version."
    )
