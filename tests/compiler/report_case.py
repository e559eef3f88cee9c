"""An accelerator that nobody built, with all that a report can show: for the tests of the report's parts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from fpga_facedet.manifest import FifoInfo, Figure, HeadInfo, InputInfo, LayerInfo, Manifest, ModelInfo, StreamInfo

SHA = "ab" * 32

SPEC: dict[str, Any] = {
    "name": "two",
    "input": {"width": 96, "height": 64},
    "layers": [{"channels": 8, "pool": 2, "stride": 2, "weight_bits": 8, "activation_bits": 4}]
    + [{"channels": 16, "pool": 2, "weight_bits": 4, "activation_bits": 4}] * 3,
    "head": {"anchors": [[12, 16], [24, 32]]},
}


def _layer(name: str, op: str, cycles: int, folding: dict[str, int], **used: float) -> LayerInfo:
    bits = {"input": 4, "output": 13} | ({"parameters": 4} if op == "MVAU" else {})
    return LayerInfo(name, op, folding, bits, cycles, {"lut": 100, "ff": 80, "bram18": 0, "dsp": 0} | used)


LAYERS = (
    _layer("FMPadding_rtl_0", "FMPadding", 6_468, {"SIMD": 3}),
    _layer("ConvolutionInputGenerator_rtl_0", "ConvolutionInputGenerator", 6_470, {"SIMD": 3, "parallel_window": 1}),
    _layer("MVAU_rtl_0", "MVAU", 6_144, {"PE": 8, "SIMD": 27, "adder_graph": 1}, lut=2_500, ff=1_800),
    _layer("Thresholding_rtl_0", "Thresholding", 6_144, {"PE": 8}, lut=300),
    _layer("StreamingMaxPool_rtl_0", "StreamingMaxPool", 6_144, {"PE": 8}, bram18=1),
    _layer("StreamingDataWidthConverter_rtl_0", "StreamingDataWidthConverter", 1_536, {"lanes_in": 8, "lanes_out": 4}),
    _layer("FMPadding_rtl_1", "FMPadding", 1_700, {"SIMD": 4}),
    _layer("ConvolutionInputGenerator_rtl_1", "ConvolutionInputGenerator", 3_000, {"SIMD": 4, "parallel_window": 0}),
    _layer("MVAU_rtl_1", "MVAU", 13_824, {"PE": 4, "SIMD": 9}, dsp=9, bram18=4),
    _layer("Thresholding_rtl_1", "Thresholding", 1_536, {"PE": 1}),
    _layer("MVAU_rtl_2", "MVAU", 9_216, {"PE": 2, "SIMD": 2, "lut_multipliers": 1}),
)


def manifest() -> Manifest:
    """Return the manifest with estimated figures alone."""
    return Manifest(
        model=ModelInfo("two", "cd" * 32, SPEC),
        input=InputInfo(64, 96, 3, 114),
        head=HeadInfo(2, 3, 12, 32, ((12.0, 16.0), (24.0, 32.0)), 0.01, 0.3, 0.5),
        board="pynq-z2",
        part="xc7z020clg400-1",
        clock_mhz=100.0,
        layer_style="rtl",
        stream=StreamInfo(6_144, 3, 8, 72, 1, 8),
        layers=LAYERS,
        fifos=(FifoInfo("FIFO_0", "FMPadding_rtl_1", 32, 32), FifoInfo("FIFO_1", "MVAU_rtl_2", 600, 8)),
        figures=(
            Figure("cycles_per_frame", 13_824, "cycles", "estimated"),
            Figure("fps", 7_233.8, "frames/s", "estimated"),
            *(Figure(name, value, name, "estimated") for name, value in
              {"lut": 3_750, "ff": 2_600, "bram18": 6, "dsp": 9}.items()),
            Figure("power", 1.71, "W", "estimated"),
            Figure("energy", 0.24, "mJ/frame", "estimated"),
        ),
        files={"rtl_sha256": SHA},
        versions={"fpga-facedet": "0.1.0"},
    )  # fmt: skip


def with_better_evidence(known: Manifest) -> Manifest:
    """Return the manifest after simulation and synthesis."""
    better = (
        Figure("cycles_per_frame", 13_830, "cycles", "simulated"),
        Figure("fps", 7_230.66, "frames/s", "simulated"),
        Figure("latency", 21_000, "cycles", "simulated"),
        Figure("lut", 47_880, "LUTs", "synthesized"),
        *(Figure(name, 10, name, "synthesized") for name in ("ff", "bram18", "dsp")),
    )
    return replace(known, figures=known.figures + better)


SEARCH: dict[str, Any] = {
    "evidence": "estimated",
    "request": {"target_fps": 7_000.0, "minimise": "share"},
    "budget": {"lut": 0.85, "ff": 1.0, "bram18": 0.9, "dsp": 0.95},
    "bottleneck": {"layer": "MVAU_rtl_1", "cycles": 13_824, "why": "It multiplies 36 pairs a cycle."},
    "next": {"layer": "MVAU_rtl_2", "cycles": 9_216, "why": "It multiplies 4 pairs a cycle."},
    "limit": "10 % more frames take 210 DSPs of 209.",
    "binding": "dsp",
    "power_w": 1.7,
    "pareto": [
        {"fps": 1_000.0, "lut": 2_000, "ff": 1_500, "bram18": 5, "dsp": 4, "power_w": 1.69, "energy_mj": 1.69},
        {"fps": 7_233.8, "lut": 3_750, "ff": 2_600, "bram18": 6, "dsp": 9, "power_w": 1.73, "energy_mj": 0.24},
        {"fps": 15_000.0, "lut": 9_000, "ff": 8_000, "bram18": 9, "dsp": 40, "power_w": 1.9, "energy_mj": 0.13},
    ],
    "seconds": 2.5,
}

FIFOS: dict[str, Any] = {
    "evidence": "simulated",
    "frames": 3,
    "fifos": [
        {"name": "FIFO_0", "before": "FMPadding_rtl_1", "width": 32, "estimated": 64, "most": 24, "depth": 32,
         "memory": "LUTRAM"},
        {"name": "FIFO_1", "before": "MVAU_rtl_2", "width": 8, "estimated": 900, "most": 600, "depth": 600,
         "memory": "block RAM"},
    ],
    "cycles_per_frame": {"full": 13_830, "sized": 13_830, "stalled": 24_000},
}  # fmt: skip

SYNTHESIS: dict[str, Any] = {
    "lut": {"used": 47_880, "available": 53_200},
    **{name: {"used": 10, "available": 100} for name in ("ff", "bram18", "dsp")},
    "evidence": "synthesized",
    "part": "xc7z020clg400-1",
    "tool": "yosys 0.70",
    "layers": [{"name": "MVAU_rtl_0", "module": "m", "lut": 2_600, "ff": 1_700, "bram18": 0, "dsp": 0}],
    "not_counted": [],
    "rtl_sha256": SHA,
}


def leave(folder: Path, **files: Any) -> Path:
    """Write each of `files` (search, fifos, synthesis) as JSON into the folder, and return it."""
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder
