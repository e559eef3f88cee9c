"""benchmarks/pipeline.py, short and at full speed: what it claims of order and losses, without its clock."""

import importlib.util

import numpy as np
import pytest

from fpga_facedet.errors import InternalError
from tests.conftest import REPOSITORY
from tests.host.conftest import MANIFEST, BrightnessEngine, picture


@pytest.fixture(scope="module")
def benchmark():
    path = REPOSITORY / "benchmarks" / "pipeline.py"
    spec = importlib.util.spec_from_file_location("pipeline_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_none_of_300_frames_is_lost_or_out_of_order_through_tcp(benchmark, video):
    engine = benchmark.ModelledEngine(BrightnessEngine(), 0.0)
    outcome = benchmark.run(str(video), engine, 300)
    assert (outcome.received, outcome.missing, outcome.out_of_order, outcome.wrong_faces) == (300, 0, 0, 0)
    metrics = outcome.summary.metrics
    assert (metrics.frames, metrics.dropped, metrics.lost, metrics.restarts) == (300, 0, 0, 0) and metrics.faces > 300
    text = "\n".join(benchmark.report(outcome, 0.01))
    assert "300 received" in text and "measured on this machine" in text and "not measured" in text


def test_the_modelled_engine_takes_the_accelerators_time_and_knows_its_frames(benchmark):
    import time

    engine = benchmark.ModelledEngine(BrightnessEngine(), 0.01)
    output = engine.learn(picture(3, 96, 64))
    began = time.perf_counter()
    for _ in range(3):
        slot = engine.acquire()
        slot.pixels[..., :3] = picture(3, 96, 64)[..., ::-1]
        engine.submit(slot)
    for _ in range(3):
        np.testing.assert_array_equal(engine.collect(), output)
    assert time.perf_counter() - began >= 0.03
    slot = engine.acquire()
    slot.pixels[..., :3] = MANIFEST.input.fill
    engine.submit(slot)
    with pytest.raises(InternalError, match="was not learnt"):
        engine.collect()
