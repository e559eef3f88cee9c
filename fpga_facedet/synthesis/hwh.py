"""The hardware description (.hwh) that pynq reads beside a bitstream, from the same description as Vivado's script.

Vivado writes its own, longer one when it makes a bitstream; packaging takes that. This one is for where no Vivado has
run: the software board, and reading in advance what an overlay will look like to pynq. It says so in its first line.
"""

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from fpga_facedet.files import write_text
from fpga_facedet.synthesis.cores import Core, Interface, Pin, describe
from fpga_facedet.synthesis.design import Design, Net, Segment, fabric_clock_mhz
from fpga_facedet.synthesis.signals import Signal

LABEL = "Written by fpga-facedet from its description of the design, not by Vivado, whose own replaces it."


def write_hwh(design: Design, path: str | os.PathLike[str]) -> None:
    """Write `design` as a .hwh file to `path`; UserError where it cannot be written."""
    write_text(Path(path), hwh(design))


def hwh(design: Design) -> str:
    """Return `design` as the text of a .hwh file, the same for the same design."""
    part = design.board.part
    root = Element("EDKSYSTEM", EDWVERSION="1.2")
    SubElement(
        root, "SYSTEMINFO", ARCH="zynq", DEVICE=part[2:7], NAME=design.name, PACKAGE=part[7:13], SPEEDGRADE=part[13:]
    )
    SubElement(root, "EXTERNALPORTS")
    SubElement(root, "EXTERNALINTERFACES")
    modules = SubElement(root, "MODULES")
    writer = _Writer(design)
    for cell in design.cells:
        writer.module(modules, cell.name)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- {LABEL} -->\n{ElementTree.tostring(root, "unicode")}\n'


