"""The layers of a folded graph as calls of the HLS library, and the refusal of those that have no HLS form.

Each FINN node becomes one call; FIFOs become the depth of the stream they stand in. The orders are those of FINN's RTL:
of a matrix, row = pass * PE + pe and column = word * SIMD + simd; of channels, channel = fold * PE + pe.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fpga_facedet.compiler import fifos, layers
from fpga_facedet.compiler.cost import LUTRAM_DEPTH, weight_depth
from fpga_facedet.compiler.hls import hard_tanh
from fpga_facedet.compiler.hls.calls import (
    Comparison,
    HlsLayer,
    MatrixVector,
    MaxPool,
    Padding,
    ParallelWindow,
    Search,
    SlidingWindow,
    Stream,
    Tanh,
    Values,
    WidthConverter,
)
from fpga_facedet.compiler.hls.cycles import trips
from fpga_facedet.compiler.hls.styles import layer_name, stands_between
from fpga_facedet.compiler.matrix_units import ADDERS, is_matrix_unit, multiplier_of
from fpga_facedet.compiler.matrix_units import kind_of as _kind
from fpga_facedet.compiler.staircase import Staircase
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import HLS

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

MOST_BITS = 16
"""Bits of an input, an output or a weight of an HLS layer, at most."""

MOST_SUM_BITS = 32
"""Bits of a sum, at most."""

MOST_BEAT_BITS = 4096
"""Bits of a stream's beat, at most: the library's STREAM_BITS, where the reason stands."""

MOST_COMPARED = 3
"""Up to so many thresholds a channel are compared all at once; among more of them a search finds the place."""

_MEMORY_OF_RAM_STYLE = {"srl": "srl", "distributed": "lutram", "block": "bram"}

_Common = tuple[str, Stream, Stream, int]
"""What every call has: name, source, result and cycles."""


def plan(graph: "ModelWrapper", nodes: Sequence["NodeProto"]) -> list[HlsLayer]:
    """Return the calls for `nodes`, consecutive layers of the folded `graph` that `check_supported` let pass.

    FIFOs among them become the depth of the stream they stand in. A stream into a matrix unit holds a vector at least,
    since the unit takes no word of the next vector before its last pass over this one.
    """
    working = [node for node in nodes if _kind(node) != "StreamingFIFO"]
    streams = _streams(nodes)
    return [
        _PLANS[_kind(node)](graph, node, (layer_name(node), source, result, trips(node)))
        for node, source, result in zip(working, streams[:-1], streams[1:], strict=True)
    ]


def check_supported(graph: "ModelWrapper", styles: dict[str, str]) -> None:
    """Raise UserError, naming the layer, where one that `styles` makes HLS has no HLS form.

    Args:
        graph: the folded graph.
        styles: 'rtl' or 'hls' for the name of each node.
    """
    for node in graph.graph.node:
        if styles[node.name] != HLS:
            continue
        if _kind(node) not in _CHECKS:
            _refuse(node, f"is a {node.op_type}, which has no HLS form")
        if is_matrix_unit(node) and multiplier_of(node) == ADDERS:
            _refuse(node, "is a matrix unit of adders, which has no HLS form", "choose RTL for it")
        layer = _custom_op(node)
        _CHECKS[_kind(node)](graph, node, layer)
        _check_bits(node, layer)


def _streams(nodes: Sequence["NodeProto"]) -> list[Stream]:
    """Return the stream in front of the first node, and the one behind each that is no FIFO."""
    found = [_stream("in0", nodes[0], "input")]
    for node in nodes:
        layer = _custom_op(node)
        if _kind(node) == "StreamingFIFO":
            found[-1] = _deeper(found[-1], layer.get_nodeattr("depth"))
            continue
        if _kind(node) == "MVAU":
            found[-1] = _deeper(found[-1], layer.get_nodeattr("MW") // layer.get_nodeattr("SIMD"))
        found.append(_stream(layer_name(node), node, "output"))
    return found


def _stream(name: str, node: "NodeProto", end: str) -> Stream:
    layer = _custom_op(node)
    *beats, lanes = getattr(layer, f"get_folded_{end}_shape")()
    kind = getattr(layer, f"get_{end}_datatype")()
    return Stream(name, Values(kind.bitwidth(), kind.signed()), int(lanes), math.prod(int(size) for size in beats))


def _deeper(stream: Stream, depth: int) -> Stream:
    depth = max(stream.depth, depth)
    return replace(stream, depth=depth, memory=_MEMORY_OF_RAM_STYLE[fifos.ram_style(depth)])


def _plan_padding(graph: "ModelWrapper", node: "NodeProto", common: _Common) -> HlsLayer:
    layer = _custom_op(node)
    height, width = layer.get_nodeattr("ImgDim")
    return Padding(*common, height, width, layer.get_nodeattr("NumChannels"), tuple(layer.get_nodeattr("Padding")))


def _plan_window(graph: "ModelWrapper", node: "NodeProto", common: _Common) -> HlsLayer:
    layer = _custom_op(node)
    kind = ParallelWindow if layer.get_nodeattr("parallel_window") else SlidingWindow
    height, width = layer.get_nodeattr("IFMDim")
    kernel, stride = tuple(layer.get_nodeattr("ConvKernelDim")), tuple(layer.get_nodeattr("Stride"))
    return kind(*common, height, width, layer.get_nodeattr("IFMChannels"), kernel, stride)


def _plan_matrix(graph: "ModelWrapper", node: "NodeProto", common: _Common) -> HlsLayer:
    layer = _custom_op(node)
    pe, simd = layer.get_nodeattr("PE"), layer.get_nodeattr("SIMD")
    matrix = graph.get_initializer(node.input[1]).astype(np.int64).T
    rows, columns = matrix.shape
    weights = matrix.reshape(rows // pe, pe, columns // simd, simd).transpose(0, 2, 1, 3)
    vectors = math.prod(layer.get_nodeattr("numInputVectors"))
    memory = "lutram" if weight_depth(layer) <= LUTRAM_DEPTH else "block"
    return MatrixVector(*common, vectors, layer.get_input_datatype(1).bitwidth(), weights, memory)


def _plan_levels(graph: "ModelWrapper", node: "NodeProto", common: _Common) -> HlsLayer:
    layer = _custom_op(node)
    least, staircase = layer.get_nodeattr("ActVal"), _staircase(graph, node)
    parts = (*common, math.prod(layer.get_nodeattr("numInputVectors")), least, staircase)
    if staircase.levels <= MOST_COMPARED:
        return Comparison(*parts)
    # Only the head's outputs are signed: HardTanh, whose steps lie at equal distances.
    integers = hard_tanh.fit(staircase, least) if least < 0 else None
    tanh = None if integers is None else Tanh(*parts, integers)
    return tanh if tanh is not None and tanh.fits else Search(*parts)


def _staircase(graph: "ModelWrapper", node: "NodeProto") -> Staircase:
    """Return a layer's thresholds, limited to the values that can reach it."""
    least, most = _range(graph, node)
    channels = _custom_op(node).get_nodeattr("NumChannels")
    low, high = np.full(channels, least), np.full(channels, most)
    return Staircase.of(layer_name(node), graph.get_initializer(node.input[1]), low, high, np.maximum(-low, high))


