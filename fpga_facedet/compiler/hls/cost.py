"""What an HLS layer costs on a 7-series chip, before Vitis HLS has seen it: LUTs, flip-flops, block RAMs, DSPs.

Block RAMs follow exactly from the memories that the library's headers bind, DSPs from the multipliers that they bind.
LUTs and flip-flops are counted from first principles: an adder's bit or a comparator's bit is one LUT, what is kept
from one cycle of a loop to the next is one flip-flop a bit. They were fitted to nothing, and no synthesis has been
compared with them: all that comes out is `estimated`, until a report of Vitis HLS says what it took.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fpga_facedet.compiler import cost
from fpga_facedet.compiler.cost import LUTRAM_DEPTH, RESOURCE_NAMES, Budget, Resources
from fpga_facedet.compiler.hls.calls import HlsLayer, Search, Stream, Values, WidthConverter
from fpga_facedet.compiler.hls.plan import plan
from fpga_facedet.compiler.hls.styles import Segment, layer_name
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import HLS

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

    from fpga_facedet.boards import Board

SEARCH_LUTRAM_WORDS = 512
"""Tables of a search up to this many words lie in LUTs (thresholds.hpp)."""

_MARGIN = 1e-6
"""What an estimate may exceed a budget by: sums of fractions in another order."""

_CONTROL = 60
"""LUTs of a loop that starts, counts, stalls with its streams and ends; flip-flops likewise."""

_STAGES = 3
"""Cycles that a value is on its way through a loop's body: read, worked on, written."""

_BLOCK_RAMS = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
"""Words and bits that half a block RAM can hold (UG473)."""

_SHIFTED, _IN_LUTS = 33, 257
"""Words of a stream that lie in shift registers, and in LUT memory; more are in block RAM."""


def resources(call: HlsLayer) -> Resources:
    """Return the estimate for one layer and the stream in front of it."""
    stream = _stream(call.source.depth, _width(call.source))
    moving = _STAGES * (_width(call.source) + _width(call.result)) / 2
    return Resources(lut=_CONTROL, ff=_CONTROL + moving) + stream + _ESTIMATES[call.function](call)


def converter(bits_in: int, bits_out: int, places: int = 0) -> Resources | None:
    """Return what a width converter and the stream in front of it cost, that stream of `places` beats or the fewest.

    None where neither width divides the other; nothing where both agree.
    """
    if max(bits_in, bits_out) % min(bits_in, bits_out):
        return None
    if bits_in == bits_out:
        return Resources()
    bit = Values(1, signed=False)
    source, result = (Stream("", bit, width, 1) for width in (bits_in, bits_out))
    source = replace(source, depth=max(source.depth, places))
    return resources(WidthConverter("", source, result, 1))


def deepening(width: int, beats: int, places: int) -> Resources:
    """Return what a FIFO of `places` adds to the stream in front of a layer that holds `beats` or the fewest anyway.

    A stream in block RAM takes fewer LUTs than a wide one in registers, so that it may be less than nothing.
    """
    fewest = max(Stream.depth, beats)
    deep, shallow = _stream(max(fewest, places), width), _stream(fewest, width)
    return Resources(**{name: getattr(deep, name) - getattr(shallow, name) for name in RESOURCE_NAMES})


def by_node(graph: "ModelWrapper", segments: Sequence[Segment], board: "Board | None" = None) -> dict[str, Resources]:
    """Return the estimate for each node of a folded graph by its name, each in its style.

    HLS FIFOs cost nothing by themselves: the stream in front of the layer behind them is theirs. RTL multiplies with
    the DSP slices of `board`, those of a 7-series chip where None.
    """
    found: dict[str, Resources] = {}
    for segment in segments:
        if segment.style == HLS:
            calls = {call.name: call for call in plan(graph, segment.nodes)}
            own = {node.name: calls.get(layer_name(node)) for node in segment.nodes}
            found |= {name: resources(call) if call else Resources() for name, call in own.items()}
        else:
            found |= {node.name: cost.resources(node, graph, board) for node in segment.nodes}
    return found


def check_fits(
    graph: "ModelWrapper", segments: Sequence[Segment], board: "Board", budget: Budget | None = None
) -> None:
    """Raise UserError where an accelerator with HLS layers is estimated to be too large for the budget of the board.

    The budget is all of the board where None.
    """
    if all(segment.style != HLS for segment in segments):
        return
    total = sum(by_node(graph, segments, board).values(), Resources())
    whole = board.title if budget is None else f"the budget on {board.title}"
    titles = {"lut": "LUTs", "ff": "flip-flops", "bram18": "18-kbit block RAMs", "dsp": "DSPs"}
    for kind in RESOURCE_NAMES:
        allowed = getattr(board, kind) * (1.0 if budget is None else getattr(budget, kind))
        needed, there, title = math.ceil(getattr(total, kind)), math.floor(allowed + _MARGIN), titles[kind]
        if getattr(total, kind) > allowed + _MARGIN > there:
            raise UserError(
                f"With these layers in HLS the accelerator takes {needed:,} of the {there:,} {title} of {whole} "
                "(estimated); choose RTL for some of them, or fold for fewer frames a second (--target-fps)."
            )


def _width(stream: Any) -> int:
    return int(stream.lanes * stream.values.bits)


def _padding(call: Any) -> Resources:
    # Rows and columns are compared with the image's edges, and the values masked there.
    return Resources(lut=30 + _width(call.result))


def _sliding_window(call: Any) -> Resources:
    (rows, columns), folds = call.kernel, call.channels // call.source.lanes
    words = ((rows - 1) * call.width + columns + 1) * folds
    # Two addresses run around the ring: each is compared with its end while it is added to.
    return _memory(words, _width(call.source)) + Resources(lut=30 + 4 * words.bit_length())


