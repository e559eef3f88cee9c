"""Graphs of a single layer of a given shape, with random weights or thresholds: what calibration has code made of."""

import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpga_facedet.compiler.cost_lut_unit import LutUnit
from fpga_facedet.compiler.cost_shapes import MatrixUnit, Shape
from fpga_facedet.compiler.cost_streams import Converter, Fifo, Padding, Pool, Thresholds, Window

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

_FINN = "finn.custom_op.fpgadataflow.rtl"
_OWN = "fpga_facedet.compiler"
_MAP = 4
"""Rows and columns of the map of a layer whose resources do not depend on it."""

Integers = NDArray[np.int64]


def layer(shape: Shape) -> "ModelWrapper":
    """Return a folded graph of one layer of this shape, named after its kind.

    Weights and thresholds are random, the same each time for the same shape.
    """
    return _LAYERS[type(shape)](shape)


def _random(shape: Shape) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(shape).encode()))


def _matrix_unit(shape: MatrixUnit | LutUnit) -> "ModelWrapper":
    from fpga_facedet.compiler.matrix_units import set_multiplier

    lowest = -(2 ** (shape.weight_bits - 1))
    weights = _random(shape).integers(lowest + shape.narrow, -lowest, size=(shape.inputs, shape.outputs))
    if not shape.narrow:
        weights[0, 0] = lowest
    values, result, weight = f"UINT{shape.activation_bits}", f"INT{shape.result_bits}", f"INT{shape.weight_bits}"
    graph = _graph(
        "MVAU",
        {
            "MW": shape.inputs,
            "MH": shape.outputs,
            "PE": shape.pe,
            "SIMD": shape.simd,
            "ActVal": 0,
            "noActivation": 1,
            "binaryXnorMode": 0,
            "mem_mode": "internal_decoupled",
            "numInputVectors": [1, _MAP, _MAP],
            "inputDataType": values,
            "outputDataType": result,
            "accDataType": result,
            "weightDataType": weight,
            "ram_style": shape.ram_style,
        },
        (values, [1, _MAP, _MAP, shape.inputs]),
        (result, [1, _MAP, _MAP, shape.outputs]),
        parameters=(weight, weights),
    )
    set_multiplier(graph.graph.node[0], shape.MULTIPLIER)
    return graph


def _thresholds(shape: Thresholds) -> "ModelWrapper":
    rows = _random_thresholds(_random(shape), shape)
    values, result = f"INT{shape.bits}", f"UINT{shape.levels.bit_length()}"
    return _graph(
        "Thresholding",
        {
            "NumChannels": shape.channels,
            "PE": shape.pe,
            "ActVal": 0,
            "numSteps": shape.levels,
            "numInputVectors": [1, _MAP, _MAP],
            "inputDataType": values,
            "weightDataType": values,
            "outputDataType": result,
        },
        (values, [1, _MAP, _MAP, shape.channels]),
        (result, [1, _MAP, _MAP, shape.channels]),
        parameters=(values, rows),
    )


def _random_thresholds(random: np.random.Generator, shape: Thresholds) -> Integers:
    """Return ascending thresholds (channels, levels), as trained ones are: each channel with its own range."""
    limit = 2 ** (shape.bits - 1) - 1
    rows = []
    for _ in range(shape.channels):
        least = min(shape.levels, 2 * limit)
        width = max(least, int(limit * random.uniform(0.05, 0.9)))
        begin = int(random.integers(-limit, limit - width + 1))
        rows.append(begin + np.sort(random.choice(width, size=shape.levels, replace=False)))
    return np.stack(rows)


