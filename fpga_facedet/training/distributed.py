"""The processes of one training run: replicas forked on the cores of this machine, or those that torchrun started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from fpga_facedet.errors import InternalError, UserError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Place:
    """Where a process stands: `rank` of `size` in all, `local` on its own machine; they meet at `meeting` (a URL)."""

    rank: int = 0
    size: int = 1
    local: int = 0
    meeting: str = "env://"


def place_of_torchrun() -> Place | None:
    """Return this process's place among those that torchrun started (by its environment), or None without torchrun."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        return None
    return Place(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0")))


def device_named(name: str, local: int = 0) -> torch.device:
    """Return the device "cpu", "cuda" or "auto" stands for, for the process `local` of this machine; else UserError."""
    if name not in ("cpu", "cuda", "auto"):
        raise UserError(f"The device '{name}' is unknown; choose cpu, cuda or auto.")
    count = torch.cuda.device_count()
    if name == "cuda" and not count:
        raise UserError("Device cuda was asked for and torch finds no GPU; choose --device cpu or install its driver.")
    if name == "cpu" or not count:
        return torch.device("cpu")
    if local >= count:
        raise UserError(
            f"Process {local} has no GPU of its own, there are {count}; start torchrun with {count} a node."
        )
    return torch.device("cuda", local)


@contextmanager
def together(place: Place, device: torch.device) -> Iterator[None]:
    """Join the other processes for the time of the block: gloo between CPUs, NCCL between GPUs."""
    if place.size == 1:
        yield
        return
    if place.meeting != "env://" or os.environ.get("MASTER_ADDR") in _LOOPBACK:
        # One machine: no other interface is needed, nor may its host name have an address.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=place.meeting,
        rank=place.rank,
        world_size=place.size,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def world() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def add_up(values: Tensor) -> Tensor:
    """Replace `values` by their sum over all processes, and return them; InternalError where one of them is gone."""
    if world() > 1:
        with _explained():
            dist.all_reduce(values)
    return values


def average(values: Tensor) -> Tensor:
    """Replace `values` (floating point) by their mean over all processes, and return them."""
    return add_up(values).div_(world())


def take_first(values: Tensor) -> None:
    """Replace `values` by those of the first process."""
    if world() > 1:
        with _explained():
            dist.broadcast(values, 0)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise InternalError(
            "Another process of the training is gone; what it met stands above, unless it was killed."
        ) from error
