"""What can be chosen for each layer: how many lanes, what it multiplies with, and where its memories lie.

Every layer has a list of foldings, each with its stream widths, its timing and its cost in the style of that layer.
The search (`search`) takes one of each.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fpga_facedet.boards import Board
from fpga_facedet.compiler import cost, fifos
from fpga_facedet.compiler.cost import Resources
from fpga_facedet.compiler.cost_memory import BLOCK, DISTRIBUTED, ROM_WORDS, memory_style
from fpga_facedet.compiler.hls import cost as hls_cost
from fpga_facedet.compiler.hls import cycles as hls_cycles
from fpga_facedet.compiler.hls.plan import plan
from fpga_facedet.compiler.hls.styles import stands_between
from fpga_facedet.compiler.matrix_units import (
    ADDERS,
    DSP,
    KIND,
    LUT,
    Multiplier,
    is_matrix_unit,
    kind_of,
    multiplier_of,
    set_multiplier,
)
from fpga_facedet.compiler.timing import PaddingTiming, Timing, UnitTiming, WindowTiming
from fpga_facedet.manifest import HLS, RTL

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

MOST_ADDER_WEIGHTS = 512
"""Matrices of more weights are not offered as a graph of adders: each would take a part of the chip, and minutes."""

_RAM_STYLE = "ram_style"

_DEEPEST_IN_LUTS = 4096
"""Words of a memory that may still lie in LUTs; deeper ones would be nothing but multiplexers."""

_MOST_BITS_IN_A_TABLE = 18 * 1024
"""Of weights in LUTs, where 64 lines of a bit are one. What yosys makes of larger tables depends on what they hold: of
252 lines of 256 bits, which would be 1,280 LUTs, it made 1,800 where they were random and 3,500 of a network's."""


@dataclass(frozen=True)
class Folding:
    """One way to fold a layer: the attributes that make it so, its stream widths in bits, its timing alone, its cost.

    `multiplier` is that of a matrix unit, None for other layers.
    """

    settings: tuple[tuple[str, int | str], ...]
    bits_in: int
    bits_out: int
    timing: Timing
    cost: Resources
    multiplier: Multiplier | None = None


@dataclass(frozen=True)
class Layer:
    """A layer of the pipeline with all its foldings.

    Where it begins a convolution, a FIFO stands in front of it for `waiting` pixels of `pixel_bits` bits each.
    """

    name: str
    style: str
    foldings: list[Folding]
    waiting: int = 0
    pixel_bits: int = 0


def layers_of(graph: "ModelWrapper", styles: Mapping[str, str], board: Board, widest: int | None = None) -> list[Layer]:
    """Return the layers of a specialised graph with every folding of each; the graph stays as it is.

    Args:
        board: whose family of chips the costs are for.
        styles: 'rtl' or 'hls' for the name of each node.
        widest: the bits that a beat may have, None for any.
    """
    found = []
    for index, node in enumerate(graph.graph.node):
        before = node.SerializeToString()
        foldings = foldings_of(graph, node, styles[node.name], board)
        node.ParseFromString(before)
        if index == 0:
            # A whole pixel enters in each beat, whatever the folding behind it.
            foldings = [folding for folding in foldings if folding.bits_in == _pixel_bits(graph, node)]
        if widest is not None:
            foldings = [folding for folding in foldings if max(folding.bits_in, folding.bits_out) <= widest]
        waiting = fifos.pixels_waiting(graph, node) if index and fifos.starts_convolution(graph, node) else 0
        found.append(Layer(node.name, styles[node.name], foldings, waiting, _pixel_bits(graph, node)))
    return found


def _pixel_bits(graph: "ModelWrapper", node: "NodeProto") -> int:
    source = node.input[0]
    return int(graph.get_tensor_shape(source)[-1] * graph.get_tensor_datatype(source).bitwidth())


