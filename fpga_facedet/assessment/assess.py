"""How good a model is: run by any engine over labelled pictures, judged by the protocol that fits them."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fpga_facedet import zoo
from fpga_facedet.assessment.agreement import Agreement, compare_outputs
from fpga_facedet.assessment.captures import Captures, save_capture, save_note
from fpga_facedet.assessment.testset import Sample, TestSet, open_testset
from fpga_facedet.detections import Detections
from fpga_facedet.engines.choose import open_engine
from fpga_facedet.engines.protocol import Engine
from fpga_facedet.errors import UserError
from fpga_facedet.evaluation.mistakes import Mistakes, count_mistakes
from fpga_facedet.evaluation.operating_point import LEAST_SCORE, Scored, Truth, score_detections
from fpga_facedet.evaluation.pictures import GridItem, picture_grid, plot_precision_recall, worst_and_best
from fpga_facedet.evaluation.sizes import BandScore, score_bands
from fpga_facedet.evaluation.wider import DIFFICULTIES, Curve, wider_curve
from fpga_facedet.files import write_json
from fpga_facedet.host.decode import check_threshold, faces_in_frame
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.manifest import Manifest
from fpga_facedet.progress import Progress, unwatched

if TYPE_CHECKING:
    from rich.console import RenderableType

ENGINES = ("torch", "golden", "rtl", "csim", "captures")
EVAL_FILE = "eval.json"
CURVES_FILE = "precision_recall.png"
WORST_FILE, BEST_FILE = "worst.png", "best.png"

_BATCH = 8
_SHOWN = 12


@dataclass(frozen=True)
class Score:
    """What one engine's findings score.

    `wider` holds a curve for each difficulty, None where the protocol does not apply; `scored` all detections at IoU
    0.5; `bands` AP@0.5 by the faces' size and `mistakes` at the threshold, both in pixels of the detector's input.
    """

    wider: Mapping[str, Curve] | None
    scored: Scored
    bands: Sequence[BandScore]
    mistakes: Mistakes

    def average_precisions(self) -> dict[str, float]:
        """Return every AP, 0..1: `easy`, `medium`, `hard` where the protocol applies, and `ap50`."""
        levels = {level: curve.average_precision for level, curve in (self.wider or {}).items()}
        return {**levels, "ap50": self.scored.average_precision}

    def curves(self) -> dict[str, Curve]:
        """Return the curves to draw: by difficulty, or else the one at IoU 0.5."""
        if self.wider:
            return dict(self.wider)
        s = self.scored
        return {"AP@0.5": Curve(s.precision, s.recall, s.average_precision)}

    def to_dict(self) -> dict[str, Any]:
        """Return all figures, JSON-ready."""
        return {
            "ap": {name: round(value, 4) for name, value in self.average_precisions().items()},
            "ap50_by_size": {
                score.band.name: {
                    "faces": score.faces,
                    "ap50": None if score.average_precision is None else round(score.average_precision, 4),
                }
                for score in self.bands
            },
            "mistakes": self.mistakes.to_dict(),
        }


@dataclass(frozen=True)
class Assessment:
    """A model judged: by which engine, on how many pictures, and what came of it.

    `broken` names pictures that could not be read: by WIDER's protocol their faces count as missed, in all other
    figures they do not count. `stopped` says that Ctrl-C ended it early, so the
    figures are those of the first `pictures` alone. `against` and `agreement` are of the second engine, if asked for.
    """

    engine: str
    model: str
    sha256: str
    data: str
    pictures: int
    broken: Sequence[str]
    stopped: bool
    score: Score
    against: Score | None = None
    agreement: Agreement | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the assessment JSON-ready."""
        result: dict[str, Any] = {
            "engine": self.engine,
            "model": {"name": self.model, "sha256": self.sha256},
            "data": self.data,
            "protocol": "WIDER FACE" if self.score.wider else "AP@0.5",
            "pictures": self.pictures,
            "faces": self.score.scored.faces,
            "broken": list(self.broken),
            "stopped": self.stopped,
            **self.score.to_dict(),
        }
        if self.agreement is not None and self.against is not None:
            result["agreement"] = self.agreement.to_dict()
            result["against"] = self.against.to_dict()
        return result

    def describe(self) -> "RenderableType":
        """Return the assessment as tables for a terminal."""
        from fpga_facedet.assessment.describe import describe

        return describe(self)


