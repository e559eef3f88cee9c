"""An adder graph as SystemVerilog: one module with the ports of FINN's layers, written for the very matrix."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpga_facedet.compiler.adder_pipeline import LEVELS, Pipeline, cost, pipeline

if TYPE_CHECKING:
    from fpga_facedet.compiler.adder_graph import AdderGraph

_MODULE = """\
/******************************************************************************
 * @brief	{name}: the product of a vector and a constant matrix, by adders alone.
 *
 * @description
 *	For integers x[0] .. x[{last_input}] from {least} to {most} it puts out
 *
 *		y[j] = sum over i of x[i] * W[i][j],	j = 0 .. {last_output},
 *
 *	exactly. W stands nowhere here: its coefficients are written as sums and differences
 *	of powers of two, and what several columns share is added once. Each value v below
 *	has the width of the numbers that it can reach, which stand beside it.
 *
 *	Ordering rule: x[0] and y[0] in the lowest bits of a beat.
 *
 *	Initiation interval: one vector a cycle; y leaves {depth} cycles after its x came. The
 *	registers, v_1 one cycle behind v and so on, advance together while the last of them
 *	is empty or its beat is taken: a sink that is not ready stops all of them at once,
 *	so no beat is lost or repeated. A path leads from out0_V_TREADY to in0_V_TREADY.
 *
 *	Resources, estimated: {adders} adders in {depth} stages, {lut} LUTs, {ff} flip-flops.
 *	Written by facedet build.
 *****************************************************************************/

module {name} (
	input	logic  ap_clk,
	input	logic  ap_rst_n,	// synchronous, active low

	input	logic [{bus_in}-1:0]  in0_V_TDATA,	// {inputs} values of {bits_in} bits
	input	logic  in0_V_TVALID,
	output	logic  in0_V_TREADY,

	output	logic [{bus_out}-1:0]  out0_V_TDATA,	// {outputs} signed values of {bits_out} bits
	output	logic  out0_V_TVALID,
	input	logic  out0_V_TREADY
);

	//-----------------------------------------------------------------------
	// Handshake
	logic [{depth}-1:0]  Vld = 0;	// which stages hold a vector
	uwire  advance = !Vld[{depth}-1] || out0_V_TREADY;

	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n)  Vld <= 0;
		else if(advance)  Vld <= {depth}'({{Vld, in0_V_TVALID}});
	end
	assign	in0_V_TREADY  = advance;
	assign	out0_V_TVALID = Vld[{depth}-1];

	//-----------------------------------------------------------------------
	// Inputs
{starts}

{stages}
	//-----------------------------------------------------------------------
	// Outputs
{ends}

`ifndef SYNTHESIS
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n)
		out0_V_TVALID && !out0_V_TREADY |=> out0_V_TVALID && $stable(out0_V_TDATA))
		else $error("%m: An output beat changed or vanished before it was taken.");
	assert property (@(posedge ap_clk) disable iff(!ap_rst_n)
		in0_V_TVALID && !in0_V_TREADY |=> !in0_V_TVALID || $stable(in0_V_TDATA))
		else $error("%m: An input beat changed before it was accepted.");
`endif

endmodule : {name}
"""

_STAGE = """\
	//-----------------------------------------------------------------------
	// Stage {stage}
{adders}{registers}
	always_ff @(posedge ap_clk) begin
		if(advance) begin
{moves}
		end
	end
