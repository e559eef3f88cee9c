"""Calls of the HLS library as values: each layer knows its template arguments, its parameter arrays and its streams.

Template arguments stand in the order of the library's headers (`hls/facedet/`).
"""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from fpga_facedet.compiler.hls.hard_tanh import HardTanh
from fpga_facedet.compiler.staircase import Integers, Staircase

TANH_SCALE_BITS, TANH_OFFSET_BITS = 24, 48
"""Bits of HardTanh's integers at most, as `hard_tanh.hpp` takes them."""

FABRIC_PRODUCT_BITS = 10
"""Multipliers whose two factors have more bits than this together go into DSPs, smaller ones into LUTs."""


@dataclass(frozen=True)
class Values:
    """The integer type of a stream's values."""

    bits: int
    signed: bool

    @property
    def cpp(self) -> str:
        """The C++ type."""
        return f"{'Signed' if self.signed else 'Unsigned'}<{self.bits}>"


@dataclass(frozen=True)
class Stream:
    """One stream: `name` is the layer that writes it, 'in0' at a segment's input; `beats` of `lanes` values a frame.

    `depth` counts the beats that its FIFO holds, which lie in `memory`: srl, lutram or bram.
    """

    name: str
    values: Values
    lanes: int
    beats: int
    depth: int = 2
    memory: str = "srl"

    @property
    def variable(self) -> str:
        """The name in C++."""
        return variable(self.name)

    @property
    def cpp(self) -> str:
        """The C++ type."""
        return f"Stream<{self.values.cpp}, {self.lanes}>"

    @property
    def word_bits(self) -> int:
        """Bits of a beat on a port: its lanes, padded to whole bytes."""
        return math.ceil(self.lanes * self.values.bits / 8) * 8


@dataclass(frozen=True, eq=False)
class Table:
    """A parameter array: its C++ name and `values` int64 of any shape, each of `bits` bits, two's complement."""

    name: str
    bits: int
    values: Integers

    @classmethod
    def of(cls, name: str, values: Integers) -> "Table":
        """Make a table as narrow as its values allow."""
        largest = max(int(values.max()), ~int(values.min()), 0)
        return cls(name, largest.bit_length() + 1, values)


@dataclass(frozen=True, eq=False)
class HlsLayer(ABC):
    """One call of the library: it reads `source` and writes `result`, in `cycles` iterations of its loop a frame."""

    name: str
    source: Stream
    result: Stream
    cycles: int

    @property
    @abstractmethod
    def function(self) -> str:
        """The library's function."""

    @property
    @abstractmethod
    def template(self) -> tuple[str | int, ...]:
        """The template arguments, in order."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The parameter arrays, in the order of the call."""
        return ()

    @property
    @abstractmethod
    def about(self) -> str:
        """What it does, for a comment: shapes and folding."""

    @property
    def order(self) -> str:
        """What the dimensions of its parameter arrays are, for a comment; nothing where it has none."""
        return ""


@dataclass(frozen=True, eq=False)
class Padding(HlsLayer):
    """Zeros around an image: `padding` is top, left, bottom, right."""

    height: int
    width: int
    channels: int
    padding: tuple[int, ...]
    function = "pad"

    @property
    def template(self) -> tuple[str | int, ...]:
        """T, SIMD, CHANNELS, HEIGHT, WIDTH, TOP, LEFT, BOTTOM, RIGHT."""
        lanes, values = self.source.lanes, self.source.values.cpp
        return (values, lanes, self.channels, self.height, self.width, *self.padding)

    @property
    def about(self) -> str:
        """Both shapes and the folding."""
        top, left, bottom, right = self.padding
        height, width = self.height + top + bottom, self.width + left + right
        return (
            f"{self.height} x {self.width} x {self.channels} -> {height} x {width} x {self.channels}, "
            f"SIMD {self.source.lanes}"
        )


