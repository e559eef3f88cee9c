"""Our matrix unit without DSPs as a FINN operation: products and sums in LUTs, in SystemVerilog (`rtl/mvu_lut.sv`).

To FINN it is MVAU_rtl: same attributes, shapes, types, order of values and results; only the hardware differs. The
weights lie inside, so no memory streams them in, and the unit holds the words of its input vectors in a ring of places.

The module path is the ONNX domain of the operation: QONNX finds `MVAULut_rtl` here by itself.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from finn.custom_op.fpgadataflow.rtl.matrixvectoractivation_rtl import MVAU_rtl

from fpga_facedet.compiler import own_modules, rtllib
from fpga_facedet.compiler.cost import LUTRAM_DEPTH
from fpga_facedet.errors import InternalError

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

DOMAIN = __name__
SOURCES = (
    "mvu_lut_pkg.sv",
    "mvu_lut_add.sv",
    "mvu_lut_dot.sv",
    "mvu_lut_replay.sv",
    "mvu_lut_weights.sv",
    "mvu_lut.sv",
)
LEAST_BITS, MOST_BITS = 2, 8
"""What weights and activations may have."""
MOST_ACCUMULATOR_BITS = 32

_LUT_PLACES = 32
"""The words that the LUTs of a memory hold at the least."""
_BLOCK_PLACES = 512
"""The words that a block RAM holds at its full width."""

_WRAPPER = """\
// {name}: {mh} x {mw} matrix, {pe} rows and {simd} columns at a time; the weights lie inside.
module {name} (
	input	ap_clk,
	input	ap_rst_n,
	input	[{bus_in}-1:0]  in0_V_TDATA,
	input	in0_V_TVALID,
	output	in0_V_TREADY,
	output	[{bus_out}-1:0]  out0_V_TDATA,
	output	out0_V_TVALID,
	input	out0_V_TREADY
);
	wire [{data_out}-1:0]  odat;
	assign	out0_V_TDATA = $signed(odat);  // padded to whole bytes with the highest sign, as FINN's unit does

	mvu_lut #(
		.MW({mw}), .MH({mh}), .PE({pe}), .SIMD({simd}),
		.WEIGHT_WIDTH({weight_bits}), .ACTIVATION_WIDTH({activation_bits}), .SIGNED_ACTIVATIONS({signed}),
		.ACCU_WIDTH({accumulator_bits}), .PLACES({places}),
		.INIT_FILE("./{weights}"), .RAM_STYLE("{ram_style}"), .REPLAY_STYLE("{replay_style}")
	) impl (
		.ap_clk(ap_clk), .ap_rst_n(ap_rst_n),
		.idat(in0_V_TDATA[{data_in}-1:0]), .ivld(in0_V_TVALID), .irdy(in0_V_TREADY),
		.odat(odat), .ovld(out0_V_TVALID), .ordy(out0_V_TREADY)
	);