@dataclass
class _Findings:
    """What one engine found: `original` in labelled pixels by picture, `found` and `truth` in the detector's pixels."""

    original: dict[str, Detections] = field(default_factory=dict)
    found: list[Detections] = field(default_factory=list)
    truth: list[Truth] = field(default_factory=list)

    def add(self, sample: Sample, output: npt.NDArray[np.int8], manifest: Manifest, box: Letterbox) -> None:
        faces = faces_in_frame(output, manifest, box, LEAST_SCORE)
        scale = sample.scale(box.frame_width, box.frame_height)
        self.original[sample.name] = Detections(faces.boxes * scale, faces.scores)
        self.found.append(Detections(box.to_input(faces.boxes), faces.scores))
        truth = sample.truth
        self.truth.append(Truth(box.to_input(truth.faces / scale), box.to_input(truth.ignored / scale)))

    def score(self, testset: TestSet, broken: Sequence[str], threshold: float) -> Score:
        wider = None
        if testset.wider is not None:
            official = {name: testset.wider[name] for name in (*self.original, *broken)}
            wider = {level: wider_curve(self.original, official, level) for level in DIFFICULTIES}
        return Score(
            wider,
            score_detections(self.found, self.truth),
            score_bands(self.found, self.truth),
            count_mistakes(self.found, self.truth, threshold),
        )


def assess(
    model: str | Path,
    data: str | Path,
    engine: str = "golden",
    *,
    truth: str | Path | None = None,
    checkpoint: str | Path | None = None,
    accelerator: str | Path | None = None,
    captures: str | Path | None = None,
    against: str | None = None,
    out: str | Path | None = None,
    save_outputs: str | Path | None = None,
    limit: int | None = None,
    score_threshold: float | None = None,
    progress: Progress = unwatched,
) -> Assessment:
    """Run `model` (a name of the zoo, or a QONNX file) by `engine` over the labelled pictures of `data` and judge it.

    Every engine gets the frames that a host letterboxes from the files, and its integers are decoded as every host
    does; only the engine differs. `data` and `truth` are as `open_testset` takes them.

    Args:
        engine: one of ENGINES. torch takes `checkpoint` (default: `checkpoint.pt` beside the model), rtl the folder
            `accelerator`, captures the folder `captures`.
        against: a second engine on the same frames; outputs are compared one by one, and both are judged.
        out: a folder for `eval.json`, the precision-recall curves, and the worst and best pictures.
        save_outputs: a folder for the first engine's integers as captures, see `assessment.captures`.
        limit: judge so many pictures, evenly chosen.
        score_threshold: where mistakes are counted (0..1); the model's own by default.
        progress: told what goes on and the share (0..1) that is done.

    Ctrl-C ends the run early; what was done is judged. UserError where an argument cannot be used, or the disk is full.
    """
    if limit is not None and limit < 1:
        raise UserError(f"A limit of {limit} pictures leaves none; give 1 or more.")
    if score_threshold is not None:
        check_threshold(score_threshold)
    _check_engines(engine, against, accelerator, captures)
    path = zoo.model_path(model)
    progress("reading the labels", 0.0)
    testset = open_testset(data, truth).limited(limit)
    with ExitStack() as stack:
        places = _Places(path, checkpoint, accelerator, captures)
        engines = [stack.enter_context(closing(places.open(name, progress))) for name in (engine, against) if name]
        run = _Run(testset, engines, Path(save_outputs) if save_outputs else None)
        run.all(progress)
    if not run.pictures:
        raise UserError(f"No picture of {data} was run, so there is nothing to judge; check the folder.")
    manifest = engines[0].manifest
    threshold = manifest.head.score_threshold if score_threshold is None else score_threshold
    progress("judging what was found", 1.0)
    scores = [findings.score(testset, run.broken, threshold) for findings in run.findings]
    assessment = Assessment(
        engine=engine,
        model=manifest.model.name,
        sha256=manifest.model.sha256,
        data=Path(data).name,
        pictures=len(run.pictures),
        broken=(*testset.broken, *run.broken),
        stopped=run.stopped,
        score=scores[0],
        against=scores[1] if against else None,
        agreement=run.agreement,
    )
    if out is not None:
        _write(Path(out), assessment, run)
    return assessment


def _check_engines(
    engine: str, against: str | None, accelerator: str | Path | None, captures: str | Path | None
) -> None:
    asked = [name for name in (engine, against) if name is not None]
    for name in asked:
        if name not in ENGINES:
            raise UserError(f"Unknown engine '{name}'; choose one of: {', '.join(ENGINES)}.")
    if engine == against:
        raise UserError(f"Comparing {engine} with itself says nothing; give another engine to compare with.")
    if "captures" in asked and captures is None:
        raise UserError("The engine captures reads what a board wrote; give its folder (--captures DIR).")
    simulated = [name for name in asked if name in ("rtl", "csim")]
    if simulated and accelerator is None:
        raise UserError(f"The engine {simulated[0]} simulates an accelerator; give its folder (--accelerator DIR).")


