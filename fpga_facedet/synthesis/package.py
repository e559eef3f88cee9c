"""The folder of an overlay: from an accelerator through Vivado to what a board loads, or as far as it goes without."""

import shlex
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path

from fpga_facedet.boards import WITH_SHELL, Board
from fpga_facedet.errors import UserError
from fpga_facedet.files import saving, sha256_of, write_text
from fpga_facedet.manifest import FILE_NAME, Manifest
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.synthesis.bitfile import read_bit_header
from fpga_facedet.synthesis.design import Design
from fpga_facedet.synthesis.hwh import write_hwh
from fpga_facedet.synthesis.project import OUTDATED, Project, project_folder, write_project
from fpga_facedet.synthesis.reports import EVIDENCE, check_timing, routed_figures
from fpga_facedet.synthesis.tcl import SCRIPT, USER_ID_DIGITS, VERSIONS
from fpga_facedet.synthesis.vivado import find_vivado, run_vivado

REPORTS = "reports"
ACCELERATOR_REPORT = f"{REPORTS}/accelerator.html"
README = "README.md"


@dataclass(frozen=True)
class Overlay:
    """An overlay's folder as `build_overlay` left it.

    `bit` is None where no Vivado has run; `command` then is the shell's line to run where there is one. `manifest`
    is the one in the folder; `notes` are sentences for the person.
    """

    folder: Path
    project: Path
    manifest: Manifest
    bit: Path | None
    command: str
    notes: tuple[str, ...] = ()


def build_overlay(
    accelerator: Path,
    board: Board,
    out: Path,
    *,
    vivado: Path | None = None,
    progress: Progress | None = None,
) -> Overlay:
    """Build the overlay of the accelerator in the folder `accelerator` for `board` in the folder `out`.

    Writes Vivado's project into the accelerator's folder (`project_folder`); runs Vivado (`vivado`, else the one on the
    PATH) where its result is not there yet; packages `<model>.bit`, `<model>.hwh`, the manifest with their digests and
    the routed figures, and the reports. Without Vivado the .bit stays missing and the .hwh is written from the
    description of the design.

    Raises UserError for a board without our shell, an accelerator that does not fit the board or is none, for a
    bitstream that is damaged, not of these sources or misses its timing, for a place that cannot be an overlay's;
    VivadoError where Vivado fails.
    """
    report = progress or unwatched
    if board.name not in WITH_SHELL:
        raise UserError(f"There is no board shell for {board.title}; overlays are made for {', '.join(WITH_SHELL)}.")
    _check_place(out, accelerator, board)
    report("writing the project for Vivado", 0.0)
    project = write_project(accelerator, board)
    program = find_vivado(vivado)
    manifest = Manifest.load(accelerator)
    _check_alone(out, manifest.model.name)
    packaged = out / f"{manifest.model.name}.bit"
    fault = _fault(packaged, project, accelerator) if packaged.exists() and not project.is_built else None
    if fault == "":
        note = f"{packaged} is of these sources already."
        return Overlay(out, project.folder, Manifest.load(out), packaged, _command(project), (note,))
    if not project.is_built and program is not None:
        run_vivado(program, project.folder, report)
        if not project.is_built:
            raise UserError(f"Vivado ended without a result in {project.result}; see its log beside it.")
    report("packaging", 1.0)
    if project.is_built:
        return _package(accelerator, manifest, project, out)
    if any(project.result.glob("*.bit")):
        raise UserError(
            f"{project.result} has a bitstream but not what Vivado's script left beside it (built.txt, reports); bring "
            "the whole folder 'result' from where it ran."
        )
    if fault:
        # It may have cost hours, and nothing here can take its place.
        raise UserError(
            f"{fault}; make it again with '{_command(project)}' and run this again, or move {packaged} away."
        )
    return _describe(accelerator, manifest, project, out)


