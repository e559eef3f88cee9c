"""The block design around an accelerator: its cells, wires and addresses, described once.

Vivado's script (`tcl.py`) and the hardware description that pynq reads (`hwh.py`) are both written from this.
`docs/overlay.md` shows the design and the reasons for its settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fpga_facedet import shell
from fpga_facedet.boards import Board
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import Manifest
from fpga_facedet.synthesis.ps7 import DDR_BYTES, IO_PLL_MHZ, clock_divisors, preset

NAME = "facedet"
"""What the block design is called in Vivado."""
RESETS_CELL = "resets"
INTERRUPT_LINES_CELL = "interrupt_lines"
CONTROL_CELL = "control_bus"
MEMORY_CELL = "memory_bus"

BURST_BEATS = 16
"""Beats of the DMA's bursts: what an AXI3 port of the processing system takes in one (UG585, AXI interfaces)."""
STREAM_BITS = 8 * shell.BEAT_BYTES
REGISTER_BITS = 12
"""Address bits of the detector's registers (`docs/shell.md`)."""

PS7 = "xilinx.com:ip:processing_system7:5.5"
RESET = "xilinx.com:ip:proc_sys_reset:5.0"
DMA = "xilinx.com:ip:axi_dma:7.1"
INTERRUPT_CONTROLLER = "xilinx.com:ip:axi_intc:4.1"
CONCAT = "xilinx.com:ip:xlconcat:2.1"
INTERCONNECT = "xilinx.com:ip:axi_interconnect:2.1"
DETECTOR = f"xilinx.com:module_ref:{shell.TOP}:1.0"
"""What Vivado calls a module of ours in a block design: a reference to an RTL module has this vendor and library."""


@dataclass(frozen=True)
class Cell:
    """One block: its name, what it is an instance of (vendor:library:name:version), and the parameters that are set."""

    name: str
    vlnv: str
    properties: Mapping[str, str]

    @property
    def kind(self) -> str:
        """The name within `vlnv`: axi_dma, say."""
        return self.vlnv.split(":")[2]

    @property
    def is_module(self) -> bool:
        """Whether it is a module of ours and no core of the vendor's catalogue."""
        return self.vlnv.split(":")[1] == "module_ref"


@dataclass(frozen=True)
class Link:
    """A connection of two interfaces, each `cell/INTERFACE`."""

    master: str
    slave: str


@dataclass(frozen=True)
class Net:
    """A wire from one pin, `cell/pin`, to others. `kind` is clock, reset, interrupt or lines."""

    kind: str
    source: str
    sinks: tuple[str, ...]


@dataclass(frozen=True)
class Port:
    """An interface that leaves the chip: its name, its type, and the cell's interface that it is."""

    name: str
    vlnv: str
    interface: str


@dataclass(frozen=True)
class Segment:
    """Where a master finds a slave.

    `space` is the master's address space, `cell/Space`; `segment` the slave's, `cell/INTERFACE/Block`; `master` is the
    interface, `cell/INTERFACE`, by which the space is reached; `offset` and `range` are in bytes.
    """

    space: str
    master: str
    segment: str
    offset: int
    range: int


@dataclass(frozen=True)
class Design:
    """The whole block design for one board at one clock."""

    name: str
    board: Board
    clock_mhz: float
    cells: tuple[Cell, ...]
    links: tuple[Link, ...]
    nets: tuple[Net, ...]
    ports: tuple[Port, ...]
    segments: tuple[Segment, ...]

    def cell(self, name: str) -> Cell:
        """Return the cell called `name`; KeyError where there is none."""
        for cell in self.cells:
            if cell.name == name:
                return cell
        raise KeyError(name)


