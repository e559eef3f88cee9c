"""Commands that run it: run, serve, watch, top, demo, doctor."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fpga_facedet.cli.app import (
    BUILD_FOLDER,
    DEFAULT_BOARD,
    INTERRUPTED,
    AcceleratorOption,
    BoardOption,
    EngineModelOption,
    EngineOption,
    FramesLimit,
    JsonOption,
    ModelOption,
    ScoreOption,
    SourceOption,
    app,
    open_engine,
    print_json,
    say,
    say_where,
)
from fpga_facedet.errors import UserError
from fpga_facedet.zoo import DEFAULT_MODEL


@app.command()
def run(
    source: SourceOption,
    engine: EngineOption = "golden",
    model: EngineModelOption = None,
    accelerator: AcceleratorOption = None,
    min_score: ScoreOption = None,
    jsonl: Annotated[
        Path | None, typer.Option("--jsonl", help="Write one JSON line a picture to this file; - is stdout.")
    ] = None,
    annotated: Annotated[
        Path | None, typer.Option("--annotated", help="Write pictures with boxes to this folder.")
    ] = None,
    limit: FramesLimit = None,
    json_output: JsonOption = False,
) -> None:
    """Find faces in pictures, videos or a camera; boxes are x1, y1, x2, y2 in pixels of the picture as stored."""
    from fpga_facedet.host import commands
    from fpga_facedet.stream.protocol import faces_as_json

    to_stdout = jsonl is not None and commands.is_stdout(jsonl)
    if to_stdout and json_output:
        raise UserError("Both --json and --jsonl - write to stdout; give one of them.")
    pictures: list[dict[str, Any]] = []

    def on_result(result: Any) -> None:
        if json_output:
            faces = faces_as_json(result.faces)
            pictures.append(
                {"source": result.frame.name, "width": result.width, "height": result.height, "faces": faces}
            )
        else:
            print(commands.describe_result(result), file=sys.stderr if to_stdout else sys.stdout, flush=True)

    opened = open_engine(engine, model, accelerator)
    with commands.closing_in_time(opened):
        summary = commands.run(
            source,
            opened,
            min_score=min_score,
            jsonl=jsonl,
            annotated=annotated,
            limit=limit,
            on_result=on_result,
            on_warning=say,
        )
    if json_output:
        print_json({**summary.to_dict(), "pictures": pictures})
    if summary.stopped:
        raise typer.Exit(INTERRUPTED)


@app.command()
def serve(
    source: SourceOption,
    engine: EngineOption = "golden",
    model: EngineModelOption = None,
    accelerator: AcceleratorOption = None,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; 0.0.0.0 lets the whole network watch.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="The TCP port; 0 takes a free one.")
    ] = 5566,
    loop: Annotated[bool, typer.Option("--loop", help="Start the source again at its end, for ever.")] = False,
    fps: Annotated[
        float | None, typer.Option("--fps", help="Highest rate (default: a video's own); 0: no limit.")
    ] = None,
    wait_clients: Annotated[int | None, typer.Option("--wait-clients", min=0, help="Begin when so many watch.")] = None,
    min_score: ScoreOption = None,
    latest: Annotated[
        bool | None,
        typer.Option("--latest/--every", help="Drop the oldest frame when behind, or do all (default: by the source)."),
    ] = None,
    limit: FramesLimit = None,
    restarts: Annotated[
        int,
        typer.Option(
            "--restarts",
            min=0,
            help="How often within --restart-minutes a camera, stream or engine that failed is opened again (only "
            "with a source that does not end); 0: never.",
        ),
    ] = 5,
    restart_minutes: Annotated[
        float, typer.Option("--restart-minutes", help="The time in which --restarts are counted.")
    ] = 10.0,
    stall_seconds: Annotated[
        float, typer.Option("--stall-seconds", help="A stage that works on one frame for so long hangs.")
    ] = 20.0,
    json_output: JsonOption = False,
) -> None:
    """Stream the faces of a source over TCP, a JSON line a frame; read it with `facedet watch` or nc."""
    from fpga_facedet.host import commands
    from fpga_facedet.host.watchdog import RestartPolicy

    policy = RestartPolicy(most=restarts, within=restart_minutes * 60)
    opened = open_engine(engine, model, accelerator)
    with commands.closing_in_time(opened):
        summary = commands.serve(
            source,
            opened,
            host=host,
            port=port,
            loop=loop,
            fps=fps,
            wait_clients=wait_clients,
            min_score=min_score,
            latest=latest,
            limit=limit,
            reopen_engine=lambda: open_engine(engine, model, accelerator),
            restarts=policy,
            stall_seconds=stall_seconds,
            on_listening=say_where,
            on_watchers=lambda count: say(f"{count} watching."),
            on_warning=say,
        )
    if json_output:
        print_json(summary.to_dict())
    else:
        print(f"Sent {summary.metrics.frames} frames of {summary.source}.")


@app.command()
def watch(
    address: Annotated[str, typer.Argument(help="HOST:PORT of a `facedet serve`.", show_default=False)],
    count: Annotated[int | None, typer.Option("--count", help="End after so many frames.")] = None,
    reconnect: Annotated[
        bool, typer.Option("--reconnect/--no-reconnect", help="Come back when the server does.")
    ] = True,
    json_output: Annotated[bool, typer.Option("--json", help="Print the stream's own JSON lines.")] = False,
) -> None:
    """Show a stream of faces as it comes."""
    from fpga_facedet.host import commands
    from fpga_facedet.stream.client import Reconnect

    def show(message: Any) -> None:
        if json_output:
            print_json(message)
        else:
            print(commands.describe_message(message), flush=True)

    commands.watch(address, show, count=count, reconnect=Reconnect() if reconnect else None)


@app.command()
def top(
    address: Annotated[str, typer.Argument(help="HOST:PORT of a `facedet serve`.", show_default=False)],
    reconnect: Annotated[
        bool, typer.Option("--reconnect/--no-reconnect", help="Come back when the server does.")
    ] = True,
    json_output: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON lines, one a second.")] = False,
) -> None:
    """Show how fast a running `facedet serve` is, stage by stage; without a terminal one line a second."""
    from fpga_facedet.host.top import top as show_top
    from fpga_facedet.stream.client import Reconnect

    show_top(address, json_output=json_output, reconnect=Reconnect() if reconnect else None)


@app.command()
def demo(
    source: Annotated[
        str | None, typer.Option("--source", "-s", help="What to watch instead of the two photographs.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where accelerator, pictures and reports go.")] = BUILD_FOLDER
    / "demo",
    model: ModelOption = DEFAULT_MODEL,
    board: BoardOption = DEFAULT_BOARD,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames to stream.")] = 60,
) -> None:
    """Show the whole way: build the accelerator, prove it on a photograph, stream faces to a TCP client."""
    from fpga_facedet.demo import run_demo

    run_demo(model=model, board=board, out=out, source=source, frames=frames)


@app.command()
def doctor(json_output: JsonOption = False) -> None:
    """Say what is installed, what is missing, and what each missing part would enable."""
    from fpga_facedet.doctor import as_dicts, examine

    findings = examine()
    if json_output:
        print_json({"parts": as_dicts(findings)})
        return
    table = Table("", "part", "version, place or remedy", "enables")
    for finding in findings:
        mark = "[green]found[/]" if finding.found else "[yellow]missing[/]"
        table.add_row(mark, finding.part, finding.detail, finding.enables)
    Console().print(table)