@dataclass(frozen=True, eq=False)
class SlidingWindow(HlsLayer):
    """The window of each output pixel, SIMD channels a beat: row, column, channel."""

    height: int
    width: int
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    function = "sliding_window"

    @property
    def template(self) -> tuple[str | int, ...]:
        """T, SIMD, CHANNELS, HEIGHT, WIDTH, KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W."""
        sizes = (self.channels, self.height, self.width, *self.kernel, *self.stride)
        return (self.source.values.cpp, self.source.lanes, *sizes)

    @property
    def about(self) -> str:
        """The image's shape, the window and the folding."""
        kernel, stride = ("{} x {}".format(*pair) for pair in (self.kernel, self.stride))
        shape = f"{self.height} x {self.width} x {self.channels}"
        return f"windows {kernel}, stride {stride}, of {shape}, {self._folding}"

    @property
    def _folding(self) -> str:
        return f"SIMD {self.source.lanes}"


@dataclass(frozen=True, eq=False)
class ParallelWindow(SlidingWindow):
    """The window of each output pixel, all of it in one beat."""

    function = "parallel_window"

    @property
    def template(self) -> tuple[str | int, ...]:
        """T, CHANNELS, HEIGHT, WIDTH, KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W."""
        return (self.source.values.cpp, self.channels, self.height, self.width, *self.kernel, *self.stride)

    @property
    def _folding(self) -> str:
        return "a whole window a beat"


@dataclass(frozen=True, eq=False)
class MatrixVector(HlsLayer):
    """A matrix times each vector: `weights` int64 (passes, words, PE, SIMD) of `weight_bits` bits."""

    vectors: int
    weight_bits: int
    weights: Integers
    memory: str
    function = "matrix_vector"

    @property
    def template(self) -> tuple[str | int, ...]:
        """IN, SUM, WEIGHT_BITS, PE, SIMD, ROWS, COLUMNS, VECTORS, MULTIPLIER, MEMORY."""
        passes, words, pe, simd = self.weights.shape
        types = (self.source.values.cpp, self.result.values.cpp, self.weight_bits)
        places = (f"Multiplier::{self.multiplier}", f"Memory::{self.memory}")
        return (*types, pe, simd, passes * pe, words * simd, self.vectors, *places)

    @property
    def multiplier(self) -> str:
        """What multiplies: dsp, or fabric where the factors are small."""
        return "dsp" if self.weight_bits + self.source.values.bits > FABRIC_PRODUCT_BITS else "fabric"

    @property
    def tables(self) -> tuple[Table, ...]:
        """The weights."""
        return (Table(f"{variable(self.name)}_weights", self.weight_bits, self.weights),)

    @property
    def order(self) -> str:
        """The weights' order."""
        return "[pass][word][pe][lane]: row = pass * PE + pe, column = word * SIMD + lane."

    @property
    def about(self) -> str:
        """The matrix, the number of vectors and the folding."""
        passes, words, pe, simd = self.weights.shape
        folding = f"PE {pe} in {passes} passes, SIMD {simd} in {words} words"
        return f"{passes * pe} x {words * simd} matrix times {self.vectors:,} vectors, {folding}"


@dataclass(frozen=True, eq=False)
class _Levels(HlsLayer):
    """What thresholds and HardTanh share: the output is `least` plus the level of `staircase` that a sum reached."""

    vectors: int
    least: int
    staircase: Staircase

    @property
    def _shape(self) -> tuple[str | int, ...]:
        pe, channels = self.source.lanes, len(self.staircase.steps)
        return (self.source.values.cpp, self.result.values.cpp, pe, channels, self.vectors)

    def _folded(self, values: Integers) -> Integers:
        """Return `values` (channels, ...) as (channels / PE, PE, ...)."""
        return values.reshape(-1, self.source.lanes, *values.shape[1:])

    def _table(self, kind: str, values: Integers) -> Table:
        return Table.of(f"{variable(self.name)}_{kind}", self._folded(values))

    @property
    def about(self) -> str:
        """Levels, channels and the folding."""
        channels, levels = self.staircase.steps.shape
        return f"{levels} thresholds for each of {channels} channels, {self._way}, PE {self.source.lanes}"

    @property
    def order(self) -> str:
        """The channels' order."""
        return f"[fold][pe]{self._last_dimension}: channel = fold * PE + pe."

    @property
    @abstractmethod
    def _way(self) -> str: ...

    @property
    @abstractmethod
    def _last_dimension(self) -> str: ...


