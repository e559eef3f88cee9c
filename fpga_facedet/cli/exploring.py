"""Commands that count and compare hardware: explore, synth, calibrate."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from fpga_facedet.cli.app import DEFAULT_BOARD, JsonOption, ModelOption, app, print_json
from fpga_facedet.cli.making import BudgetOption, LayersOption, MinimiseOption
from fpga_facedet.console import Reporter
from fpga_facedet.errors import UserError
from fpga_facedet.files import check_writable
from fpga_facedet.manifest import RTL
from fpga_facedet.zoo import DEFAULT_MODEL

EVERY = "all"


@app.command()
def explore(
    model: ModelOption = DEFAULT_MODEL,
    board: Annotated[
        str | None, typer.Option("--board", "-b", help=f"One board (default: {DEFAULT_BOARD}).", show_default=False)
    ] = None,
    boards: Annotated[
        str | None, typer.Option("--boards", help="Several boards: 'all', or their names with commas between.")
    ] = None,
    target_fps: Annotated[
        str, typer.Option("--target-fps", help="Frames a second to search for, or max: the most that fits.")
    ] = "max",
    minimise: MinimiseOption = "share",
    budget: BudgetOption = None,
    layers: LayersOption = RTL,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write JSON, a table and a picture of the Pareto fronts into this folder."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Search the best folding of a model for one or several boards, without building it: FPS against the chip.

    Exit code 2 where no board can do what is asked for.
    """
    from fpga_facedet import zoo
    from fpga_facedet.boards import BOARDS, get_board
    from fpga_facedet.compiler.hls.styles import Styles

    if board is not None and boards is not None:
        raise UserError(f"Both --board {board} and --boards {boards} were given; give one of them.")
    named = boards if boards is not None else board or DEFAULT_BOARD
    names = list(dict.fromkeys(name.strip() for name in named.split(",")))
    names = list(BOARDS) if EVERY in names else names
    chosen, file, styles = [get_board(name) for name in names], zoo.model_path(model), Styles.parse(layers)
    if out is not None:
        check_writable(out)
    from fpga_facedet.compiler.explore import explore as search
    from fpga_facedet.compiler.folding import Request

    with Reporter() as report:
        found = search(file, chosen, Request.parse(target_fps, minimise, budget), styles, report)
    written = [] if out is None else found.save(out)
    told = found.to_dict()
    if json_output:
        print_json(told)
    else:
        _print_boards(told["boards"])
        for path in written:
            print(path)
    if all("refusal" in each for each in told["boards"]):
        raise typer.Exit(2)


def _print_boards(boards: list[dict[str, Any]]) -> None:
    """Print a line for each board: frames a second, what binds, what it takes; then what each search says of it."""
    # A board's name is what a person types next: it stays whole on a narrow terminal.
    board = Column("board", no_wrap=True)
    table = Table(board, "frames/s", "bound by", "LUT", "BRAM18", "DSP", "power", "mJ a frame", title="estimated")
    for each in boards:
        if "refusal" in each:
            table.add_row(each["board"], "none")
            continue
        counts = (f"{each[name]:,}" for name in ("lut", "bram18", "dsp"))
        energy = 1000 * each["power_w"] / each["fps"]
        table.add_row(
            f"{each['board']}, {each['clock_mhz']:g} MHz", f"{each['fps']:,}", each["binding"], *counts,
            f"{each['power_w']:.1f} W", f"{energy:.1f}",
        )  # fmt: skip
    Console().print(table)
    for each in boards:
        # Where there are several boards, "bound by" says it in short.
        limit = each.get("limit") if len(boards) == 1 else None
        for text in filter(None, (each.get("refusal"), limit, each.get("remark"))):
            print(f"{each['board']}: {text}")


@app.command()
def synth(
    accelerator: Annotated[Path, typer.Argument(help="A folder that `facedet build` wrote.", show_default=False)],
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="How many layers to count at once.")] = 2,
    json_output: JsonOption = False,
) -> None:
    """Count what the whole accelerator takes of its chip: yosys synthesizes every layer, memory, converter and FIFO.

    What it counts takes its place beside the estimates in the manifest and the report page. Exit code 1 where a module
    could not be counted: the total is then not measured.
    """
    from fpga_facedet.synthesis.counting import synthesize

    with Reporter() as report:
        found = synthesize(accelerator, report, jobs=jobs)
    if json_output:
        print_json(found.to_dict())
    else:
        print(found.describe())
    if found.used is None:
        raise typer.Exit(1)


@app.command()
def calibrate(
    accelerators: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders that `facedet build` wrote: the formulas are judged by their layers too."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write coefficients, counts and a picture into this folder, nothing into the package."
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Fit the cost model to yosys: count single layers of many foldings, fit, show the error on layers not fitted to.

    The first time it takes a quarter of an hour; what was counted is kept, so that it can be stopped and run again.
    """
    from fpga_facedet.synthesis import calibration_plot
    from fpga_facedet.synthesis.calibration import calibrate as fit

    with Reporter() as report:
        found = fit(report, accelerators or (), out)
    if out is not None:
        calibration_plot.draw(found, out / calibration_plot.FILE)
    if json_output:
        print_json(found.to_dict())
    else:
        print(found.describe())