def _check_place(out: Path, accelerator: Path, board: Board) -> None:
    """Raise UserError where an overlay in `out` would overwrite what it is made from."""
    place, source, project = out.resolve(), accelerator.resolve(), project_folder(accelerator, board).resolve()
    if place == source or project in (place, *place.parents):
        inside = "is the accelerator's own folder" if place == source else "lies in Vivado's project"
        raise UserError(f"{out} {inside}, whose files the overlay's would overwrite; give --out another folder.")


def _check_alone(out: Path, name: str) -> None:
    """Raise UserError where `out` has another overlay than `name`: a board could not tell which to load."""
    others = sorted(path.name for path in out.glob("*.hwh") if path.stem != name)
    if others:
        raise UserError(f"{out} has {', '.join(others)} of another overlay; give {name} a folder of its own.")


def _fault(bit: Path, project: Project, accelerator: Path) -> str:
    """Return why the overlay with `bit`, packaged before, is not a whole one of the sources of `project`, or ""."""
    beside = bit.parent / FILE_NAME
    if not beside.is_file():
        return f"{bit} has no {FILE_NAME} beside it, which says what it was made from"
    try:
        files = Manifest.load(beside).files
    except UserError as error:
        # Its own advice is for the manifest of an accelerator.
        reason = str(error).rsplit(";", 1)[0]
        return f"{reason}, so it does not say what {bit.name} was made from"
    if files.get("project_sha256") != project.digest:
        return f"{bit} is of other sources than the accelerator in {accelerator}"
    for path in (bit, bit.with_suffix(".hwh")):
        recorded = files.get(f"{path.suffix[1:]}_sha256")
        if not path.is_file():
            return f"{path} is missing"
        found = sha256_of(path)
        if found != recorded:
            return f"{path} is damaged: SHA-256 {found}, its manifest says {recorded}"
    return ""


def _package(accelerator: Path, manifest: Manifest, project: Project, out: Path) -> Overlay:
    """Fill `out` with Vivado's result, once it is checked."""
    made = project.result / f"{project.design.name}.bit", project.result / f"{project.design.name}.hwh"
    _check_bit(made[0], project)
    check_handoff(made[1], project.design)
    figures = routed_figures(project.result / REPORTS)
    check_timing(figures)
    name = manifest.model.name
    bit, description = out / f"{name}.bit", out / f"{name}.hwh"
    for source, target in zip(made, (bit, description), strict=True):
        _copy(source, target)
    for source in sorted((project.result / REPORTS).glob("*.rpt")):
        _copy(source, out / REPORTS / source.name)
    manifest = _overlay_manifest(accelerator, manifest, project, description, bit)
    kept = tuple(figure for figure in manifest.figures if figure.evidence != EVIDENCE)
    manifest = replace(
        manifest, figures=kept + figures, versions=manifest.versions | {"vivado": project.vivado_version}
    )
    _finish(out, manifest, project, bit)
    return Overlay(out, project.folder, manifest, bit, _command(project))


def _describe(accelerator: Path, manifest: Manifest, project: Project, out: Path) -> Overlay:
    """Fill `out` with all there is without a bitstream."""
    description = out / f"{manifest.model.name}.hwh"
    write_hwh(project.design, description)
    manifest = _overlay_manifest(accelerator, manifest, project, description, None)
    _finish(out, manifest, project, None)
    notes = [f"{description.name} is generated from the description of the design; Vivado's own replaces it."]
    if (project.folder / OUTDATED).exists():
        notes.append(f"The result of other sources that was there is now {project.folder / OUTDATED}.")
    return Overlay(out, project.folder, manifest, None, _command(project), tuple(notes))


