"""`facedet train`: from a spec and a folder of pictures to a quantized detector.

Each core trains a replica on its own windows; gradients are averaged at every step. (Two one-threaded replicas do
1.7 times the work of one with two threads: the layers are too small to share.) Under torchrun its processes take the
place of the replicas, on several GPUs or machines; they all read `data` and `out` by the same path. A run has two
phases: float, then quantization-aware.
"""

import copy
import io
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from fpga_facedet.errors import FacedetError, InternalError, UserError
from fpga_facedet.files import explain_os_error, write_bytes
from fpga_facedet.labels.find import find_labels
from fpga_facedet.labels.record import TRAIN, VAL
from fpga_facedet.manifest import VALUES_PER_ANCHOR
from fpga_facedet.network.memory import keep_freed_memory
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.progress import Progress, unwatched
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training import distributed
from fpga_facedet.training.augment import CALM, VARIED, Mix
from fpga_facedet.training.batches import Batch, Batches
from fpga_facedet.training.calibrate import calibrate_activations
from fpga_facedet.training.config import TrainingConfig
from fpga_facedet.training.dataset import SPLITS, Dataset, load_split, load_splits
from fpga_facedet.training.decode import BrokenPictureError, read_picture
from fpga_facedet.training.device_augment import DeviceBatches, DeviceSet
from fpga_facedet.training.distributed import Place
from fpga_facedet.training.forking import ready_to_fork, threads_gone_after
from fpga_facedet.training.loss import DetectionLoss, count_asked, normaliser
from fpga_facedet.training.record import Record

_STATISTICS_EVERY = 10
"""Steps between two measurements of BatchNorm's statistics while they are frozen."""

CHECKPOINT = "training.pt"

_LOG_EVERY = 20.0
"""Seconds between two lines of the log."""

_RETRY_EVERY = 60.0
"""Seconds, at most, until saving is tried again after the disk was full."""

_FAREWELL = 20.0
"""Seconds that a replica has to end after the first one did."""

_TEXT_EVERY = 60.0
"""Seconds between two texts of the progress: where nobody looks each new text is a line of its own."""


class RunStoppedError(UserError):
    """The run was stopped by Ctrl-C or a signal; everything is saved (exit code 130, as a shell reports it)."""

    exit_code = 130


def train(
    spec: DetectorSpec,
    data: str | Path,
    out: str | Path,
    config: TrainingConfig,
    resume: bool = False,
    progress: Progress = unwatched,
) -> Path:
    """Train `spec` on the pictures of `data` and return the path of the checkpoint in `out`.

    `data` is a folder as `training.dataset.load_split` reads it. `resume` continues the run saved in `out`, with
    its own configuration but for what `TrainingConfig.continuing` lets change. `progress` is told the share (0..1)
    of the run that is done, in the first process. UserError where data or checkpoint cannot be used, the disk is
    full at the end, or Ctrl-C stopped the run (which is saved first). InternalError where the loss is no number or one
    of the processes failed.
    """
    out = Path(out)
    checkpoint = _read_run(out / CHECKPOINT, spec) if resume else None
    if checkpoint is None and (out / CHECKPOINT).exists():
        raise UserError(f"{out} holds a training run already; continue it with --resume or choose another folder.")
    if checkpoint is not None:
        config = config.continuing(checkpoint["config"])
    elif config.start is not None:
        _read_start(config.start, spec)
    config = config.resolved()
    here = distributed.place_of_torchrun()
    device = distributed.device_named(config.device, here.local if here else 0)
    with ready_to_fork():
        _train(spec, data, out, config, checkpoint, here, device, progress)
    return out / CHECKPOINT


