"""A matrix unit of adders alone as a FINN operation: a whole vector in, a whole vector out, in every cycle.

Its weights are part of its SystemVerilog, which is written for them (`adder_graph`, `adder_source`): it has no DSP
and no memory. That suits a first layer, whose few weights are used for every pixel.

The module path is the ONNX domain of the operation: QONNX finds `MVAUAdders_rtl` here by itself.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from finn.custom_op.fpgadataflow.rtl.matrixvectoractivation_rtl import MVAU_rtl

from fpga_facedet.compiler import adder_graph, adder_source, own_modules
from fpga_facedet.errors import InternalError

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

    from fpga_facedet.compiler.adder_graph import AdderGraph
    from fpga_facedet.compiler.cost import Resources


class MVAUAdders_rtl(MVAU_rtl):  # noqa: N801 - FINN's names end in their backend
    """FINN's matrix-vector unit, PE = MH and SIMD = MW, with constant integer weights.

    Attributes, shapes, data types and execution are those of FINN's MVAU_rtl.
    """

    def streams_weights(self) -> bool:
        """Return that no memory beside this unit feeds it weights."""
        return False

    def get_exp_cycles(self) -> int:
        """Return the cycles a frame: one for each vector."""
        self.check_folding()
        return int(super().get_exp_cycles())

    def check_folding(self) -> None:
        """Raise InternalError where a vector takes more than one beat: the adders take all of it at once."""
        for folding, size in (("PE", "MH"), ("SIMD", "MW")):
            if self.get_nodeattr(folding) != self.get_nodeattr(size):
                raise InternalError(
                    f"Layer {self.onnx_node.name} has {folding} {self.get_nodeattr(folding)}; a matrix unit of adders "
                    f"needs its {size}, {self.get_nodeattr(size)}."
                )

    def graph(self, model: "ModelWrapper") -> "AdderGraph":
        """Return the adders for this unit's weights in `model` and every input that its type allows."""
        weights = model.get_initializer(self.onnx_node.input[1])
        if weights is None or not self.get_nodeattr("noActivation") or self.get_nodeattr("binaryXnorMode"):
            raise InternalError(f"Layer {self.onnx_node.name} is no constant matrix of integers alone; adders are.")
        kind = self.get_input_datatype()
        return adder_graph.solve(weights, (int(kind.min()), int(kind.max())))

    def resources(self, model: "ModelWrapper") -> "Resources":
        """Return what this unit costs with its weights in `model` (estimated)."""
        return self.graph(model).cost()

    def lut_estimation(self, fpgapart: str) -> int:
        """Refuse: the LUTs depend on the weights, which FINN does not hand over here; ask `resources`."""
        raise InternalError(f"The LUTs of {self.onnx_node.name} follow from its weights; FINN cannot estimate them.")

    def dsp_estimation(self, fpgapart: str) -> int:
        """Return that it has no DSP."""
        return 0

    def bram_estimation(self, fpgapart: str) -> int:
        """Return that it has no memory."""
        return 0

    def get_rtl_file_list(self, abspath: bool = False) -> list[str]:
        """Return the one source, which `generate_hdl` wrote."""
        name = f"{self.get_nodeattr('gen_top_module')}.sv"
        return [str(Path(self.get_nodeattr("code_gen_dir_ipgen")) / name) if abspath else name]

    def code_generation_ipi(self) -> list[str]:
        """Return the commands that put this module into a Vivado block design."""
        return own_modules.block_design_commands(self)

    def generate_hdl(self, model: "ModelWrapper", fpgapart: str, clk: float) -> None:
        """Write the module with FINN's port names into `code_gen_dir_ipgen`."""
        self.check_folding()
        folder, name = self.get_nodeattr("code_gen_dir_ipgen"), self.get_verilog_top_module_name()
        text = adder_source.emit(
            self.graph(model), name, self.get_input_datatype().bitwidth(), self.get_output_datatype().bitwidth()
        )
        (Path(folder) / f"{name}.sv").write_text(text)
        own_modules.note_generated(self, name, folder)
