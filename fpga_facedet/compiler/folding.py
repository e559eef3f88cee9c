"""Folding: how many lanes each layer gets, so that the network reaches a frame rate on the smallest part of a chip.

Every layer has a list of foldings with their cycles a frame and their cost. For a bound on the cycles the cheapest
chain of them is found exactly, by dynamic programming along the pipeline: what two neighbours cost together is the
sum of both and of the width converter between them.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fpga_facedet.boards import Board
from fpga_facedet.compiler.cost import LUTRAM_DEPTH, Resources, converter, resources, weight_depth, window_depth
from fpga_facedet.compiler.hls.cycles import interval
from fpga_facedet.errors import UserError

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

DEFAULT_FPS = 280.0
"""What LPYOLO reaches with two thirds of a PYNQ-Z2's DSPs and half of its LUTs; beyond, both grow steeply."""


@dataclass(frozen=True)
class Folding:
    """One way to fold a layer: the attributes that make it so, its stream widths in bits, cycles a frame and cost.

    It must be fast enough in either style, so that both come from one folded graph; the cost is that of the RTL.
    `vectors` counts the input vectors of a matrix unit, 0 for other layers; each is `words` beats long and used
    `passes` times. `refill` counts the cycles at the start of a frame in which a sliding window only takes pixels in.
    """

    settings: tuple[tuple[str, int | str], ...]
    bits_in: int
    bits_out: int
    rtl_cycles: int
    cost: Resources
    hls_cycles: int = 0
    vectors: int = 0
    words: int = 0
    passes: int = 0
    refill: int = 0

    @property
    def cycles(self) -> int:
        """The cycles a frame in the slower style, nothing waited for."""
        return max(self.rtl_cycles, self.hls_cycles)

    def cycles_behind(self, source: "Folding | None") -> int:
        """Return the cycles a frame of this layer behind `source` in the slower style, waiting included."""
        return max(self.rtl_cycles_behind(source), self.hls_cycles_behind(source))

    def rtl_cycles_behind(self, source: "Folding | None") -> int:
        """Return the cycles a frame of this layer in RTL behind `source`, waiting included.

        A matrix unit keeps the vector it works on in a buffer of the next power of two. Only what is left of that can
        take words of the next vector early; the others come during the last pass over this one, or hold up the next.
        """
        if not self.vectors or source is None:
            return self.rtl_cycles
        if self.passes == 1:
            return max(self.rtl_cycles, source.rtl_cycles) + source.refill
        early = 2 ** (self.words - 1).bit_length() - self.words
        late = (self.words - early) * source.rtl_cycles / (self.vectors * self.words)
        waiting = max(0.0, late - self.words) * self.vectors
        return max(round(self.rtl_cycles + waiting), source.rtl_cycles) + source.refill

    def hls_cycles_behind(self, source: "Folding | None") -> int:
        """Return the cycles a frame of this layer in HLS behind `source`, waiting included.

        The stream into a matrix unit holds a whole vector, so that only a slower source holds the unit up.
        """
        if not self.vectors or source is None:
            return self.hls_cycles
        return max(self.hls_cycles, source.hls_cycles) + source.refill


def check_target(target_fps: float | None) -> None:
    """Raise UserError for a number of frames a second that no hardware could have; None is the default and fine."""
    if target_fps is not None and not 0 < target_fps < math.inf:
        raise UserError(f"A target of {target_fps:g} frames a second makes no sense; give a positive number.")


def fold(
    model: "ModelWrapper", board: Board, target_fps: float | None = None, widest: int | None = None
) -> "ModelWrapper":
    """Fold every layer of a specialised graph for `target_fps` frames a second at the board's clock.

    Without a target it is DEFAULT_FPS, or the best the chip holds where that is less. `widest` are the bits that a beat
    may have, None for any. Raises UserError where the target cannot be reached, with the best frame rate that can.
    """
    choices = [foldings_of(node) for node in model.graph.node]
    if widest is not None:
        choices = [[one for one in layer if max(one.bits_in, one.bits_out) <= widest] for layer in choices]
    # A whole pixel enters in each beat, whatever the folding behind it.
    choices[0] = [folding for folding in choices[0] if folding.bits_in == _pixel_bits(model)]
    best = _reach(choices, board, target_fps)
    for node, source, folding in zip(model.graph.node, [None, *best], best, strict=False):
        _apply(node, dict(folding.settings) | {"cycles_estimate": folding.rtl_cycles_behind(source)})
    return model


def _pixel_bits(model: "ModelWrapper") -> int:
    pixels = model.graph.input[0].name
    return model.get_tensor_shape(pixels)[-1] * model.get_tensor_datatype(pixels).bitwidth()


def _reach(choices: list[list[Folding]], board: Board, target_fps: float | None) -> list[Folding]:
    check_target(target_fps)
    target = DEFAULT_FPS if target_fps is None else target_fps
    found = cheapest(choices, board, int(board.clock_mhz * 1e6 / target))
    if found is not None and _total(found).fits(board):
        return found
    fallback, fps = fastest(choices, board)
    if target_fps is None and fallback is not None:
        return fallback
    if fallback is None:
        raise UserError(f"The network does not fit {board.title} at any speed; make the network smaller.")
    raise UserError(
        f"{target:g} frames a second are out of reach on {board.title} at {board.clock_mhz:g} MHz; "
        f"the best this network can do is {math.floor(fps)}."
    )