def foldings_of(graph: "ModelWrapper", node: "NodeProto", style: str, board: Board) -> list[Folding]:
    """Return every folding of a layer in a style; the layer is left with the last one tried."""
    found = []
    for multiplier in _multipliers(graph, node, style):
        timings: dict[tuple[int | str, ...], Timing] = {}
        for settings in _settings_of(node, style, multiplier):
            apply(node, settings, multiplier)
            # Where its memory lies is all the same to a layer's timing.
            lanes = tuple(value for name, value in settings.items() if name != _RAM_STYLE)
            if lanes not in timings:
                timings[lanes] = timing_of(node, style)
            layer = _custom_op(node)
            found.append(
                Folding(
                    settings=tuple(settings.items()),
                    bits_in=int(layer.get_instream_width()),
                    bits_out=int(layer.get_outstream_width()),
                    timing=timings[lanes],
                    cost=_cost(graph, node, style, board),
                    multiplier=multiplier,
                )
            )
    return found


def _cost(graph: "ModelWrapper", node: "NodeProto", style: str, board: Board) -> Resources:
    if style == HLS:
        (call,) = plan(graph, [node])
        return hls_cost.resources(call)
    return cost.resources(node, graph, board)


def timing_of(node: "NodeProto", style: str) -> Timing:
    """Return the timing of a layer alone, as it is folded now."""
    layer = _custom_op(node)
    lanes = int(layer.get_folded_output_shape()[-1])
    kind = kind_of(node)
    own = hls_cycles.interval(node) if style == HLS else int(layer.get_exp_cycles())
    pipeline = hls_cycles.pipeline_depth(kind, layer) if style == HLS else 0
    if kind == KIND:
        words = layer.get_nodeattr("MW") // layer.get_nodeattr("SIMD")
        return UnitTiming(
            own,
            lanes,
            vectors=math.prod(layer.get_nodeattr("numInputVectors")),
            words=words,
            passes=layer.get_nodeattr("MH") // layer.get_nodeattr("PE"),
            lanes_in=layer.get_nodeattr("SIMD"),
            early=words if style == HLS else _early_words(node, layer, words),
            pipeline=pipeline,
        )
    if kind == "FMPadding":
        return PaddingTiming(own, lanes, pixel_cycles=layer.get_nodeattr("NumChannels") // lanes)
    if kind == "ConvolutionInputGenerator":
        return _window_timing(layer, style, lanes, pipeline)
    return Timing(own, lanes)


def _early_words(node: "NodeProto", layer: Any, words: int) -> int:
    """Return for how many words of the next vector a matrix unit has places while it works on this one."""
    if multiplier_of(node) == LUT:
        return int(layer.early_words())
    # FINN's unit has a memory of the next power of two, of two places at least.
    return 0 if multiplier_of(node) == ADDERS else 2 ** max(1, (words - 1).bit_length()) - words


def _window_timing(layer: Any, style: str, lanes: int, pipeline: int) -> WindowTiming:
    (height, width), kernel = layer.get_nodeattr("IFMDim"), tuple(layer.get_nodeattr("ConvKernelDim"))
    whole = bool(layer.get_nodeattr("parallel_window"))
    folds = layer.get_nodeattr("IFMChannels") // layer.get_nodeattr("SIMD")
    beats = 1 if whole else math.prod(kernel) * folds
    alone = WindowTiming(
        0,
        lanes,
        height=height,
        width=width,
        kernel=kernel,
        stride=tuple(layer.get_nodeattr("Stride")),
        pixel_cycles=folds,
        window_cycles=beats,
        # In HLS the step that puts out the last beat of a window takes the next one in.
        busy_cycles=0 if whole or style == RTL else beats - folds,
        reads_ahead=style == RTL and not whole,
        holds_window=whole,
        pipeline=2 if style == RTL else pipeline,
    )
    return alone.behind(None)


def cycles_by_layer(nodes: Iterable[tuple["NodeProto", str]]) -> dict[str, int]:
    """Return the cycles a frame of each layer of a folded graph by its name, waiting for its neighbours included.

    `nodes` are all of them in order, each with its style. Width converters and FIFOs wait for nothing: theirs are the
    beats that pass.
    """
    found, source = {}, None
    for node, style in nodes:
        if stands_between(node):
            found[node.name] = hls_cycles.trips(node)
            continue
        source = timing_of(node, style).behind(source)
        found[node.name] = source.cycles
    return found


def apply(node: "NodeProto", settings: Mapping[str, int | str], multiplier: Multiplier | None) -> None:
    """Give a layer a folding."""
    if multiplier is not None:
        set_multiplier(node, multiplier)
    layer = _custom_op(node)
    for name, value in settings.items():
        layer.set_nodeattr(name, value)


def _multipliers(graph: "ModelWrapper", node: "NodeProto", style: str) -> list[Multiplier | None]:
    """Return what a matrix unit can multiply with; an HLS unit follows the bits of its factors."""
    if not is_matrix_unit(node):
        return [None]
    if style == HLS:
        return [DSP]
    found: list[Multiplier | None] = [DSP]
    set_multiplier(node, LUT)
    if _custom_op(node).unsupported() is None:
        found.append(LUT)
    set_multiplier(node, DSP)
    return [*found, ADDERS] if graph.get_initializer(node.input[1]).size <= MOST_ADDER_WEIGHTS else found


def _settings_of(node: "NodeProto", style: str, multiplier: Multiplier | None) -> Iterator[dict[str, int | str]]:
    """Yield the attribute values that fold a layer in every way its hardware allows."""
    layer, kind = _custom_op(node), kind_of(node)
    if kind == KIND:
        yield from _unit_settings(layer, style, multiplier)
    elif kind == "ConvolutionInputGenerator":
        yield from _window_settings(layer, style)
    else:
        lanes, values = _LANES[kind]
        for lane in _divisors(layer.get_nodeattr(values)):
            yield {lanes: lane}


_LANES = {
    "Thresholding": ("PE", "NumChannels"),
    "StreamingMaxPool": ("PE", "Channels"),
    "FMPadding": ("SIMD", "NumChannels"),
}
"""The attribute that folds a layer, and what it must divide."""


def _unit_settings(layer: Any, style: str, multiplier: Multiplier | None) -> Iterator[dict[str, int | str]]:
    rows, columns, bits = layer.get_nodeattr("MH"), layer.get_nodeattr("MW"), layer.get_input_datatype(1).bitwidth()
    if multiplier == ADDERS:
        yield {"PE": rows, "SIMD": columns}
        return
    for pe in _divisors(rows):
        for simd in _divisors(columns):
            deepest = min(ROM_WORDS, _MOST_BITS_IN_A_TABLE // (pe * simd * bits))
            yield from _with_memories({"PE": pe, "SIMD": simd}, rows * columns // (pe * simd), style, deepest)


def _window_settings(layer: Any, style: str) -> Iterator[dict[str, int | str]]:
    channels = layer.get_nodeattr("IFMChannels")
    # The whole window at once needs all channels at once.
    shapes = [*((simd, 0) for simd in _divisors(channels)), (channels, 1)]
    for simd, whole in shapes:
        settings: dict[str, int | str] = {"SIMD": simd, "parallel_window": whole}
        for name, value in settings.items():
            layer.set_nodeattr(name, value)
        yield from _with_memories(settings, cost.window_depth(layer), style)


def _with_memories(
    settings: dict[str, int | str], depth: int, style: str, deepest_in_luts: int = _DEEPEST_IN_LUTS
) -> Iterator[dict[str, int | str]]:
    """Yield the settings with each memory that `depth` words may lie in; HLS layers choose by themselves."""
    for memory in (DISTRIBUTED, BLOCK):
        automatic = memory_style(depth)
        if memory == automatic if style == HLS else memory == BLOCK or depth <= deepest_in_luts:
            yield {**settings, _RAM_STYLE: memory}


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def _custom_op(node: "NodeProto") -> Any:
    from qonnx.custom_op.registry import getCustomOp

    return getCustomOp(node)