def _parallel_window(call: Any) -> Resources:
    (rows, columns), width = call.kernel, _width(call.source)
    # A memory for each row, since they take turns as the newest; of a window of one row nothing is kept.
    lines = sum([_kept(call.width, width)] * rows, Resources()) if rows > 1 else Resources()
    # Each row above the newest comes from any of them: a LUT chooses one bit of four, each further LUT of three more.
    turns = (rows - 1) * width * math.ceil((rows - 1) / 3)
    window = rows * columns * width
    return lines + Resources(lut=30 + 4 * call.width.bit_length() + turns, ff=window)


def _matrix_vector(call: Any) -> Resources:
    passes, words, pe, simd = call.weights.shape
    value_bits, product_bits = call.source.values.bits, call.source.values.bits + call.weight_bits
    lanes = pe * simd
    # In LUTs a product is a row of adders for each bit of the weight.
    in_dsp = call.multiplier == "dsp"
    products = Resources(dsp=lanes) if in_dsp else Resources(lut=lanes * call.weight_bits * (value_bits + 1))
    # A product of a DSP stays in its own register.
    kept = Resources(ff=(0 if in_dsp else lanes * product_bits) + pe * call.result.values.bits)
    adders = Resources(lut=pe * ((simd - 1) * (product_bits + 1) + call.result.values.bits))
    vector = _kept(words, _width(call.source)) + Resources(lut=_width(call.source) / 2)
    # The weights' address is their pass times the words of one, and the word: Vitis HLS may put that product, by a
    # constant, into a DSP, of which none is counted here.
    return products + kept + adders + vector + _kept(passes * words, lanes * call.weight_bits)


def _comparison(call: Any) -> Resources:
    (table,) = call.tables
    folds, pe, levels = table.values.shape
    compared = pe * levels * max(table.bits, call.source.values.bits) / 2
    return _lutram(folds, pe * levels * table.bits) + Resources(lut=compared + pe * levels)


def _search(call: Search) -> Resources:
    total = Resources()
    for table in call.tables:
        folds, pe, nodes = table.values.shape
        words = folds * nodes
        # Each of the PE lanes looks at a place of its own.
        one = _lutram(words, table.bits) if words <= SEARCH_LUTRAM_WORDS else _memory(words, table.bits)
        compared = max(table.bits, call.source.values.bits) / 2
        total += Resources(lut=pe * (one.lut + compared), bram18=pe * one.bram18)
    return total


def _hard_tanh(call: Any) -> Resources:
    scale, offset = call.tables
    folds, pe = scale.values.shape
    product_bits = call.source.values.bits + scale.bits
    # A DSP48E1 multiplies 25 by 18 bits.
    wide, narrow = max(call.source.values.bits, scale.bits), min(call.source.values.bits, scale.bits)
    multipliers = pe * math.ceil(wide / 25) * math.ceil(narrow / 18)
    clamps = pe * (product_bits + 2 * call.result.values.bits)
    return _lutram(folds, pe * (scale.bits + offset.bits)) + Resources(
        lut=clamps, ff=pe * product_bits, dsp=multipliers
    )


def _max_pool(call: Any) -> Resources:
    folds, width = call.channels // call.source.lanes, _width(call.source)
    # Two comparisons, each with what a memory kept: the pixel to the left, and the pairs of the row above.
    return _kept(folds, width) + _kept(call.width // 2 * folds, width) + Resources(lut=3 * width)


def _converter(call: Any) -> Resources:
    # To narrow: a register that loads in parallel. To widen: one that fills, almost all flip-flops.
    wide, narrow = max(_width(call.source), _width(call.result)), min(_width(call.source), _width(call.result))
    if wide == narrow:
        return Resources()
    return Resources(lut=10 + wide + narrow if _width(call.source) == wide else 10 + 0.7 * narrow, ff=wide + narrow)


def _stream(depth: int, width: int) -> Resources:
    """Return what a stream of `depth` words costs: shift registers, LUT memory or block RAM by its depth."""
    if depth <= _SHIFTED:
        return Resources(lut=20 + width, ff=10 + width)
    if depth <= _IN_LUTS:
        return Resources(lut=35 + width * math.ceil(depth / 64) * 4 / 3, ff=30 + width)
    return Resources(lut=90, ff=40 + width) + _memory(depth, width)


def _memory(words: int, width: int) -> Resources:
    """Return what a memory costs: in LUTs if it is shallow, else in block RAM of the shape that takes fewest words."""
    if words <= LUTRAM_DEPTH:
        return Resources(lut=width * math.ceil(words / 32) / 2)
    blocks = next((math.ceil(width / bits) for depth, bits in _BLOCK_RAMS if words <= depth), None)
    return Resources(bram18=blocks if blocks is not None else width * math.ceil(words / _BLOCK_RAMS[-1][0]))


def _kept(words: int, width: int) -> Resources:
    """Return what a buffer or the weights cost: one word is registers or constants, which take no LUT."""
    return _memory(words, width) if words > 1 else Resources(ff=width)


def _lutram(words: int, width: int) -> Resources:
    """Return what a table in LUTs costs, however deep: 64 bits a LUT; one word is constants."""
    return Resources(lut=width * math.ceil(words / 64)) if words > 1 else Resources()


_ESTIMATES: dict[str, Callable[[Any], Resources]] = {
    "pad": _padding,
    "sliding_window": _sliding_window,
    "parallel_window": _parallel_window,
    "matrix_vector": _matrix_vector,
    "thresholds_by_comparison": _comparison,
    "thresholds_by_search": _search,
    "hard_tanh": _hard_tanh,
    "max_pool_2x2": _max_pool,
    "convert_width": _converter,
}
