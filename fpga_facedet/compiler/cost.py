"""What a hardware layer costs on a 7-series chip, before any synthesis: LUTs, flip-flops, 18-kbit block RAMs, DSPs.

FINN's own estimates say 0 LUT for matrix units and padding and four lanes a DSP whatever the bits. Here a layer's
shape says how much there is of what takes resources (`cost_shapes`, `cost_streams`, `cost_memory`), and `costs.json`
what each of it takes by yosys's counts of single layers, written by `facedet calibrate`. Block RAMs and DSPs follow
exactly. All that comes out is `estimated`; on UltraScale+ LUTs and flip-flops are those of the 7-series.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpga_facedet.compiler import cost_memory
from fpga_facedet.compiler.cost_lut_unit import LutUnit
from fpga_facedet.compiler.cost_memory import BLOCK, memory_style
from fpga_facedet.compiler.cost_memory import LUTRAM_DEPTH as LUTRAM_DEPTH
from fpga_facedet.compiler.cost_shapes import DSP48E1, DSP48E2, MatrixUnit, Shape, Terms
from fpga_facedet.compiler.cost_streams import Converter, Fifo, Padding, Pool, Thresholds, Window
from fpga_facedet.compiler.matrix_units import ADDERS, LUT, is_matrix_unit, kind_of, multiplier_of
from fpga_facedet.errors import InternalError, UserError

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

    from fpga_facedet.boards import Board


@dataclass(frozen=True, kw_only=True)
class Resources:
    """LUTs, flip-flops, 18-kbit block RAMs and DSP slices."""

    lut: float = 0.0
    ff: float = 0.0
    bram18: float = 0.0
    dsp: float = 0.0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            lut=self.lut + other.lut,
            ff=self.ff + other.ff,
            bram18=self.bram18 + other.bram18,
            dsp=self.dsp + other.dsp,
        )

    def share_of(self, board: "Board") -> float:
        """Return the sum of the shares of the chip's LUTs, block RAMs and DSPs: one number to minimise.

        Flip-flops are left out: every LUT of a slice brings two of them, so that they cost nothing by themselves.
        """
        return self.lut / board.lut + self.bram18 / board.bram18 + self.dsp / board.dsp

    def fits(self, board: "Board", budget: "Budget | None" = None) -> bool:
        """Return whether it stays within the budget's shares of the chip, within all of the chip where None."""
        budget = budget or Budget(lut=1.0, ff=1.0, bram18=1.0, dsp=1.0)
        return all(getattr(self, name) <= getattr(budget, name) * getattr(board, name) for name in RESOURCE_NAMES)

    def to_dict(self) -> dict[str, float]:
        """Return the counts under the names of the manifest, rounded to whole ones."""
        return {name: round(getattr(self, name)) for name in RESOURCE_NAMES}


RESOURCE_NAMES = tuple(field.name for field in fields(Resources))
"""lut, ff, bram18, dsp: the names of a resource in Python, JSON and TOML alike."""

UNITS = {"lut": "LUTs", "ff": "flip-flops", "bram18": "18-kbit block RAMs", "dsp": "DSP slices"}
"""What is counted of each."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What share of each of the chip's resources a design may take, each above 0 and at most 1.

    The defaults leave room for place and route, and for the DMA and the interconnect around the accelerator.
    """

    lut: float = 0.85
    ff: float = 1.0
    bram18: float = 0.90
    dsp: float = 0.95

    def __post_init__(self) -> None:
        """Refuse shares that no chip could give."""
        for name in RESOURCE_NAMES:
            share = getattr(self, name)
            if not 0 < share <= 1:
                raise UserError(
                    f"A budget of {share * 100:g} % of {name} makes no sense; give a percentage above 0 and up to 100."
                )

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Return the budget that a text such as 'lut=85,bram=90,dsp=95' gives in percent; the rest are the defaults.

        Raises UserError for an unknown resource, one named twice, or no number.
        """
        shares: dict[str, float] = {}
        for part in text.split(","):
            key, _, value = (word.strip() for word in part.partition("="))
            name = "bram18" if key == "bram" else key
            if name not in RESOURCE_NAMES or name in shares:
                raise UserError(
                    f"'{part.strip()}' in the budget '{text}' is no resource or comes twice; name each of lut, ff, "
                    "bram and dsp once at most, as in lut=85,bram=90,dsp=95."
                )
            try:
                shares[name] = float(value) / 100
            except ValueError:
                raise UserError(
                    f"'{value}' in the budget '{text}' is no number; give a percentage, as in lut=85,bram=90,dsp=95."
                ) from None
        return cls(**shares)

    def to_dict(self) -> dict[str, float]:
        """Return the shares under the names of the resources."""
        return asdict(self)


COSTS_FILE = Path(__file__).with_name("costs.json")
"""What each term of a formula takes, for each formula; written by `facedet calibrate`."""


@cache
def costs() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Return the coefficients: by formula, then 'lut' or 'ff', then term."""
    found: dict[str, dict[str, dict[str, float]]] = json.loads(COSTS_FILE.read_text(encoding="utf-8"))["coefficients"]
    return found


