"""Where the library comes from: compiled once, kept whole, given, refused, or done without."""

import ctypes
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.native import PixelFormat, building, library
from fpga_facedet.native import binding as native
from tests.conftest import REPOSITORY

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def works(found: native.NativeLibrary | None) -> bool:
    assert found is not None
    out = np.zeros((2, 2, 4), np.uint8)
    found.letterbox((2, 2, 2, 2, 2, 2, 0, 0), PixelFormat.GREY, 0, np.array([[1, 2], [3, 4]], np.uint8), out)
    return out[..., 0].tolist() == [[1, 2], [3, 4]]


@needs_compiler
def test_it_is_compiled_once_and_then_found(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert works(library())
    (kept,) = fresh.glob("native-*.so")
    native._found.cache_clear()
    monkeypatch.setattr(building, "_compile", lambda *_: pytest.fail("compiled again"))
    again = library()
    assert again is not None and again.path == str(kept) and works(again)


@needs_compiler
@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "no library at all"])
def test_a_damaged_one_is_made_again(fresh: Path, damage: str) -> None:
    # In a process of its own each time: this one's loader would hand out the copy that it has already mapped.
    code = "from fpga_facedet.native import library; print(library().path)"
    run = [sys.executable, "-c", code]
    subprocess.run(run, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    (kept,) = fresh.glob("native-*.so")
    whole = kept.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    damaged = {"cut": whole[:5000], "empty": b"", "changed": bytes(changed), "no library at all": b"text " * 99}
    kept.write_bytes(damaged[damage])
    subprocess.run(run, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    content = kept.read_bytes()
    assert building._is_whole(kept) and len(content) == len(whole)


@needs_compiler
def test_processes_that_start_together_all_get_it(fresh: Path) -> None:
    code = (
        "import numpy as np; from fpga_facedet.native import library; from fpga_facedet.letterbox import Letterbox; "
        "out = np.empty((4, 4, 4), np.uint8); Letterbox.fit(8, 8, 4, 4).apply_rgbx(np.full((8, 8, 3), 9, np.uint8), "
        "out); assert library() is not None and (out[..., :3] == 9).all()"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY) for _ in range(4)]
    assert [run.wait() for run in runs] == [0] * 4
    assert [path.suffix for path in fresh.iterdir()] == [".so"]


@needs_compiler
def test_threads_that_start_together_compile_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, compile_ = [], building._compile
    monkeypatch.setattr(building, "_compile", lambda *a: (calls.append(1), compile_(*a))[1])
    threads = [threading.Thread(target=library) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and works(library())


@needs_compiler
def test_a_cache_that_cannot_be_written_is_done_without(fresh: Path) -> None:
    fresh.parent.mkdir(parents=True)
    fresh.write_text("a file where the folder should be")
    assert works(library())


@needs_compiler
def test_other_sources_or_flags_have_another_name(fresh: Path, tmp_path: Path) -> None:
    source = tmp_path / "one.cpp"
    source.write_text('extern "C" int answer() { return ANSWER; }\n')

    def answer(flag: str) -> int:
        return int(building.compiled_library("one", [source], [], (flag,)).answer())

    assert (answer("-DANSWER=1"), answer("-DANSWER=2")) == (1, 2)
    source.write_text('extern "C" int answer() { return 10 + ANSWER; }\n')
    assert answer("-DANSWER=2") == 12
    assert len(list(fresh.glob("one-*.so"))) == 3


def test_without_a_compiler_python_does_it_and_the_log_says_so_once(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", os.fspath(fresh.parent))
    with caplog.at_level(logging.INFO):
        assert library() is None and library() is None
    assert [record.message for record in caplog.records] == [
        "Letterbox and postprocessing run in Python, slower with the same results: there is no C++ compiler (g++)."
    ]
    out = np.zeros((8, 8, 4), np.uint8)
    Letterbox.fit(4, 4, 8, 8).apply_rgbx(np.full((4, 4), 7, np.uint8), out)
    assert (out[..., :3] == 7).all()


@pytest.mark.parametrize("compiler", ["g++ -m64", "/nonexistent"])
def test_a_compiler_that_is_not_there_is_named(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, compiler: str
) -> None:
    monkeypatch.setenv("CXX", compiler)
    assert library() is None
    assert f"results: CXX names '{compiler}', and there is no such program" in caplog.text


@needs_compiler
def test_a_user_without_a_home_directory_does_without_a_cache(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert works(library()) and not fresh.exists()


@needs_compiler
def test_old_ones_go_when_a_new_one_comes(fresh: Path) -> None:
    fresh.mkdir(parents=True)
    now, month = time.time(), 31 * 24 * 3600
    times = {
        "native-unused.so": (now - month, now - month),
        "native-read.so": (now, now - month),
        "native-written.so": (now - month, now),
        "pooling-unused.so": (now - month, now - month),
    }
    for name, (read, written) in times.items():
        (fresh / name).write_bytes(b"old")
        os.utime(fresh / name, (read, written))
    found = library()
    assert found is not None
    left = {path.name for path in fresh.iterdir()}
    assert left == {*times, Path(found.path).name} - {"native-unused.so"}


def test_a_compiler_that_refuses_is_named(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    broken = tmp_path / "broken-g++"
    broken.write_text("#!/bin/sh\necho 'fatal error: no such dialect' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", os.fspath(broken))
    assert library() is None
    assert "broken-g++ refused: fatal error: no such dialect" in caplog.text


@pytest.mark.parametrize("off", ["off", "OFF", "Off"])
def test_off_is_off_without_a_word(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, off: str
) -> None:
    monkeypatch.setenv("FACEDET_NATIVE", off)
    assert library() is None and not caplog.records and not fresh.exists()


def test_a_given_library_that_is_none_is_refused(fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACEDET_NATIVE", os.fspath(tmp_path / "missing.so"))
    with pytest.raises(UserError, match=r"FACEDET_NATIVE names .*missing\.so, which cannot be loaded"):
        library()


@needs_compiler
def test_a_given_library_of_others_or_another_version_is_refused(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def make(name: str, text: str) -> None:
        (tmp_path / f"{name}.cpp").write_text(text)
        command = ["g++", "-shared", "-fPIC", "-o", f"{name}.so", f"{name}.cpp"]
        subprocess.run(command, cwd=tmp_path, check=True)
        monkeypatch.setenv("FACEDET_NATIVE", os.fspath(tmp_path / f"{name}.so"))

    make("other", "int x;\n")
    with pytest.raises(UserError, match="not the native library"):
        library()
    names = ("letterbox_apply", "letterbox_scratch", "faces", "faces_scratch")
    rest = "".join(f'extern "C" void facedet_{name}() {{}}\n' for name in names)
    make("older", f'extern "C" int facedet_native_version() {{ return 999; }}\n{rest}')
    with pytest.raises(UserError, match="version 999 of the native library, this program needs 1"):
        library()


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")
@needs_compiler
def test_cmake_builds_it_by_hand(fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run(["cmake", "-S", REPOSITORY / "native", "-B", tmp_path / "build"], **quiet)
    subprocess.run(["cmake", "--build", tmp_path / "build"], **quiet)
    monkeypatch.setenv("FACEDET_NATIVE", os.fspath(tmp_path / "build" / "libfacedet_native.so"))
    assert works(library()) and not fresh.exists()


def test_the_constants_are_the_headers() -> None:
    """What binding.py repeats of facedet.h, for ctypes reads no headers."""
    header = (REPOSITORY / "native" / "facedet.h").read_text()
    assert f"FACEDET_NATIVE_VERSION = {native.VERSION} " in header
    assert "FACEDET_LONGEST_SIDE = 1 << 24" in header and native.LONGEST_SIDE == 1 << 24
    for pixels in PixelFormat:
        assert f"FACEDET_{pixels.name} = {pixels.value}," in header
    assert f"outside 1..{native.MOST_STEPS}," in header
    sources = {path.name for path in (REPOSITORY / "native").iterdir()} - {"CMakeLists.txt"}
    assert sources == {*native.SOURCES, *native.HEADERS}
    cmake = (REPOSITORY / "native" / "CMakeLists.txt").read_text()
    assert all(name in cmake for name in native.SOURCES) and "-ffp-contract=off" in cmake


@needs_compiler
def test_the_c_functions_refuse_what_does_not_fit(fresh: Path) -> None:
    """Each wrong argument alone, by the C interface itself: an error, and nothing written."""
    found = library()
    assert found is not None
    frame, out = np.zeros((4, 6, 3), np.uint8), np.full((8, 8, 4), 77, np.uint8)
    scratch = np.zeros(4096, np.uint64)
    fields = {
        "frame_width": 6, "frame_height": 4, "input_width": 8, "input_height": 8,
        "width": 8, "height": 5, "left": 0, "top": 1,
    }  # fmt: skip

    def call(pixels=0, fill=0, frame_bytes=72, out_bytes=256, scratch_bytes=32768, shift=0, null=None, **changed):
        box = native.LetterboxFields(**{**fields, **changed})
        at = {"frame": frame.ctypes.data, "out": out.ctypes.data, "scratch": scratch.ctypes.data + shift}
        if null:
            at[null] = None
        arguments = (at["frame"], frame_bytes, at["out"], out_bytes, at["scratch"], scratch_bytes)
        return found._letterbox(ctypes.byref(box), pixels, fill, *arguments)

    assert [call(null=name) for name in ("frame", "out", "scratch")] == [-1] * 3
    for name in ("frame_width", "frame_height", "input_width", "input_height", "width", "height"):
        assert call(**{name: 0}) == call(**{name: -1}) == call(**{name: (1 << 24) + 1}) == -2
    assert call(left=-1) == call(left=1) == call(top=4) == call(top=2**31 - 1) == -2
    assert call(frame_bytes=71) == call(out_bytes=257) == -2
    assert call(pixels=3) == call(pixels=-1) == call(pixels=1, frame_width=5, frame_bytes=40) == -3
    assert call(scratch_bytes=100) == call(shift=4) == -4
    assert call(fill=256) == call(fill=-1) == -5
    assert (out == 77).all()
    assert call() == 0 and not (out == 77).any()


@needs_compiler
def test_a_refusal_becomes_one_sentence(fresh: Path) -> None:
    found = library()
    assert found is not None
    with pytest.raises(InternalError, match="refused its arguments .a size does not fit"):
        found.letterbox((2, 2, 2, 2, 3, 2, 0, 0), PixelFormat.GREY, 0, np.zeros(4, np.uint8), np.zeros(16, np.uint8))
    head = native.Head((1, 1), np.ones((1, 2), np.float32), 32, 0, 0, 0.5, (1.0, 1.0), (0, 0), (32, 32))
    with pytest.raises(InternalError, match="a value outside its range"):
        found.faces(head, np.zeros((1, 1, 6), np.int8))
