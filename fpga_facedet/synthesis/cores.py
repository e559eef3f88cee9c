"""What a hardware description says of each core in our design: its pins, interfaces, parameters and register blocks.

The sources: PG021 (AXI DMA), PG059 (AXI Interconnect), PG099 (AXI Interrupt Controller), PG164 (Processor System
Reset), UG585 and PG082 (processing system), and the .hwh files of PYNQ's own overlays for how Vivado writes them down.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fpga_facedet import shell
from fpga_facedet.synthesis.design import REGISTER_BITS, STREAM_BITS, Cell
from fpga_facedet.synthesis.ps7 import clock_divisors
from fpga_facedet.synthesis.signals import Signal, axi3, axi_lite, axi_read, axi_stream, axi_write

AXI = "xilinx.com:interface:aximm:1.0"
STREAM = "xilinx.com:interface:axis:1.0"


@dataclass(frozen=True)
class Pin:
    """A pin outside of any interface; `kind` is clk, rst, INTERRUPT or undef; `bits` 0 is a pin without a range."""

    name: str
    output: bool
    kind: str = "undef"
    bits: int = 0


@dataclass(frozen=True)
class Interface:
    """A bus interface.

    `signals` is empty for a port of an interconnect, which has those of what it is connected to. A wire is called
    `prefix` and the signal's name, the latter in small letters where `lower`.
    """

    name: str
    master: bool
    vlnv: str
    prefix: str
    signals: tuple[Signal, ...] = ()
    lower: bool = True

    def wire(self, signal: Signal) -> str:
        """Return the name of the pin that carries `signal`."""
        return self.prefix + (signal.name.lower() if self.lower else signal.name)

    def drives(self, signal: Signal) -> bool:
        """Return whether this side of the interface drives `signal`."""
        return signal.from_master == self.master


@dataclass(frozen=True)
class Core:
    """One core: `blocks` gives, for each of its slave interfaces, the name of its registers or memory."""

    type: str
    pins: tuple[Pin, ...]
    interfaces: tuple[Interface, ...]
    parameters: Mapping[str, str]
    blocks: Mapping[str, str] = field(default_factory=dict)

    def interface(self, name: str) -> Interface:
        """Return the interface called `name`, in capitals or small letters; KeyError where there is none."""
        return {interface.name.lower(): interface for interface in self.interfaces}[name.lower()]


def describe(cell: Cell) -> Core:
    """Return what there is to say of `cell`; KeyError for a core that the design does not use."""
    return _DESCRIPTIONS[cell.vlnv.split(":")[2]](cell)


def _processor(cell: Cell) -> Core:
    first, second = clock_divisors(float(cell.properties["PCW_FPGA0_PERIPHERAL_FREQMHZ"]))
    width = int(cell.properties["PCW_S_AXI_HP0_DATA_WIDTH"])
    # pynq reads dividers and sources of all four clocks, also of those that are off.
    derived = {
        "PCW_FCLK0_PERIPHERAL_DIVISOR0": str(first),
        "PCW_FCLK0_PERIPHERAL_DIVISOR1": str(second),
        **{f"PCW_FCLK{clock}_PERIPHERAL_DIVISOR{part}": "1" for clock in (1, 2, 3) for part in (0, 1)},
        **{f"PCW_FCLK{clock}_PERIPHERAL_CLKSRC": "IO PLL" for clock in range(4)},
    }
    return Core(
        "",
        (
            Pin("FCLK_CLK0", True, "clk"),
            Pin("FCLK_RESET0_N", True, "rst"),
            Pin("M_AXI_GP0_ACLK", False, "clk"),
            Pin("S_AXI_HP0_ACLK", False, "clk"),
            Pin("IRQ_F2P", False, "INTERRUPT", 1),
        ),
        (
            Interface("M_AXI_GP0", True, AXI, "M_AXI_GP0_", axi3(32, 12), lower=False),
            Interface("S_AXI_HP0", False, AXI, "S_AXI_HP0_", axi3(width, 6), lower=False),
        ),
        # As the other cores' HDL generics, in capitals and with C_ (PYNQ's own .hwh files have it so).
        derived | dict(cell.properties) | {"C_S_AXI_HP0_DATA_WIDTH": cell.properties["PCW_S_AXI_HP0_DATA_WIDTH"]},
        {"S_AXI_HP0": "HP0_DDR_LOWOCM"},
    )


def _resets(cell: Cell) -> Core:
    return Core(
        "PERIPHERAL",
        (
            Pin("slowest_sync_clk", False, "clk"),
            Pin("ext_reset_in", False, "rst"),
            Pin("aux_reset_in", False, "rst"),
            Pin("mb_debug_sys_rst", False, "rst"),
            Pin("dcm_locked", False),
            Pin("mb_reset", True, "rst"),
            Pin("bus_struct_reset", True, "rst", 1),
            Pin("peripheral_reset", True, "rst", 1),
            Pin("interconnect_aresetn", True, "rst", 1),
            Pin("peripheral_aresetn", True, "rst", 1),
        ),
        (),
        {"C_EXT_RST_WIDTH": "4", "C_AUX_RST_WIDTH": "4", "C_EXT_RESET_HIGH": "0", "C_AUX_RESET_HIGH": "0"}
        | dict(cell.properties),
    )


def _interconnect(cell: Cell) -> Core:
    slaves = [f"S{number:02d}" for number in range(int(cell.properties["NUM_SI"]))]
    masters = [f"M{number:02d}" for number in range(int(cell.properties["NUM_MI"]))]
    sides = ["", *(f"{side}_" for side in (*slaves, *masters))]
    pins = [pin for side in sides for pin in (Pin(f"{side}ACLK", False, "clk"), Pin(f"{side}ARESETN", False, "rst"))]
    interfaces = [Interface(f"{side}_AXI", side in masters, AXI, f"{side}_AXI_") for side in (*slaves, *masters)]
    return Core("BUS", tuple(pins), tuple(interfaces), cell.properties)


# Defaults of the parameters that a design like ours leaves alone (PG021).
_DMA_DEFAULTS = {
    "c_addr_width": "32", "c_dlytmr_resolution": "125", "c_enable_multi_channel": "0", "c_increase_throughput": "0",
    "c_include_mm2s_sf": "1", "c_include_s2mm_sf": "1", "c_micro_dma": "0", "c_num_mm2s_channels": "1",
    "c_num_s2mm_channels": "1", "c_prmry_is_aclk_async": "0", "c_sg_include_stscntrl_strm": "0",
    "c_sg_use_stsapp_length": "0", "c_single_interface": "0", "c_s_axis_s2mm_tdata_width": str(STREAM_BITS),
}  # fmt: skip


def _dma(cell: Cell) -> Core:
    configured = _DMA_DEFAULTS | dict(cell.properties)
    return Core(
        "PERIPHERAL",
        (
            Pin("s_axi_lite_aclk", False, "clk"),
            Pin("m_axi_mm2s_aclk", False, "clk"),
            Pin("m_axi_s2mm_aclk", False, "clk"),
            Pin("axi_resetn", False, "rst"),
            Pin("mm2s_prmry_reset_out_n", True, "rst"),
            Pin("s2mm_prmry_reset_out_n", True, "rst"),
            Pin("mm2s_introut", True, "INTERRUPT"),
            Pin("s2mm_introut", True, "INTERRUPT"),
        ),
        (
            Interface("S_AXI_LITE", False, AXI, "s_axi_lite_", axi_lite(10, prot=False)),
            Interface("M_AXI_MM2S", True, AXI, "m_axi_mm2s_", axi_read(int(configured["c_m_axi_mm2s_data_width"]))),
            Interface("M_AXI_S2MM", True, AXI, "m_axi_s2mm_", axi_write(int(configured["c_m_axi_s2mm_data_width"]))),
            Interface(
                "M_AXIS_MM2S", True, STREAM, "m_axis_mm2s_", axi_stream(int(configured["c_m_axis_mm2s_tdata_width"]))
            ),
            Interface("S_AXIS_S2MM", False, STREAM, "s_axis_s2mm_", axi_stream(STREAM_BITS)),
        ),
        # Vivado writes a setting twice: as the HDL's generic in capitals, and as the person set it.
        {key.upper(): value for key, value in configured.items()} | configured,
        {"S_AXI_LITE": "Reg"},
    )


def _detector(cell: Cell) -> Core:
    return Core(
        "PERIPHERAL",
        (Pin("aclk", False, "clk"), Pin("aresetn", False, "rst")),
        (
            Interface("s_axis", False, STREAM, "s_axis_", axi_stream(STREAM_BITS)),
            Interface("m_axis", True, STREAM, "m_axis_", axi_stream(STREAM_BITS)),
            Interface("s_axi", False, AXI, "s_axi_", axi_lite(REGISTER_BITS)),
        ),
        cell.properties,
        {"s_axi": "reg0"},
    )


def _concat(cell: Cell) -> Core:
    lines = int(cell.properties["NUM_PORTS"])
    return Core(
        "BUS",
        (*(Pin(f"In{line}", False, bits=1) for line in range(lines)), Pin("dout", True, bits=lines)),
        (),
        {f"IN{line}_WIDTH": "1" for line in range(lines)} | dict(cell.properties) | {"dout_width": str(lines)},
    )


def _interrupts(cell: Cell) -> Core:
    return Core(
        "PERIPHERAL",
        (
            Pin("s_axi_aclk", False, "clk"),
            Pin("s_axi_aresetn", False, "rst"),
            Pin("intr", False, "INTERRUPT", 2),
            Pin("irq", True, "INTERRUPT"),
        ),
        (Interface("s_axi", False, AXI, "s_axi_", axi_lite(9, prot=False)),),
        {"C_NUM_INTR_INPUTS": "2", "C_NUM_SW_INTR": "0", "C_HAS_FAST": "0", "C_IRQ_IS_LEVEL": "1"}
        | dict(cell.properties),
        {"s_axi": "Reg"},
    )


_DESCRIPTIONS: dict[str, Callable[[Cell], Core]] = {
    "processing_system7": _processor,
    "proc_sys_reset": _resets,
    "axi_interconnect": _interconnect,
    "axi_dma": _dma,
    shell.TOP: _detector,
    "xlconcat": _concat,
    "axi_intc": _interrupts,
}