def _train(
    spec: DetectorSpec,
    data: str | Path,
    out: Path,
    config: TrainingConfig,
    checkpoint: dict[str, Any] | None,
    here: Place | None,
    device: torch.device,
    progress: Progress,
) -> None:
    """Load the pictures and train, in this process of torchrun or in replicas of our own."""
    progress("decoding the pictures", 0.0)
    with threads_gone_after():
        pictures = _load_pictures(data)
    if pictures.faults and (here is None or here.rank == 0):
        name, why = next(iter(pictures.faults.items()))
        _say(f"{len(pictures.faults)} of the pictures cannot be read and are left out, the first: {name} ({why})")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(out, error) from error
    if here is not None:
        _replica(here, device, spec, pictures, out, config, checkpoint, progress)
    else:
        count = _replicas(config, device)
        _fork(count, device, spec, pictures, out, config, checkpoint, progress)


def _say(text: str) -> None:
    """Print one line on stderr, as it is."""
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def _load_pictures(data: str | Path) -> Dataset:
    """Return the pictures to train on; UserError, before they are decoded, where those to validate on cannot be used.

    Of the latter only the labels are read, and pictures up to the first that is whole: the run needs no more of them.
    """
    source = find_labels(data)
    if VAL in source.splits:
        labels, _ = source.read(VAL)
        if not any(_is_readable(Path(data) / label.path) for label in labels):
            raise UserError(
                f"None of the {len(labels)} pictures that {data} ({source.format}) names for validation can be read; "
                "check the folder."
                if labels
                else f"{data} ({source.format}) names no pictures for validation; add some."
            )
        if not any(len(label.faces) for label in labels):
            raise UserError(f"The pictures of {data} ({source.format}) for validation have no faces; add some.")
        return load_split(data, TRAIN)
    parts = load_splits(data, source, SPLITS)
    count = sum(map(len, parts.values()))
    if count and not all(map(len, parts.values())):
        raise UserError(
            f"{data} keeps no validation pictures apart, and the {count} that can be read are too few or too alike to "
            "hold some back; add other pictures, or a validation split."
        )
    return parts[TRAIN] if count else load_split(data, TRAIN)


def _is_readable(path: Path) -> bool:
    try:
        read_picture(path)
    except BrokenPictureError:
        return False
    return True


def _replicas(config: TrainingConfig, device: torch.device) -> int:
    """Return how many processes train: one for each core, or one for the GPU."""
    if device.type == "cpu":
        return config.processes or os.cpu_count() or 1
    if (config.processes or 1) > 1:
        raise UserError(
            f"{config.processes} processes cannot share one GPU; use torchrun --nproc-per-node {config.processes}."
        )
    return 1


def _fork(count: int, device: torch.device, *arguments: Any) -> None:
    """Run `count` replicas, the first in this process."""
    with tempfile.TemporaryDirectory() as folder:
        places = [Place(rank, count, rank, f"file://{folder}/meeting") for rank in range(count)]
        context = multiprocessing.get_context("fork")
        helpers = [context.Process(target=_help, args=(place, device, *arguments)) for place in places[1:]]
        for helper in helpers:
            helper.start()
        try:
            _replica(places[0], device, *arguments)
            for helper in helpers:
                helper.join()
        except FacedetError:
            # They end too; the one that failed, if one did, says why before it goes.
            for helper in helpers:
                helper.join(_FAREWELL)
            raise
        finally:
            # After an error of ours the others wait for a gradient that never comes.
            for helper in helpers:
                helper.kill()


def _help(*arguments: Any) -> None:
    """Be a replica in a process of its own; what stops all replicas with a sentence is the first one's to say."""
    try:
        _replica(*arguments)
    except FacedetError:
        sys.exit(1)


def _read_run(path: Path, spec: DetectorSpec) -> dict[str, Any]:
    checkpoint = read_checkpoint(path)
    if "optimizer" not in checkpoint:
        raise UserError(f"{path} holds a finished network, not a training run; start a new run.")
    if checkpoint["spec"] != spec.to_dict():
        raise UserError(f"{path} was trained for another spec than '{spec.name}'; choose another output folder.")
    return checkpoint


