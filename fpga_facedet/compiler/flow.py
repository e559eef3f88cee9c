"""The build: named steps from a QONNX model to an accelerator, each saved, each proven equal to the first.

Every step takes a graph and returns one, which is saved as `steps/NN_name.onnx` and executed beside the imported
model. Which layers are SystemVerilog and which C++ matters from the step `fold` on: all before it is the same for both.
A later build can start at any step from what an earlier one saved. All of this happens in `steps`: a finished
accelerator in the same folder stays as it is until the new one is whole.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpga_facedet.boards import Board, get_board
from fpga_facedet.compiler import fifos, folding, integer, layers, layout, report, results, rtl, streamline
from fpga_facedet.compiler.equivalence import Reference, pictures
from fpga_facedet.compiler.finn_session import finn_session, place_without_room
from fpga_facedet.compiler.folding import SEARCH_FILE, Request
from fpga_facedet.compiler.hls import cost as hls_cost
from fpga_facedet.compiler.hls import emit, styles, vectors
from fpga_facedet.compiler.hls.plan import MOST_BEAT_BITS, MOST_BITS, check_supported
from fpga_facedet.compiler.hls.styles import Segment, Styles
from fpga_facedet.errors import UserError
from fpga_facedet.files import explain_os_error, saving, write_bytes, write_json
from fpga_facedet.manifest import FILE_NAME, HLS, Manifest
from fpga_facedet.network.metadata import manifest_of_model, normalisation_of_model
from fpga_facedet.progress import Progress, unwatched

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

_ABOUT = "build.json"


@dataclass(frozen=True)
class _Build:
    """What the steps need to know besides their graph."""

    model: Path
    board: Board
    out: Path
    request: Request
    layers: Styles
    manifest: Manifest
    fifo_depths: Mapping[str, int] | None = None
    about: dict[str, Any] | None = None

    def saved(self, step: str) -> Path:
        return _saved(self.out, step)

    @property
    def found(self) -> Path:
        """Where the folding search's findings lie, beside the graph that it folded."""
        return self.out / "steps" / SEARCH_FILE

    @property
    def fresh(self) -> Path:
        """Where the results lie until all of them are whole."""
        return self.out / "steps" / "finished"

    def segments(self, graph: "ModelWrapper") -> list[Segment]:
        return styles.segments(graph, self.layers.of_graph(graph))


def _saved(out: Path, step: str) -> Path:
    return out / "steps" / f"{STEPS.index(step) + 1:02d}_{step}.onnx"


def _import(_: None, build: _Build) -> "ModelWrapper":
    return streamline.take_pixels(streamline.load(build.model), normalisation_of_model(build.model))


def _tidy(graph: "ModelWrapper", build: _Build) -> "ModelWrapper":
    return streamline.tidy(graph)


def _streamline(graph: "ModelWrapper", build: _Build) -> "ModelWrapper":
    graph = streamline.lower(graph)
    _check_ends(graph, build)
    return graph


def _golden(graph: "ModelWrapper", build: _Build) -> "ModelWrapper":
    write_bytes(build.saved("golden"), integer.build(graph).SerializeToString())
    return graph


def _hardware(graph: "ModelWrapper", build: _Build) -> "ModelWrapper":
    return layers.to_hardware(graph)


def _minimise(graph: "ModelWrapper", build: _Build) -> "ModelWrapper":
    return layers.minimise(graph)


def _specialise(graph: "ModelWrapper", build: _Build) -> "ModelWrapper":
    graph = layers.specialise(graph, build.board.part)
    _check_layers(graph, build)
    return graph


def _fold(graph: "ModelWrapper", build: _Build) -> "ModelWrapper":
    widest = MOST_BEAT_BITS if build.layers.wants_hls else None
    graph, found = folding.fold(graph, build.board, build.request, build.layers.of_graph(graph), widest)
    write_json(build.found, found.to_dict())
    return graph


def _converters(graph: "ModelWrapper", build: _Build) -> "ModelWrapper":
    return fifos.insert_converters(graph, build.board.part)


def _fifos(graph: "ModelWrapper", build: _Build) -> "ModelWrapper":
    return fifos.insert_fifos(graph, build.board, build.fifo_depths)