def fastest(choices: list[list[Folding]], board: Board) -> tuple[list[Folding] | None, float]:
    """Return the fastest chain that fits the board and its estimated frames a second, None and 0 where none fits.

    Fewer cycles cost more, so a binary search over the layers' cycle counts comes near it; the last steps are small.
    """
    bounds = sorted({folding.cycles for layer in choices for folding in layer})
    low, high, best = 0, len(bounds) - 1, None
    while low <= high:
        middle = (low + high) // 2
        found = cheapest(choices, board, bounds[middle])
        if found is not None and _total(found).fits(board):
            best, high = found, middle - 1
        else:
            low = middle + 1
    while best is not None:
        found = cheapest(choices, board, max(cycles_of(best)) - 1)
        if found is None or not _total(found).fits(board):
            return best, board.clock_mhz * 1e6 / max(cycles_of(best))
        best = found
    return None, 0.0


def cheapest(choices: list[list[Folding]], board: Board, most_cycles: int) -> list[Folding] | None:
    """Return the chain of foldings within `most_cycles` cycles a frame that takes the least share of the chip.

    Neighbours' widths divide one another, so that width converters are small and at full rate. None where a layer has
    no folding that fast.
    """
    # paths: the cheapest way to each state of the pipeline. What follows a layer depends on the width it puts out, and
    # in a matrix unit also on how it feeds it.
    paths: dict[object, tuple[float, list[Folding]]] = {None: (0.0, [])}
    for layer, following in zip(choices, [*choices[1:], []], strict=True):
        feeds = bool(following and following[0].vectors)
        longer: dict[object, tuple[float, list[Folding]]] = {}
        for folding in (folding for folding in layer if folding.cycles <= most_cycles):
            own = folding.cost.share_of(board)
            state = folding if feeds else folding.bits_out
            for share, path in paths.values():
                source = path[-1] if path else None
                joint = converter(source.bits_out if source else folding.bits_in, folding.bits_in)
                if joint is None or folding.cycles_behind(source) > most_cycles:
                    continue
                total = share + joint.share_of(board) + own
                if state not in longer or total < longer[state][0]:
                    longer[state] = (total, [*path, folding])
        paths = longer
    return min(paths.values(), key=lambda entry: entry[0])[1] if paths else None


def cycles_of(chain: list[Folding]) -> list[int]:
    """Return the cycles a frame of every layer of a chain in the slower style, waiting included."""
    return [folding.cycles_behind(source) for source, folding in zip([None, *chain], chain, strict=False)]


def _total(chain: list[Folding]) -> Resources:
    """Add up the layers of a chain and the converters between them."""
    total = Resources()
    for folding in chain:
        total += folding.cost
    for left, right in pairwise(chain):
        total += converter(left.bits_out, right.bits_in) or Resources()
    return total


def foldings_of(node: "NodeProto") -> list[Folding]:
    """Return every folding of a layer; the layer is left with the last one tried."""
    from qonnx.custom_op.registry import getCustomOp

    found = []
    for settings in _settings_of(node.op_type.removesuffix("_rtl"), getCustomOp(node)):
        _apply(node, settings)
        found.append(folding_of(node, tuple(settings.items())))
    return found


def folding_of(node: "NodeProto", settings: tuple[tuple[str, int | str], ...] = ()) -> Folding:
    """Return the folding that a layer has now, which `settings` made."""
    from qonnx.custom_op.registry import getCustomOp

    layer = getCustomOp(node)
    return Folding(
        settings=settings,
        bits_in=layer.get_instream_width(),
        bits_out=layer.get_outstream_width(),
        rtl_cycles=int(layer.get_exp_cycles()),
        hls_cycles=interval(node),
        cost=resources(node),
        **_feeding(node.op_type, layer),
    )


def _feeding(op_type: str, layer: Any) -> dict[str, int]:
    """Return what `Folding.cycles_behind` needs to know of a matrix unit or a sliding window."""
    if op_type == "MVAU_rtl":
        words = layer.get_nodeattr("MW") // layer.get_nodeattr("SIMD")
        passes = layer.get_nodeattr("MH") // layer.get_nodeattr("PE")
        return {"vectors": int(layer.get_exp_cycles()) // (words * passes), "words": words, "passes": passes}
    return {"refill": layer.get_buffer_depth()} if op_type == "ConvolutionInputGenerator_rtl" else {}


def _apply(node: "NodeProto", settings: dict[str, Any]) -> None:
    """Set a layer's folding, and where its memories go: shallow ones in LUTs, deep ones in block RAM."""
    from qonnx.custom_op.registry import getCustomOp

    layer = getCustomOp(node)
    for name, value in settings.items():
        layer.set_nodeattr(name, value)
    if node.op_type == "MVAU_rtl":
        layer.set_nodeattr("ram_style", "distributed" if weight_depth(layer) <= LUTRAM_DEPTH else "block")
    if node.op_type == "ConvolutionInputGenerator_rtl":
        layer.set_nodeattr("ram_style", "distributed" if window_depth(layer) <= LUTRAM_DEPTH else "block")


def _settings_of(op: str, layer: Any) -> list[dict[str, int]]:
    """Return the attribute values that fold a layer in every way its hardware allows."""
    if op == "MVAU":
        return [
            {"PE": pe, "SIMD": simd}
            for pe in _divisors(layer.get_nodeattr("MH"))
            for simd in _divisors(layer.get_nodeattr("MW"))
        ]
    if op == "Thresholding":
        return [{"PE": pe} for pe in _divisors(layer.get_nodeattr("NumChannels"))]
    if op == "StreamingMaxPool":
        return [{"PE": pe} for pe in _divisors(layer.get_nodeattr("Channels"))]
    if op == "FMPadding":
        return [{"SIMD": simd} for simd in _divisors(layer.get_nodeattr("NumChannels"))]
    channels = layer.get_nodeattr("IFMChannels")
    one_by_one = [{"SIMD": simd, "parallel_window": 0} for simd in _divisors(channels)]
    # The whole window at once needs all channels at once.
    return [*one_by_one, {"SIMD": channels, "parallel_window": 1}]


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
