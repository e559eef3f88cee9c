"""The part of the build report that is about power and energy, beside LPYOLO's board."""

import html

from fpga_facedet import page as web
from fpga_facedet.boards import Board
from fpga_facedet.compiler import power
from fpga_facedet.compiler import report_charts as charts
from fpga_facedet.compiler.cost import RESOURCE_NAMES, Resources
from fpga_facedet.compiler.report_layers import NOT_MEASURED
from fpga_facedet.manifest import Manifest


def about() -> str:
    """Return what the figures are, and what is not in them."""
    return (
        "Estimated from published coefficients at a toggle rate of "
        f"{100 * power.TOGGLE_RATE:g} %; the range is all coefficients low and all high. Without the DMA and the "
        "interconnect around the accelerator, and without what the board adds: regulators, memory chips, Ethernet."
    )


def tables(manifest: Manifest, board: Board) -> str:
    """Return the range as a picture, the parts, the energy of a frame beside LPYOLO's, and the coefficients."""
    drawn = _estimate(manifest, board, "estimated")
    if drawn is None or manifest.clock_mhz is None:
        return f"<p>{NOT_MEASURED}</p>"
    parts = [("static", drawn.static_w), *drawn.dynamic_w.items(), ("processor system", drawn.processor_w)]
    rows = [(html.escape(name), f"{value:.3f}", "estimated") for name, value in parts]
    rows += [
        ("<b>chip</b>", f"<b>{drawn.total_w:.2f}</b> ({drawn.low_w:.2f} to {drawn.high_w:.2f})", "estimated"),
        ("LPYOLO's PYNQ-Z2, the whole board", f"{power.PAPER_WATTS:g}", "measured (arXiv 2207.10482)"),
    ]
    energy = [
        ("<b>here, the chip</b>", _range_of_energy(drawn), "estimated"),
        (
            f"LPYOLO, the board at {power.PAPER_FPS:g} frames a second",
            f"{power.PAPER_MILLIJOULES:.0f}",
            f"from the {power.PAPER_WATTS:g} W measured",
        ),
    ]
    better = _estimate(manifest, board, "best")
    if better is not None and better != drawn:
        energy.insert(1, ("here, of the best evidence there is", _range_of_energy(better), "estimated"))
    alt = (
        f"{drawn.total_w:.2f} W, from {drawn.low_w:.2f} to {drawn.high_w:.2f}, beside the {power.PAPER_WATTS:g} W of "
        "LPYOLO's board."
    )
    paper = (power.PAPER_WATTS, "LPYOLO's board")
    return (
        charts.span(drawn.low_w, drawn.total_w, drawn.high_w, paper, "W", alt)
        + web.table(("power", "W", "evidence"), rows, dense=True)
        + web.table(("energy of a frame", "mJ", "evidence"), energy, dense=True)
        + _sources(board)
    )


def _range_of_energy(drawn: power.Power) -> str:
    return f"{drawn.energy_mj:.2f} ({drawn.energy_low_mj:.2f} to {drawn.energy_high_mj:.2f})"


def _estimate(manifest: Manifest, board: Board, evidence: str) -> power.Power | None:
    """Return the estimate from the manifest's estimated figures, or from those with the 'best' evidence."""
    found: dict[str, float] = {}
    for name in (*RESOURCE_NAMES, "fps"):
        best = manifest.figure(name)
        known = [each for each in manifest.figures if (each.name, each.evidence) == (name, evidence)]
        figure = best if evidence == "best" else known[0] if known else None
        if figure is not None:
            found[name] = figure.value
    fps = found.pop("fps", 0.0)
    if fps <= 0 or manifest.clock_mhz is None:
        return None
    return power.estimate(Resources(**found), board, manifest.clock_mhz, fps)


def _sources(board: Board) -> str:
    rows = [
        (
            html.escape(each.name),
            f"{each.likely:.3g}",
            f"{each.low:.3g} to {each.high:.3g}",
            f'<td class="text">{html.escape(each.unit)}</td>',
            f'<td class="text wrap">{html.escape(each.source)}</td>',
        )
        for each in power.coefficients(board)
    ]
    named = "".join(f"<li><b>{name}</b>: {html.escape(text)}</li>" for name, text in power.REFERENCES.items())
    heads = ("coefficient", "likely", "range", web.left("unit"), web.left("source"))
    return web.table(heads, rows, dense=True) + f'<ul class="faint">{named}</ul>'