def board_design(manifest: Manifest, board: Board) -> Design:
    """Return the design that carries the accelerator of `manifest` on `board`, at the manifest's clock.

    UserError where the manifest was built for another board's chip or for a clock that the board does not make, or
    where a frame is longer than one DMA transfer.
    """
    clock_mhz = manifest.clock_mhz or board.clock_mhz
    if manifest.part is not None and manifest.part != board.part:
        raise UserError(
            f"The accelerator {manifest.model.name} was built for the part {manifest.part}, {board.name} has "
            f"{board.part}; build it again with --board {board.name}."
        )
    _check_clock(manifest, clock_mhz)
    _check_lengths(manifest)
    return Design(
        name=NAME,
        board=board,
        clock_mhz=clock_mhz,
        cells=_cells(board, clock_mhz),
        links=_LINKS,
        nets=_NETS,
        ports=_PORTS,
        segments=_segments(),
    )


def fabric_clock_mhz(clock_mhz: float) -> float:
    """Return the clock in MHz that the processing system makes where `clock_mhz` is asked for; never a faster one."""
    first, second = clock_divisors(clock_mhz)
    return IO_PLL_MHZ / (first * second)


def _check_clock(manifest: Manifest, clock_mhz: float) -> None:
    """Refuse a clock that the processing system makes only nearly: all times in the manifest would be wrong."""
    made = fabric_clock_mhz(clock_mhz)
    if abs(made - clock_mhz) > 1e-4 * clock_mhz:
        raise UserError(
            f"The accelerator {manifest.model.name} was built for {clock_mhz:g} MHz; the processing system makes "
            f"{made:g} MHz and the next faster ones: build it for one of these."
        )


def _check_lengths(manifest: Manifest) -> None:
    longest = (1 << shell.DMA_LENGTH_BITS) - 1
    for what, size in (("frame", shell.frame_bytes(manifest)), ("result", shell.result_bytes(manifest))):
        if size > longest:
            raise UserError(
                f"A {what} of {manifest.model.name} has {size} bytes, the DMA sends at most {longest} at once; "
                "use a smaller input."
            )


def _cells(board: Board, clock_mhz: float) -> tuple[Cell, ...]:
    return (
        Cell(shell.PROCESSOR_CELL, PS7, _processor(board, clock_mhz)),
        Cell(RESETS_CELL, RESET, {}),
        Cell(CONTROL_CELL, INTERCONNECT, {"NUM_SI": "1", "NUM_MI": "3"}),
        Cell(MEMORY_CELL, INTERCONNECT, {"NUM_SI": "2", "NUM_MI": "1"}),
        Cell(shell.DMA_CELL, DMA, _DMA_PROPERTIES),
        Cell(shell.DETECTOR_CELL, DETECTOR, {}),
        Cell(INTERRUPT_LINES_CELL, CONCAT, {"NUM_PORTS": "2"}),
        Cell(shell.INTERRUPTS_CELL, INTERRUPT_CONTROLLER, {}),
    )


def _processor(board: Board, clock_mhz: float) -> dict[str, str]:
    """The board's own settings, and those that the design needs."""
    return preset(board) | {
        "PCW_FPGA0_PERIPHERAL_FREQMHZ": f"{fabric_clock_mhz(clock_mhz):.6g}",
        "PCW_FPGA_FCLK0_ENABLE": "1",
        "PCW_FPGA_FCLK1_ENABLE": "0",
        "PCW_FPGA_FCLK2_ENABLE": "0",
        "PCW_FPGA_FCLK3_ENABLE": "0",
        "PCW_EN_CLK0_PORT": "1",
        "PCW_EN_RST0_PORT": "1",
        "PCW_USE_M_AXI_GP0": "1",
        "PCW_USE_S_AXI_HP0": "1",
        "PCW_S_AXI_HP0_DATA_WIDTH": str(STREAM_BITS),
        "PCW_USE_FABRIC_INTERRUPT": "1",
        "PCW_IRQ_F2P_INTR": "1",
    }


# Names and values: PG021, "Customizing and Generating the Core".
_DMA_PROPERTIES = {
    "c_include_sg": "0",
    "c_sg_length_width": str(shell.DMA_LENGTH_BITS),
    "c_include_mm2s": "1",
    "c_include_mm2s_dre": "0",
    "c_m_axi_mm2s_data_width": str(STREAM_BITS),
    "c_m_axis_mm2s_tdata_width": str(STREAM_BITS),
    "c_mm2s_burst_size": str(BURST_BEATS),
    "c_include_s2mm": "1",
    "c_include_s2mm_dre": "0",
    "c_m_axi_s2mm_data_width": str(STREAM_BITS),
    "c_s2mm_burst_size": str(BURST_BEATS),
}

