"""Which layers become SystemVerilog and which C++ for Vitis HLS, and where a pipeline changes from one to the other."""

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomllib

from fpga_facedet.errors import UserError
from fpga_facedet.manifest import HLS, MIXED, RTL, plain

if TYPE_CHECKING:
    from onnx import NodeProto
    from qonnx.core.modelwrapper import ModelWrapper

STYLES = (RTL, HLS)
"""What a layer can be; an accelerator of both is MIXED."""

_BETWEEN = ("StreamingDataWidthConverter", "StreamingFIFO")


@dataclass(frozen=True)
class Styles:
    """A choice of style for every layer: `default`, and `patterns` of layer names with another style.

    Of several patterns that match a layer the last one counts.
    """

    default: str = RTL
    patterns: tuple[tuple[str, str], ...] = ()

    @classmethod
    def rtl(cls) -> "Styles":
        """Return the choice of SystemVerilog for all layers."""
        return cls(RTL)

    @classmethod
    def hls(cls) -> "Styles":
        """Return the choice of C++ for all layers."""
        return cls(HLS)

    @classmethod
    def parse(cls, choice: str | os.PathLike[str]) -> "Styles":
        """Return what "rtl", "hls" or a TOML file says.

        The file holds `default = "rtl"` or "hls" ("rtl" if it is left out) and a table `[layers]`, from a layer's name
        ("MVAU_0"), or a pattern of names with `*` and `?`, to a style. Raises UserError where the file cannot be read
        and where it holds anything else, naming that.
        """
        if choice in STYLES:
            return cls(str(choice))
        path = Path(choice)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(
                f"The layers' style '{path}' is neither rtl nor hls nor a file to read ({error.strerror}); "
                "give one of them."
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UserError(f"The layers' styles {path} are not valid TOML ({error}); correct the file.") from error
        return cls._of_file(path, data)

    @classmethod
    def _of_file(cls, path: Path, data: dict[str, Any]) -> "Styles":
        default, layers = data.pop("default", RTL), data.pop("layers", {})
        if data:
            raise UserError(f"{path} has the key '{next(iter(data))}'; it takes 'default' and a table [layers].")
        if not isinstance(layers, dict):
            raise UserError(f"{path}: layers is {layers!r}; make it a table, [layers], from names to rtl or hls.")
        for key, style in {"default": default, **{f"layers.{name}": style for name, style in layers.items()}}.items():
            if style not in STYLES:
                raise UserError(f"{path}: {key} is {style!r}; use one of: {', '.join(STYLES)}.")
        return cls(default, tuple(layers.items()))

    @property
    def wants_hls(self) -> bool:
        """Whether a layer may be HLS, whatever the graph."""
        return HLS in (self.default, *(style for _, style in self.patterns))

    @property
    def wants_hls_alone(self) -> bool:
        """Whether every layer is to be HLS, whatever the graph."""
        return {self.default, *(style for _, style in self.patterns)} == {HLS}

    def describe(self) -> str | dict[str, Any]:
        """Return the choice as JSON keeps it: one style, or what the file said."""
        return {"default": self.default, "layers": dict(self.patterns)} if self.patterns else self.default

    def of_graph(self, graph: "ModelWrapper") -> dict[str, str]:
        """Return the style of each node by its name, in order; UserError for a pattern that matches no layer.

        Width converters and FIFOs cannot be chosen: they are HLS where the layers on both sides of them are.
        """
        nodes = list(graph.graph.node)
        chosen = {node.name: self._of_layer(node) for node in nodes if not stands_between(node)}
        self._check_patterns([node for node in nodes if node.name in chosen])
        styles = {}
        for index, node in enumerate(nodes):
            before = next((chosen[other.name] for other in reversed(nodes[:index]) if other.name in chosen), None)
            behind = next((chosen[other.name] for other in nodes[index:] if other.name in chosen), None)
            around = {style for style in (before, behind) if style is not None}
            styles[node.name] = chosen.get(node.name) or (HLS if around == {HLS} else RTL)
        return styles

    def _of_layer(self, node: "NodeProto") -> str:
        found = [style for pattern, style in self.patterns if _matches(pattern, node)]
        return found[-1] if found else self.default

    def _check_patterns(self, layers: list["NodeProto"]) -> None:
        for pattern, _ in self.patterns:
            if not any(_matches(pattern, node) for node in layers):
                names = ", ".join(layer_name(node) for node in layers)
                raise UserError(f"No layer is called '{pattern}'; the layers to choose a style for are: {names}.")


@dataclass(frozen=True)
class Segment:
    """Consecutive layers of one style, as many as there are: one function or module called `name`."""

    name: str
    style: str
    nodes: list["NodeProto"]


def layer_name(node: "NodeProto") -> str:
    """Return the name of a layer in C++ and in a file of styles: `MVAU_0` for the node `MVAU_rtl_0`."""
    return plain(node.name)


def stands_between(node: "NodeProto") -> bool:
    """Return whether a node is no layer of the network, but a width converter or a FIFO between two."""
    return str(node.op_type).startswith(_BETWEEN)


def label(styles: dict[str, str]) -> str:
    """Return the style of a whole accelerator: that of its nodes, or MIXED."""
    found = set(styles.values())
    return found.pop() if len(found) == 1 else MIXED


def segments(graph: "ModelWrapper", styles: dict[str, str]) -> list[Segment]:
    """Cut the pipeline where the style changes: `facedet_hls_0`, `facedet_rtl_1` and so on along the stream."""
    runs = groupby(graph.graph.node, key=lambda node: styles[node.name])
    return [Segment(f"facedet_{style}_{index}", style, list(nodes)) for index, (style, nodes) in enumerate(runs)]


def _matches(pattern: str, node: "NodeProto") -> bool:
    return any(fnmatchcase(name, pattern) for name in (layer_name(node), node.name))
