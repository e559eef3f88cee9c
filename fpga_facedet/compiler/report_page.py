"""The build's report as a page for a person: one HTML file that loads nothing, reads on a phone and prints.

A figure is printed with its evidence or not at all; where nobody has obtained one the page says 'not measured' and
which command would.
"""

import html

from fpga_facedet import page as web
from fpga_facedet import zoo
from fpga_facedet.boards import Board
from fpga_facedet.compiler import report_charts as charts
from fpga_facedet.compiler import report_layers as layers
from fpga_facedet.compiler import report_power
from fpga_facedet.compiler.cost import RESOURCE_NAMES, UNITS, Budget
from fpga_facedet.compiler.report_findings import Findings, Search, Synthesis
from fpga_facedet.compiler.report_layers import NOT_MEASURED
from fpga_facedet.errors import UserError
from fpga_facedet.files import sha256_of
from fpga_facedet.manifest import EVIDENCE, HLS, MIXED, RTL, Manifest

_TITLES = {
    "fps": "frames a second",
    "cycles_per_frame": "cycles a frame",
    "latency": "cycles from the first pixel to the last result",
    **UNITS,
    "power": "W, the chip with its processor",
    "energy": "mJ a frame",
    "clock_period": "ns a clock cycle",
}
_STYLES = {
    RTL: "all layers in SystemVerilog",
    HLS: "all layers in C++ for Vitis HLS",
    MIXED: "some layers in SystemVerilog, some in C++ for Vitis HLS",
}
_ABOUT_HLS_LAYERS = (
    " An estimate of an HLS layer is with the stream in front of it; a report of Vitis HLS takes its place once there "
    "is one (facedet hls report)."
)

_SIMULATE, _SIZE_FIFOS = "facedet verify DIR", "facedet build --size-fifos"
_PACES = ("fps", "cycles_per_frame", "latency")

_ON_THE_BOARD = (
    ("clock that routes", "facedet overlay build DIR"),
    ("frames a second on the board", "facedet serve --engine board"),
    ("power of the board", "a USB power meter while that runs"),
)


def page(manifest: Manifest, board: Board, findings: Findings) -> str:
    """Return the report as one self-contained HTML page."""
    title = html.escape(f"{manifest.model.name} on {board.title}")
    search = findings.search
    sections = (
        _headline(manifest, board),
        web.section("What limits it", _limits(manifest, search), ""),
        web.section(
            "Network", "What leaves each layer: rows &times; columns &times; channels.", layers.network(manifest)
        ),
        web.section(
            "Cycles a frame", _about_cycles(manifest, search), layers.cycle_table(manifest, _target(manifest, search))
        ),
        web.section("Use of the chip", _about_chip(board), _chip_table(manifest, board, search)),
        web.section("Layers", _about_layers(manifest), layers.folding_table(manifest)),
        web.section("FIFOs", _about_fifos(findings), layers.fifo_table(manifest, findings.fifos)),
        web.section(
            "Synthesis", _about_synthesis(manifest, findings.synthesis), _synthesis_table(manifest, findings.synthesis)
        ),
        web.section("Other foldings", _about_front(search), _front(manifest, board, search)),
        web.section("Power and energy", report_power.about(), report_power.tables(manifest, board)),
        web.section("Evidence", _about_evidence(findings), _evidence_table(manifest)),
        web.section("The same again", _about_command(manifest), _command(manifest, board, findings)),
    )
    where = f"{html.escape(board.part)} at {board.clock_mhz:g} MHz, {_STYLES[manifest.layer_style or RTL]}"
    remark = f". {html.escape(board.remark)}" if board.remark else ""
    return web.page(title, where + remark, sections, f"Model {html.escape(manifest.model.sha256[:16])}.")


def _headline(manifest: Manifest, board: Board) -> str:
    cards = []
    for name in ("fps", "cycles_per_frame", "latency", *RESOURCE_NAMES, "power", "energy"):
        figure = manifest.figure(name)
        if figure is not None:
            cards.append((_number(figure.value), _TITLES[name] + _share(name, figure.value, board), figure.evidence))
        elif name == "latency":
            cards.append((NOT_MEASURED, _TITLES[name], f"<code>{_SIMULATE}</code>"))
    return web.cards(cards)