_LINKS = (
    Link("processor/M_AXI_GP0", "control_bus/S00_AXI"),
    Link("control_bus/M00_AXI", "dma/S_AXI_LITE"),
    Link("control_bus/M01_AXI", "detector/s_axi"),
    Link("control_bus/M02_AXI", "interrupts/s_axi"),
    Link("dma/M_AXI_MM2S", "memory_bus/S00_AXI"),
    Link("dma/M_AXI_S2MM", "memory_bus/S01_AXI"),
    Link("memory_bus/M00_AXI", "processor/S_AXI_HP0"),
    Link("dma/M_AXIS_MM2S", "detector/s_axis"),
    Link("detector/m_axis", "dma/S_AXIS_S2MM"),
)

_CLOCK_PINS = (
    "processor/M_AXI_GP0_ACLK",
    "processor/S_AXI_HP0_ACLK",
    "resets/slowest_sync_clk",
    "control_bus/ACLK",
    "control_bus/S00_ACLK",
    "control_bus/M00_ACLK",
    "control_bus/M01_ACLK",
    "control_bus/M02_ACLK",
    "memory_bus/ACLK",
    "memory_bus/S00_ACLK",
    "memory_bus/S01_ACLK",
    "memory_bus/M00_ACLK",
    "dma/s_axi_lite_aclk",
    "dma/m_axi_mm2s_aclk",
    "dma/m_axi_s2mm_aclk",
    "detector/aclk",
    "interrupts/s_axi_aclk",
)
_RESET_PINS = (
    "control_bus/S00_ARESETN",
    "control_bus/M00_ARESETN",
    "control_bus/M01_ARESETN",
    "control_bus/M02_ARESETN",
    "memory_bus/S00_ARESETN",
    "memory_bus/S01_ARESETN",
    "memory_bus/M00_ARESETN",
    "dma/axi_resetn",
    "detector/aresetn",
    "interrupts/s_axi_aresetn",
)
_NETS = (
    Net("clock", "processor/FCLK_CLK0", _CLOCK_PINS),
    Net("reset", "processor/FCLK_RESET0_N", ("resets/ext_reset_in",)),
    Net("reset", "resets/interconnect_aresetn", ("control_bus/ARESETN", "memory_bus/ARESETN")),
    Net("reset", "resets/peripheral_aresetn", _RESET_PINS),
    # pynq numbers the pins of a controller in the order of the lines: sending is 0, receiving 1.
    Net("interrupt", "dma/mm2s_introut", ("interrupt_lines/In0",)),
    Net("interrupt", "dma/s2mm_introut", ("interrupt_lines/In1",)),
    Net("lines", "interrupt_lines/dout", ("interrupts/intr",)),
    Net("interrupt", "interrupts/irq", ("processor/IRQ_F2P",)),
)

_PORTS = (
    Port("DDR", "xilinx.com:interface:ddrx_rtl:1.0", "processor/DDR"),
    Port("FIXED_IO", "xilinx.com:display_processing_system7:fixedio_rtl:1.0", "processor/FIXED_IO"),
)


def _segments() -> tuple[Segment, ...]:
    registers = (
        ("dma/S_AXI_LITE/Reg", shell.DMA_BASE),
        ("detector/s_axi/reg0", shell.DETECTOR_BASE),
        ("interrupts/S_AXI/Reg", shell.INTERRUPTS_BASE),
    )
    memory = "processor/S_AXI_HP0/HP0_DDR_LOWOCM"
    return (
        *(
            Segment("processor/Data", "processor/M_AXI_GP0", segment, base, shell.ADDRESS_RANGE)
            for segment, base in registers
        ),
        Segment("dma/Data_MM2S", "dma/M_AXI_MM2S", memory, 0, DDR_BYTES),
        Segment("dma/Data_S2MM", "dma/M_AXI_S2MM", memory, 0, DDR_BYTES),
    )