def _overlay_manifest(
    accelerator: Path, manifest: Manifest, project: Project, description: Path, bit: Path | None
) -> Manifest:
    """Return the accelerator's manifest as that of the overlay: its board, and the digests of what lies beside it."""
    files = {key: value for key, value in manifest.files.items() if key.endswith("_sha256")}
    report = accelerator / manifest.files.get("report", "report.html")
    if report.is_file():
        _copy(report, description.parent / ACCELERATOR_REPORT)
        files["report"] = ACCELERATOR_REPORT
    files["hwh_sha256"] = sha256_of(description)
    if bit is not None:
        files |= {"bit_sha256": sha256_of(bit), "project_sha256": project.digest}
    board = project.design.board
    return replace(manifest, board=board.name, part=board.part, clock_mhz=project.design.clock_mhz, files=files)


def _finish(out: Path, manifest: Manifest, project: Project, bit: Path | None) -> None:
    write_text(out / README, readme(manifest, project.design, bit is not None))
    # Last: whoever finds the manifest finds all that it names.
    manifest.save(out / FILE_NAME)


def _command(project: Project) -> str:
    return f"cd {shlex.quote(str(project.folder))} && vivado -mode batch -source {SCRIPT}"


def readme(manifest: Manifest, design: Design, has_bit: bool) -> str:
    """Return what the folder's README.md says: what is here, and how the bitstream came or comes to be."""
    name, board = manifest.model.name, design.board
    versions = " or ".join(VERSIONS)
    if has_bit:
        state = (
            f"`{name}.bit` and `{name}.hwh` are Vivado {manifest.versions['vivado']}'s, timing met; the figures in "
            "`accelerator.json` with evidence `routed` are read from `reports/`."
        )
    else:
        state = (
            f"**`{name}.bit` is missing: no Vivado has run for it yet.** On a machine with Vivado {versions} run "
            f"`bitstreams/build.sh {board.name} {name}`, or where Vivado is on another machine follow "
            f"`bitstreams/README.md`. `{name}.hwh` is generated from the description of the design, not by Vivado, "
            "whose own replaces it."
        )
    return f"# {name} on the {board.title}\n\n{state}\n\nWritten by `facedet overlay build`.\n"


def check_handoff(path: Path, design: Design) -> None:
    """Raise UserError unless the .hwh `path` has the cells of `design` at their addresses."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"Cannot read the hardware description {path} ({error}); run Vivado again.") from error
    cores = {module.get("INSTANCE"): module.get("VLNV") for module in root.iter("MODULE")}
    addressed = {segment.segment.split("/")[0] for segment in design.segments}
    for cell in design.cells:
        if cell.name in addressed and cores.get(cell.name) != cell.vlnv:
            raise UserError(
                f"{path} has {cores.get(cell.name)} as {cell.name}, the design {cell.vlnv}; run Vivado again."
            )
    places = {(item.get("INSTANCE"), int(item.get("BASEVALUE", "-1"), 16)) for item in root.iter("MEMRANGE")}
    for segment in design.segments:
        cell_name = segment.segment.split("/")[0]
        if (cell_name, segment.offset) not in places:
            raise UserError(f"{path} does not have {cell_name} at 0x{segment.offset:08X}; run Vivado again.")


def _check_bit(path: Path, project: Project) -> None:
    """Raise UserError unless the bitstream `path` is for the chip of the project and bears its mark."""
    header = read_bit_header(path)
    chip = project.design.board.part.removeprefix("xc").split("-")[0]
    if header.part != chip:
        raise UserError(f"{path} is for the chip {header.part}, {project.design.board.name} has {chip}.")
    if header.design != f"{project.design.name}_wrapper":
        raise UserError(
            f"{path} is of the design {header.design}, not {project.design.name}_wrapper; run Vivado again."
        )
    mark = project.digest[:USER_ID_DIGITS].upper()
    if header.user_id != mark:
        raise UserError(
            f"{path} is from other sources: it is marked {header.user_id}, these are {mark}; run Vivado again."
        )


def _copy(source: Path, target: Path) -> None:
    with saving(target) as beside:
        shutil.copyfile(source, beside)
