"""Files that are either whole or absent: written beside their place, then renamed."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fpga_facedet.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def explain_os_error(path: Path, error: OSError) -> UserError:
    """Return the one-sentence error for a file that could not be written to `path`."""
    if isinstance(error, shutil.Error):
        # shutil.copytree collects what failed as texts: (from, to, "[Errno 28] No space left on device: ...").
        number = re.match(r"\[Errno (\d+)\]", str(error.args[0][0][2]))
        error = OSError(int(number[1]) if number else errno.EIO, "")
    if error.errno in _FULL:
        return UserError(f"Cannot save {path}: the disk is full or over its quota; free some space and run it again.")
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return UserError(f"Cannot save {path}: {reason}; choose another place or change its permissions.")


@contextlib.contextmanager
def saving(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` on success, delete it on any failure.

    The temporary file keeps the suffix of `path`, so writers that choose a format by suffix work. Parent folders
    are made. Raises UserError where the disk is full or the place cannot be written; a file that stood at `path`
    before is untouched then.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise explain_os_error(path, error) from error
    temporary = Path(name)
    # mkstemp makes private files; what we save is for everyone the umask admits.
    umask = os.umask(0)
    os.umask(umask)
    os.fchmod(handle, 0o666 & ~umask)
    os.close(handle)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise explain_os_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make `folder` and raise the UserError now that saving a file in it would raise after long work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise explain_os_error(folder, error) from error


@contextlib.contextmanager
def saving_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder, alone in a folder beside `path`; put it in the place of `path` on success, else delete it.

    A folder that stood at `path` before goes only when the new one is whole. Raises OSError where the disk is full or
    the place cannot be written: the writers of folders know which of their files to name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        folder = Path(scratch) / path.name
        folder.mkdir()
        yield folder
        if path.exists():
            path.rename(Path(scratch) / "replaced")
        folder.rename(path)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` as one atomic step; see `saving` for the errors."""
    with saving(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 `text` to `path` as one atomic step; see `saving` for the errors."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON to `path` as one atomic step; see `saving` for the errors."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits; UserError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise UserError(f"Cannot read {path}: {reason}; check the path.") from error
    return digest.hexdigest()
