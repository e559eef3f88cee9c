"""`facedet train`: from a spec and a folder of pictures to a quantized detector.

Each core trains a replica on its own windows; gradients are averaged at every step. (Two one-threaded replicas do
1.7 times the work of one with two threads: the layers are too small to share.) A run has two phases: float, then
quantization-aware.
"""

import copy
import json
import math
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from fpga_facedet.errors import UserError
from fpga_facedet.files import explain_os_error, saving
from fpga_facedet.network.tinyyolo import TinyYolo
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.augment import CALM, VARIED
from fpga_facedet.training.batches import Batch, Batches
from fpga_facedet.training.calibrate import calibrate_activations
from fpga_facedet.training.dataset import Dataset, load_split
from fpga_facedet.training.loss import DetectionLoss

CHECKPOINT = "training.pt"
LOG = "log.jsonl"


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. A run ends after `steps` steps if given, else after `minutes` of training.

    `batch` windows a process and step (of the small size), `processes` replicas (None: one for each core).
    `quantize_at`: share of the run after which weights and activations are quantized; `calm_at`: share after which the
    windows come closer to what the detector will see.
    """

    minutes: float = 60.0
    steps: int | None = None
    batch: int = 16
    processes: int | None = None
    seed: int = 1
    learning_rate: float = 2e-3
    final_rate: float = 0.02
    warmup: float = 0.02
    weight_decay: float = 0.02
    clip: float = 10.0
    quantize_at: float = 0.4
    calm_at: float = 0.75
    average: float = 0.998
    save_minutes: float = 4.0


class RunStoppedError(UserError):
    """The run was stopped by Ctrl-C or a signal; everything is saved (exit code 130, as a shell reports it)."""

    exit_code = 130


def train(spec: DetectorSpec, data: str | Path, out: str | Path, config: TrainingConfig, resume: bool = False) -> Path:
    """Train `spec` on the pictures of `data` and return the path of the checkpoint in `out`.

    `data` is a folder as `training.dataset.load_split` reads it. `resume` continues the run saved in `out`. UserError
    where data or checkpoint cannot be used, the disk is full, or Ctrl-C stopped the run (which is saved first).
    """
    out = Path(out)
    checkpoint = _read_run(out / CHECKPOINT, spec) if resume else None
    if checkpoint is None and (out / CHECKPOINT).exists():
        raise UserError(f"{out} holds a training run already; continue it with --resume or choose another folder.")
    pictures = load_split(data, "train")
    if pictures.broken:
        Console(stderr=True).print(
            f"{len(pictures.broken)} of the pictures cannot be read and are left out, the first: {pictures.broken[0]}"
        )
    processes = config.processes or os.cpu_count() or 1
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(out, error) from error
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        context = multiprocessing.get_context("fork")
        arguments = (spec, pictures, out, config, checkpoint, processes, meeting)
        helpers = [context.Process(target=_replica, args=(rank, *arguments)) for rank in range(1, processes)]
        for helper in helpers:
            helper.start()
        try:
            _replica(0, *arguments)
            for helper in helpers:
                helper.join()
        except RunStoppedError:
            for helper in helpers:
                helper.join()
            raise
        finally:
            # After an error of ours the others wait for a gradient that never comes.
            for helper in helpers:
                helper.kill()
    return out / CHECKPOINT


def _read_run(path: Path, spec: DetectorSpec) -> dict[str, Any]:
    checkpoint = read_checkpoint(path)
    if "optimizer" not in checkpoint:
        raise UserError(f"{path} holds a finished network, not a training run; start a new run.")
    if checkpoint["spec"] != spec.to_dict():
        raise UserError(f"{path} was trained for another spec than '{spec.name}'; choose another output folder.")
    return checkpoint


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


def _replica(
    rank: int,
    spec: DetectorSpec,
    pictures: Dataset,
    out: Path,
    config: TrainingConfig,
    checkpoint: dict[str, Any] | None,
    processes: int,
    meeting: str,
) -> None:
    """Run one of the processes; rank 0 shows progress and saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    if processes > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
    try:
        Run(rank, spec, pictures, out, config, checkpoint).until_done()
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
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
    ) -> None:
        self.rank, self.spec, self.out, self.config = rank, spec, out, config
        torch.manual_seed(config.seed)
        self.network = TinyYolo(spec).train()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network)
        self.optimizer = torch.optim.AdamW(_parameter_groups(self.network, config.weight_decay), config.learning_rate)
        self.loss = DetectionLoss(torch.tensor(spec.head.anchors), spec.stride)
        self.step, self.minutes, self.windows, self.quantized = 0, 0.0, 0, False
        self.batches = {mix: Batches(pictures, spec, config.batch, (config.seed, rank), mix) for mix in (VARIED, CALM)}
        self.parts: list[float] = []
        if checkpoint is not None:
            self._restore(checkpoint)

    def until_done(self) -> None:
        """Train to the end of the run, or to the first Ctrl-C; save either way."""
        with _stop_signals() as stopped, self._progress() as show:
            saved = logged = time.monotonic()
            before = logged
            logged_step = self.step
            for batch in self._batches():
                now = time.monotonic()
                stop = self._advance(batch, now - before, stopped())
                before = now
                if self.rank == 0 and now - logged > 20:
                    self._log((self.step - logged_step) / (now - logged), show)
                    logged, logged_step = now, self.step
                if self.rank == 0 and now - saved > 60 * self.config.save_minutes:
                    self.save()
                    saved = now
                if stop or self.progress >= 1:
                    break
            if self.rank == 0:
                self.save()
        if self.rank == 0 and stop and self.progress < 1:
            raise RunStoppedError(f"Stopped at step {self.step}, saved in {self.out}; continue with --resume.")

    def _batches(self) -> Iterator[Batch]:
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
        if self.config.steps is not None:
            return self.step / self.config.steps
        return self.minutes / self.config.minutes

    def learning_rate(self) -> float:
        """Return the rate: a linear warm-up, then half a cosine down to its final share."""
        p, config = self.progress, self.config
        warm = min(1.0, (p + 1e-4) / config.warmup) if config.warmup > 0 else 1.0
        fall = config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * min(p, 1.0)))
        return config.learning_rate * warm * fall

    def _advance(self, batch: Batch, seconds: float, stop: bool) -> bool:
        """Make one step on `batch`; return whether any process was asked to stop."""
        pixels = batch.pixels.permute(0, 3, 1, 2).float()
        if not self.quantized and self.progress >= self.config.quantize_at:
            self._quantize(pixels)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad(set_to_none=False)
        with torch.autocast("cpu", torch.bfloat16):
            z = self.network.fast(pixels, self.quantized)
        losses = self.loss(z, batch.targets)
        losses.total.backward()  # type: ignore[no-untyped-call]
        parts = losses.numbers()
        shared = self._share([seconds / 60, float(stop), float(len(pixels)), *parts])
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimizer.step()
        self.step += 1
        self.minutes += shared[0]
        self.windows += round(shared[2] * _world())
        self.parts = [0.98 * old + 0.02 * new for old, new in zip(self.parts or shared[3:], shared[3:], strict=True)]
        self._update_average()
        return shared[1] > 0

    def _share(self, numbers: list[float]) -> list[float]:
        """Average all gradients, and `numbers` with them, over the processes in one exchange."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        flat = torch.cat([torch.tensor(numbers), *(g.flatten() for g in gradients)])
        if _world() > 1:
            dist.all_reduce(flat)
            flat /= _world()
        position = len(numbers)
        for gradient in gradients:
            gradient.copy_(flat[position : position + gradient.numel()].view_as(gradient))
            position += gradient.numel()
        return [float(value) for value in flat[: len(numbers)]]

    def _quantize(self, pixels: Tensor) -> None:
        """Begin the second phase: ranges of the activations from the first process, the same in all."""
        for network in (self.network, self.average):
            calibrate_activations(network, pixels)
            if _world() > 1:
                for name, parameter in network.named_parameters():
                    if ".activation." in name:
                        dist.broadcast(parameter.data, 0)
        self.quantized = True

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
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with saving(self.out / CHECKPOINT) as path:
            torch.save(state, path)

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        self.step, self.minutes = checkpoint["step"], checkpoint["minutes"]
        self.windows, self.quantized = checkpoint["windows"], checkpoint["quantized"]
        self.network.load_state_dict(checkpoint["network"])
        self.average.load_state_dict(checkpoint["average"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])

    @contextmanager
    def _progress(self) -> Iterator[Callable[[str], None]]:
        """Show a progress bar in the first process; yield a function that updates it."""
        if self.rank:
            yield lambda text: None
            return
        columns = (TextColumn("training"), BarColumn(), TextColumn("{task.percentage:.1f} %"), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[text]}"), console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=1.0, text="")
            yield lambda text: bar.update(task, completed=min(self.progress, 1.0), text=text)

    def _log(self, steps_a_second: float, show: Callable[[str], None]) -> None:
        """Append one line to the log and show it."""
        names = ("loss", "box", "objectness", "face", "range")
        line = {
            "step": self.step,
            "minutes": round(self.minutes, 2),
            "windows": self.windows,
            "quantized": self.quantized,
            "rate": round(self.learning_rate(), 6),
            "steps_a_second": round(steps_a_second, 2),
            **{name: round(value, 4) for name, value in zip(names, self.parts, strict=True)},
        }
        try:
            with open(self.out / LOG, "a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        except OSError as error:
            raise explain_os_error(self.out / LOG, error) from error
        phase = "quantized" if self.quantized else "float"
        show(f"{phase}, loss {self.parts[0]:.3f}, {self.windows} windows, {steps_a_second:.1f} steps/s")


def _world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


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
