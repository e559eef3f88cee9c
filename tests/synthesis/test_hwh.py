"""The hardware description, as pynq reads it."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from fpga_facedet import shell
from fpga_facedet.errors import UserError
from fpga_facedet.synthesis.design import Design
from fpga_facedet.synthesis.hwh import LABEL, hwh, write_hwh
from fpga_facedet.synthesis.package import check_handoff


def test_the_text_is_the_same_every_time_and_says_who_wrote_it(design: Design) -> None:
    assert hwh(design) == hwh(design)
    assert LABEL in hwh(design).splitlines()[1]


def test_both_ends_of_each_wire_name_each_other(design: Design) -> None:
    modules = {module.get("INSTANCE"): module for module in ElementTree.fromstring(hwh(design)).iter("MODULE")}
    wires = {
        (f"{name}/{port.get('NAME')}", f"{other.get('INSTANCE')}/{other.get('PORT')}")
        for name, module in modules.items()
        for port in module.iter("PORT")
        for other in port.iter("CONNECTION")
    }
    directions = {
        f"{name}/{port.get('NAME')}": port.get("DIR")
        for name, module in modules.items()
        for port in module.iter("PORT")
    }
    assert len(wires) > 200
    for one, other in wires:
        assert (other, one) in wires
        assert directions[one] != directions[other], (one, other)


def test_what_is_packaged_as_vivados_passes_for_ours_too(design: Design, tmp_path: Path) -> None:
    write_hwh(design, tmp_path / "a.hwh")
    check_handoff(tmp_path / "a.hwh", design)


@pytest.mark.parametrize(("old", "new", "said"), [
    ("0x43C00000", "0x43C10000", "does not have detector at 0x43C00000"),
    ("axi_dma:7.1", "axi_dma:7.0", "has xilinx.com:ip:axi_dma:7.0 as dma"),
    ("</MODULES>", "", "Cannot read the hardware description"),
])  # fmt: skip
def test_another_description_is_refused(design: Design, tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "a.hwh").write_text(hwh(design).replace(old, new))
    with pytest.raises(UserError, match=said):
        check_handoff(tmp_path / "a.hwh", design)


def test_pynq_reads_it(design: Design, tmp_path: Path) -> None:
    pytest.importorskip("pynqmetadata", reason="needs pynq (requirements/board.sh)")
    from pynqmetadata.frontends import Metadata
    from pynqmetadata.views.runtime import RuntimeMetadataParser

    write_hwh(design, tmp_path / "a.hwh")
    parser = RuntimeMetadataParser(Metadata(input=str(tmp_path / "a.hwh")))
    parser.refresh_hierarchy_dict()
    cells = {
        name: (cell["type"], cell["phys_addr"], cell["addr_range"])
        for name, cell in parser.ip_dict.items()
        if "phys_addr" in cell
    }
    assert cells == {
        "dma": ("xilinx.com:ip:axi_dma:7.1", shell.DMA_BASE, shell.ADDRESS_RANGE),
        "detector": ("xilinx.com:module_ref:facedet_overlay:1.0", shell.DETECTOR_BASE, shell.ADDRESS_RANGE),
        "interrupts": ("xilinx.com:ip:axi_intc:4.1", shell.INTERRUPTS_BASE, shell.ADDRESS_RANGE),
    }
    parameters = parser.ip_dict["dma"]["parameters"]
    assert int(parameters["c_sg_length_width"]) == shell.DMA_LENGTH_BITS
    assert [parameters[key] for key in ("c_include_sg", "c_include_mm2s", "c_include_s2mm")] == ["0", "1", "1"]
    assert parameters["c_m_axi_mm2s_data_width"] == parameters["c_m_axi_s2mm_data_width"] == "64"
    pins = {name: (pin["controller"], pin["index"]) for name, pin in dict(parser.interrupt_pins).items()}
    assert pins["dma/mm2s_introut"] == ("interrupts", 0)
    assert pins["dma/s2mm_introut"] == ("interrupts", 1)
    assert dict(parser.interrupt_controllers) == {"interrupts": {"parent": "", "index": 0, "raw_irq": 61}}
    clocks = dict(parser.clock_dict.items())
    assert (clocks[0]["enable"], clocks[0]["divisor0"] * clocks[0]["divisor1"]) == (1, 10)
    assert [clocks[other]["enable"] for other in (1, 2, 3)] == [0, 0, 0]