def of_shape(shape: Shape) -> Resources:
    """Return the estimate for a layer of this shape."""
    each = costs()[shape.formula]
    return Resources(
        lut=weighted(shape.lut_terms(), each["lut"]),
        ff=weighted(shape.ff_terms(), each["ff"]),
        bram18=shape.bram18,
        dsp=shape.dsp,
    )


def weighted(terms: Terms, each: Mapping[str, float]) -> float:
    """Return the sum of the terms, each by what it takes."""
    return sum(amount * each[name] for name, amount in terms.items())


def resources(node: "NodeProto", model: "ModelWrapper | None" = None, board: "Board | None" = None) -> Resources:
    """Return the estimate for one RTL layer as it is folded now, a matrix unit with the memory of its weights.

    Args:
        model: the graph that has the layer's weights. Without it weights are taken for narrow, none being the lowest
            number of its type, as Brevitas trains them; a graph of adders has no estimate without its weights.
        board: whose DSP slices do the multiplications; those of a 7-series chip where None.
    """
    if not has_formula(node):
        if model is None:
            raise InternalError(f"The cost of {node.name} follows from its weights, and no model was given.")
        used: Resources = _operation(node).resources(model)
        return used
    return of_shape(shape_of(node, model, board))


def has_formula(node: "NodeProto") -> bool:
    """Return whether a formula counts this RTL layer; a graph of adders knows its own cost instead."""
    return not is_matrix_unit(node) or multiplier_of(node) != ADDERS


def shape_of(node: "NodeProto", model: "ModelWrapper | None" = None, board: "Board | None" = None) -> Shape:
    """Return the shape of one RTL layer as it is folded now; arguments as those of `resources`."""
    if is_matrix_unit(node):
        return _matrix_unit(node, model, board)
    return _SHAPES[kind_of(node)](_operation(node))


def memory(depth: int, width: int, style: str | None = None) -> Resources:
    """Return what a memory of `depth` words of `width` bits costs, with one port to write and one to read.

    `style` is "distributed" for LUTs or "block" for block RAM; by its depth where None.
    """
    style = style or memory_style(depth)
    made = cost_memory.mapped(depth, width, style)
    return Resources(lut=made.lut + made.choices, ff=0 if style == BLOCK else width, bram18=made.bram18)


def converter(bits_in: int, bits_out: int) -> Resources | None:
    """Return what it costs to change the width of a stream: nothing where both ends agree.

    None where neither width divides the other: such a converter costs thousands of LUTs, and takes a third longer.
    """
    if max(bits_in, bits_out) % min(bits_in, bits_out):
        return None
    return Resources() if bits_in == bits_out else of_shape(Converter(bits_in, bits_out))


def fifo(depth: int, width: int, style: str | None = None) -> Resources:
    """Return what a FIFO of `depth` beats of `width` bits costs in a `style` as that of `memory`."""
    return of_shape(Fifo(depth, width, style or memory_style(depth)))


