import math
from dataclasses import asdict

import pytest

from fpga_facedet.errors import UserError
from fpga_facedet.training.config import TrainingConfig


def test_the_rate_rises_linearly_then_falls_as_half_a_cosine() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup=0.1, final_rate=0.02)
    assert config.rate_at(0) == pytest.approx(1e-3)
    assert config.rate_at(0.05) / config.rate_at(0.025) == pytest.approx(2, rel=0.02)
    for progress in (0.1, 0.3, 0.5, 0.9):
        expected = 0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2
        assert config.rate_at(progress) == pytest.approx(expected)
    assert config.rate_at(0.5) == pytest.approx(0.51)
    assert config.rate_at(1) == config.rate_at(1.3) == pytest.approx(0.02)


def test_without_warm_up_it_begins_at_the_top() -> None:
    assert TrainingConfig(learning_rate=2e-3, warmup=0).rate_at(0) == pytest.approx(2e-3)


def test_a_resumed_run_keeps_its_course_but_for_how_long_and_where() -> None:
    began = TrainingConfig(steps=100, learning_rate=1e-2, seed=7, processes=2, batch=4)
    now = TrainingConfig(minutes=5, steps=None, learning_rate=1e-4, seed=1, processes=1, device="cpu", batch=32)
    goes_on = now.continuing(asdict(began))
    assert (goes_on.learning_rate, goes_on.seed, goes_on.batch) == (1e-2, 7, 4)
    assert (goes_on.minutes, goes_on.steps, goes_on.processes, goes_on.device) == (5, None, 1, "cpu")


def test_a_resumed_run_is_as_long_as_it_began_unless_told() -> None:
    began = asdict(TrainingConfig(minutes=5).resolved())
    assert TrainingConfig().continuing(began).resolved().minutes == 5
    assert TrainingConfig(minutes=7).continuing(began).resolved().minutes == 7
    assert TrainingConfig(steps=9).continuing(began).steps == 9
    assert TrainingConfig().continuing(asdict(TrainingConfig(steps=9).resolved())).steps == 9
    assert TrainingConfig().resolved().minutes == 60


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("minutes", 0.0),
        ("minutes", -1.0),
        ("minutes", math.nan),
        ("minutes", math.inf),
        ("steps", 0),
        ("batch", 0),
        ("processes", 0),
        ("seed", -1),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("final_rate", -0.1),
        ("warmup", 1.5),
        ("average", math.nan),
        ("quantize_at", -0.5),
    ],
)
def test_a_number_that_cannot_be_meant_is_named(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name} = {value}"):
        TrainingConfig(**{name: value})  # type: ignore[arg-type]


def test_a_run_of_an_older_version_can_be_resumed() -> None:
    saved = {"learning_rate": 1e-3, "a_name_of_the_past": 3}
    assert TrainingConfig().continuing(saved) == TrainingConfig(learning_rate=1e-3)
