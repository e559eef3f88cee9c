from pathlib import Path

import pytest

from fpga_facedet.engines import overlay_folder
from fpga_facedet.engines.overlay_folder import find_overlay_folder, read_overlay_folder, this_board
from fpga_facedet.errors import UserError
from fpga_facedet.files import sha256_of
from fpga_facedet.manifest import Manifest

from .toy import MANIFEST


def write(folder: Path, **digests: str) -> Path:
    """Write a whole overlay folder, whose manifest says `digests` in the place of the right ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("bit", "hwh"):
        (folder / f"toy.{suffix}").write_bytes(suffix.encode())
        digests = {f"{suffix}_sha256": sha256_of(folder / f"toy.{suffix}"), **digests}
    Manifest.from_dict(MANIFEST.to_dict() | {"files": MANIFEST.files | digests}).save(folder / "accelerator.json")
    return folder


def test_a_whole_folder_is_read(tmp_path: Path) -> None:
    files = read_overlay_folder(write(tmp_path))
    assert (files.bit, files.hwh) == (tmp_path / "toy.bit", tmp_path / "toy.hwh")
    assert files.manifest.model == MANIFEST.model


@pytest.mark.parametrize("key", ["bit_sha256", "hwh_sha256"])
def test_a_manifest_that_knows_nothing_of_the_overlay_is_refused(tmp_path: Path, key: str) -> None:
    manifest = Manifest.load(write(tmp_path))
    left = {name: digest for name, digest in manifest.files.items() if name != key}
    Manifest.from_dict(manifest.to_dict() | {"files": left}).save(tmp_path / "accelerator.json")
    with pytest.raises(UserError, match=f"accelerator.json has no {key}, so it is the manifest of an accelerator"):
        read_overlay_folder(tmp_path)


@pytest.mark.parametrize("suffix", [".bit", ".hwh"])
def test_a_missing_file_is_named_with_how_to_build_it(tmp_path: Path, suffix: str) -> None:
    (write(tmp_path) / f"toy{suffix}").unlink()
    with pytest.raises(UserError) as caught:
        read_overlay_folder(tmp_path)
    assert f"There is no {tmp_path}/toy{suffix}; on a PC with Vivado" in str(caught.value)
    assert "facedet overlay build ACCELERATOR --board pynq-z2" in str(caught.value)
    assert "bitstreams/build.sh pynq-z2 toy" in str(caught.value)


@pytest.mark.parametrize("name", ["bit", "hwh"])
def test_a_file_of_another_build_is_refused_with_both_digests(tmp_path: Path, name: str) -> None:
    write(tmp_path, **{f"{name}_sha256": "12" * 32})
    with pytest.raises(UserError) as caught:
        read_overlay_folder(tmp_path)
    assert sha256_of(tmp_path / f"toy.{name}") in str(caught.value) and "12" * 32 in str(caught.value)


def test_two_overlays_in_one_folder_are_refused(tmp_path: Path) -> None:
    (write(tmp_path) / "other.hwh").write_bytes(b"")
    with pytest.raises(UserError, match=r"several overlays \(other.hwh, toy.hwh\)"):
        read_overlay_folder(tmp_path)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no manifest"):
        read_overlay_folder(tmp_path)


def test_the_board_is_known_by_its_environment_or_its_device_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "pynq_board"
    monkeypatch.setattr(overlay_folder, "BOARD_FILE", tree)
    assert this_board({"BOARD": "Pynq-Z1"}) == "pynq-z1"
    assert this_board({}) == "pynq-z2"
    tree.write_bytes(b"Pynq-Z1\0")
    assert this_board({}) == "pynq-z1"
    with pytest.raises(UserError, match="calls itself 'ZCU104'; overlays are made for pynq-z1, pynq-z2"):
        this_board({"BOARD": "ZCU104"})


def test_the_folder_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    environment = {"BOARD": "Pynq-Z2", "FACEDET_BITSTREAMS": str(tmp_path / "named")}
    with pytest.raises(UserError, match=r"FACEDET_BITSTREAMS is .*named, which is no folder"):
        find_overlay_folder("toy", environment)
    (tmp_path / "named").mkdir()
    with pytest.raises(UserError, match=r"no overlay 'pynq-z2/toy' in .*named, bitstreams, .*home/bitstreams"):
        find_overlay_folder("toy", environment)
    home = write(tmp_path / "home" / "bitstreams" / "pynq-z2" / "toy")
    assert find_overlay_folder("toy", environment) == home
    write(Path("bitstreams/pynq-z2/toy"))
    assert find_overlay_folder("toy", environment) == Path("bitstreams/pynq-z2/toy")
    named = write(tmp_path / "named" / "pynq-z2" / "toy")
    assert find_overlay_folder("toy", environment) == named
    with pytest.raises(UserError, match=r"'pynq-z2/other' .*there is .*toy"):
        find_overlay_folder("other", environment)
    # One that waits for its bitstream hides no whole one.
    (named / "toy.bit").unlink()
    assert find_overlay_folder("toy", environment) == Path("bitstreams/pynq-z2/toy")
    Path("bitstreams/pynq-z2/toy/toy.bit").unlink()
    (home / "toy.bit").unlink()
    assert find_overlay_folder("toy", environment) == named


def test_what_is_no_overlay_is_called_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no folder .*nowhere; give an overlay's"):
        read_overlay_folder(tmp_path / "nowhere")
    rtl = write(tmp_path / "accelerator") / "rtl"
    rtl.mkdir()
    (rtl / "files.txt").write_text("top.sv\n")
    with pytest.raises(UserError, match=r"is an accelerator; .*facedet overlay build .*accelerator --board pynq-z2"):
        read_overlay_folder(tmp_path / "accelerator")