endmodule
"""


class MVAULut_rtl(MVAU_rtl):  # noqa: N801 - FINN's names end in their backend
    """Product of a constant matrix (MW, MH) and vectors (..., MW), exact integers: FINN's MVAU_rtl without DSPs.

    Weights are signed, weights and activations have 2 to 8 bits, accumulators up to 32. It takes
    MW / SIMD * MH / PE cycles a vector.
    """

    def streams_weights(self) -> bool:
        """Tell that no memory beside the unit streams its weights in."""
        return False

    def words(self) -> int:
        """Return the words of an input vector."""
        return int(self.get_nodeattr("MW") // self.get_nodeattr("SIMD"))

    def passes(self) -> int:
        """Return how often the unit goes through an input vector, once for each word it puts out."""
        return int(self.get_nodeattr("MH") // self.get_nodeattr("PE"))

    def places(self) -> int:
        """Return the input words that the unit holds, a power of two: room for two vectors where that costs no more.

        A memory of LUTs holds 32 words or 64 at the least, one of block RAM 512.
        """
        needed, free = self.words(), _LUT_PLACES if self.words() <= LUTRAM_DEPTH else _BLOCK_PLACES
        return _power_of_two(2 * needed) if _power_of_two(2 * needed) <= free else _power_of_two(needed)

    def early_words(self) -> int:
        """Return the words of the next vector that the unit takes before its last pass over this one begins.

        The others follow during that pass, each as soon as it sets one of this vector's places free. FINN's unit takes
        no more of them, as it has the next power of two of places. A unit with one pass keeps nothing and takes none.
        """
        return min(self.words(), self.places() - self.words()) if self.passes() > 1 else 0

    def dsp_estimation(self, fpgapart: str) -> int:
        """Return 0: that is the point of it."""
        return 0

    def get_rtl_file_list(self, abspath: bool = False) -> list[str]:
        """Return the sources: those of `mvu_lut.sv` and the wrapper that `generate_hdl` wrote."""
        wrapper = self.get_nodeattr("gen_top_module") + "_wrapper.v"
        if not abspath:
            return [*SOURCES, wrapper]
        folder = Path(self.get_nodeattr("code_gen_dir_ipgen"))
        return [*(str(rtllib.own_source(source)) for source in SOURCES), str(folder / wrapper)]

    def code_generation_ipi(self) -> list[str]:
        """Return the commands that put this module into a Vivado block design."""
        return own_modules.block_design_commands(self)

    def generate_hdl(self, model: "ModelWrapper", fpgapart: str, clk: float) -> None:
        """Write the weights and the wrapper with FINN's port names into `code_gen_dir_ipgen`.

        Raises InternalError where the hardware cannot do what the node asks for.
        """
        problem = self.unsupported()
        if problem:
            raise InternalError(f"{self.onnx_node.name} cannot be a matrix unit of LUTs: {problem}.")
        folder, name = Path(self.get_nodeattr("code_gen_dir_ipgen")), self.get_verilog_top_module_name()
        self.generate_params(model, str(folder))
        text = _WRAPPER.format(
            name=name,
            mw=self.get_nodeattr("MW"),
            mh=self.get_nodeattr("MH"),
            pe=self.get_nodeattr("PE"),
            simd=self.get_nodeattr("SIMD"),
            weight_bits=self.get_input_datatype(1).bitwidth(),
            activation_bits=self.get_input_datatype(0).bitwidth(),
            signed=int(self.get_input_datatype(0).signed()),
            accumulator_bits=self.get_output_datatype().bitwidth(),
            places=self.places(),
            weights=f"{self.onnx_node.name}_weights.dat",
            ram_style=self.get_nodeattr("ram_style"),
            replay_style="distributed" if self.words() <= LUTRAM_DEPTH else "block",
            data_in=self.get_instream_width(),
            bus_in=self.get_instream_width_padded(),
            data_out=self.get_outstream_width(),
            bus_out=self.get_outstream_width_padded(),
        )
        (folder / f"{name}_wrapper.v").write_text(text)
        own_modules.note_generated(self, name, folder)

    def unsupported(self) -> str | None:
        """Return what of this node the hardware cannot do, as a part of a sentence; None where it can do all."""
        weights, activations, results = (
            self.get_input_datatype(1), self.get_input_datatype(0), self.get_output_datatype(),
        )  # fmt: skip
        for what, kind in (("weights", weights), ("activations", activations)):
            if not kind.is_integer() or kind.name == "BIPOLAR" or not LEAST_BITS <= kind.bitwidth() <= MOST_BITS:
                return f"its {what} are {kind.name}, not integers of {LEAST_BITS} to {MOST_BITS} bits"
        if not weights.signed():
            return f"its weights are {weights.name}, not signed"
        if not results.is_integer() or not results.signed() or results.bitwidth() > MOST_ACCUMULATOR_BITS:
            return f"its results are {results.name}, not signed integers of up to {MOST_ACCUMULATOR_BITS} bits"
        if not self.get_nodeattr("noActivation"):
            return "it has thresholds of its own"
        if self.get_nodeattr("mem_mode") != "internal_decoupled" or self.get_nodeattr("TH") > 1:
            return "its weights are not constants that it goes through vector by vector"
        return None


def _power_of_two(number: int) -> int:
    """Return the least power of two that is not below `number`, which is positive."""
    return 1 << (number - 1).bit_length()