def _range(graph: "ModelWrapper", node: "NodeProto") -> tuple[int, int]:
    """Return the least and the largest value that can reach a layer: a sum's, or else those of its input's type."""
    source = graph.find_producer(node.input[0])
    while source is not None and stands_between(source):
        source = graph.find_producer(source.input[0])
    if source is not None and _kind(source) == "MVAU":
        return layers.sum_range(graph, source)
    kind = _custom_op(node).get_input_datatype()
    return int(kind.min()), int(kind.max())


def _plan_pool(graph: "ModelWrapper", node: "NodeProto", common: _Common) -> HlsLayer:
    layer = _custom_op(node)
    height, width = layer.get_nodeattr("ImgDim")
    return MaxPool(*common, height, width, layer.get_nodeattr("Channels"))


def _plan_converter(graph: "ModelWrapper", node: "NodeProto", common: _Common) -> HlsLayer:
    return WidthConverter(*common)


def _check_padding(graph: "ModelWrapper", node: "NodeProto", layer: Any) -> None:
    _check_static(node, layer)
    _check_divides(node, layer, "SIMD", "NumChannels")


def _check_window(graph: "ModelWrapper", node: "NodeProto", layer: Any) -> None:
    _check_static(node, layer)
    _check_divides(node, layer, "SIMD", "IFMChannels")
    if list(layer.get_nodeattr("Dilation")) != [1, 1]:
        _refuse(node, f"has dilation {list(layer.get_nodeattr('Dilation'))}; HLS windows have none")
    if layer.get_nodeattr("depthwise"):
        _refuse(node, "orders its window for a depthwise convolution, which has no HLS form")
    if layer.get_nodeattr("is1D"):
        _refuse(node, "slides along one dimension only, which has no HLS form")
    if layer.get_nodeattr("parallel_window") and layer.get_nodeattr("SIMD") != layer.get_nodeattr("IFMChannels"):
        _refuse(node, f"puts out whole windows but takes SIMD {layer.get_nodeattr('SIMD')} channels of a pixel at once")


