"""Commands that make hardware: build, verify, overlay build."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fpga_facedet.cli.app import (
    DEFAULT_BOARD,
    OVERLAY_FOLDER,
    BoardOption,
    JsonOption,
    ModelOption,
    app,
    default_folder,
    print_json,
    say,
)
from fpga_facedet.console import Reporter
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import HLS, MIXED, RTL, Manifest
from fpga_facedet.zoo import DEFAULT_MODEL

LayersOption = Annotated[
    str, typer.Option("--layers", help="rtl, hls, or a TOML file that chooses for each layer (docs/hls.md).")
]
MinimiseOption = Annotated[
    str,
    typer.Option("--minimise", help="What to spare at that rate: share (of the chip), lut, dsp, bram18 or power."),
]
BudgetOption = Annotated[
    str | None,
    typer.Option("--budget", help="Percent of the chip that may be taken (default: lut=85,bram=90,dsp=95)."),
]


@app.command()
def build(
    model: ModelOption = DEFAULT_MODEL,
    board: BoardOption = DEFAULT_BOARD,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The folder to write (default: build/MODEL-BOARD, -hls or the TOML file's name behind it).",
        ),
    ] = None,
    layers: LayersOption = RTL,
    vitis: Annotated[
        Path | None,
        typer.Option("--vitis", help="Vitis HLS's program (default: `vitis-run` or `vitis_hls` on the PATH)."),
    ] = None,
    no_vitis: Annotated[
        bool, typer.Option("--no-vitis", help="Leave Vitis HLS out, even where there is one: sources alone.")
    ] = False,
    target_fps: Annotated[
        str | None, typer.Option("--target-fps", help="Frames a second to fold for, or max: the most that fits.")
    ] = None,
    minimise: MinimiseOption = "share",
    budget: BudgetOption = None,
    size_fifos: Annotated[
        bool,
        typer.Option("--size-fifos", help="Give each FIFO the places that a simulation fills, and prove them."),
    ] = False,
    from_step: Annotated[
        str | None, typer.Option("--from-step", help="Resume at this step of an earlier build.")
    ] = None,
    to_step: Annotated[str | None, typer.Option("--to-step", help="Stop after this step.")] = None,
    list_steps: Annotated[bool, typer.Option("--list-steps", help="Print the steps' names and stop.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Compile a model into an accelerator: RTL or HLS, manifest and reports; each step is checked against the first."""
    from fpga_facedet import zoo
    from fpga_facedet.boards import get_board
    from fpga_facedet.compiler.hls.styles import Styles

    if list_steps:
        from fpga_facedet.compiler.flow import STEPS

        print("\n".join(STEPS))
        return
    # Before the compiler is imported, which takes seconds: a wrong name is said at once.
    chosen, model_file, styles = get_board(board), zoo.model_path(model), Styles.parse(layers)
    if size_fifos and (to_step is not None or styles.wants_hls):
        besides = f"--to-step {to_step}" if to_step is not None else f"--layers {layers}"
        raise UserError(f"--size-fifos simulates a finished accelerator of RTL layers; leave {besides} out.")
    folder = out or default_folder(model_file, board, layers)
    program = _vitis(vitis, no_vitis)
    from fpga_facedet.compiler import flow
    from fpga_facedet.compiler.folding import Request

    with Reporter() as report:
        manifest = flow.build(
            model_file,
            chosen,
            folder,
            layers=styles,
            request=Request.parse(target_fps, minimise, budget),
            from_step=from_step,
            to_step=to_step,
            progress=report,
        )
        if program is not None and manifest.layer_style in (HLS, MIXED):
            manifest = _synthesize(folder, program, manifest, report)
        if size_fifos:
            manifest = _size_fifos(folder, report)
    _print_build(manifest, folder, json_output)


def _vitis(named: Path | None, left_out: bool) -> Path | None:
    """Return the Vitis HLS to run, None where there is none or it is not wanted."""
    if named is not None and left_out:
        raise UserError(f"Both --vitis {named} and --no-vitis were given; give one of them.")
    from fpga_facedet.synthesis.vitis import find_vitis

    return None if left_out else find_vitis(named)


def _synthesize(folder: Path, program: Path, manifest: Any, report: Reporter) -> Any:
    """Let Vitis HLS make the Verilog of the HLS layers, unless it is there; return the manifest with its figures."""
    from fpga_facedet.synthesis import hls_reports
    from fpga_facedet.synthesis.vitis import run_vitis

    if _without_verilog(folder, manifest) is not None:
        run_vitis(folder, report, program=program)
    return hls_reports.record(folder, hls_reports.read(folder))


def _size_fifos(folder: Path, report: Reporter) -> Any:
    """Let a simulation size the FIFOs; return the manifest of the accelerator with these."""
    from fpga_facedet.verification.fifo_sizing import size_fifos

    sizes = size_fifos(folder, report)
    say(sizes.describe())
    return Manifest.load(folder)


def _print_build(manifest: Any, folder: Path, json_output: bool) -> None:
    """Print what a build obtained; one that stopped early (--to-step) has no figures yet."""
    figures = _figures(manifest)
    if json_output:
        shown = {"out": str(folder), "model": manifest.model.name, "board": manifest.board}
        print_json({**shown, "layers": manifest.layer_style, "figures": figures})
        return
    if not figures:
        print(f"{manifest.model.name}: the steps so far are in {folder / 'steps'}; go on with --from-step.")
        return
    _print_figures(manifest)
    _print_search(folder)
    print(f"{manifest.model.name} for {manifest.board} is in {folder}; its report: {folder / 'report.html'}")
    if manifest.layer_style in (HLS, MIXED) and _without_verilog(folder, manifest) is not None:
        from fpga_facedet.compiler.hls.verilog import vitis_command

        print(f"Next, where Vitis HLS is: {vitis_command(folder)}\nThen: facedet hls report {folder}")