@dataclass(frozen=True)
class _Places:
    """Where the engines find what they run."""

    model: Path
    checkpoint: str | Path | None
    accelerator: str | Path | None
    captures: str | Path | None

    def open(self, name: str, progress: Progress) -> "_Named":
        from fpga_facedet.network.metadata import manifest_of_model

        if name == "torch":
            from fpga_facedet.assessment.torch_engine import TorchEngine

            checkpoint = self.checkpoint or self.model.parent / "checkpoint.pt"
            return _Named(TorchEngine(checkpoint, manifest_of_model(self.model)))
        if name == "captures":
            return _Named(Captures(Path(self.captures or ""), manifest_of_model(self.model)))
        if name == "golden":
            return _Named(open_engine("golden", self.model))
        opened = open_engine(name, self.model, Path(self.accelerator or ""), progress)
        described = manifest_of_model(self.model).model
        if opened.manifest.model.sha256 != described.sha256:
            opened.close()
            raise UserError(
                f"The accelerator {self.accelerator} was built from another {opened.manifest.model.name} than "
                f"{self.model}; build it again, or give the model it was built from."
            )
        return _Named(opened)


class _Named:
    """An engine or captures behind one face: outputs for pictures by name and frame."""

    def __init__(self, source: "Engine | Captures") -> None:
        self.source = source
        self.name, self.manifest = source.name, source.manifest

    def outputs(self, names: Sequence[str], frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        return self.source.outputs(names) if isinstance(self.source, Captures) else self.source.infer(frames)

    def close(self) -> None:
        if not isinstance(self.source, Captures):
            self.source.close()

    @property
    def network(self) -> Any:
        """The torch network, if this is the torch engine."""
        return getattr(self.source, "network", None)


class _Run:
    """All pictures of a set through one or two engines."""

    def __init__(self, testset: TestSet, engines: Sequence[_Named], save_outputs: Path | None) -> None:
        self.testset = testset
        self.engines = engines
        self.save_outputs = save_outputs
        self.findings = [_Findings() for _ in engines]
        self.pictures: list[Sample] = []
        self.broken: list[str] = []
        self.stopped = False
        self.agreement: Agreement | None = None
        if len(engines) == 2:
            self.agreement = Agreement((engines[0].name, engines[1].name))

    def all(self, progress: Progress) -> None:
        """Run everything; Ctrl-C ends it after the last whole batch."""
        samples = self.testset.samples
        names = " and ".join(engine.name for engine in self.engines)
        if self.save_outputs is not None:
            save_note(self.save_outputs, self.engines[0].manifest, self.engines[0].name)
        try:
            for start in range(0, len(samples), _BATCH):
                progress(f"looking for faces ({names})", start / len(samples))
                self._batch(samples[start : start + _BATCH])
        except KeyboardInterrupt:
            if not self.pictures:
                raise
            self.stopped = True

    def _batch(self, samples: Sequence[Sample]) -> None:
        size = self.engines[0].manifest.input
        readable, boxes, frames, broken = [], [], [], []
        for sample in samples:
            try:
                pixels = sample.read()
            except UserError:
                broken.append(sample.name)
                continue
            boxes.append(Letterbox.fit(pixels.shape[1], pixels.shape[0], size.width, size.height))
            frames.append(boxes[-1].apply(pixels, size.fill))
            readable.append(sample)
        if not readable:
            self.broken += broken
            return
        names, batch = [sample.name for sample in readable], np.stack(frames)
        outputs = [engine.outputs(names, batch) for engine in self.engines]
        if self.save_outputs is not None:
            for name, output in zip(names, outputs[0], strict=True):
                save_capture(self.save_outputs, name, output)
        if self.agreement is not None:
            network = next((engine.network for engine in self.engines if engine.network is not None), None)
            compare_outputs(self.agreement, names, batch, outputs[0], outputs[1], network)
        # Nothing below can take long, so an interrupted batch leaves no picture half counted.
        for findings, engine, given in zip(self.findings, self.engines, outputs, strict=True):
            for sample, output, box in zip(readable, given, boxes, strict=True):
                findings.add(sample, output, engine.manifest, box)
        self.pictures += readable
        self.broken += broken


def _write(out: Path, assessment: Assessment, run: _Run) -> None:
    """Write the folder of an assessment; the JSON comes last, so that where it is, all is."""
    title = f"{assessment.model}, {assessment.engine} engine, {assessment.pictures} pictures"
    plot_precision_recall(assessment.score.curves(), out / CURVES_FILE, title)
    findings, threshold = run.findings[0], assessment.score.mistakes.score_threshold
    shown = [found[found.scores >= threshold] for found in findings.found]
    ranking = worst_and_best(shown, findings.truth)
    size = run.engines[0].manifest.input
    for name, chosen in ((WORST_FILE, ranking[:_SHOWN]), (BEST_FILE, ranking[::-1][:_SHOWN])):
        items = []
        for index in chosen:
            sample, truth = run.pictures[index], findings.truth[index]
            pixels = sample.read()
            frame = Letterbox.fit(pixels.shape[1], pixels.shape[0], size.width, size.height).apply(pixels, size.fill)
            scored = score_detections([shown[index]], [truth])
            caption = (
                f"{scored.right.sum()} of {scored.faces} found, {(~scored.right).sum()} wrong: {Path(sample.name).name}"
            )
            items.append(GridItem(frame, truth.faces, shown[index], caption))
        picture_grid(items, out / name)
    write_json(out / EVAL_FILE, assessment.to_dict())
