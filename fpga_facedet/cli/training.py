"""Commands of training and judging: data check, train, eval, export."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fpga_facedet.cli.app import (
    DATA_FORMATS,
    INTERRUPTED,
    LAYERS_OF,
    AcceleratorOption,
    JsonOption,
    ModelOption,
    app,
    built_accelerator,
    print_json,
    say,
)
from fpga_facedet.console import Reporter
from fpga_facedet.zoo import DEFAULT_MODEL

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
        print_json(check.to_dict())
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
    say("Choosing the score threshold on the validation pictures and exporting.")
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
            "csim: its HLS layers as a program; captures: what a board wrote.",
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
    simulated = [LAYERS_OF[name] for name in (engine, against) if name in LAYERS_OF]
    if simulated and accelerator is None:
        accelerator = built_accelerator(file, simulated[0])
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
        print_json(assessment.to_dict())
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
