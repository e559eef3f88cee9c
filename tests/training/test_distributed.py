"""Two processes that torchrun starts, and what their gradients are."""

import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from fpga_facedet.errors import UserError
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.batches import Batch
from fpga_facedet.training.config import TrainingConfig
from fpga_facedet.training.dataset import load_split
from fpga_facedet.training.distributed import device_named, place_of_torchrun
from fpga_facedet.training.loss import count_asked, normaliser
from fpga_facedet.training.targets import POSITIVE
from fpga_facedet.training.trainer import CHECKPOINT, Run, network_of, read_checkpoint

from ..conftest import REPOSITORY

CPU = torch.device("cpu")

TOLERANCE = 2e-5
"""Of the largest gradient of a parameter: float32 sums in another order (and nothing of bfloat16: autocast is off)."""

GRADIENTS = """
import json, sys
from pathlib import Path
import torch
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.distributed import place_of_torchrun, together
from tests.training.test_distributed import CPU, gradients, halves, run_on

spec, data, out = sys.argv[1:]
place = place_of_torchrun()
with together(place, CPU):
    run = run_on(DetectorSpec.from_dict(json.loads(spec)), Path(data), Path(out))
    torch.save(gradients(run, halves(run)[place.rank]), Path(out) / f"{place.rank}.pt")
"""

TRAIN = """
import json, sys
from pathlib import Path
from fpga_facedet.spec import DetectorSpec
from fpga_facedet.training.loss import count_asked, normaliser
from fpga_facedet.training.targets import POSITIVE
from fpga_facedet.training.trainer import TrainingConfig, train

spec, data, out, steps, resume = sys.argv[1:]
config = TrainingConfig(steps=int(steps), batch=4, device="cpu")
train(DetectorSpec.from_dict(json.loads(spec)), data, out, config, resume == "resume")
"""


def run_on(spec: DetectorSpec, data: Path, out: Path) -> Run:
    """Return a run whose network has frozen BatchNorm statistics.

    Not quantized: there a last bit may move a value to the next code, and no tolerance would mean anything.
    """
    run = Run(0, spec, load_split(data, "train"), out, TrainingConfig(batch=48), None, CPU)
    run.network.eval()
    return run


def halves(run: Run) -> list[Batch]:
    """Return two batches of the same size that ask for different numbers of faces."""
    batches = [next(iter(run.batches.values()))[step] for step in range(20)]
    whole = max((batch for batch in batches if len(batch.pixels) == 8), key=lambda batch: count_asked(batch.targets)[0])
    asked = (whole.targets[:, :, 4] == POSITIVE).sum((1, 2, 3))
    order = asked.argsort(descending=True)
    return [Batch(whole.pixels[half], whole.targets[half]) for half in (order[:4], order[4:])]


def gradients(run: Run, batch: Batch) -> dict[str, torch.Tensor]:
    """Return the shared gradients of `batch` in float32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "autocast", lambda *_: nullcontext())
        run._share(run._backward(batch.pixels.permute(0, 3, 1, 2).float(), batch.targets))
    return {name: p.grad for name, p in run.network.named_parameters() if p.grad is not None}


def torchrun(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `script` in two processes that torchrun starts and that meet on this machine."""
    path = Path(arguments[2]) / "script.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(script)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, "--master-port", port, str(path), *arguments], capture_output=True, text=True, env=environment
    )


def test_two_processes_have_the_gradients_of_one_with_twice_the_batch(
    tmp_path: Path, data_folder: Path, small_spec: DetectorSpec
) -> None:
    result = torchrun(GRADIENTS, json.dumps(small_spec.to_dict()), str(data_folder), str(tmp_path / "out"))
    assert result.returncode == 0, result.stderr
    first, second = (torch.load(tmp_path / "out" / f"{rank}.pt") for rank in range(2))
    run = run_on(small_spec, data_folder, tmp_path)
    parts = halves(run)
    asked = [float(normaliser(count_asked(part.targets))) for part in parts]
    assert asked[0] > 1.5 * asked[1]  # else each could divide by its own number and nobody would see
    whole = Batch(*(torch.cat([getattr(part, name) for part in parts]) for name in ("pixels", "targets")))
    alone = gradients(run, whole)
    assert len(alone) > 10
    for name, gradient in alone.items():
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
        scale = float(gradient.abs().max())
        assert scale > 0 or "activation" in name
        torch.testing.assert_close(first[name], gradient, rtol=0, atol=TOLERANCE * max(scale, 1e-3), msg=name)


def test_torchrun_trains_and_resumes(tmp_path: Path, data_folder: Path, small_spec: DetectorSpec) -> None:
    out = tmp_path / "out"
    for steps, resume in (("6", "new"), ("10", "resume")):
        result = torchrun(TRAIN, json.dumps(small_spec.to_dict()), str(data_folder), str(out), steps, resume)
        assert result.returncode == 0, result.stderr
        assert read_checkpoint(out / CHECKPOINT)["step"] == int(steps)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    # One process alone writes; the windows of both count.
    assert [line["step"] for line in lines] == [6, 10]
    batches = [
        Run(rank, small_spec, load_split(data_folder, "train"), out, TrainingConfig(batch=4), None, CPU)
        for rank in (0, 1)
    ]
    made = sum(len(next(iter(run.batches.values()))[step].pixels) for run in batches for step in range(6))
    assert lines[0]["windows"] == made
    network_of(read_checkpoint(out / CHECKPOINT))


def test_the_place_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert place_of_torchrun() is None
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("MASTER_ADDR", "10.0.0.1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    place = place_of_torchrun()
    assert place is not None
    assert (place.rank, place.size, place.local, place.meeting) == (5, 8, 1, "env://")


def test_devices_are_checked() -> None:
    assert device_named("cpu") == CPU
    with pytest.raises(UserError, match="'tpu' is unknown"):
        device_named("tpu")
    if not torch.cuda.is_available():
        assert device_named("auto") == CPU
        with pytest.raises(UserError, match="no GPU"):
            device_named("cuda")