def _check_matrix(graph: "ModelWrapper", node: "NodeProto", layer: Any) -> None:
    _check_divides(node, layer, "SIMD", "MW")
    _check_divides(node, layer, "PE", "MH")
    if graph.get_initializer(node.input[1]) is None or layer.get_nodeattr("runtime_writeable_weights"):
        _refuse(node, "takes its weights at run time; HLS layers hold them as constants")
    if not layer.get_nodeattr("noActivation") or layer.get_nodeattr("binaryXnorMode") or layer.get_nodeattr("TH") != 1:
        _refuse(node, "is a matrix unit with thresholds inside, binary products or tiles, which has no HLS form")
    _check_type(node, "weights", layer.get_input_datatype(1), MOST_BITS)


def _check_levels(graph: "ModelWrapper", node: "NodeProto", layer: Any) -> None:
    _check_divides(node, layer, "PE", "NumChannels")
    if graph.get_initializer(node.input[1]) is None or layer.get_nodeattr("runtime_writeable_weights"):
        _refuse(node, "takes its thresholds at run time; HLS layers hold them as constants")
    levels, most = graph.get_initializer(node.input[1]).shape[-1], layer.get_output_datatype().max()
    # The search's tree is full, so its last level is 2^n - 1, reached or not.
    if levels > MOST_COMPARED and layer.get_nodeattr("ActVal") + (1 << levels.bit_length()) - 1 > most:
        _refuse(node, f"has {levels} thresholds; an HLS search takes 2^n - 1 of them for n bits")


def _check_pool(graph: "ModelWrapper", node: "NodeProto", layer: Any) -> None:
    _check_divides(node, layer, "PE", "Channels")
    height, width = layer.get_nodeattr("ImgDim")
    if height % 2 or width % 2:
        _refuse(node, f"pools {height} x {width} pixels; the HLS pool takes even sizes")


def _check_converter(graph: "ModelWrapper", node: "NodeProto", layer: Any) -> None:
    widths = layer.get_nodeattr("inWidth"), layer.get_nodeattr("outWidth")
    value = layer.get_input_datatype().bitwidth()
    if max(widths) % min(widths) or min(widths) % value:
        _refuse(
            node,
            f"turns beats of {widths[0]} bits into {widths[1]} bits for values of {value}; "
            "HLS converters take widths that are multiples of a value and of one another",
        )


def _check_fifo(graph: "ModelWrapper", node: "NodeProto", layer: Any) -> None:
    """Accept every FIFO: it becomes the depth of a stream."""


def _check_static(node: "NodeProto", layer: Any) -> None:
    if layer.get_nodeattr("dynamic_mode"):
        _refuse(node, "changes its sizes at run time (dynamic_mode), which has no HLS form")


def _check_divides(node: "NodeProto", layer: Any, folding: str, of: str) -> None:
    lanes, values = layer.get_nodeattr(folding), layer.get_nodeattr(of)
    if lanes < 1 or values % lanes:
        _refuse(node, f"has {folding} {lanes}, which does not divide its {of} {values}", "fold it with a divisor")


def _check_bits(node: "NodeProto", layer: Any) -> None:
    """Refuse inputs and outputs that are no integers or have too many bits (sums may have more), and wide streams."""
    carries = stands_between(node)
    sums_in, sums_out = carries or _kind(node) == "Thresholding", carries or _kind(node) == "MVAU"
    _check_type(node, "inputs", layer.get_input_datatype(), MOST_SUM_BITS if sums_in else MOST_BITS)
    _check_type(node, "outputs", layer.get_output_datatype(), MOST_SUM_BITS if sums_out else MOST_BITS)
    widest = max(layer.get_instream_width(), layer.get_outstream_width())
    if widest > MOST_BEAT_BITS:
        _refuse(
            node,
            f"has a stream of {widest} bits a beat; HLS streams take {MOST_BEAT_BITS}",
            "fold it further, or choose RTL for it",
        )


def _check_type(node: "NodeProto", what: str, kind: Any, most: int) -> None:
    if not kind.is_integer() or kind.name == "BIPOLAR" or kind.bitwidth() > most:
        _refuse(node, f"has {what} of type {kind.name}; HLS layers take integers of up to {most} bits there")


def _refuse(node: "NodeProto", why: str, remedy: str = "choose RTL for it, or change the network") -> NoReturn:
    raise UserError(f"Layer {layer_name(node)} {why}; {remedy}.")


def _custom_op(node: "NodeProto") -> Any:
    from qonnx.custom_op.registry import getCustomOp

    return getCustomOp(node)


_PLANS = {
    "FMPadding": _plan_padding,
    "ConvolutionInputGenerator": _plan_window,
    "MVAU": _plan_matrix,
    "Thresholding": _plan_levels,
    "StreamingMaxPool": _plan_pool,
    "StreamingDataWidthConverter": _plan_converter,
}

_CHECKS = {
    "FMPadding": _check_padding,
    "ConvolutionInputGenerator": _check_window,
    "MVAU": _check_matrix,
    "Thresholding": _check_levels,
    "StreamingMaxPool": _check_pool,
    "StreamingDataWidthConverter": _check_converter,
    "StreamingFIFO": _check_fifo,
}