@dataclass(frozen=True, eq=False)
class Comparison(_Levels):
    """Few thresholds, each compared."""

    function = "thresholds_by_comparison"
    _way = "compared at once"
    _last_dimension = "[level]"

    @property
    def template(self) -> tuple[str | int, ...]:
        """IN, OUT, PE, CHANNELS, VECTORS, LEAST, BITS, LEVELS."""
        return (*self._shape, self.least, self.tables[0].bits, self.staircase.levels)

    @property
    def tables(self) -> tuple[Table, ...]:
        """All thresholds, (channels / PE, PE, levels)."""
        return (self._table("thresholds", self.staircase.steps),)


@dataclass(frozen=True, eq=False)
class Search(_Levels):
    """Many thresholds, searched by halving: a stage for each bit of the level."""

    function = "thresholds_by_search"
    _last_dimension = "[node]"

    @property
    def stages(self) -> int:
        """How many comparisons find the level."""
        return self.staircase.levels.bit_length()

    @property
    def _way(self) -> str:
        return f"searched in {self.stages} stages"

    @property
    def template(self) -> tuple[str | int, ...]:
        """IN, OUT, PE, CHANNELS, VECTORS, LEAST; the stages follow from the tables."""
        return (*self._shape, self.least)

    @property
    def tables(self) -> tuple[Table, ...]:
        """One a stage, (channels / PE, PE, 2^stage): the thresholds that halve what the stages before left."""
        steps, high = self.staircase.steps, self.staircase.high[:, None]
        missing = (1 << self.stages) - 1 - self.staircase.levels
        # Thresholds that no sum reaches fill the tree up.
        full = np.concatenate([steps, np.repeat(high + 1, missing, axis=1)], axis=1)
        found = []
        for stage in range(self.stages):
            distance = 1 << (self.stages - stage)
            found.append(self._table(f"stage_{stage}", full[:, distance // 2 - 1 :: distance]))
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Tanh(_Levels):
    """HardTanh: thresholds at equal distances, by a multiplication."""

    integers: HardTanh
    function = "hard_tanh"
    _way = "by a multiplication (HardTanh)"
    _last_dimension = ""

    @property
    def template(self) -> tuple[str | int, ...]:
        """IN, OUT, PE, CHANNELS, VECTORS, SHIFT, LEAST, MOST, SCALE_BITS, OFFSET_BITS."""
        bits = (table.bits for table in self.tables)
        return (*self._shape, self.integers.shift, self.least, self.least + self.staircase.levels, *bits)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Scales and offsets, each (channels / PE, PE)."""
        return (self._table("scale", self.integers.scale), self._table("offset", self.integers.offset))

    @property
    def fits(self) -> bool:
        """Whether the library takes integers of so many bits."""
        scale, offset = self.tables
        return scale.bits <= TANH_SCALE_BITS and offset.bits <= TANH_OFFSET_BITS


@dataclass(frozen=True, eq=False)
class MaxPool(HlsLayer):
    """2x2 max-pool with stride 2."""

    height: int
    width: int
    channels: int
    function = "max_pool_2x2"

    @property
    def template(self) -> tuple[str | int, ...]:
        """T, PE, CHANNELS, HEIGHT, WIDTH."""
        return (self.source.values.cpp, self.source.lanes, self.channels, self.height, self.width)

    @property
    def about(self) -> str:
        """Both shapes and the folding."""
        after = f"{self.height // 2} x {self.width // 2} x {self.channels}"
        return f"{self.height} x {self.width} x {self.channels} -> {after}, PE {self.source.lanes}"


@dataclass(frozen=True, eq=False)
class WidthConverter(HlsLayer):
    """Another number of values a beat."""

    function = "convert_width"

    @property
    def template(self) -> tuple[str | int, ...]:
        """T, LANES_IN, LANES_OUT, BEATS_IN."""
        return (self.source.values.cpp, self.source.lanes, self.result.lanes, self.source.beats)

    @property
    def about(self) -> str:
        """Both widths."""
        return f"{self.source.lanes} -> {self.result.lanes} values a beat"


def variable(name: str) -> str:
    """Return a layer's name as a C++ variable: 'FMPadding_0' becomes 'fm_padding_0'."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
