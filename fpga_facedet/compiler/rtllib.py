"""The SystemVerilog that accelerators are made of: finn-rtllib, corrected on a copy, and our own modules.

The installed library is never touched. `prepare` copies it and applies the named edits below; each one checks exactly
what it replaces, so another version of finn-plus stops the build instead of slipping through half corrected.
"""

import importlib.util
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.files import saving_folder

LIBRARY = "finn-rtllib"
WRITTEN_FOR = "1.6.1"


@dataclass(frozen=True)
class Edit:
    """One correction: `old`, which stands `count` times in `file` of the library, becomes `new`, because `why`."""

    name: str
    file: str
    old: str
    new: str
    why: str
    count: int = 1


EDITS = (
    Edit(
        "queue-depth",
        "mvu/mvu_vvu_axi.sv",
        "/* else */    3 + $clog2(SIMD+1) + (SIMD == 1);",
        "/* else */    4 + $clog2(SIMD) + (SIMD == 1);",
        "the compute core takes that many cycles (PIPELINE_DEPTH in mvu.sv); the difference is one where SIMD is no "
        "power of two",
    ),
    Edit(
        "queue-place",
        "mvu/mvu_vvu_axi.sv",
        "localparam int unsigned  MAX_IN_FLIGHT = CORE_PIPELINE_DEPTH;",
        "localparam int unsigned  MAX_IN_FLIGHT = CORE_PIPELINE_DEPTH + 1;",
        "the lock that stops the input is a register: with MW == SIMD a result a cycle arrives for one cycle more, "
        "and the queue overflowed under back-pressure",
    ),
    Edit(
        "leaf-loads",
        "mvu/add_multi.sv",
        """\
		typedef int unsigned  leaf_load_t[2*N-1];
		function leaf_load_t init_leaf_loads();
			automatic leaf_load_t  res;
			for(int unsigned  i = 2*N-1; i-- > N-1;)  res[i] = 1;
			for(int unsigned  i =   N-1; i-- >   0;)  res[i] = res[2*i+1] + res[2*i+2];
			return  res;
		endfunction : init_leaf_loads
		localparam leaf_load_t   LEAF_LOAD = init_leaf_loads();
""",
        """\
		localparam leaf_load_t   LEAF_LOAD = init_leaf_loads();
""",
        "Verilator cannot call a constant function of a generate block; 'leaf-loads-function' puts it in the module",
    ),
    Edit(
        "leaf-loads-function",
        "mvu/add_multi.sv",
        """\
	localparam int unsigned  L = $clog2(N);  // Number of levels with reductions
""",
        """\
	localparam int unsigned  L = $clog2(N);  // Number of levels with reductions

	typedef int unsigned  leaf_load_t[2*N-1];
	function automatic leaf_load_t init_leaf_loads();
		automatic leaf_load_t  res;
		for(int unsigned  i = 2*N-1; i-- > N-1;)  res[i] = 1;
		for(int unsigned  i =   N-1; i-- >   0;)  res[i] = res[2*i+1] + res[2*i+2];
		return  res;
	endfunction : init_leaf_loads
""",
        "the other half of 'leaf-loads'",
    ),
    Edit(
        "fifo-geometry",
        "fifo/hdl/fifo.sv",
        """\
	typedef struct {
		int unsigned  lo;
		int unsigned  hi;
	} abits_t;
	function abits_t INIT_ABITS();
		automatic abits_t  abits = '{ lo: $clog2(DEPTH_REQ), hi: 0 };
		if(abits.lo > MIN_ABITS) begin
			// Consider Decomposition into lo + hi
			automatic int unsigned  hi_abits = $clog2(DEPTH_REQ - 2**(abits.lo-1));
			if(hi_abits < abits.lo - 1) begin
				abits.lo--;
				abits.hi = hi_abits < 1? 1 : hi_abits;
			end
		end
		return  abits;
	endfunction : INIT_ABITS
	localparam abits_t       ABITS      = INIT_ABITS();
	localparam int unsigned  MEM_IMPL   = 2**ABITS.lo + (ABITS.hi? 2**ABITS.hi : 0);
	localparam int unsigned  PIPE_DEPTH = IS_URAM? 3 + (2**ABITS.lo - 1) / 8192 : 2;
""",
        """\
	localparam int unsigned  ABITS_ALL  = $clog2(DEPTH_REQ);
	localparam int unsigned  ABITS_REST = ABITS_ALL > MIN_ABITS? $clog2(DEPTH_REQ - 2**(ABITS_ALL-1)) : ABITS_ALL;
	localparam bit           ABITS_TWO  = (ABITS_ALL > MIN_ABITS) && (ABITS_REST < ABITS_ALL - 1);
	localparam int unsigned  ABITS_LO   = ABITS_TWO? ABITS_ALL - 1 : ABITS_ALL;
	localparam int unsigned  ABITS_HI   = !ABITS_TWO? 0 : ABITS_REST < 1? 1 : ABITS_REST;
	localparam int unsigned  MEM_IMPL   = 2**ABITS_LO + (ABITS_HI? 2**ABITS_HI : 0);
	localparam int unsigned  PIPE_DEPTH = IS_URAM? 3 + (2**ABITS_LO - 1) / 8192 : 2;
""",
        "Verilator has no constant functions that return a structure; the two address widths become integers",
    ),
    Edit("fifo-geometry-lo", "fifo/hdl/fifo.sv", "ABITS.lo", "ABITS_LO", "the rest of 'fifo-geometry'", count=10),
    Edit("fifo-geometry-hi", "fifo/hdl/fifo.sv", "ABITS.hi", "ABITS_HI", "the rest of 'fifo-geometry'", count=13),
    Edit("fifo-nettype", "fifo/hdl/fifo.sv", "`default_nettype none\n", "", "yosys refuses it inside a module"),
    Edit("fifo-nettype-end", "fifo/hdl/fifo.sv", "`default_nettype wire\n", "", "the other half of 'fifo-nettype'"),
    Edit(
        "converter-vector",
        "dwc/hdl/dwc_axi.sv",
        "vpc #(.W(1), .N(IBITS * OBITS), .PI(IBITS), .PO(OBITS)) core (",
        """\
// Where one width divides the other, a vector is one wide beat, which the core packs by a plain shift register.
	localparam bit           WHOLE_RATIO = (IBITS % OBITS == 0) || (OBITS % IBITS == 0);
	localparam int unsigned  VECTOR_BITS = !WHOLE_RATIO? IBITS * OBITS : IBITS > OBITS? IBITS : OBITS;
	vpc #(.W(1), .N(VECTOR_BITS), .PI(IBITS), .PO(OBITS)) core (""",
        "a vector as long as the product of both widths takes the core's barrel shifter, which costs several times the "
        "LUTs of its serializer or deserializer",
    ),
    Edit("converter-nettype", "dwc/hdl/vpc.sv", "`default_nettype none\n", "", "yosys refuses it inside a module"),
    Edit(
        "converter-nettype-end",
        "dwc/hdl/vpc.sv",
        "`default_nettype wire\n",
        "",
        "the other half of 'converter-nettype'",
    ),
    Edit(
        "startup-watchdog",
        "mvu/mvu.sv",
        "	if(1) begin : blkRecoveryWatch\n",
        "`ifndef SYNTHESIS\n	if(1) begin : blkRecoveryWatch\n",
        "its delay of 100 ns is for simulation and yosys refuses it",
    ),
    Edit(
        "startup-watchdog-end",
        "mvu/mvu.sv",
        "	end : blkRecoveryWatch\n",
        "	end : blkRecoveryWatch\n`endif\n",
        "the other half of 'startup-watchdog'",
    ),
    Edit(
        "threshold-scope",
        "thresholding/hdl/thresholding.sv",
        "p.ptr[M-1:SN+1] < 2**stage - SCOPE_REDUCE",
        "(p.ptr[M-1:0] >> (SN+1)) < 2**stage - SCOPE_REDUCE",
        "the slice runs backwards in the first stage, which yosys refuses although nothing reads it there",
    ),
    Edit(
        "threshold-queue",
        "thresholding/hdl/thresholding.sv",
        """\
				foreach(pipe[pe])  ADat[0][pe] <= pipe[pe][M].ptr;
				for(int unsigned  i = 1; i < A_DEPTH; i++)  ADat[i] <= ADat[i-1];
""",
        """\
				ADat <= { adat, ADat[0:A_DEPTH-2] };
""",
        "yosys takes an array written place by place for a memory with a port each, and no shift register for it",
    ),
    Edit(
        "threshold-queue-input",
        "thresholding/hdl/thresholding.sv",
        """\
		uwire  bload = !BVld || ordy;

		always_ff @(posedge clk) begin
			if(aload) begin
""",
        """\
		uwire  bload = !BVld || ordy;

		logic [PE-1:0][M-1:0]  adat;
		always_comb begin
			foreach(adat[pe])  adat[pe] = pipe[pe][M].ptr;
		end
		always_ff @(posedge clk) begin
			if(aload) begin
""",
        "the other half of 'threshold-queue'",
    ),
)