def _share(name: str, value: float, board: Board) -> str:
    return f", {value / getattr(board, name):.0%} of the chip" if name in UNITS else ""


def _number(value: float) -> str:
    return f"{value:,.10g}"


def _limits(manifest: Manifest, search: Search | None) -> str:
    first, second = layers.slowest(manifest)
    if first is None:
        return f"{NOT_MEASURED.capitalize()}."
    text = (
        f"<b>{html.escape(first.name_in_sources)}</b> is the slowest layer: {first.cycles:,} cycles ({first.evidence})"
    )
    text += f": {html.escape(search.why.rstrip('.'))}." if search is not None and search.why else "."
    if second is not None:
        text += f"<br>Next is {html.escape(second.name_in_sources)} with {second.cycles:,} ({second.evidence})."
    if search is None:
        return text + " What stops the next 10 % is not known: there is no result of the folding search here."
    parts = [text, html.escape(search.limit), f"What binds the fastest: {html.escape(search.binding)}."]
    return "<br>".join(part for part in parts if part) + " (Search: estimated.)"


def _target(manifest: Manifest, search: Search | None) -> float | None:
    """Return the cycles a frame that the frame rate asked for leaves."""
    if search is None or search.target_fps is None or manifest.clock_mhz is None:
        return None
    return manifest.clock_mhz * 1e6 / search.target_fps


def _about_cycles(manifest: Manifest, search: Search | None) -> str:
    text = f"Waiting for the neighbour included; the slowest layer sets the pace. {_evidence(manifest)}"
    lines = []
    target = _target(manifest, search)
    if target is not None and search is not None and search.target_fps is not None:
        lines.append(f"{target:,.0f} cycles, the {search.target_fps:g} frames a second asked for")
    if manifest.stream is not None:
        lines.append(f"{manifest.stream.beats_in:,} cycles, one beat of the input in each")
    return text + (f" Upright lines: {'; '.join(lines)}." if lines else "")


def _evidence(manifest: Manifest) -> str:
    """Return how the layers' figures were obtained: 'Estimated.', or 'Synthesized or estimated.' and so on."""
    found = {layer.evidence for layer in manifest.layers}
    return html.escape(" or ".join(sorted(found, key=_rank, reverse=True)).capitalize()) + "."


def _rank(evidence: str) -> int:
    return EVIDENCE.index(evidence) if evidence in EVIDENCE else -1


def _about_layers(manifest: Manifest) -> str:
    text = f"Folding, bits from input to output (parameters) and resources of each layer. {_evidence(manifest)}"
    return text if manifest.layer_style == RTL else text + _ABOUT_HLS_LAYERS


def _budget(search: Search | None) -> dict[str, float]:
    default = Budget()
    return search.budget if search else {name: getattr(default, name) for name in RESOURCE_NAMES}


def _about_chip(board: Board) -> str:
    return f"Against all of {html.escape(board.part)}. Upright lines: the budget."


def _chip_table(manifest: Manifest, board: Board, search: Search | None) -> str:
    rows = []
    for name, title in UNITS.items():
        known = [figure for figure in manifest.figures if figure.name == name]
        whole, budget = getattr(board, name), _budget(search)[name]
        allowed = f"{_number(100 * budget)}%"
        for figure in sorted(known, key=lambda each: _rank(each.evidence)):
            share = figure.value / whole
            bar = web.bar(share, share > budget, (budget,))
            said = f'<td class="text">{allowed}{", exceeded" if share > budget else ""}</td>'
            rows.append((title, f"{share:.0%}", bar, _number(figure.value), f"{whole:,}", figure.evidence, said))
        if not any(_rank(figure.evidence) >= EVIDENCE.index("synthesized") for figure in known):
            command, said = f"<code>{_synthesize(manifest)}</code>", f'<td class="text">{allowed}</td>'
            rows.append((title, "", "", NOT_MEASURED, f"{whole:,}", command, said))
    return web.table(("resource", "share", "", "used", "of", "evidence", web.left("budget")), rows, dense=True)


