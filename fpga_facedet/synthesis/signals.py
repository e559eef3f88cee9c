"""The wires behind an interface: what AXI4, AXI3, AXI4-Lite and AXI4-Stream consist of.

Names, directions and widths are those of the AMBA AXI specification (ARM IHI 0022E, chapter A2 and B1) and the
AXI4-Stream specification (ARM IHI 0051A, chapter 2), in the subset that the cores of our design have.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """One wire: its name in capitals, whether the master drives it, and its bits; 0 for a wire without a range."""

    name: str
    from_master: bool
    bits: int = 0


def axi_lite(address_bits: int, prot: bool = True) -> tuple[Signal, ...]:
    """Return the signals of AXI4-Lite with 32 bits of data; some cores leave AxPROT and WSTRB out (`prot` False)."""
    return (
        *_address("AW", address_bits, prot),
        Signal("WDATA", True, 32),
        *((Signal("WSTRB", True, 4),) if prot else ()),
        Signal("WVALID", True),
        Signal("WREADY", False),
        Signal("BRESP", False, 2),
        Signal("BVALID", False),
        Signal("BREADY", True),
        *_address("AR", address_bits, prot),
        Signal("RDATA", False, 32),
        Signal("RRESP", False, 2),
        Signal("RVALID", False),
        Signal("RREADY", True),
    )


def axi_read(bits: int) -> tuple[Signal, ...]:
    """Return the signals of an AXI4 master of `bits` data bits that only reads, without identifiers."""
    return (
        *_burst("AR"),
        Signal("RDATA", False, bits),
        Signal("RRESP", False, 2),
        Signal("RLAST", False),
        Signal("RVALID", False),
        Signal("RREADY", True),
    )


def axi_write(bits: int) -> tuple[Signal, ...]:
    """Return the signals of an AXI4 master of `bits` data bits that only writes, without identifiers."""
    return (
        *_burst("AW"),
        Signal("WDATA", True, bits),
        Signal("WSTRB", True, bits // 8),
        Signal("WLAST", True),
        Signal("WVALID", True),
        Signal("WREADY", False),
        Signal("BRESP", False, 2),
        Signal("BVALID", False),
        Signal("BREADY", True),
    )


def axi3(bits: int, id_bits: int) -> tuple[Signal, ...]:
    """Return the signals of AXI3, which the ports of the processing system speak."""
    return (
        *_burst3("AW", id_bits),
        Signal("WID", True, id_bits),
        Signal("WDATA", True, bits),
        Signal("WSTRB", True, bits // 8),
        Signal("WLAST", True),
        Signal("WVALID", True),
        Signal("WREADY", False),
        Signal("BID", False, id_bits),
        Signal("BRESP", False, 2),
        Signal("BVALID", False),
        Signal("BREADY", True),
        *_burst3("AR", id_bits),
        Signal("RID", False, id_bits),
        Signal("RDATA", False, bits),
        Signal("RRESP", False, 2),
        Signal("RLAST", False),
        Signal("RVALID", False),
        Signal("RREADY", True),
    )


def axi_stream(bits: int) -> tuple[Signal, ...]:
    """Return the signals of an AXI4-Stream of `bits` data bits with TKEEP and TLAST."""
    return (
        Signal("TDATA", True, bits),
        Signal("TKEEP", True, bits // 8),
        Signal("TVALID", True),
        Signal("TREADY", False),
        Signal("TLAST", True),
    )


def _address(channel: str, bits: int, prot: bool) -> tuple[Signal, ...]:
    return (
        Signal(f"{channel}ADDR", True, bits),
        *((Signal(f"{channel}PROT", True, 3),) if prot else ()),
        Signal(f"{channel}VALID", True),
        Signal(f"{channel}READY", False),
    )


def _burst(channel: str) -> tuple[Signal, ...]:
    return (
        Signal(f"{channel}ADDR", True, 32),
        Signal(f"{channel}LEN", True, 8),
        Signal(f"{channel}SIZE", True, 3),
        Signal(f"{channel}BURST", True, 2),
        Signal(f"{channel}PROT", True, 3),
        Signal(f"{channel}CACHE", True, 4),
        Signal(f"{channel}VALID", True),
        Signal(f"{channel}READY", False),
    )


def _burst3(channel: str, id_bits: int) -> tuple[Signal, ...]:
    return (
        Signal(f"{channel}ID", True, id_bits),
        Signal(f"{channel}ADDR", True, 32),
        Signal(f"{channel}LEN", True, 4),
        Signal(f"{channel}SIZE", True, 3),
        Signal(f"{channel}BURST", True, 2),
        Signal(f"{channel}LOCK", True, 2),
        Signal(f"{channel}PROT", True, 3),
        Signal(f"{channel}CACHE", True, 4),
        Signal(f"{channel}QOS", True, 4),
        Signal(f"{channel}VALID", True),
        Signal(f"{channel}READY", False),
    )
