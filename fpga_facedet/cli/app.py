"""What all commands share: the application, its options, how results and remarks are said, engines by name."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fpga_facedet import __version__
from fpga_facedet.console import Reporter
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import HLS, RTL
from fpga_facedet.zoo import DEFAULT_MODEL

DEFAULT_BOARD = "pynq-z2"
BUILD_FOLDER = Path("build")
OVERLAY_FOLDER = Path("bitstreams")
LAYERS_OF = {"rtl": RTL, "csim": HLS}
"""The engines that simulate an accelerator, and the style of its layers that each takes."""
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
        help="golden: exact integers on this CPU; rtl: the hardware itself, simulated; csim: HLS layers, compiled for "
        "this CPU; board: the overlay, on a board.",
    ),
]
AcceleratorOption = Annotated[
    Path | None,
    typer.Option(
        "--accelerator",
        "-a",
        help="A folder that `facedet build` wrote (--engine rtl and csim build one if none is given), or for --engine "
        "board the folder of an overlay (default: bitstreams/BOARD/MODEL).",
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


def print_json(value: Any) -> None:
    """Print a result for machines, one line on stdout."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def say(text: str) -> None:
    """Print a remark on stderr."""
    print(text, file=sys.stderr, flush=True)


def say_where(place: Any) -> None:
    """Say on stderr where a stream can be watched."""
    say(f"Listening on {place.host}:{place.port}; watch it: facedet watch {place.host}:{place.port}")


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


def open_engine(name: str, model: str | None, accelerator: Path | None) -> Any:
    """Open the engine, first building the accelerator that `rtl` or `csim` needs where none was given."""
    from fpga_facedet import zoo
    from fpga_facedet.engines import choose

    if model is not None and accelerator is not None:
        raise UserError(f"Both --model {model} and --accelerator {accelerator} were given; give the one to run.")
    if name == "board":
        from fpga_facedet.engines.overlay_folder import find_overlay_folder

        return choose.open_engine(name, Path(), accelerator or find_overlay_folder(model))
    file = zoo.model_path(model or DEFAULT_MODEL)
    if name in LAYERS_OF and accelerator is None:
        accelerator = built_accelerator(file, LAYERS_OF[name])
    with Reporter() as report:
        return choose.open_engine(name, file, accelerator, report)


def default_folder(model: Path, board: str, layers: str = RTL) -> Path:
    """Return where the accelerator of `model` for `board` goes unless a place is given; see `--layers`."""
    from fpga_facedet.network.metadata import manifest_of_model

    name = f"{manifest_of_model(model).model.name}-{board}"
    return BUILD_FOLDER / (name if layers == RTL else f"{name}-{HLS if layers == HLS else Path(layers).stem}")


def built_accelerator(model: Path, layers: str = RTL) -> Path:
    """Return a folder with the accelerator of `model` in it, built now unless it stands there already.

    `layers` is the style of all its layers: RTL or HLS.
    """
    from fpga_facedet.files import sha256_of
    from fpga_facedet.manifest import Manifest

    folder = default_folder(model, DEFAULT_BOARD, layers)
    try:
        manifest = Manifest.load(folder)
        if manifest.model.sha256 == sha256_of(model) and manifest.layer_style == layers:
            return folder
    except UserError:
        pass
    from fpga_facedet.boards import get_board
    from fpga_facedet.compiler.flow import build as build_accelerator
    from fpga_facedet.compiler.hls.styles import Styles

    say(f"There is no accelerator of this model in {folder} yet; building it (a minute or two).")
    with Reporter() as report:
        build_accelerator(model, get_board(DEFAULT_BOARD), folder, layers=Styles.parse(layers), progress=report)
    return folder