def _about_fifos(findings: Findings) -> str:
    text = "Places in beats of the stream."
    sizing = findings.fifos
    if sizing is None:
        return f"{text} Depths are estimated; the most beats held: {NOT_MEASURED} (<code>{_SIZE_FIFOS}</code>)."
    cycles = ", ".join(f"{count:,} {html.escape(name)}" for name, count in sizing.cycles.items())
    return f"{text} Sized by a run of {sizing.frames} frames; cycles a frame: {cycles} ({sizing.evidence})."


def _synthesize(manifest: Manifest) -> str:
    """Return the command, DIR being the accelerator's folder, that knows what synthesis makes of its layers."""
    return "facedet hls report DIR" if manifest.layer_style == HLS else "facedet synth DIR"


def _about_synthesis(manifest: Manifest, synthesis: Synthesis | None) -> str:
    if synthesis is None:
        return f"{NOT_MEASURED.capitalize()} (<code>{_synthesize(manifest)}</code>)."
    text = f"Counted by {html.escape(synthesis.tool)} ({synthesis.evidence})."
    if synthesis.not_counted:
        names = ", ".join(html.escape(name) for name in synthesis.not_counted)
        text += f" <b>The whole is {NOT_MEASURED}</b>: {names} could not be counted."
    return text


def _synthesis_table(manifest: Manifest, synthesis: Synthesis | None) -> str:
    if synthesis is None:
        return ""
    estimated = {layer.name: layer.resources for layer in manifest.layers if layer.evidence == "estimated"}
    rows = [_counted(web.breakable(each.name), each.resources, estimated.get(each.name)) for each in synthesis.layers]
    if not synthesis.not_counted:
        whole = {figure.name: figure.value for figure in manifest.figures if figure.evidence == "estimated"}
        rows.append(_counted("<b>whole</b>", synthesis.used, whole))
    return web.table(("part", "LUT", "LUT estimated", "FF", "BRAM18", "DSP"), rows, dense=True)


def _counted(name: str, used: dict[str, float], estimated: dict[str, float] | None) -> tuple[str, ...]:
    cells = [_number(used[each]) if each in used else "&ndash;" for each in RESOURCE_NAMES]
    cells.insert(1, _number(estimated["lut"]) if estimated and "lut" in estimated else "&ndash;")
    return (name, *cells)


def _about_front(search: Search | None) -> str:
    if search is None or not search.front:
        return f"{NOT_MEASURED.capitalize()}: there is no result of the folding search here."
    seconds = f", found in {search.seconds:.1f} s" if search.seconds is not None else ""
    return f"The least that each frame rate takes of the chip{seconds}. Estimated."


def _front(manifest: Manifest, board: Board, search: Search | None) -> str:
    if search is None or not search.front:
        return ""
    front = sorted(search.front, key=lambda point: point.fps)
    series = [_series(manifest, board, search, name) for name in RESOURCE_NAMES if name != "ff"]
    here = manifest.figure("fps")
    alt = f"Share of the chip against frames a second, {len(front)} foldings; the table below has the numbers."
    shown = [each for each in series if each.points]
    drawn = charts.lines(shown, "frames a second", "% of the chip", here.value if here else None, alt)
    rows = [
        (
            f"{point.fps:,.1f}",
            *(_number(point.resources[name]) if name in point.resources else "&ndash;" for name in RESOURCE_NAMES),
            *("&ndash;" if value is None else f"{value:.2f}" for value in (point.power_w, point.energy_mj)),
        )
        for point in front
    ]
    return drawn + web.table(("frames a second", "LUT", "FF", "BRAM18", "DSP", "W", "mJ a frame"), rows, dense=True)


