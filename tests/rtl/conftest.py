"""Accelerators of many shapes in the board shell, simulated with their assertions on."""

from collections.abc import Iterator

import pytest

from fpga_facedet.simulation.shell import ShellProcess

from .shell_cores import CORES, SHIPPED, Core, simulate


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> Core:
    return CORES[request.param]


@pytest.fixture
def process(core: Core) -> Iterator[ShellProcess]:
    with simulate(core).start(seed=7) as process:
        yield process


@pytest.fixture
def shipped() -> Iterator[ShellProcess]:
    with simulate(SHIPPED).start(seed=5) as process:
        yield process
