"""What ties a manifest to the files beside it."""

from dataclasses import replace
from pathlib import Path

import pytest

from fpga_facedet.compiler import layout
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.engines.rtl import RtlEngine
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import Manifest
from tests.compiler.conftest import Built
from tests.compiler.test_flow import copy_of


@pytest.fixture
def folder(built: Built, tmp_path: Path) -> Path:
    return copy_of(built, tmp_path / "accelerator")


def flip(path: Path) -> None:
    """Change one character of a file, leaving its length."""
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])


def test_what_was_built_belongs_to_its_manifest(folder: Path) -> None:
    manifest = Manifest.load(folder)
    layout.check_golden(folder, manifest)
    layout.check_rtl(folder, manifest)
    assert manifest.files.items() >= layout.digests(folder).items()


def test_another_golden_model_is_refused(folder: Path) -> None:
    flip(folder / "golden.onnx")
    with pytest.raises(
        UserError, match=r"golden\.onnx does not belong to the manifest .*; build the accelerator again"
    ):
        GoldenEngine(folder)


@pytest.mark.parametrize("pattern", ["*_weights.dat", "top.sv", "maxpool_2x2.sv"])
def test_changed_hardware_is_refused(folder: Path, pattern: str) -> None:
    flip(sorted((folder / "rtl").glob(pattern))[-1])
    with pytest.raises(UserError, match=r"rtl does not belong to the manifest .*; build the accelerator again"):
        RtlEngine(folder)


def test_a_missing_memory_and_another_order_are_changes(folder: Path) -> None:
    manifest = Manifest.load(folder)
    listing = folder / "rtl" / "files.txt"
    names = listing.read_text()
    listing.write_text("\n".join(reversed(names.split())))
    with pytest.raises(UserError, match="does not belong"):
        layout.check_rtl(folder, manifest)
    listing.write_text(names)
    next((folder / "rtl").glob("*.dat")).unlink()
    with pytest.raises(UserError, match="does not belong"):
        layout.check_rtl(folder, manifest)


def test_a_manifest_without_digests_is_compared_with_nothing(folder: Path) -> None:
    flip(folder / "golden.onnx")
    flip(folder / "rtl" / "top.sv")
    manifest = replace(Manifest.load(folder), files={})
    layout.check_golden(folder, manifest)
    layout.check_rtl(folder, manifest)


def test_sources_are_in_compile_order(folder: Path) -> None:
    assert layout.sources(folder)[-1] == folder / "rtl" / "top.sv"
    (folder / "rtl" / "files.txt").write_text("\n")
    with pytest.raises(UserError, match="lacks any source"):
        layout.sources(folder)


@pytest.mark.parametrize("engine", [GoldenEngine, RtlEngine])
def test_an_overlay_is_no_accelerator_and_is_told_so(engine: type, tmp_path: Path, folder: Path) -> None:
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "accelerator.json").write_bytes((folder / "accelerator.json").read_bytes())
    (overlay / "small.hwh").write_text("<EDKSYSTEM/>")
    with pytest.raises(UserError, match=r"overlay is an overlay for a board; give the accelerator"):
        engine(overlay)