def own_source(name: str) -> Path:
    """Return the path of one of our own SystemVerilog modules, such as 'maxpool_2x2.sv'.

    They lie beside the package in a checkout (`rtl/`) and inside it once installed (`_rtl/`). Raises UserError where
    neither holds the file.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / "rtl", package / "_rtl"):
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"This installation of fpga-facedet lacks the hardware module {name}; install the package again.")


def installed_library() -> Path:
    """Return the folder of the finn-rtllib that finn-plus installed, without importing finn; UserError without one."""
    found = importlib.util.find_spec("finn")
    for package in found.submodule_search_locations or () if found else ():
        if (Path(package) / LIBRARY).is_dir():
            return Path(package) / LIBRARY
    raise UserError("finn-plus with its finn-rtllib is not installed; install fpga-facedet with the extra 'build'.")


def prepare(dest: Path, edits: tuple[Edit, ...] = EDITS) -> Path:
    """Copy the installed finn-rtllib to the folder `dest`, apply `edits` in their order, and return `dest`.

    A `dest` that exists is replaced, so that calling it twice gives the same files. Raises InternalError, naming the
    edit and the version of finn-plus, where a file does not hold what an edit replaces; `dest` is not made then.
    """
    dest = Path(dest)
    with saving_folder(dest) as copy:
        ignored = shutil.ignore_patterns("__pycache__", "*.py")
        shutil.copytree(installed_library(), copy, ignore=ignored, dirs_exist_ok=True)
        for edit in edits:
            _apply(edit, copy)
    return dest


def _apply(edit: Edit, library: Path) -> None:
    path = library / edit.file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = text.count(edit.old)
    if found != edit.count:
        raise InternalError(
            f"The edit '{edit.name}' of {LIBRARY}/{edit.file} found what it replaces {found} times instead of "
            f"{edit.count} in finn-plus {_finn_version()}; use finn-plus {WRITTEN_FOR}, for which it was written."
        )
    path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def _finn_version() -> str:
    try:
        return metadata.version("finn-plus")
    except metadata.PackageNotFoundError:
        return "(unknown version)"