def weight_depth(layer: Any) -> int:
    """Return the words of a matrix unit's weight memory."""
    weights = layer.get_nodeattr("MW") * layer.get_nodeattr("MH")
    return int(weights // (layer.get_nodeattr("PE") * layer.get_nodeattr("SIMD")))


def window_depth(layer: Any) -> int:
    """Return the words of a sliding window's memory: of all of it, or of each line where the window is parallel."""
    if layer.select_impl_style() == "default":
        return int(layer.get_buffer_depth())
    return max(1, int(layer.get_nodeattr("IFMDim")[1] - layer.get_nodeattr("ConvKernelDim")[1]))


def dsp_slice(board: "Board | None") -> str:
    """Return the kind of the board's DSP slices; those of a 7-series chip where None."""
    return DSP48E1 if board is None or board.part.startswith("xc7") else DSP48E2


def has_narrow_weights(node: "NodeProto", model: "ModelWrapper | None") -> bool:
    """Return whether no weight is the lowest number of its type, as code generation asks; True where unknown."""
    weights = None if model is None else model.get_initializer(node.input[1])
    return weights is None or bool(weights.min() > _operation(node).get_input_datatype(1).min())


def _operation(node: "NodeProto") -> Any:
    from qonnx.custom_op.registry import getCustomOp

    return getCustomOp(node)


def _matrix_unit(node: "NodeProto", model: "ModelWrapper | None", board: "Board | None") -> Shape:
    layer = _operation(node)
    common = {
        "inputs": layer.get_nodeattr("MW"),
        "outputs": layer.get_nodeattr("MH"),
        "pe": layer.get_nodeattr("PE"),
        "simd": layer.get_nodeattr("SIMD"),
        "weight_bits": layer.get_input_datatype(1).bitwidth(),
        "activation_bits": layer.get_input_datatype(0).bitwidth(),
        "result_bits": layer.get_output_datatype().bitwidth(),
        "ram_style": layer.get_nodeattr("ram_style"),
    }
    if multiplier_of(node) == LUT:
        return LutUnit(**common, places=layer.places())
    return MatrixUnit(**common, narrow=has_narrow_weights(node, model), device=dsp_slice(board))


def _thresholds(layer: Any) -> Shape:
    return Thresholds(
        channels=layer.get_nodeattr("NumChannels"),
        pe=layer.get_nodeattr("PE"),
        bits=layer.get_input_datatype(1).bitwidth(),
        levels=layer.get_nodeattr("numSteps"),
    )


def _window(layer: Any) -> Shape:
    height, width = layer.get_nodeattr("IFMDim")
    return Window(
        channels=layer.get_nodeattr("IFMChannels"),
        height=height,
        width=width,
        kernel=layer.get_nodeattr("ConvKernelDim")[0],
        stride=layer.get_nodeattr("Stride")[0],
        simd=layer.get_nodeattr("SIMD"),
        bits=layer.get_input_datatype().bitwidth(),
        parallel=layer.select_impl_style() == "parallel",
        depth=window_depth(layer),
        ram_style=layer.get_nodeattr("ram_style"),
    )


def _padding(layer: Any) -> Shape:
    _, height, width, _ = layer.get_normal_output_shape()
    folds = layer.get_nodeattr("NumChannels") // layer.get_nodeattr("SIMD")
    return Padding(height, width, folds, layer.get_instream_width())


def _pool(layer: Any) -> Shape:
    lanes = layer.get_nodeattr("PE")
    depth = layer.get_buffer_depth()
    return Pool(
        words=depth,
        folds=layer.get_nodeattr("Channels") // lanes,
        lanes=lanes,
        bits=layer.get_input_datatype().bitwidth(),
        ram_style=memory_style(depth),
    )


def _converter(layer: Any) -> Shape:
    return Converter(layer.get_instream_width(), layer.get_outstream_width())


def _fifo(layer: Any) -> Shape:
    return Fifo(layer.get_nodeattr("depth"), layer.get_instream_width(), layer.get_nodeattr("ram_style"))


_SHAPES: dict[str, Callable[[Any], Shape]] = {
    "Thresholding": _thresholds,
    "ConvolutionInputGenerator": _window,
    "FMPadding": _padding,
    "StreamingMaxPool": _pool,
    "StreamingDataWidthConverter": _converter,
    "StreamingFIFO": _fifo,
}