def _window(shape: Window) -> "ModelWrapper":
    rows, columns = ((size - shape.kernel) // shape.stride + 1 for size in (shape.height, shape.width))
    values = f"UINT{shape.bits}"
    return _graph(
        "ConvolutionInputGenerator",
        {
            "ConvKernelDim": [shape.kernel, shape.kernel],
            "Dilation": [1, 1],
            "Stride": [shape.stride, shape.stride],
            "IFMChannels": shape.channels,
            "IFMDim": [shape.height, shape.width],
            "OFMDim": [rows, columns],
            "SIMD": shape.simd,
            "depthwise": 0,
            "is1D": 0,
            "parallel_window": int(shape.parallel),
            "ram_style": shape.ram_style,
            "inputDataType": values,
            "outputDataType": values,
        },
        (values, [1, shape.height, shape.width, shape.channels]),
        (values, [1, rows, columns, shape.channels * shape.kernel**2]),
    )


def _padding(shape: Padding) -> "ModelWrapper":
    simd, bits = _values_of(shape.beat_bits)
    values, channels = f"UINT{bits}", shape.folds * simd
    height, width = shape.height - 2, shape.width - 2
    return _graph(
        "FMPadding",
        {
            "ImgDim": [height, width],
            "NumChannels": channels,
            "Padding": [1, 1, 1, 1],
            "SIMD": simd,
            "inputDataType": values,
        },
        (values, [1, height, width, channels]),
        (values, [1, shape.height, shape.width, channels]),
    )


def _pool(shape: Pool) -> "ModelWrapper":
    values, channels, width = f"UINT{shape.bits}", shape.folds * shape.lanes, 2 * shape.words // shape.folds
    return _graph(
        "StreamingMaxPool",
        {"Channels": channels, "ImgDim": [width, width], "PE": shape.lanes, "inputDataType": values},
        (values, [1, width, width, channels]),
        (values, [1, width // 2, width // 2, channels]),
        domain=f"{_OWN}.maxpool",
    )


def _converter(shape: Converter) -> "ModelWrapper":
    lanes, bits = _values_of(min(shape.bits_in, shape.bits_out))
    channels = lanes * max(shape.bits_in, shape.bits_out) // min(shape.bits_in, shape.bits_out)
    values, dims = f"UINT{bits}", [1, _MAP, _MAP, channels]
    return _graph(
        "StreamingDataWidthConverter",
        {
            "dataType": values,
            "inShape": dims,
            "outShape": dims,
            "inWidth": shape.bits_in,
            "outWidth": shape.bits_out,
        },
        (values, dims),
        (values, dims),
    )


def _fifo(shape: Fifo) -> "ModelWrapper":
    lanes, bits = _values_of(shape.width)
    values, dims = f"UINT{bits}", [1, _MAP, _MAP, lanes]
    return _graph(
        "StreamingFIFO",
        {
            "dataType": values,
            "depth": shape.depth,
            "folded_shape": [1, _MAP, _MAP, 1, lanes],
            "normal_shape": dims,
            "ram_style": shape.ram_style,
        },
        (values, dims),
        (values, dims),
        domain=f"{_OWN}.stream_fifo",
    )


def _values_of(beat_bits: int) -> tuple[int, int]:
    """Return how many values of how many bits, 2 to 8, make a beat."""
    bits = next(bits for bits in (4, 8, 2, 3, 5, 6, 7, beat_bits) if beat_bits % bits == 0)
    return beat_bits // bits, bits


def _graph(
    kind: str,
    attributes: dict[str, Any],
    source: tuple[str, Sequence[int]],
    result: tuple[str, Sequence[int]],
    *,
    parameters: tuple[str, Integers] | None = None,
    domain: str = _FINN,
) -> "ModelWrapper":
    """Return the graph of one RTL layer from a stream of a data type and a shape to another."""
    from onnx import TensorProto, helper
    from qonnx.core.datatype import DataType
    from qonnx.core.modelwrapper import ModelWrapper

    streams = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, (_, dims) in (("source", source), ("result", result))
    }
    inputs = ["source", "parameters"] if parameters else ["source"]
    node = helper.make_node(
        f"{kind}_rtl", inputs, ["result"], domain=domain, name=f"{kind}_rtl_0", backend="fpgadataflow", **attributes
    )
    graph = helper.make_graph([node], "single_layer", [streams["source"]], [streams["result"]])
    model = ModelWrapper(helper.make_model(graph))
    for name, (values, _) in (("source", source), ("result", result)):
        model.set_tensor_datatype(name, DataType[values])
    if parameters:
        model.set_initializer("parameters", parameters[1].astype(np.float32))
        model.set_tensor_datatype("parameters", DataType[parameters[0]])
    return model


_LAYERS: dict[type, Callable[[Any], "ModelWrapper"]] = {
    MatrixUnit: _matrix_unit,
    LutUnit: _matrix_unit,
    Thresholds: _thresholds,
    Window: _window,
    Padding: _padding,
    Pool: _pool,
    Converter: _converter,
    Fifo: _fifo,
}

SHAPES = tuple(_LAYERS)
"""The kinds of layers that there are formulas for."""
