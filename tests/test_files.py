"""Files are whole or absent, also when the disk is full."""

import os
import resource
import shutil
import signal
from pathlib import Path

import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.files import explain_os_error, saving, saving_folder, sha256_of, write_bytes, write_json


def test_parents_are_made_and_content_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.json"
    write_json(target, {"x": 1})
    assert target.read_text() == '{\n  "x": 1\n}\n'
    assert os.listdir(target.parent) == ["b.json"]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")
    with pytest.raises(ValueError), saving(target) as temporary:
        temporary.write_bytes(b"half")
        raise ValueError
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    """The kernel refuses the write for real: the process may write files of at most 4 KiB."""
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(UserError, match=r"Cannot save .*model\.onnx: the disk is full"):
            write_bytes(target, bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot save"):
        write_bytes(tmp_path / "file" / "below", b"")


def test_sha256_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        sha256_of(tmp_path / "absent")


def test_a_full_disk_while_a_tree_is_copied() -> None:
    """shutil.copytree tells of all the files at once; one sentence is enough."""
    error = shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'"), ("c", "d", "[Errno 28] No space")])
    assert "the disk is full" in str(explain_os_error(Path("x"), error))
    assert len(str(explain_os_error(Path("x"), shutil.Error([("a", "b", "odd")])))) < 200


def test_a_folder_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "folder"
    with saving_folder(place) as first:
        (first / "a").write_text("1")
        assert not place.exists()
    with pytest.raises(ValueError), saving_folder(place) as broken:
        (broken / "b").write_text("2")
        raise ValueError
    assert [path.name for path in place.iterdir()] == ["a"]
    with saving_folder(place) as second:
        (second / "c").write_text("3")
    assert [path.name for path in place.iterdir()] == ["c"]
    assert [path.name for path in place.parent.iterdir()] == ["folder"]