def _read_start(path: str, spec: DetectorSpec) -> dict[str, Any]:
    """Return the checkpoint to begin with; UserError where its network has another shape than that of `spec`."""
    checkpoint = read_checkpoint(path)
    before, now = (_shape(each) for each in (DetectorSpec.from_dict(checkpoint["spec"], path), spec))
    for name in [*now, *before]:
        if before.get(name) != now.get(name):
            raise UserError(
                f"{path} cannot begin '{spec.name}': its {name} is {before.get(name, 'absent')}, "
                f"not {now.get(name, 'absent')}; choose a start of the same layers and bits."
            )
    return checkpoint


def _shape(spec: DetectorSpec) -> dict[str, Any]:
    """Return what two detectors must share for one's weights to fit the other, by its name."""
    layers = {"number of layers": len(spec.layers)}
    for index, layer in enumerate(spec.layers):
        layers |= {f"layer {index}'s {name.replace('_', ' ')}": value for name, value in layer.model_dump().items()}
    head = spec.head.model_dump() | {"anchors": len(spec.head.anchors)}
    shape = layers | {f"head's {name.replace('_', ' ')}": value for name, value in head.items()}
    return {"input's channels": spec.input.channels, **shape}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the dictionary of a checkpoint (`spec`, `average`, ...); UserError where it is missing or corrupt."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"There is no checkpoint {path}; train first, or check the path.") from None
    except Exception as error:  # torch raises whatever its unpickler meets
        raise UserError(f"The checkpoint {path} cannot be read ({type(error).__name__}); train again.") from error
    if not isinstance(checkpoint, dict) or "spec" not in checkpoint or "average" not in checkpoint:
        raise UserError(f"{path} is not a checkpoint of this program; use one that facedet train wrote.")
    return checkpoint


def network_of(checkpoint: dict[str, Any]) -> TinyYolo:
    """Return the averaged network of a checkpoint, ready to run."""
    network = TinyYolo(DetectorSpec.from_dict(checkpoint["spec"], "checkpoint"))
    network.load_state_dict(checkpoint["average"])
    return network.eval()


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint as one atomic step; UserError where the disk is full, the file before untouched."""
    # Through memory: torch's own writer answers a full disk with a RuntimeError without a reason.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def _replica(
    place: Place,
    device: torch.device,
    spec: DetectorSpec,
    pictures: Dataset,
    out: Path,
    config: TrainingConfig,
    checkpoint: dict[str, Any] | None,
    progress: Progress,
) -> None:
    """Run one of the processes; the first shows progress and saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        with distributed.together(place, device):
            Run(place.rank, spec, pictures, out, config, checkpoint, device).until_done(progress)
    finally:
        torch.set_num_threads(threads)