class _Writer:
    """Writes modules of a design, knowing who is connected to whom."""

    def __init__(self, design: Design) -> None:
        self.design = design
        self.cores: dict[str, Core] = {cell.name: describe(cell) for cell in design.cells}
        self.nets = {pin: net for net in design.nets for pin in (net.source, *net.sinks)}
        self.peers: dict[str, tuple[str, str]] = {}
        """For each connected interface, the other end and the name of the bus."""
        for link in design.links:
            bus = link.master.replace("/", "_")
            self.peers[self._key(link.master)] = (link.slave, bus)
            self.peers[self._key(link.slave)] = (link.master, bus)

    def module(self, modules: Element, name: str) -> None:
        cell, core = self.design.cell(name), self.cores[name]
        vendor_version = cell.vlnv.split(":")[3]
        module = SubElement(
            modules, "MODULE", FULLNAME=f"/{name}", HWVERSION=vendor_version, INSTANCE=name, IPTYPE="PERIPHERAL",
            IS_ENABLE="1", MODTYPE=cell.kind, VLNV=cell.vlnv,
        )  # fmt: skip
        if core.type:
            module.set("MODCLASS", core.type)
            module.set("IPTYPE", core.type)
        else:
            module.set("IS_PL", "FALSE")
        parameters = SubElement(module, "PARAMETERS")
        for key, value in {**core.parameters, **self._addresses(name)}.items():
            SubElement(parameters, "PARAMETER", NAME=key, VALUE=value)
        ports = SubElement(module, "PORTS")
        interfaces = SubElement(module, "BUSINTERFACES")
        for pin in core.pins:
            self._pin(ports, name, pin)
        for interface in core.interfaces:
            self._interface(ports, interfaces, name, interface)
        self._memory_map(module, name)

    def _addresses(self, name: str) -> dict[str, str]:
        """Return where the registers of cell `name` lie, as parameters."""
        for segment in self.design.segments:
            if segment.segment.startswith(f"{name}/"):
                return {"C_BASEADDR": _hexadecimal(segment.offset), "C_HIGHADDR": _hexadecimal(_last(segment))}
        return {}

    def _pin(self, ports: Element, cell: str, pin: Pin) -> None:
        port = _port(ports, pin.name, pin.output, pin.bits, pin.kind)
        if pin.kind == "clk":
            port.set("CLKFREQUENCY", str(round(fabric_clock_mhz(self.design.clock_mhz) * 1e6)))
        if pin.kind == "INTERRUPT":
            port.set("SENSITIVITY", "LEVEL_HIGH")
        net = self.nets.get(f"{cell}/{pin.name}")
        if net is not None:
            port.set("SIGNAME", net.source.replace("/", "_"))
            connections = SubElement(port, "CONNECTIONS")
            for other in _others(net, f"{cell}/{pin.name}"):
                _connection(connections, other)

    def _interface(self, ports: Element, interfaces: Element, cell: str, interface: Interface) -> None:
        peer, bus = self.peers[self._key(f"{cell}/{interface.name}")]
        other_cell, other_name = peer.split("/")
        other = self.cores[other_cell].interface(other_name)
        element = SubElement(interfaces, "BUSINTERFACE", BUSNAME=bus, NAME=interface.name, VLNV=interface.vlnv)
        stream = interface.vlnv.split(":")[2] == "axis"
        kinds = ("INITIATOR", "TARGET") if stream else ("MASTER", "SLAVE")
        element.set("TYPE", kinds[0] if interface.master else kinds[1])
        signals = interface.signals or other.signals
        bits = next(signal.bits for signal in signals if signal.name in ("TDATA", "RDATA", "WDATA"))
        if stream:
            SubElement(element, "PARAMETER", NAME="TDATA_NUM_BYTES", VALUE=str(bits // 8))
        else:
            element.set("DATAWIDTH", str(bits))
        maps = SubElement(element, "PORTMAPS")
        # A wire that only one side has ends there; the interconnect has those of the side it meets.
        shared = {signal.name for signal in other.signals or signals}
        for signal in signals:
            wire = interface.wire(signal)
            SubElement(maps, "PORTMAP", LOGICAL=signal.name, PHYSICAL=wire)
            port = _port(ports, wire, interface.drives(signal), signal.bits, "undef")
            if signal.name in shared:
                self._wire(port, bus, signal, f"{other_cell}/{other.wire(signal)}")

    @staticmethod
    def _wire(port: Element, bus: str, signal: Signal, other: str) -> None:
        port.set("SIGNAME", f"{bus}_{signal.name.lower()}")
        _connection(SubElement(port, "CONNECTIONS"), other)

    def _memory_map(self, module: Element, cell: str) -> None:
        reached = [segment for segment in self.design.segments if segment.master.startswith(f"{cell}/")]
        if not reached:
            return
        memory = SubElement(module, "MEMORYMAP")
        for segment in reached:
            slave, interface, block = segment.segment.split("/")
            is_memory = self.cores[slave].type == ""
            SubElement(
                memory, "MEMRANGE", ADDRESSBLOCK=block, BASENAME="C_BASEADDR", BASEVALUE=_hexadecimal(segment.offset),
                HIGHNAME="C_HIGHADDR", HIGHVALUE=_hexadecimal(_last(segment)), INSTANCE=slave, IS_DATA="TRUE",
                IS_INSTRUCTION="TRUE", MASTERBUSINTERFACE=segment.master.split("/")[1],
                MEMTYPE="MEMORY" if is_memory else "REGISTER",
                SLAVEBUSINTERFACE=self.cores[slave].interface(interface).name,
            )  # fmt: skip
        peripherals = SubElement(module, "PERIPHERALS")
        for slave in dict.fromkeys(segment.segment.split("/")[0] for segment in reached):
            SubElement(peripherals, "PERIPHERAL", INSTANCE=slave)

    @staticmethod
    def _key(interface: str) -> str:
        return interface.lower()


def _port(ports: Element, name: str, output: bool, bits: int, kind: str) -> Element:
    port = SubElement(ports, "PORT", DIR="O" if output else "I", NAME=name, SIGIS=kind)
    if bits:
        port.set("LEFT", str(bits - 1))
        port.set("RIGHT", "0")
    return port


def _others(net: Net, pin: str) -> tuple[str, ...]:
    """Return what a pin of `net` is connected to, as Vivado lists it: a sink sees the source, the source its sinks."""
    return net.sinks if pin == net.source else (net.source,)


def _connection(connections: Element, pin: str) -> None:
    cell, name = pin.split("/")
    SubElement(connections, "CONNECTION", INSTANCE=cell, PORT=name)


def _last(segment: Segment) -> int:
    return segment.offset + segment.range - 1


def _hexadecimal(value: int) -> str:
    return f"0x{value:08X}"
