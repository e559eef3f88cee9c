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


@pytest.fixture
def hls_folder(built_hls: Built, tmp_path: Path) -> Path:
    return copy_of(built_hls, tmp_path / "hls-accelerator")


def test_the_cpp_that_was_built_belongs_to_its_manifest(hls_folder: Path, folder: Path) -> None:
    manifest = Manifest.load(hls_folder)
    layout.check_hls(hls_folder, manifest)
    layout.check_rtl(hls_folder, manifest)
    assert manifest.files.items() >= layout.digests(hls_folder).items()
    assert layout.digests(hls_folder).keys() - layout.digests(folder).keys() == {"hls_sha256"}
    sources = {path.relative_to(hls_folder / "hls") for path in layout.hls_sources(hls_folder)}
    assert sources == {
        path.relative_to(hls_folder / "hls")
        for path in (hls_folder / "hls").rglob("*")
        if path.is_file() and path.name != "files.txt"
    }


@pytest.mark.parametrize("pattern", ["top.cpp", "MVAU_3.hpp", "facedet/stream.hpp", "vectors/*_out.bin", "files.txt"])
def test_changed_cpp_is_refused(hls_folder: Path, pattern: str) -> None:
    (path,) = (hls_folder / "hls").glob(pattern)
    if path.name == "files.txt":
        path.write_text("\n".join(reversed(path.read_text().split())))
    else:
        flip(path)
    with pytest.raises(UserError, match=r"hls does not belong to the manifest .*; build the accelerator again"):
        layout.check_hls(hls_folder, Manifest.load(hls_folder))


def test_the_digest_of_the_top_covers_the_cpp(hls_folder: Path) -> None:
    """So that the board, which knows the digest of the RTL alone, knows which weights it holds."""
    assert layout.hls_digest(hls_folder) in (hls_folder / "rtl" / "top.sv").read_text()


def test_what_vitis_leaves_is_no_source(hls_folder: Path) -> None:
    (hls_folder / "hls" / "vitis").mkdir()
    (hls_folder / "hls" / "vitis" / "log.txt").write_text("done")
    layout.check_hls(hls_folder, Manifest.load(hls_folder))


def test_missing_cpp_is_named(hls_folder: Path, folder: Path) -> None:
    (hls_folder / "hls" / "top.cpp").unlink()
    with pytest.raises(UserError, match=r"lacks .*top\.cpp, listed in .*files\.txt; build"):
        layout.hls_sources(hls_folder)
    with pytest.raises(UserError, match=r"has no HLS layers; build it with them \(facedet build --layers hls\)"):
        layout.hls_sources(folder)


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