def _print_search(folder: Path) -> None:
    """Print what the folding search found: the slowest layer, the next one, and what stops the next tenth."""
    from fpga_facedet.compiler.folding import SEARCH_FILE

    if not (folder / SEARCH_FILE).is_file():
        return
    found = json.loads((folder / SEARCH_FILE).read_text())
    for title, pace in (("Slowest", found["bottleneck"]), ("Next", found["next"])):
        print(f"{title}: {pace['layer']}, {pace['cycles']:,} cycles a frame (estimated): {pace['why']}.")
    print(found["limit"])


def _without_verilog(folder: Path, manifest: Any) -> str | None:
    """Return in a sentence why the HLS layers have no Verilog of their own sources, None where they have."""
    from fpga_facedet.compiler.hls.verilog import verilog_files

    try:
        verilog_files(folder, manifest)
    except UserError as error:
        return str(error)
    return None


def _figures(manifest: Any) -> dict[str, dict[str, Any]]:
    return {f.name: {"value": f.value, "unit": f.unit, "evidence": f.evidence} for f in manifest.figures}


def _print_figures(manifest: Any) -> None:
    table = Table("figure", "value", "unit", "evidence")
    for figure in manifest.figures:
        table.add_row(figure.name, f"{figure.value:,.10g}", figure.unit, figure.evidence)
    Console().print(table)


@app.command()
def verify(
    accelerator: Annotated[Path, typer.Argument(help="A folder that `facedet build` wrote.", show_default=False)],
    frames: Annotated[int, typer.Option("--frames", min=1, help="Different frames, sent back to back.")] = 3,
    stalls: Annotated[
        bool, typer.Option("--stalls", help="Stall both streams at random while comparing bytes (RTL only).")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the noise frames and the stalls.")] = 0,
    layers: Annotated[
        str | None, typer.Option("--layers", help="Insist on rtl or hls (default: whatever was built).")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Prove the hardware bit for bit: simulate it on several frames, compare each byte with the golden engine.

    RTL is simulated cycle by cycle. HLS layers are compiled as C++, and what each of them puts out is compared too.
    """
    from fpga_facedet.verification.verify import verify as verify_accelerator

    with Reporter() as report:
        result = verify_accelerator(
            accelerator, frames=frames, stalls=stalls, seed=seed, layers=layers, progress=report
        )
    if stalls and Manifest.load(accelerator).layer_style == HLS:
        say("C simulation has no cycles to stall in: --stalls says nothing of HLS layers.")
    if json_output:
        print_json(result.to_dict())
    else:
        print(result.describe())
    if not result.equal:
        raise typer.Exit(1)


hls_app = typer.Typer(help="HLS layers: what Vitis HLS says of them.", no_args_is_help=True)
app.add_typer(hls_app, name="hls")


@hls_app.command("report")
def hls_report(
    accelerator: Annotated[
        Path, typer.Argument(help="A folder that `facedet build --layers hls` wrote.", show_default=False)
    ],
    json_output: JsonOption = False,
) -> None:
    """Show cycles and resources of each layer: Vitis HLS's own where it has run, the estimates of the build where not.

    What Vitis HLS reports takes the place of the estimates in the manifest and the report page.
    """
    from fpga_facedet.synthesis import hls_reports

    found = hls_reports.read(accelerator)
    if found.segments:
        hls_reports.record(accelerator, found)
    if json_output:
        print_json(found.to_dict())
    else:
        print(found.describe())


overlay_app = typer.Typer(
    help="From an accelerator to what a board loads: bitstream, description, manifest.", no_args_is_help=True
)
app.add_typer(overlay_app, name="overlay")


@overlay_app.command("build")
def overlay_build(
    accelerator: Annotated[Path, typer.Argument(help="A folder that `facedet build` wrote.", show_default=False)],
    board: BoardOption = DEFAULT_BOARD,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help=f"Where the overlay goes (default: {OVERLAY_FOLDER}/BOARD/MODEL)."),
    ] = None,
    vivado: Annotated[
        Path | None, typer.Option("--vivado", help="Vivado's program (default: `vivado` on the PATH).")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Write the Vivado project of an accelerator, run Vivado where there is one, package what a board loads."""
    from fpga_facedet.boards import get_board
    from fpga_facedet.synthesis.package import build_overlay

    chosen = get_board(board)
    folder = out or OVERLAY_FOLDER / chosen.name / Manifest.load(accelerator).model.name
    with Reporter() as report:
        overlay = build_overlay(accelerator, chosen, folder, vivado=vivado, progress=report)
    if json_output:
        print_json(
            {
                "folder": str(overlay.folder),
                "project": str(overlay.project),
                "bit": None if overlay.bit is None else str(overlay.bit),
                "command": overlay.command,
                "notes": list(overlay.notes),
                "figures": _figures(overlay.manifest),
            }
        )
        return
    if overlay.bit is None:
        print(
            f"There is no bitstream in {overlay.folder} yet: no Vivado has run.\n"
            f"Where Vivado 2022.1 or 2024.1 is on the PATH, run\n    {overlay.command}\n"
            "then this command again. On another machine: copy that folder there, run it, and bring its 'result' back."
        )
    else:
        _print_figures(overlay.manifest)
        print(f"The overlay is in {overlay.folder}: copy it to the board.")
    for note in overlay.notes:
        print(note)
