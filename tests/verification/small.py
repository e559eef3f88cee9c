"""A small detector with random weights, built once a session as RTL, as HLS and mixed, all of one folded graph."""

import functools
import shutil
import tempfile
from pathlib import Path

from fpga_facedet.boards import get_board
from fpga_facedet.compiler import flow
from fpga_facedet.compiler.folding import Request
from fpga_facedet.compiler.hls.styles import Styles
from tests.compiler import nets

MIXED = """\
default = "hls"
[layers]
FMPadding_1 = "rtl"
MVAU_1 = "rtl"
"""
"""One segment of RTL ends behind a padding, which begins the next frame before a pixel of it has come."""

MIXED_SEGMENTS = ["facedet_hls_0", "facedet_rtl_1", "facedet_hls_2", "facedet_rtl_3", "facedet_hls_4"]

_PLACE = tempfile.TemporaryDirectory(prefix="facedet-small-")
CACHE = Path(_PLACE.name) / "cache"
"""Where its C simulations are kept once compiled, for whoever sets XDG_CACHE_HOME to it."""


@functools.cache
def model() -> Path:
    """Return the QONNX file that the accelerators are made of."""
    return nets.export(nets.spec(width=64, height=64), Path(_PLACE.name) / "model.onnx")


@functools.cache
def accelerator(style: str = "rtl") -> Path:
    """Return the folder of the accelerator in a style: rtl, hls or mixed. It is everybody's: nobody writes to it."""
    place = Path(_PLACE.name)
    if style == "rtl":
        flow.build(model(), get_board("pynq-z2"), place / "rtl", request=Request(10_000))
        return place / "rtl"
    shutil.copytree(accelerator(), place / style)
    choice = place / f"{style}.toml"
    choice.write_text(MIXED)
    layers = Styles.parse(choice) if style == "mixed" else Styles.hls()
    flow.build(
        model(),
        get_board("pynq-z2"),
        place / style,
        request=Request(10_000),
        layers=layers,
        from_step="fold",
    )
    return place / style
