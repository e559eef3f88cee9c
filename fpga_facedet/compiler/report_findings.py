"""What other commands left beside an accelerator, for its report: the search, the FIFO sizing, the synthesis counts.

Each is a JSON file in the accelerator's folder and may be missing. One that is damaged, bears no evidence or belongs to
other sources than the accelerator's counts as missing: a report shows what was obtained of this very build, or nothing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fpga_facedet.compiler.cost import RESOURCE_NAMES
from fpga_facedet.compiler.folding import SEARCH_FILE
from fpga_facedet.manifest import EVIDENCE, Manifest

_Found = TypeVar("_Found")

FIFOS_FILE, SYNTHESIS_FILE = "fifos.json", "synthesis.json"
SOURCES_KEY = "rtl_sha256"
"""In a file of findings: the digest of the SystemVerilog it is of, as the manifest's files have it."""


@dataclass(frozen=True)
class Point:
    """One point of the Pareto front: frames a second, resources by name, W and mJ a frame (None where unknown)."""

    fps: float
    resources: dict[str, float]
    power_w: float | None
    energy_mj: float | None


@dataclass(frozen=True)
class Search:
    """What the folding search found: its request, the budget as shares of the chip, what limits the build, the front.

    `target_fps` is None where no rate or the highest one was asked for; `asked` is the request in the command's words.
    """

    asked: str
    target_fps: float | None
    budget: dict[str, float]
    why: str
    limit: str
    binding: str
    front: tuple[Point, ...]
    seconds: float | None


@dataclass(frozen=True)
class FifoUse:
    """One FIFO as the sizing simulation left it: the depth once estimated, the most beats it held, depth and memory."""

    estimated: int
    most: int
    depth: int
    memory: str


@dataclass(frozen=True)
class FifoSizing:
    """What the sizing simulation saw: frames, FIFOs by name, cycles a frame by run (full, sized, stalled)."""

    evidence: str
    frames: int
    fifos: dict[str, FifoUse]
    cycles: dict[str, int]


@dataclass(frozen=True)
class Counted:
    """One layer's resources by name, as synthesis counted them."""

    name: str
    resources: dict[str, float]


@dataclass(frozen=True)
class Synthesis:
    """What synthesis counted: the tool, the used resources by name, each layer's, and the modules it left out."""

    evidence: str
    tool: str
    used: dict[str, float]
    layers: tuple[Counted, ...]
    not_counted: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """All that was found, None where nobody has looked; `damaged` names the files that could not be read."""

    search: Search | None = None
    fifos: FifoSizing | None = None
    synthesis: Synthesis | None = None
    damaged: tuple[str, ...] = ()


def read(folder: Path, manifest: Manifest) -> Findings:
    """Return what lies in `folder` and belongs to the accelerator that `manifest` describes."""
    damaged: list[str] = []
    return Findings(
        search=_read(folder / SEARCH_FILE, _search, manifest, damaged),
        fifos=_read(folder / FIFOS_FILE, _fifos, manifest, damaged),
        synthesis=_read(folder / SYNTHESIS_FILE, _synthesis, manifest, damaged),
        damaged=tuple(damaged),
    )


def _read(
    path: Path, parse: Callable[[dict[str, Any]], _Found], manifest: Manifest, damaged: list[str]
) -> _Found | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        if data.get(SOURCES_KEY, manifest.files.get(SOURCES_KEY)) != manifest.files.get(SOURCES_KEY):
            return None
        return parse(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        damaged.append(path.name)
        return None


def _refuse(constant: str) -> float:
    """Refuse NaN and the infinities, which Python's JSON takes and no figure is."""
    raise ValueError(constant)


def _search(data: dict[str, Any]) -> Search:
    request = data["request"]
    target = request["target_fps"]
    at_most = target in (None, "max")
    words = [] if target is None else [f"--target-fps {target if at_most else f'{float(target):g}'}"]
    if request["minimise"] != "share":
        words.append(f"--minimise {request['minimise']}")
    return Search(
        asked=" ".join(words),
        target_fps=None if at_most else float(target),
        budget={name: float(data["budget"][name]) for name in RESOURCE_NAMES},
        why=str(data["bottleneck"]["why"]),
        limit=str(data["limit"]),
        binding=str(data["binding"]),
        front=tuple(_point(each) for each in data["pareto"]),
        seconds=_optional(data.get("seconds")),
    )


def _point(data: dict[str, Any]) -> Point:
    power, energy = _optional(data.get("power_w")), _optional(data.get("energy_mj"))
    return Point(float(data["fps"]), _resources(data), power, energy)


def _fifos(data: dict[str, Any]) -> FifoSizing:
    return FifoSizing(
        evidence=_evidence(data),
        frames=int(data["frames"]),
        fifos={
            str(each["name"]): FifoUse(
                int(each["estimated"]), int(each["most"]), int(each["depth"]), str(each["memory"])
            )
            for each in data["fifos"]
        },
        cycles={name: int(count) for name, count in data["cycles_per_frame"].items() if count is not None},
    )


def _synthesis(data: dict[str, Any]) -> Synthesis:
    return Synthesis(
        evidence=_evidence(data),
        tool=str(data["tool"]),
        used={name: float(data[name]["used"]) for name in RESOURCE_NAMES if data.get(name)},
        layers=tuple(Counted(str(each["name"]), _resources(each)) for each in data["layers"]),
        not_counted=tuple(str(name) for name in data["not_counted"]),
    )


def _resources(data: dict[str, Any]) -> dict[str, float]:
    return {name: float(data[name]) for name in RESOURCE_NAMES if data.get(name) is not None}


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)


def _evidence(data: dict[str, Any]) -> str:
    """Return the evidence of a file's figures; ValueError where it has none of ours: what it says is not printed."""
    evidence = str(data["evidence"])
    if evidence not in EVIDENCE:
        raise ValueError(evidence)
    return evidence