def _series(manifest: Manifest, board: Board, search: Search, name: str) -> charts.Series:
    """Return the share of the chip that each folding takes of one resource, in percent."""
    whole, best = getattr(board, name) / 100, manifest.figure(name)
    known = sorted((point.fps, point.resources[name] / whole) for point in search.front if name in point.resources)
    return charts.Series(UNITS[name], tuple(known), best.value / whole if best else None)


def _about_evidence(findings: Findings) -> str:
    text = (
        "How each figure of the whole was obtained, and what would obtain those that are missing; DIR is this folder."
    )
    if findings.damaged:
        names = ", ".join(findings.damaged)
        text += f" <b>{names} could not be read</b>: run again the command that writes it."
    return text


def _better(manifest: Manifest) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return better evidence than an estimate, the command that obtains it, and of which figures."""
    if manifest.layer_style == HLS:
        # C simulation counts no cycles.
        return [("synthesized", _synthesize(manifest), (*_PACES, *RESOURCE_NAMES))]
    return [("simulated", _SIMULATE, _PACES), ("synthesized", _synthesize(manifest), RESOURCE_NAMES)]


def _evidence_table(manifest: Manifest) -> str:
    names = list(dict.fromkeys((*_TITLES, *(figure.name for figure in manifest.figures))))
    rows = []
    for name in names:
        known = sorted((each for each in manifest.figures if each.name == name), key=lambda each: _rank(each.evidence))
        titles = [html.escape(_TITLES.get(name, f"{each.name} ({each.unit})")) for each in known]
        rows += [(title, _number(each.value), each.evidence) for title, each in zip(titles, known, strict=True)]
        rows += [
            (_TITLES[name], NOT_MEASURED, _how(f"{evidence}: <code>{command}</code>"))
            for evidence, command, better in _better(manifest)
            if name in better and not any(_rank(each.evidence) >= EVIDENCE.index(evidence) for each in known)
        ]
    rows += [(name, NOT_MEASURED, _how(f"<code>{command}</code>")) for name, command in _ON_THE_BOARD]
    return web.table(("figure", "value", "evidence"), rows, dense=True)


def _how(text: str) -> str:
    return f'<td class="wrap">{text}</td>'


def _about_command(manifest: Manifest) -> str:
    versions = ", ".join(f"{html.escape(tool)} {html.escape(version)}" for tool, version in manifest.versions.items())
    model = f"{html.escape(manifest.model.name)}, a file with the SHA-256 {html.escape(manifest.model.sha256)}"
    return f"Built with {versions or 'versions that are not known'}. Model: {model}."


def _model(manifest: Manifest) -> str:
    """Return the model as the command takes it: the zoo's very model by its name, any other as a file."""
    name = manifest.model.name
    try:
        shipped = name in zoo.names() and sha256_of(zoo.model_path(name)) == manifest.model.sha256
    except UserError:  # a detector of the zoo that nobody has trained yet
        shipped = False
    return name if shipped else "MODEL.onnx"


def _command(manifest: Manifest, board: Board, findings: Findings) -> str:
    search, behind = findings.search, ""
    words = f"facedet build --model {_model(manifest)} --board {board.name}"
    if search is not None:
        default = Budget()
        changed = {name: share for name, share in search.budget.items() if share != getattr(default, name)}
        words += f" {search.asked}" * bool(search.asked)
        if changed:
            words += " --budget " + ",".join(f"{name}={100 * share:.12g}" for name, share in search.budget.items())
    if findings.fifos is not None:
        words += " --size-fifos"
    if manifest.layer_style == HLS:
        words += " --layers hls"
    elif manifest.layer_style == MIXED:
        words += " --layers STYLES.toml"
        names = [each.plain_name for each in manifest.layers if each.style == HLS and each.op != layers.CONVERTER]
        file = "\n".join(["[layers]", *(f'{name} = "{HLS}"' for name in names)])
        behind = f"<p>STYLES.toml holds:</p>\n<pre><code>{html.escape(file)}</code></pre>"
    return f"<p><code>{html.escape(words)}</code></p>{behind}"
