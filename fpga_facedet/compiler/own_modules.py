"""What FINN wants to know of every layer whose SystemVerilog is our own, said once for all of them."""

from pathlib import Path
from typing import Any


def block_design_commands(layer: Any) -> list[str]:
    """Return the commands that put a layer's module, its sources first, into a Vivado block design."""
    files = [f"add_files -norecurse {path}" for path in layer.get_rtl_file_list(abspath=True)]
    name = layer.get_nodeattr("gen_top_module")
    return [*files, f"create_bd_cell -type module -reference {name} {layer.onnx_node.name}"]


def note_generated(layer: Any, name: str, folder: str | Path) -> None:
    """Note in a layer that its top module `name` was written into `folder`."""
    layer.set_nodeattr("gen_top_module", name)
    layer.set_nodeattr("ipgen_path", str(folder))
    layer.set_nodeattr("ip_path", str(folder))
