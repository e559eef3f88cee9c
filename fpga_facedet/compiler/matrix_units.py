"""Matrix units and what they multiply with: DSP slices, LUTs, or a graph of adders made for the very weights.

All three are the same operation to FINN, with the same attributes, shapes and data types; the type of the node and its
domain choose the hardware. Nodes keep their names.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, get_args

from fpga_facedet.errors import InternalError

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

Multiplier = Literal["dsp", "lut", "adders"]

DSP: Multiplier = "dsp"
LUT: Multiplier = "lut"
ADDERS: Multiplier = "adders"
MULTIPLIERS: tuple[Multiplier, ...] = get_args(Multiplier)

_FORMS: dict[Multiplier, tuple[str, str]] = {
    DSP: ("MVAU_rtl", "finn.custom_op.fpgadataflow.rtl"),
    LUT: ("MVAULut_rtl", "fpga_facedet.compiler.mvau_lut"),
    ADDERS: ("MVAUAdders_rtl", "fpga_facedet.compiler.mvau_adders"),
}
"""The operation and its ONNX domain, which QONNX takes for the module that holds it."""

KIND = "MVAU"
"""What a matrix unit is called wherever a layer goes without its style and its multiplier, as in a manifest."""


def is_matrix_unit(node: "NodeProto") -> bool:
    """Tell whether a node is a matrix unit, whatever it multiplies with."""
    return node.op_type.startswith(KIND)


def kind_of(node: "NodeProto") -> str:
    """Return what kind of layer a node is, without its style and its multiplier: 'MVAU', 'FMPadding', ..."""
    return KIND if is_matrix_unit(node) else node.op_type.removesuffix("_rtl")


def name_nodes(model: "ModelWrapper") -> "ModelWrapper":
    """Number the nodes of each kind through, as QONNX does, but matrix units alike, whatever they multiply with."""
    counts: Counter[str] = Counter()
    ours = {op_type for op_type, _ in _FORMS.values()}
    for node in model.graph.node:
        kind = _FORMS[DSP][0] if node.op_type in ours else node.op_type
        node.name = f"{kind}_{counts[kind]}"
        counts[kind] += 1
    return model


def multiplier_of(node: "NodeProto") -> Multiplier:
    """Return what a matrix unit multiplies with; InternalError for any other layer."""
    for kind, (op_type, _) in _FORMS.items():
        if node.op_type == op_type:
            return kind
    raise InternalError(f"Layer {node.name} is a {node.op_type}, which has no multipliers to choose.")


def set_multiplier(node: "NodeProto", kind: Multiplier) -> None:
    """Let a matrix unit multiply with `kind`; everything else about the node stays as it is."""
    multiplier_of(node)
    if kind not in _FORMS:
        raise InternalError(f"{node.name} cannot multiply with '{kind}'; there are {', '.join(MULTIPLIERS)}.")
    node.op_type, node.domain = _FORMS[kind]


def streams_weights(layer: Any) -> bool:
    """Tell whether a FINN operation is a matrix unit that takes its weights as a stream, from a memory beside it.

    An operation that carries them inside says so by a method `streams_weights` that returns False.
    """
    if not is_matrix_unit(layer.onnx_node):
        return False
    asked = getattr(layer, "streams_weights", None)
    return True if asked is None else bool(asked())