def _sources(graph: "ModelWrapper", build: _Build) -> "ModelWrapper":
    _check_layers(graph, build)
    segments, digest = build.segments(graph), None
    hls_cost.check_fits(graph, segments, build.board, build.request.budget)
    written_in_hls = [segment for segment in segments if segment.style == HLS]
    if written_in_hls:
        sizes = build.manifest.input
        # The C++ test bench runs the frames that each step was checked with.
        shown = list(pictures(sizes.height, sizes.width, sizes.channels).values())
        recorded = vectors.record(graph, written_in_hls, shown)
        emit.generate(graph, segments, build.board, build.fresh / layout.HLS, recorded)
        digest = layout.hls_digest(build.fresh)
    rtl.generate(graph, build.board, build.fresh / layout.RTL, segments, digest)
    return graph


@dataclass(frozen=True)
class _Step:
    """One step: what it tells a person, what it does, and whether it changes the graph (if not, no graph is saved)."""

    title: str
    run: Callable[..., "ModelWrapper"]
    changes_graph: bool = True


_STEPS = {
    "import": _Step("Reading the model", _import),
    "tidy": _Step("Turning quantizers into integers and thresholds", _tidy),
    "streamline": _Step("Moving scales and biases into thresholds", _streamline),
    "golden": _Step("Building and proving the golden model", _golden, changes_graph=False),
    "hardware": _Step("Choosing hardware layers", _hardware),
    "minimise": _Step("Narrowing weights, sums and thresholds", _minimise),
    "specialise": _Step("Choosing RTL variants", _specialise),
    "fold": _Step("Searching the best folding", _fold),
    "converters": _Step("Inserting width converters", _converters),
    "fifos": _Step("Inserting FIFOs", _fifos),
    "sources": _Step("Writing the layers' sources", _sources, changes_graph=False),
}

STEPS = tuple(_STEPS)
"""The steps' names, in order."""

_DECIDED_BY = {
    "model_sha256": "import",
    "board": "import",
    "target_fps": "fold",
    "minimise": "fold",
    "budget": "fold",
    "layers": "fold",
}
"""What a build must share with an earlier one to go on behind the named step."""


def build(
    model: str | Path,
    board: Board,
    out: str | Path,
    request: Request | None = None,
    from_step: str | None = None,
    to_step: str | None = None,
    progress: Progress = unwatched,
    layers: Styles | None = None,
) -> Manifest:
    """Compile the QONNX file `model` for `board` into the folder `out` and return the accelerator's manifest.

    Args:
        request: what to fold for; `folding.DEFAULT_FPS` frames a second, or the best that fits, where None.
        from_step: resume here, from the graph that an earlier build in `out` saved.
        to_step: stop behind this step, in a folder without an accelerator; the manifest then has no hardware part and
            is not written.
        layers: the style of each layer; SystemVerilog for all where None.

    Writes `steps/*.onnx` and, once all of them are whole, `golden.onnx`, `rtl/`, `hls/` where a layer is HLS,
    `accelerator.json`, `search.json`, `report.html` and `report.json`; a build that fails leaves an earlier one as it
    was, its steps too. Raises UserError for a bad model, an unknown step, a missing earlier result, a request that
    cannot be met, layers that have no HLS form or are too large in it, a folder that another build is writing, and an
    early stop where an accelerator stands; InternalError where a step changes a single output.
    """
    start, end = _span(from_step, to_step)
    layers = layers or Styles.rtl()
    context = _Build(Path(model), board, Path(out), request or Request(), layers, manifest_of_model(model))
    if layers.wants_hls_alone:
        _check_bits(context.model)
    return _make(context, start, end, progress)


def resize_fifos(folder: str | Path, depths: Mapping[str, int], progress: Progress = unwatched) -> Manifest:
    """Build the accelerator in `folder` again from step fifos on, everything as it was but the FIFOs' places.

    Args:
        depths: the places, by the name of the layer behind the FIFO; see `fifos.insert_fifos`.

    All its layers are RTL. Raises UserError where the build left no steps; the accelerator stays as it is until the
    new one is whole, its steps too.
    """
    folder = Path(folder)
    manifest = Manifest.load(folder)
    board = get_board(str(manifest.board))
    # Steps before this one were decided by a request and by a model that nobody needs any more.
    context = _Build(
        Path(manifest.model.name), board, folder, Request(), Styles.rtl(), manifest, depths, _earlier(folder)
    )
    return _make(context, STEPS.index("fifos"), len(STEPS) - 1, progress)


