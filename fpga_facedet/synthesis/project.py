"""The folder for Vivado: sources, memories and scripts, all that a machine with Vivado needs.

ACCELERATOR/vivado-<board>/
  build.tcl              what Vivado runs
  before_synthesis.tcl   what it runs in between
  bitstream.xdc          the mark that ties the bitstream to these sources
  sources/               Verilog, SystemVerilog and the memories they read
  result/                what build.tcl leaves: facedet.bit, facedet.hwh, reports/, built.txt
  vivado/, vivado.log    Vivado's own
"""

import errno
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fpga_facedet.boards import Board
from fpga_facedet.compiler.overlay_top import write_overlay_top
from fpga_facedet.errors import UserError
from fpga_facedet.files import explain_os_error, sha256_of, write_text
from fpga_facedet.manifest import Manifest
from fpga_facedet.synthesis.design import Design, board_design
from fpga_facedet.synthesis.tcl import (
    CONSTRAINTS,
    HOOK,
    RESULT,
    SCRIPT,
    SOURCES,
    STAMP,
    build_script,
    constraints,
    hook_script,
)

OUTDATED = "result-of-other-sources"
"""Where a result goes that was not made from the sources beside it."""
_NO_DIGEST = "0" * 64
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Project:
    """A project for Vivado; `digest`, a SHA-256, stands for all that its bitstream is made from."""

    folder: Path
    design: Design
    digest: str

    @property
    def result(self) -> Path:
        """Where build.tcl leaves what it made."""
        return self.folder / RESULT

    @property
    def is_built(self) -> bool:
        """Whether Vivado has made a result from just these sources."""
        return _stamp(self.result).get("sources") == self.digest

    @property
    def vivado_version(self) -> str:
        """The version that made the result, as the script noted it."""
        return _stamp(self.result).get("vivado", "unknown")


def project_folder(accelerator: Path, board: Board) -> Path:
    """Return where the project belongs: not in the overlay's folder, which goes to a board as it is."""
    return accelerator / f"vivado-{board.name}"


def write_project(accelerator: Path, board: Board) -> Project:
    """Write the project of the accelerator in the folder `accelerator` for `board`; `project_folder` says where.

    A project that stands there and is the same is left alone with its result. Where it is another, or its sources were
    changed, it is written anew, and a result of it put aside as OUTDATED. Raises UserError where the accelerator does
    not fit the board, is none, or cannot be written.
    """
    manifest = Manifest.load(accelerator)
    design = board_design(manifest, board)
    folder = project_folder(accelerator, board)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=accelerator) as temporary:
            fresh = Path(temporary) / folder.name
            digest = _write(accelerator, design, fresh)
            if _contents(folder) != _contents(fresh):
                _replace(folder, fresh)
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            raise UserError(
                f"Cannot write {folder}: {os.strerror(error.errno).lower()}; Vivado's project belongs into the "
                "accelerator's folder: make that writable, or copy it and name the copy."
            ) from error
        raise explain_os_error(folder, error) from error
    project = Project(folder, design, digest)
    # What has no stamp is of a run that goes on or did not get to its end, and no result yet.
    if _stamp(project.result) and not project.is_built:
        _put_aside(folder)
    return project


def _write(accelerator: Path, design: Design, folder: Path) -> str:
    """Write all files of a project into `folder`; return their digest."""
    sources = write_overlay_top(accelerator, folder / SOURCES)
    memories = sorted((folder / SOURCES).glob("*.dat"))
    names = [path.name for path in sources], [path.name for path in memories]
    scripts = build_script(design, *names, _NO_DIGEST), hook_script(), constraints(_NO_DIGEST)
    total = hashlib.sha256("\0".join(scripts).encode())
    for path in (*sources, *memories):
        total.update(f"{path.name} {sha256_of(path)}\n".encode())
    digest = total.hexdigest()
    write_text(folder / SCRIPT, build_script(design, *names, digest))
    write_text(folder / HOOK, hook_script())
    write_text(folder / CONSTRAINTS, constraints(digest))
    return digest


def _contents(folder: Path) -> dict[str, str]:
    """Return the digest of each file of the project in `folder` that this program writes, by its name."""
    found = [folder / name for name in (SCRIPT, HOOK, CONSTRAINTS)] + sorted((folder / SOURCES).glob("*"))
    return {path.name: sha256_of(path) for path in found if path.is_file()}


def _replace(folder: Path, fresh: Path) -> None:
    """Put the files of `fresh` into `folder`; a result there is of other sources, whatever it says of itself."""
    _put_aside(folder)
    shutil.rmtree(folder / SOURCES, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    for path in fresh.iterdir():
        path.replace(folder / path.name)


def _put_aside(folder: Path) -> None:
    """Keep a result of other sources where nobody takes it for that of these: it may have cost hours."""
    if (folder / RESULT).exists():
        shutil.rmtree(folder / OUTDATED, ignore_errors=True)
        (folder / RESULT).replace(folder / OUTDATED)


def _stamp(result: Path) -> dict[str, str]:
    """Return what build.tcl noted last of all, or nothing where it did not come to its end."""
    try:
        lines = (result / STAMP).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return dict(line.split(" ", 1) for line in lines if " " in line)
