"""Our max-pool module under Verilator, its assertions on, against numpy."""

from pathlib import Path

import numpy as np
import pytest

from fpga_facedet.beats import pack
from fpga_facedet.compiler.rtllib import own_source
from fpga_facedet.errors import InternalError
from fpga_facedet.simulation.verilator import SimulatedStream, StreamPorts, compile_model

PORTS = StreamPorts(
    in_data="idat", in_valid="ivld", in_ready="irdy", out_data="odat", out_valid="ovld", out_ready="ordy"
)


def build(folder: Path, **parameters: int) -> SimulatedStream:
    return compile_model([own_source("maxpool_2x2.sv")], "maxpool_2x2", folder, ports=PORTS, parameters=parameters)


@pytest.mark.parametrize(
    ("bits", "channels", "pe", "width", "height"),
    [
        (4, 12, 4, 12, 6),  # as in the network, an odd number of folds
        (4, 3, 3, 2, 4),  # one fold and one window a row: every word is forwarded
        (3, 30, 30, 6, 4),  # one fold, words wider than 64 bits
        (5, 7, 1, 2, 6),  # one value a beat, one window a row
    ],
)
def test_equals_numpy(
    tmp_path: Path, rng: np.random.Generator, bits: int, channels: int, pe: int, width: int, height: int
) -> None:
    model = build(tmp_path, BITS=bits, CHANNELS=channels, PE=pe, WIDTH=width)
    maps = rng.integers(0, 1 << bits, (6, height, width, channels))
    pooled = maps.reshape(6, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
    wanted = pack(pooled.reshape(6, -1, pe), bits)
    words = pack(maps.reshape(6, -1, pe), bits)
    for seed, (pause_in, pause_out, longest) in enumerate(
        [(0.0, 0.0, 1), (0.5, 0.5, 1), (0.3, 0.6, 20), (0.0, 0.9, 50), (0.9, 0.0, 5)]
    ):
        run = model.run(
            words, wanted.shape[1], pause_in=pause_in, pause_out=pause_out, longest_pause=longest, seed=seed
        )
        np.testing.assert_array_equal(run.words, wanted)
        if pause_in == pause_out == 0:
            # Full rate: an input beat each cycle, the last output beat one cycle after the last input beat.
            np.testing.assert_array_equal(run.last_input, np.arange(1, 7) * words.shape[1] - 1)
            np.testing.assert_array_equal(run.last_output, run.last_input + 1)


@pytest.mark.parametrize("wrong", [{"PE": 3}, {"WIDTH": 5}, {"BITS": 0}])
def test_bad_parameters_stop_the_elaboration(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InternalError, match="must"):
        build(tmp_path, **{"BITS": 4, "CHANNELS": 8, "PE": 4, "WIDTH": 4, **wrong})