def saved_graph(folder: str | Path, step: str) -> "ModelWrapper":
    """Return the graph that a step of the build in `folder` left; UserError where it did not."""
    from qonnx.core.modelwrapper import ModelWrapper

    path = _saved(Path(folder), step)
    if not path.is_file():
        raise UserError(f"Step '{step}' left no result in {folder} ({path.name}); build without --from-step.")
    damaged = UserError(f"The saved step {path} is damaged; build without --from-step.")
    try:
        graph = ModelWrapper(str(path))
    except Exception as error:  # protobuf and onnx raise half a dozen unrelated types for a broken file
        raise damaged from error
    if not graph.graph.node:
        raise damaged
    return graph


def _make(context: _Build, start: int, end: int, progress: Progress) -> Manifest:
    whole = end == len(STEPS) - 1
    with _alone(context.out), _explaining(context.out), finn_session():
        if not whole and (context.out / FILE_NAME).is_file():
            raise UserError(
                f"{context.out} holds an accelerator, which would lose the steps that it was made by; stop at "
                f"'{STEPS[end]}' in another folder."
            )
        with _apart(context) as work:
            graph = _run(context, work, start, end, progress)
            manifest = _finish(context, work, graph) if whole else context.manifest
        if not whole:
            return manifest
        results.put_in_place(context.fresh, context.out)
    progress("Done", 1.0)
    return manifest


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Make the folder `out` and hold it for this build alone."""
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise explain_os_error(out, error) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(f"Another build is writing {out}; wait for its end or choose another folder.") from None
    finally:
        os.close(folder)
        if made:
            with contextlib.suppress(OSError):  # there is something in it
                out.rmdir()


@contextlib.contextmanager
def _apart(context: _Build) -> Iterator[_Build]:
    """Yield where the steps are written: apart until all is well with HLS layers, which may be refused at any step.

    And wherever an accelerator stands already: what fails or is stopped leaves it the steps that it was made by.
    """
    if not context.layers.wants_hls and not (context.out / FILE_NAME).is_file():
        yield context
        return
    steps = context.out / "steps"
    with tempfile.TemporaryDirectory(prefix=".steps.", dir=context.out) as place:
        work = replace(context, out=Path(place))
        if steps.is_dir():
            shutil.copytree(steps, work.out / "steps")
        yield work
        if steps.is_dir():
            steps.rename(Path(place) / "earlier")
        (work.out / "steps").rename(steps)


@contextlib.contextmanager
def _explaining(out: Path) -> Iterator[None]:
    """Say in a sentence that a disk is full, or that something in `out` cannot be written."""
    try:
        yield
    except OSError as error:
        ours = error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(out)
        if ours or error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise explain_os_error(place_without_room(out), error) from error
        raise


def _run(context: _Build, work: _Build, start: int, end: int, progress: Progress) -> "ModelWrapper":
    """Run the steps from `start` to `end`, compare and save in `work` what each makes, and return the last graph."""
    graph, reference = None, None
    if start:
        graph = _resume(context, start)
        if start > STEPS.index("specialise"):
            _check_layers(graph, context)
        reference = Reference.of(_load(context, STEPS[0]), context.manifest.head.output_scale)
    _start_over(work, start)
    for index, name in list(enumerate(STEPS))[start : end + 1]:
        progress(_STEPS[name].title, (index - start) / (end + 1 - start))
        graph = _STEPS[name].run(graph, work)
        if not _STEPS[name].changes_graph:
            continue
        if reference is None:
            reference = Reference.of(graph, context.manifest.head.output_scale)
        reference.check(graph, name)
        with saving(work.saved(name)) as path:
            graph.save(str(path))
    return graph


def _finish(context: _Build, work: _Build, graph: "ModelWrapper") -> Manifest:
    """Write the results beside the steps, whole; return the manifest."""
    shutil.copyfile(work.saved("golden"), work.fresh / layout.GOLDEN)
    # A folding that came from elsewhere has no findings of the search.
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(work.found, work.fresh / SEARCH_FILE)
    manifest = report.describe(context.manifest, graph, context.board, context.segments(graph))
    manifest = replace(manifest, files=manifest.files | layout.digests(work.fresh))
    manifest = results.with_what_still_holds(manifest, context.out, work.fresh)
    report.write(manifest, context.board, work.fresh)
    manifest.save(work.fresh / FILE_NAME)
    return manifest


def _check_ends(graph: "ModelWrapper", context: _Build) -> None:
    """Refuse a model whose metadata describes another network than its graph."""
    sizes, head = context.manifest.input, context.manifest.head
    wanted = {
        "input": [1, sizes.height, sizes.width, sizes.channels],
        "output": [1, head.grid_height, head.grid_width, head.channels],
    }
    for end, tensors in (("input", graph.graph.input), ("output", graph.graph.output)):
        found = graph.get_tensor_shape(tensors[0].name)
        if found != wanted[end]:
            raise UserError(
                f"The {end} of the model {context.model} is {found[1:]}, its metadata says {wanted[end][1:]} "
                "(rows, columns, channels); export it again."
            )


def _check_bits(model: Path) -> None:
    """Refuse a model with quantizers that no HLS layer has the bits for, naming the first; costs no FINN."""
    from onnx import numpy_helper

    graph = streamline.load(model).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    for node in graph.node:
        # The fourth input of QONNX's Quant: its bits, one number or one for each channel.
        given = constants.get(node.input[3]) if node.op_type == "Quant" else None
        bits = numpy_helper.to_array(given).max() if given is not None else 0
        if bits > MOST_BITS:
            raise UserError(
                f"The quantizer {node.name or node.output[0]} of {model} has {bits:g} bits, HLS layers take at most "
                f"{MOST_BITS}; train the model with fewer."
            )


def _check_layers(graph: "ModelWrapper", context: _Build) -> None:
    """Refuse a choice of styles that does not suit the layers of a specialised graph."""
    check_supported(graph, context.layers.of_graph(graph))


def _span(from_step: str | None, to_step: str | None) -> tuple[int, int]:
    """Return the indices of the first and the last step to run; UserError for a name that is none."""
    for name in (from_step, to_step):
        if name is not None and name not in STEPS:
            raise UserError(f"There is no build step '{name}'; choose one of: {', '.join(STEPS)}.")
    start, end = STEPS.index(from_step or STEPS[0]), STEPS.index(to_step or STEPS[-1])
    if start > end:
        raise UserError(f"Step '{from_step}' comes after '{to_step}'; the order is: {', '.join(STEPS)}.")
    return start, end


def _resume(context: _Build, start: int) -> "ModelWrapper":
    """Return the graph that the step before `start` left, if the earlier build was one of the same things."""
    about = _about(context)
    _load(context, STEPS[0])
    earlier = _earlier(context.out)
    for key, step in _DECIDED_BY.items():
        # Another choice is welcome as long as the step that it decides is still to come.
        if start > STEPS.index(step) and earlier.get(key) != about[key]:
            raise UserError(
                f"The earlier build in {context.out} was made with {key} {earlier.get(key)!r}, not {about[key]!r}; "
                "build without --from-step."
            )
    if start > STEPS.index("golden"):
        _load(context, "golden")
    return _load(context, next(name for name in reversed(STEPS[:start]) if _STEPS[name].changes_graph))


def _earlier(out: Path) -> dict[str, Any]:
    """Return what the earlier build in `out` was made of."""
    try:
        earlier = json.loads((out / "steps" / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = None
    if not isinstance(earlier, dict):
        raise UserError(f"There is no earlier build in {out} to resume; build without --from-step.")
    return earlier


def _load(context: _Build, step: str) -> "ModelWrapper":
    return saved_graph(context.out, step)


def _start_over(context: _Build, start: int) -> None:
    """Remove what these steps of an earlier build left, so that all steps in the folder are of one build."""
    write_json(context.out / "steps" / _ABOUT, _about(context))
    for name in STEPS[start:]:
        context.saved(name).unlink(missing_ok=True)
    if start <= STEPS.index("fold"):
        context.found.unlink(missing_ok=True)
    shutil.rmtree(context.fresh, ignore_errors=True)


def _about(context: _Build) -> dict[str, Any]:
    """Return what is built, and with which choices; see `_DECIDED_BY`."""
    return context.about or {
        "model_sha256": context.manifest.model.sha256,
        "board": context.board.name,
        **context.request.to_dict(),
        "budget": context.request.budget.to_dict(),
        "layers": context.layers.describe(),
    }
