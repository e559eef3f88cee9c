"""The parts of the build report that are about layers: the network, their cycles, their folding, the FIFOs."""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fpga_facedet import page as web
from fpga_facedet.compiler import report_charts as charts
from fpga_facedet.compiler.cost import RESOURCE_NAMES
from fpga_facedet.compiler.report_findings import FifoSizing
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import HLS, RTL, LayerInfo, Manifest
from fpga_facedet.spec import DetectorSpec

CONVERTER = "StreamingDataWidthConverter"
NOT_MEASURED = "not measured"
ADDER_GRAPH, LUT_MULTIPLIERS = "adder_graph", "lut_multipliers"
"""Folding of a matrix unit that multiplies by something else than DSPs: 1 where it does."""

_KINDS = {
    "FMPadding": "padding",
    "ConvolutionInputGenerator": "window",
    "MVAU": "matrix unit",
    "Thresholding": "thresholds",
    "StreamingMaxPool": "max-pool",
    CONVERTER: "width converter",
}
_KEEPS_WORDS = ("ConvolutionInputGenerator", "MVAU", "StreamingMaxPool")
_BEFORE_A_MATRIX_UNIT = ("FMPadding", "ConvolutionInputGenerator", "MVAU")
_UNKNOWN = "&ndash;"


def network(manifest: Manifest) -> str:
    """Return the network as boxes from the pixels to the grid, each with the shape and the bits of what leaves it."""
    try:
        spec = DetectorSpec.from_dict(manifest.model.spec)
    except UserError:
        return "<p>The manifest does not describe it.</p>"
    sizes, head = spec.input, spec.head
    height, width = sizes.height, sizes.width
    largest = max(height, width)
    steps = [_step("pixels", "RGB", height, width, sizes.channels, 8, largest)]
    for index, layer in enumerate(spec.layers):
        height, width = (size // (layer.pool * layer.stride) for size in (height, width))
        what = f"{layer.kernel} &times; {layer.kernel}, {layer.weight_bits}-bit weights"
        what += f", stride {layer.stride}" * (layer.stride > 1)
        what += f", pool {layer.pool} &times; {layer.pool}" * (layer.pool > 1)
        steps.append(_step(str(index), what, height, width, layer.channels, layer.activation_bits, largest))
    what = f"{head.kernel} &times; {head.kernel}, {head.weight_bits}-bit weights, {len(head.anchors)} anchors"
    grid = spec.grid_height, spec.grid_width, spec.head_channels
    return web.chain([*steps, _step("grid", what, *grid, head.output_bits, largest)])


def _step(title: str, what: str, height: int, width: int, channels: int, bits: int, largest: int) -> str:
    picture = charts.feature_map(height, width, channels, largest)
    shape = f"{height} &times; {width} &times; {channels}"
    return f'{picture}<b>{title}</b> <span class="faint">{what}</span><br>{shape}<br>{bits} bits'


def blocks(manifest: Manifest) -> Iterator[tuple[int, LayerInfo]]:
    """Yield each hardware layer with the number of the network's layer it belongs to: from padding to pool."""
    index, behind_matrix_unit = 0, False
    for layer in manifest.layers:
        if behind_matrix_unit and layer.op in _BEFORE_A_MATRIX_UNIT:
            index, behind_matrix_unit = index + 1, False
        behind_matrix_unit = behind_matrix_unit or layer.op == "MVAU"
        yield index, layer


def called(index: int, layer: LayerInfo) -> str:
    """Return what a person calls a hardware layer: '3 window'. HTML."""
    return f"{index} {html.escape(_KINDS.get(layer.op, layer.op))}"


def slowest(manifest: Manifest) -> tuple[LayerInfo | None, LayerInfo | None]:
    """Return the slowest layer, and the slowest that belongs to another convolution."""
    layers = [(layer.cycles, -index, layer) for index, layer in blocks(manifest) if layer.op != CONVERTER]
    order = sorted(layers, key=lambda entry: entry[:2], reverse=True)
    if not order:
        return None, None
    _, block, first = order[0]
    return first, next((layer for _, index, layer in order if index != block), None)


def cycle_table(manifest: Manifest, target: float | None) -> str:
    """Return the cycles of each layer as bars, with lines at `target` cycles a frame and at one input beat a cycle."""
    first, second = slowest(manifest)
    if first is None:
        return f"<p>{NOT_MEASURED}</p>"
    # A target far slower than the accelerator would shrink the bars to nothing: the text above says it.
    whole = max(float(first.cycles), target if target is not None and target < 2 * first.cycles else 0.0)
    floor = manifest.stream.beats_in if manifest.stream else None
    marks = [cycles / whole for cycles in (target, floor) if cycles is not None]
    rows = []
    for index, layer in blocks(manifest):
        if layer.op == CONVERTER:
            continue
        is_first, is_next = layer.cycles == first.cycles, layer is second
        said = "<b>bottleneck</b>" if is_first else "next" if is_next else ""
        bar = web.bar(layer.cycles / whole, is_first, marks)
        rows.append((called(index, layer), f"{layer.cycles:,}", bar, f'<td class="text">{said}</td>'))
    return web.table(("layer", "cycles", "", web.left("limit")), rows, dense=True)


def folding_table(manifest: Manifest) -> str:
    """Return how each layer is folded and what it uses; width converters and FIFOs in one row each.

    Style and evidence have a column each where the layers differ in them; the text above says what all share.
    """
    styled = manifest.layer_style not in (None, RTL)
    mixed = len({layer.evidence for layer in manifest.layers}) > 1
    rows = [
        _row(
            f"<b>{called(index, layer)}</b><br>{web.breakable(layer.name_in_sources)}",
            (layer.style if styled else None, *_folding(layer), _bits(layer), f"{layer.cycles:,}"),
            layer.resources,
            layer.evidence if mixed else None,
        )
        for index, layer in blocks(manifest)
        if layer.op != CONVERTER
    ]
    rows += _rest(manifest, styled, mixed)
    heads = [*(["style"] if styled else []), "PE", "SIMD", "multiplier", "memory", "window", "bits", "cycles"]
    heads += ["LUT", "FF", "BRAM18", "DSP", *(["evidence"] if mixed else [])]
    return web.table(("layer", *heads), rows, dense=True)


def _row(name: str, about: Iterable[str | None], used: Mapping[str, float], evidence: str | None) -> tuple[str, ...]:
    counts = (f"{used[name]:,g}" if name in used else _UNKNOWN for name in RESOURCE_NAMES)
    return (name, *(text for text in (*about, *counts, evidence) if text is not None))


def _folding(layer: LayerInfo) -> tuple[str, ...]:
    folding = layer.folding
    multiplier = _UNKNOWN
    if layer.op == "MVAU":
        in_luts = folding.get(LUT_MULTIPLIERS) or not layer.resources.get("dsp", 1)
        multiplier = "adders" if folding.get(ADDER_GRAPH) else "LUT" if in_luts else "DSP"
    keeps_words = layer.op in _KEEPS_WORDS and multiplier != "adders"
    memory = "block RAM" if layer.resources.get("bram18") else "LUT" if keeps_words else _UNKNOWN
    window = _UNKNOWN
    if "parallel_window" in folding:
        window = "parallel" if folding["parallel_window"] else "one by one"
    return (*(str(folding.get(name, _UNKNOWN)) for name in ("PE", "SIMD")), multiplier, memory, window)


def _bits(layer: LayerInfo) -> str:
    widths = f"{layer.bits['input']} &rarr; {layer.bits['output']}"
    return widths + f" ({layer.bits['parameters']})" if "parameters" in layer.bits else widths


def _rest(manifest: Manifest, styled: bool, mixed: bool) -> Iterator[tuple[str, ...]]:
    """Yield the rows of all width converters and of all FIFOs, whose share is what the whole has besides the layers."""
    gap = (_UNKNOWN,) * (7 + styled)
    converters = [layer for layer in manifest.layers if layer.op == CONVERTER]
    if converters:
        evidence = " or ".join(sorted({layer.evidence for layer in converters})) if mixed else None
        yield _row(f"<b>width converters</b><br>{len(converters)} of them", gap, _sum(converters), evidence)
    # A figure of an HLS layer has the stream in front of it in it.
    if manifest.fifos and not mixed and manifest.layer_style != HLS:
        known = [each for each in manifest.figures if each.evidence == manifest.layers[0].evidence]
        layers = _sum(list(manifest.layers))
        used = {each.name: each.value - layers[each.name] for each in known if each.name in layers}
        yield _row(f"<b>FIFOs</b><br>{len(manifest.fifos)} of them", gap, used, None)


def _sum(layers: Sequence[LayerInfo]) -> dict[str, float]:
    """Return the sums of the resources that every layer has a count of."""
    known = [name for name in RESOURCE_NAMES if all(name in layer.resources for layer in layers)]
    return {name: sum(layer.resources[name] for layer in layers) for name in known}


def fifo_table(manifest: Manifest, sizing: FifoSizing | None) -> str:
    """Return the FIFOs, and the most beats that each held where a simulation has counted them."""
    rows = []
    names = {layer.name: layer.name_in_sources for layer in manifest.layers}
    for fifo in manifest.fifos:
        before = f'<td class="text">{html.escape(names.get(fifo.before, fifo.before))}</td>'
        name = web.breakable(fifo.name)
        seen = sizing.fifos.get(fifo.name) if sizing else None
        if sizing is None:
            held: tuple[str, ...] = ()
        elif seen is None:
            held = (NOT_MEASURED, "", _UNKNOWN, _UNKNOWN)
        else:
            share = seen.most / max(1, fifo.depth)
            held = (f"{seen.most:,}", web.bar(share, share > 1), f"{seen.estimated:,}", html.escape(seen.memory))
        rows.append((name, f"{fifo.depth:,}", *held, str(fifo.width), before))
    occupancy = ("most held", "", "estimated", "memory") if sizing else ()
    return web.table(("FIFO", "places", *occupancy, "bits", web.left("in front of")), rows, dense=True)