"""


def emit(graph: "AdderGraph", name: str, bits_in: int, bits_out: int, levels: int = LEVELS) -> str:
    """Return the SystemVerilog of module `name`, with the ports of FINN's layers.

    Args:
        graph: what it computes.
        name: the module's.
        bits_in: of an input, which holds the graph's range, signed where that begins below 0.
        bits_out: of an output, which holds every sum, signed.
        levels: adders in a row between two registers.
    """
    placed = pipeline(graph, levels)
    used = cost(graph, levels)
    return _MODULE.format(
        name=name, least=graph.least, most=graph.most, depth=placed.depth, adders=len(graph.adders),
        inputs=graph.inputs, last_input=graph.inputs - 1, outputs=len(graph.outputs),
        last_output=len(graph.outputs) - 1, bits_in=bits_in, bits_out=bits_out,
        bus_in=_bytes(graph.inputs * bits_in), bus_out=_bytes(len(graph.outputs) * bits_out),
        lut=round(used.lut), ff=round(used.ff), starts="\n".join(_inputs(placed, bits_in)),
        stages="\n".join(_stage(placed, stage) for stage in range(1, placed.depth + 1)),
        ends="\n".join(_ends(placed, bits_out)),
    )  # fmt: skip


def _bytes(bits: int) -> int:
    """Return the bits of a bus that holds `bits`: whole bytes."""
    return -(-bits // 8) * 8


def _name(value: int, delay: int) -> str:
    return f"v{value}_{delay}" if delay else f"v{value}"


def _inputs(placed: Pipeline, bits: int) -> list[str]:
    return [
        f"\tuwire [{placed.graph.width(value) - 1}:0]  v{value} = "
        f"in0_V_TDATA[{value * bits + placed.graph.width(value) - 1}:{value * bits}];"
        for value in range(placed.graph.inputs)
    ]


def _stage(placed: Pipeline, stage: int) -> str:
    """Return the adders of a stage and the registers behind them, those that only pass a value on included."""
    graph = placed.graph
    own = placed.stages[graph.inputs :]
    adders = [_adder(placed, number) for number in range(len(graph.adders)) if own[number] == stage]
    steps = [stage - first + 1 for first in placed.stages]
    kept = [(value, step) for value, step in enumerate(steps) if 1 <= step <= placed.delays[value]]
    return _STAGE.format(
        stage=stage,
        adders="".join(f"{line}\n" for line in adders),
        registers="".join(f"\tlogic [{graph.width(value) - 1}:0]  {_name(value, step)};\n" for value, step in kept),
        moves="\n".join(f"\t\t\t{_name(value, step)} <= {_name(value, step - 1)};" for value, step in kept),
    )


def _adder(placed: Pipeline, number: int) -> str:
    graph, adder, value = placed.graph, placed.graph.adders[number], placed.graph.inputs + number
    width, shift, sign = graph.width(value), adder.right_shift, "-" if adder.subtract else "+"
    stage = placed.stages[value]
    right = _Operand(graph, adder.right, _name(adder.right, stage - placed.stages[adder.right]))
    about = f"\t// {graph.ranges[value][0]} .. {graph.ranges[value][1]}"
    head = f"\tuwire [{width - 1}:0]  v{value} = "
    if adder.left is None:
        return f"{head}-{right.extended(width)};{about}"
    left = _Operand(graph, adder.left, _name(adder.left, stage - placed.stages[adder.left]))
    if not 0 < shift < width:
        terms = (left.shifted(width, adder.left_shift), right.shifted(width, shift))
        return f"{head}{terms[0]} {sign} {terms[1]};{about}"
    # The lowest bits of the left one pass through: nothing meets them.
    upper = width - shift
    added = f"{left.above(shift, upper)} {sign} {right.extended(upper)}"
    return f"{head}{{{upper}'({added}), {left.below(shift)}}};{about}"


@dataclass(frozen=True)
class _Operand:
    """A value as an adder sees it: under the name of the register that it is read from."""

    graph: "AdderGraph"
    value: int
    name: str

    def extended(self, width: int) -> str:
        """Return all of it, widened to `width` bits with its sign or zeros, or cut to them."""
        return self._cast(self.name, width)

    def shifted(self, width: int, shift: int) -> str:
        return f"({self.extended(width)} << {shift})" if shift else self.extended(width)

    def above(self, first: int, width: int) -> str:
        """Return its bits from `first` on, widened to `width`."""
        top = self.graph.width(self.value) - 1
        if first > top and not self.graph.signed(self.value):
            return f"{width}'d0"
        return self._cast(f"{self.name}[{top}:{min(first, top)}]", width)

    def below(self, end: int) -> str:
        """Return its `end` lowest bits."""
        own = self.graph.width(self.value)
        return f"{self.name}[{end - 1}:0]" if end <= own else self.extended(end)

    def _cast(self, text: str, width: int) -> str:
        return f"{width}'($signed({text}))" if self.graph.signed(self.value) else f"{width}'({text})"


def _ends(placed: Pipeline, bits: int) -> list[str]:
    """Return the assignments of the outputs, and of the zeros that fill the last byte."""
    graph, lines = placed.graph, []
    for index, output in enumerate(graph.outputs):
        target = f"\tassign	out0_V_TDATA[{index * bits + bits - 1}:{index * bits}] = "
        if output.source is None:
            lines.append(f"{target}{bits}'d0;")
            continue
        final = _Operand(graph, output.source, _name(output.source, placed.delays[output.source]))
        lines.append(f"{target}{final.shifted(bits, output.shift)};")
    used = bits * len(graph.outputs)
    if _bytes(used) > used:
        lines.append(f"\tassign	out0_V_TDATA[{_bytes(used) - 1}:{used}] = '0;")
    return lines
