"""C++ compiled at first use and kept in the user's cache, whole or not at all, also with several processes at once."""

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fpga_facedet.errors import UserError
from fpga_facedet.files import write_bytes

_DIGEST_BYTES = hashlib.sha256().digest_size
_MESSAGE_LENGTH = 400
_UNUSED_SECONDS = 30 * 24 * 3600


class CannotBuildError(Exception):
    """There is no compiler, or it refused, or nothing here can be loaded; the message says which, without a stop."""


def cache_folder() -> Path | None:
    """Return where things made at first use are kept: `facedet` in XDG_CACHE_HOME, or in ~/.cache.

    None for a user without a home directory, such as a bare number in a container: nothing is kept then.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "facedet"
    except RuntimeError:
        return None


def compiled_library(
    name: str,
    sources: Sequence[Path],
    headers: Sequence[Path],
    flags: Sequence[str],
    compiling: Callable[[], None] | None = None,
) -> ctypes.CDLL:
    """Return the library of `sources`, compiled by `$CXX` or g++ with `flags` unless the cache has it.

    `compiling` is called before the compiler starts.

    The cached file is named after a digest of sources, headers, flags, compiler and processor, so that none of them
    changes unseen, and ends with a digest of its own bytes (which the loader ignores): a damaged one is made again,
    never loaded. Those of the same name that nobody has used for a month go when a new one comes. Where there is no
    cache, or it cannot be written or runs no programs, a temporary folder serves this process. Raises CannotBuildError.
    """
    compiler = _compiler()

    def make() -> bytes:
        if compiling:
            compiling()
        return _compile(compiler, sources, flags)

    folder = cache_folder()
    if folder is None:
        return _load_once(name, make())
    cached = folder / f"{name}-{_key(compiler, sources, headers, flags)}.so"
    if _is_whole(cached):
        try:
            return ctypes.CDLL(str(cached))
        except OSError:
            pass  # a cache on a file system that runs no programs: the temporary folder below
    content = make()
    try:
        write_bytes(cached, content + hashlib.sha256(content).digest())
        _remove_unused(name, cached)
        return ctypes.CDLL(str(cached))
    except (UserError, OSError):
        return _load_once(name, content)


def _compiler() -> str:
    """Return the compiler's path."""
    given = os.environ.get("CXX")
    compiler = shutil.which(given or "g++")
    if compiler is None and given:
        raise CannotBuildError(f"CXX names '{given}', and there is no such program (give its name or path alone)")
    if compiler is None:
        raise CannotBuildError("there is no C++ compiler (g++)")
    return compiler


def _remove_unused(name: str, new: Path) -> None:
    """Remove the libraries beside `new`, of other sources or compilers, that were last read or made long ago."""
    oldest = time.time() - _UNUSED_SECONDS
    for path in new.parent.glob(f"{name}-*.so"):
        with contextlib.suppress(OSError):  # another process may remove it too
            used = path.stat()
            if path != new and max(used.st_atime, used.st_mtime) < oldest:
                path.unlink()


def _key(compiler: str, sources: Sequence[Path], headers: Sequence[Path], flags: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for path in (*sources, *headers):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    resolved = Path(compiler).resolve()
    stat = resolved.stat()
    # Asking the compiler for its version would start it in every process.
    parts = (*flags, str(resolved), str(stat.st_size), str(stat.st_mtime_ns), platform.machine(), processor_features())
    digest.update("\n".join(parts).encode())
    return digest.hexdigest()[:32]


def processor_features() -> str:
    """Return the instruction sets of this processor as Linux lists them, empty where it does not.

    A home directory may be shared by several machines, and -march=native means another thing on each.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(("flags", "Features"))), "")


def _is_whole(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content[:-_DIGEST_BYTES]).digest() == content[-_DIGEST_BYTES:]


def _compile(compiler: str, sources: Sequence[Path], flags: Sequence[str]) -> bytes:
    """Return the bytes of the shared library."""
    try:
        with tempfile.TemporaryDirectory(prefix="facedet-native-") as folder:
            path = Path(folder) / "library.so"
            code, said = _run([compiler, *flags, "-shared", "-fPIC", "-o", str(path), *map(str, sources)])
            if code:
                lines = (line for line in said.splitlines() if "error" in line)
                # The file's name says where; its folder would leave no room for what is wrong.
                reason = re.sub(r"^\S*/(?=[^/\s]+:\d)", "", next(lines, "no reason given"))
                raise CannotBuildError(f"{compiler} refused: {reason[:_MESSAGE_LENGTH]}")
            return path.read_bytes()
    except OSError as error:
        raise CannotBuildError(f"{compiler} could not run: {error.strerror}") from error


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Run a compiler; return its exit code and its complaints. A Ctrl-C ends it and the programs that it started."""
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        try:
            said = child.communicate()[1]
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            raise
    return child.returncode, said


def _load_once(name: str, content: bytes) -> ctypes.CDLL:
    """Load `content` from a temporary folder; the mapped file outlives its name."""
    try:
        with tempfile.TemporaryDirectory(prefix="facedet-native-") as folder:
            path = Path(folder) / f"{name}.so"
            path.write_bytes(content)
            return ctypes.CDLL(str(path))
    except OSError as error:
        raise CannotBuildError(f"no folder here can hold a library that loads ({error})") from error