class Run:
    """The state of a training run in one process: network, average, optimizer, position."""

    def __init__(
        self,
        rank: int,
        spec: DetectorSpec,
        pictures: Dataset,
        out: Path,
        config: TrainingConfig,
        checkpoint: dict[str, Any] | None,
        device: torch.device,
    ) -> None:
        self.rank, self.spec, self.out, self.config, self.device = rank, spec, out, config, device
        torch.manual_seed(config.seed)
        self.network = TinyYolo(spec).train().to(device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network)
        self.loss = DetectionLoss(torch.tensor(spec.head.anchors, device=device), spec.stride)
        self.step, self.minutes, self.windows, self.quantized, self.frozen = 0, 0.0, 0, False, False
        self.unsaved, self.warned = False, False
        self.batches = _batches_of(pictures, spec, config, rank, device)
        self.parts: list[float] = []
        if checkpoint is not None:
            self._restore(checkpoint)
        elif config.start is not None:
            self._begin_with(_read_start(config.start, spec))
        # Not before the weights are loaded: Brevitas then replaces the parameters of its scales by new ones.
        self.optimizer = torch.optim.AdamW(_parameter_groups(self.network, config.weight_decay), config.learning_rate)
        if checkpoint is not None:
            self.optimizer.load_state_dict(checkpoint["optimizer"])

    def until_done(self, progress: Progress = unwatched) -> None:
        """Train to the end of the run, or to the first Ctrl-C; save either way."""
        if self.progress >= 1:
            return
        record = Record(self.out, self.step) if self.rank == 0 else None
        stop = False
        try:
            with _stop_signals() as stopped, closing(self._batches()) as batches:
                clock = _Clock(self.step, self.windows)
                for batch in batches:
                    seconds = clock.lap()
                    stop, save = self._advance(batch, seconds, stopped(), self._save_is_due(clock))
                    done = stop or self.progress >= 1
                    if done or save:
                        self._share_statistics()
                    if record is not None:
                        self._report(record, clock, progress, done, save)
                    if done:
                        break
        finally:
            if record is not None:
                record.close()
        if self.rank == 0 and stop and self.progress < 1:
            raise RunStoppedError(f"Stopped at step {self.step}, saved in {self.out}; continue with --resume.")

    def _save_is_due(self, clock: "_Clock") -> bool:
        every = 60 * self.config.save_minutes
        return self.rank == 0 and clock.due("save", min(every, _RETRY_EVERY) if self.unsaved else every)

    def _report(self, record: Record, clock: "_Clock", progress: Progress, done: bool, save: bool) -> None:
        """Log, save and show what is due, and at the end of the run all of it."""
        # The checkpoint first: where the disk is full the log must not cost it.
        try:
            if done or save:
                self.unsaved = True
                self.save()
                self.unsaved = False
            if done or clock.due("log", _LOG_EVERY):
                record.write(self._line(clock))
        except UserError as error:
            if done:
                raise
            if not self.warned:
                _say(f"{error} Meanwhile the training goes on, and tries to save again.")
            self.warned = True
        tenth = int(10 * self.progress)
        # Where nobody looks a new tenth is a line of its own too, and must not say what was true before.
        if clock.due("text", _TEXT_EVERY) or tenth != clock.tenth:
            clock.text, clock.tenth = self._describe(clock), tenth
        if done or clock.due("show", 1.0):
            progress(self._describe(clock) if done else clock.text, min(self.progress, 1.0))

    def _batches(self) -> Generator[Batch, None, None]:
        """Yield the batches from this step on: varied windows first, calm ones in the last part of the run."""
        if self.progress < self.config.calm_at:
            for batch in self.batches[VARIED].starting_at(self.step):
                yield batch
                if self.progress >= self.config.calm_at:
                    break
        yield from self.batches[CALM].starting_at(self.step)

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0..1."""
        return self.config.share_done(self.step, self.minutes)

    def _advance(self, batch: Batch, seconds: float, stop: bool, save: bool) -> tuple[bool, bool]:
        """Make one step on `batch`; return whether any process was asked to stop, and whether any wants to save."""
        pixels = batch.pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        targets = batch.targets.to(self.device, non_blocking=True)
        if not self.quantized and self.progress >= self.config.quantize_at:
            self._quantize(pixels)
        if self.progress >= self.config.frozen_at or (self.config.start is not None and self.quantized):
            self._freeze(pixels)
        else:
            self.frozen = False
        if self.quantized and self.progress >= self.config.scales_frozen_at:
            self._freeze_scales()
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate_at(self.progress)
        # New gradients at every step have the same memory layout at every step, a resumed run's first one included.
        self.optimizer.zero_grad(set_to_none=True)
        parts = self._backward(pixels, targets)
        shared = self._share([seconds / 60, float(stop), float(save), float(len(pixels)), *parts])
        parts = shared[4:]
        norm = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip))
        if not all(map(math.isfinite, (norm, *parts))):
            raise InternalError(
                f"The loss or its gradient is not finite after step {self.step}; {self.out} keeps what was saved last: "
                "continue with --resume, or begin again with another seed."
            )
        self.optimizer.step()
        self.step += 1
        self.minutes += shared[0]
        self.windows += round(shared[3] * distributed.world())
        self.parts = [0.98 * old + 0.02 * new for old, new in zip(self.parts or parts, parts, strict=True)]
        self._update_average()
        return shared[1] > 0, shared[2] > 0

    def _backward(self, pixels: Tensor, targets: Tensor) -> list[float]:
        """Add the gradients of one batch; return the losses.

        All processes divide by what all of them ask for, so that the mean of their gradients is the gradient of one
        batch that holds all their windows.
        """
        number = normaliser(distributed.add_up(count_asked(targets))) / distributed.world()
        with torch.autocast(self.device.type, torch.bfloat16):
            z = self.network.fast(pixels, self.quantized)
        losses = self.loss(z, targets, number)
        losses.total.backward()  # type: ignore[no-untyped-call]
        return losses.numbers()

    def _share(self, numbers: list[float]) -> list[float]:
        """Average all gradients, and `numbers` with them, over the processes in one exchange."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        flat = torch.cat([torch.tensor(numbers, device=self.device), *(g.flatten() for g in gradients)])
        distributed.average(flat)
        position = len(numbers)
        for gradient in gradients:
            gradient.copy_(flat[position : position + gradient.numel()].view_as(gradient))
            position += gradient.numel()
        return [float(value) for value in flat[: len(numbers)]]

    def _quantize(self, pixels: Tensor) -> None:
        """Begin the second phase: ranges of the activations from the first process, the same in all."""
        for network in (self.network, self.average):
            calibrate_activations(network, pixels)
            for scale in _scales(network):
                distributed.take_first(scale.data)
        self.quantized = True

    def _freeze_scales(self) -> None:
        """Leave the learned scales where they are; what remains of the run settles the weights around them."""
        for scale in _scales(self.network):
            scale.requires_grad_(False)
            scale.grad = None

    @torch.no_grad()
    def _freeze(self, pixels: Tensor) -> None:
        """Keep BatchNorm on its running statistics; measure them now and then, the same in all processes."""
        self._share_statistics()
        self.frozen = True
        if self.step % _STATISTICS_EVERY == 0:
            self.network.train()
            with torch.autocast(self.device.type, torch.bfloat16):
                self.network.fast(pixels, self.quantized)
            _average_statistics(self.network)
        self.network.eval()

    @torch.no_grad()
    def _share_statistics(self) -> None:
        """Make BatchNorm's statistics, each process's own until they are frozen, the mean of all.

        Whoever saves does it before, so that the run goes on with what it saved.
        """
        if not self.frozen:
            for network in (self.network, self.average):
                _average_statistics(network)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the running average of weights and BatchNorm statistics a little towards the network."""
        keep = min(self.config.average, (1 + self.step) / (10 + self.step))
        state = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(state[name], 1 - keep)
            else:
                value.copy_(state[name])

    def save(self) -> None:
        """Write the whole state to the run's folder as one atomic step."""
        state = {
            "spec": self.spec.to_dict(),
            "config": asdict(self.config),
            "step": self.step,
            "minutes": self.minutes,
            "windows": self.windows,
            "quantized": self.quantized,
            "frozen": self.frozen,
            "parts": self.parts,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_checkpoint(self.out / CHECKPOINT, state)

    def _begin_with(self, checkpoint: dict[str, Any]) -> None:
        """Take the weights of a finished checkpoint; its boxes keep their place where the anchors are others."""
        state = dict(checkpoint["average"])
        before = torch.tensor(checkpoint["spec"]["head"]["anchors"], dtype=torch.float32)
        # (t + 1)^2 * anchor stays the same when t + 1, so (z + 2), is scaled by the root of the anchors' ratio.
        ratio = (before / torch.tensor(self.spec.head.anchors)).sqrt()
        factor = torch.ones(len(ratio), VALUES_PER_ANCHOR)
        factor[:, 2:4] = ratio
        state["head.weight"] = state["head.weight"] * factor.flatten()[:, None, None, None]
        state["head.bias"] = state["head.bias"] * factor.flatten() + 2 * (factor.flatten() - 1)
        self.network.load_state_dict(state)
        self.average.load_state_dict(state)
        self.quantized = bool(checkpoint["quantized"])

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        self.step, self.minutes = checkpoint["step"], checkpoint["minutes"]
        self.windows, self.quantized = checkpoint["windows"], checkpoint["quantized"]
        self.frozen = checkpoint.get("frozen", False)
        self.parts = list(checkpoint.get("parts", []))
        self.network.load_state_dict(checkpoint["network"])
        self.average.load_state_dict(checkpoint["average"])

    def _line(self, clock: "_Clock") -> dict[str, Any]:
        """Return a line of the log; the losses are running means over some fifty steps."""
        names = ("loss", "box", "objectness", "face", "range")
        steps_a_second, windows_a_second = clock.speed(self.step, self.windows)
        return {
            "step": self.step,
            "minutes": round(self.minutes, 2),
            "windows": self.windows,
            "quantized": self.quantized,
            "rate": round(self.config.rate_at(self.progress), 6),
            "steps_a_second": round(steps_a_second, 2),
            "windows_a_second": round(windows_a_second, 1),
            **{name: round(value, 4) for name, value in zip(names, self.parts, strict=True)},
        }

    def _describe(self, clock: "_Clock") -> str:
        phase = "quantized" if self.quantized else "float"
        speed = f", {clock.windows_a_second:.0f} windows/s" if clock.windows_a_second else ""
        return f"training, {phase}, loss {self.parts[0]:.3f}, {self.windows} windows{speed}"


class _Clock:
    """What is due when, and how fast the run goes."""

    def __init__(self, step: int, windows: int) -> None:
        self.now = time.monotonic()
        self.text = ""
        self.tenth = -1
        self.windows_a_second = 0.0
        self._last: dict[str, float] = dict.fromkeys(("log", "save", "text", "show"), self.now)
        self._counted = (self.now, step, windows)

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        before, self.now = self.now, time.monotonic()
        return self.now - before

    def due(self, what: str, seconds: float) -> bool:
        """Return whether `what` was not due for `seconds`."""
        if self.now - self._last[what] < seconds:
            return False
        self._last[what] = self.now
        return True

    def speed(self, step: int, windows: int) -> tuple[float, float]:
        """Return steps and windows a second since this was asked last."""
        now = time.monotonic()
        before, step_before, windows_before = self._counted
        seconds = max(now - before, 1e-3)
        self._counted = (now, step, windows)
        self.windows_a_second = (windows - windows_before) / seconds
        return (step - step_before) / seconds, self.windows_a_second


def _batches_of(
    pictures: Dataset, spec: DetectorSpec, config: TrainingConfig, rank: int, device: torch.device
) -> dict[Mix, Batches | DeviceBatches]:
    """Return the batches of both parts of the run: made by a worker of ours, or on the GPU that holds the pictures."""
    seed = (config.seed, rank)
    if device.type == "cpu":
        return {mix: Batches(pictures, spec, config.batch, seed, mix) for mix in (VARIED, CALM)}
    held = DeviceSet(pictures, device)
    return {mix: DeviceBatches(held, spec, config.batch, seed, mix) for mix in (VARIED, CALM)}


def _scales(network: TinyYolo) -> list[torch.nn.Parameter]:
    """Return the learned scales of the activations."""
    return [parameter for name, parameter in network.named_parameters() if ".activation." in name]


def _average_statistics(network: TinyYolo) -> None:
    """Replace BatchNorm's running statistics by their mean over all processes."""
    for name, value in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            distributed.average(value)


def _parameter_groups(network: TinyYolo, decay: float) -> list[dict[str, Any]]:
    """Decay the weights, not the factors, biases and scales."""
    weights = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a flag, so that a step is always finished before the run is saved."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
