"""Configurations of every HLS layer, drawn by hypothesis, with frames that hold the extremes and what must come out."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from . import reference
from .harness import Case, Integer, Lanes, Table, Words
from .reference import Integers, Pair

MULTIPLIERS = ("fabric", "dsp")
MEMORIES = ("lutram", "block")


def divisors(number: int) -> list[int]:
    return [lanes for lanes in range(1, number + 1) if number % lanes == 0]


def integers(least_bits: int = 1, most_bits: int = 16) -> st.SearchStrategy[Integer]:
    """Types of `least_bits` .. `most_bits`; the ends come often."""
    bits = st.sampled_from([least_bits, most_bits]) | st.integers(least_bits, most_bits)
    return st.builds(Integer, bits, signed=st.booleans())


def sides(most: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(1, most), st.integers(1, most))


channels = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 24])


def frames(rng: np.random.Generator, kind: Integer, shape: tuple[int, ...]) -> Integers:
    """Return three frames of `kind`: any values, then the extremes and their neighbours, then the least or most alone.

    The frames differ everywhere, so that what is left of one shows in the next.
    """
    near = [kind.least, min(kind.least + 1, kind.most), max(kind.most - 1, kind.least), kind.most]
    uniform = rng.integers(kind.least, kind.most, shape, endpoint=True)
    constant = np.full(shape, rng.choice([kind.least, kind.most]))
    return np.stack([uniform, rng.choice(near, shape), constant]).astype(np.int64)


@dataclass(frozen=True)
class Maps:
    """A feature map's type, sizes and lanes."""

    kind: Integer
    height: int
    width: int
    channels: int
    lanes: int

    @property
    def folds(self) -> int:
        return self.channels // self.lanes

    @property
    def size(self) -> Pair:
        return self.height, self.width

    @property
    def stream(self) -> Lanes:
        return Lanes(self.kind, self.lanes)

    def images(self, rng: np.random.Generator) -> Integers:
        return frames(rng, self.kind, (self.height, self.width, self.channels))


def streams(images: Integers, lanes: int) -> Integers:
    """Return (frames, beats, lanes) of (frames, ...)."""
    return images.reshape(len(images), -1, lanes)


def generator() -> st.SearchStrategy[np.random.Generator]:
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def paddings(draw: st.DrawFn) -> Case:
    depth = draw(channels)
    maps = Maps(draw(integers()), *draw(sides(7)), depth, draw(st.sampled_from(divisors(depth))))
    around = draw(st.tuples(*[st.integers(0, 3)] * 4))
    images = maps.images(draw(generator()))
    return Case(
        f"pad<{maps.kind}, {maps.lanes}, {depth}, {maps.height}, {maps.width}, {', '.join(map(str, around))}>",
        source=maps.stream,
        sink=maps.stream,
        frames=streams(images, maps.lanes),
        expected=np.stack([reference.beats(reference.pad(image, around), maps.lanes) for image in images]),
        trips=reference.pad_trips(maps.size, around, maps.folds),
        schedule=reference.pad_schedule(maps.size, around, maps.folds),
    )


@st.composite
def kernels(draw: st.DrawFn) -> tuple[Pair, Pair, Pair]:
    """Draw a kernel of 1 .. 5 by 1 .. 5, strides of 1 .. 3, and a map that it fits in."""
    kernel = draw(sides(5))
    stride = draw(sides(3))
    return (kernel[0] + draw(st.integers(0, 6)), kernel[1] + draw(st.integers(0, 6))), kernel, stride


@st.composite
def sliding_windows(draw: st.DrawFn) -> Case:
    (height, width), kernel, stride = draw(kernels())
    depth = draw(channels)
    maps = Maps(draw(integers()), height, width, depth, draw(st.sampled_from(divisors(depth))))
    images = maps.images(draw(generator()))
    return Case(
        f"sliding_window<{maps.kind}, {maps.lanes}, {depth}, {height}, {width}, "
        f"{kernel[0]}, {kernel[1]}, {stride[0]}, {stride[1]}>",
        source=maps.stream,
        sink=maps.stream,
        frames=streams(images, maps.lanes),
        expected=np.stack([reference.beats(reference.windows(image, kernel, stride), maps.lanes) for image in images]),
        trips=reference.sliding_window_trips(maps.size, kernel, stride, maps.folds),
        schedule=reference.sliding_window_schedule(maps.size, kernel, stride, maps.folds),
    )


@st.composite
def parallel_windows(draw: st.DrawFn) -> Case:
    (height, width), kernel, stride = draw(kernels())
    depth = draw(st.sampled_from([1, 2, 3, 5, 8]))
    maps = Maps(draw(integers()), height, width, depth, depth)
    images = maps.images(draw(generator()))
    lanes = math.prod(kernel) * depth
    return Case(
        f"parallel_window<{maps.kind}, {depth}, {height}, {width}, {kernel[0]}, {kernel[1]}, {stride[0]}, {stride[1]}>",
        source=maps.stream,
        sink=Lanes(maps.kind, lanes),
        frames=streams(images, depth),
        expected=np.stack([reference.beats(reference.windows(image, kernel, stride), lanes) for image in images]),
        trips=height * width,
        schedule=reference.parallel_window_schedule(maps.size, kernel, stride),
    )


def holding(least: int, most: int) -> Integer:
    """Return the smallest type that holds both, as FINN chooses a sum's."""
    signed = least < 0
    bits = max(int(most).bit_length(), (int(least) + 1).bit_length() if signed else 0) + signed
    return Integer(max(bits, 1), signed)


@st.composite
def matrix_vectors(draw: st.DrawFn) -> Case:
    rows, columns = draw(channels), draw(channels)
    pe, simd = draw(st.sampled_from(divisors(rows))), draw(st.sampled_from(divisors(columns)))
    count = draw(st.integers(1, 6))
    kind = draw(integers())
    weight = Integer(draw(st.sampled_from([1, 16]) | st.integers(1, 16)), signed=True)
    rng = draw(generator())
    weights = frames(rng, weight, (rows, columns))[draw(st.integers(0, 2))]
    # A sum has 32 bits at most, whatever the values: the widest weights with the widest values are not the largest.
    limit = (2**31 - 1) // (max(kind.most, -kind.least) * columns)
    weights = np.clip(weights, -limit, limit)
    high = np.where(weights > 0, weights * kind.most, weights * kind.least).sum(axis=1)
    low = np.where(weights > 0, weights * kind.least, weights * kind.most).sum(axis=1)
    total = holding(int(low.min()), int(high.max()))
    vectors = frames(rng, kind, (count, columns))
    # The largest sum of a row, and the smallest.
    row = rng.integers(rows)
    vectors[1, 0] = np.where(weights[row] > 0, kind.most, kind.least)
    vectors[2, 0] = np.where(weights[row] > 0, kind.least, kind.most)
    if draw(st.booleans()):  # a sum may be wider than it need be
        total = Integer(draw(st.integers(total.bits, 32)), total.signed)
    return Case(
        f"matrix_vector<{kind}, {total}, {weight.bits}, {pe}, {simd}, {rows}, {columns}, {count}, "
        f"Multiplier::{draw(st.sampled_from(MULTIPLIERS))}, Memory::{draw(st.sampled_from(MEMORIES))}>",
        source=Lanes(kind, simd),
        sink=Lanes(total, pe),
        tables=(Table(weight.bits, reference.weight_table(weights, pe, simd)),),
        frames=streams(vectors, simd),
        expected=np.stack([reference.beats(reference.matrix_vector(frame, weights), pe) for frame in vectors]),
        trips=count * (rows // pe) * (columns // simd),
        schedule=reference.matrix_vector_schedule(count, rows // pe, columns // simd),
    )


@dataclass(frozen=True)
class Staircases:
    """What both threshold layers share; steps int64 (channels, levels), values int64 (frames, vectors, channels)."""

    kind: Integer
    out: Integer
    pe: int
    vectors: int
    least: int
    bits: int
    steps: Integers
    values: Integers

    def case(self, call: str, tables: tuple[Integers, ...]) -> Case:
        expected = [reference.thresholds(frame, self.steps, self.least) for frame in self.values]
        folds = len(self.steps) // self.pe
        return Case(
            call,
            source=Lanes(self.kind, self.pe),
            sink=Lanes(self.out, self.pe),
            tables=tuple(Table(self.bits, table.reshape(folds, self.pe, -1)) for table in tables),
            frames=streams(self.values, self.pe),
            expected=np.stack([reference.beats(frame, self.pe) for frame in expected]),
            trips=self.vectors * folds,
            schedule=np.arange(self.vectors * folds, dtype=np.int64),
        )


@st.composite
def staircases(draw: st.DrawFn, levels: st.SearchStrategy[int]) -> Staircases:
    depth = draw(channels)
    kind = draw(integers(most_bits=32))
    count = draw(levels)
    vectors = draw(st.integers(1, 6))
    rng = draw(generator())
    # Steps beyond the values on both sides too: reached by all of them, or by none.
    bits = draw(st.sampled_from([1, 34]) | st.integers(1, 34))
    entry = Integer(bits, signed=True)
    near = np.clip(rng.integers(kind.least, kind.most, (depth, count), endpoint=True) + 1, entry.least, entry.most)
    anything = rng.integers(entry.least, entry.most, (depth, count), endpoint=True)
    steps = np.sort(np.where(rng.random((depth, count)) < 0.8, near, anything), axis=1)
    values = frames(rng, kind, (vectors, depth))
    # Right on a step, and right below it.
    on = np.take_along_axis(steps, rng.integers(0, count, (depth, vectors)), axis=1).T
    values[0] = np.clip(on - rng.integers(0, 2, on.shape), kind.least, kind.most)
    least = draw(st.sampled_from([0, -(count + 1) // 2, -count]) | st.integers(-300, 300))
    # Thresholds are by count: a type that holds the ends holds all.
    out = holding(min(least, least + count), least + count)
    return Staircases(kind, out, draw(st.sampled_from(divisors(depth))), vectors, least, bits, steps, values)


@st.composite
def comparisons(draw: st.DrawFn) -> Case:
    stairs = draw(staircases(st.sampled_from([1, 2, 4, 8, 16, 255]) | st.integers(1, 20)))
    depth, levels = stairs.steps.shape
    call = (
        f"thresholds_by_comparison<{stairs.kind}, {stairs.out}, {stairs.pe}, {depth}, {stairs.vectors}, "
        f"{stairs.least}, {stairs.bits}, {levels}>"
    )
    return stairs.case(call, (stairs.steps,))


@st.composite
def searches(draw: st.DrawFn) -> Case:
    stairs = draw(staircases(st.integers(1, 8).map(lambda stages: 2**stages - 1)))
    call = (
        f"thresholds_by_search<{stairs.kind}, {stairs.out}, {stairs.pe}, {len(stairs.steps)}, {stairs.vectors}, "
        f"{stairs.least}>"
    )
    return stairs.case(call, tuple(reference.search_stages(stairs.steps)))


@st.composite
def hard_tanhs(draw: st.DrawFn) -> Case:
    depth = draw(channels)
    pe = draw(st.sampled_from(divisors(depth)))
    kind = draw(integers(most_bits=32))
    vectors = draw(st.integers(1, 6))
    scale_bits = draw(st.integers(1, 24))
    # An offset as wide as the product makes the widest sum.
    offset_bits = draw(st.just(min(kind.bits + scale_bits, 48)) | st.integers(1, 48))
    shift = draw(st.integers(0, min(46, max(kind.bits + scale_bits, offset_bits))))
    least = draw(st.integers(-(2**15), 2**15 - 1) | st.sampled_from([-128, -127, -8, 0]))
    most = draw(st.integers(least, 2**15 - 1) | st.sampled_from([least, 2**15 - 1, max(least, 127)]))
    rng = draw(generator())
    which = draw(st.integers(0, 2))
    scale = frames(rng, Integer(scale_bits, signed=True), (depth,))[which]
    offset = frames(rng, Integer(offset_bits, signed=True), (depth,))[which]
    values = frames(rng, kind, (vectors, depth))
    # Values whose result lies between the limits, and not on them alone.
    aim = rng.integers(least, most, values[0].shape, endpoint=True) << shift
    values[0] = np.clip((aim - offset) // np.where(scale == 0, 1, scale), kind.least, kind.most)
    out = holding(least, most)
    folds = depth // pe
    return Case(
        f"hard_tanh<{kind}, {out}, {pe}, {depth}, {vectors}, {shift}, {least}, {most}, {scale_bits}, {offset_bits}>",
        source=Lanes(kind, pe),
        sink=Lanes(out, pe),
        tables=(Table(scale_bits, scale.reshape(folds, pe)), Table(offset_bits, offset.reshape(folds, pe))),
        frames=streams(values, pe),
        expected=np.stack(
            [reference.beats(reference.hard_tanh(frame, scale, offset, shift, least, most), pe) for frame in values]
        ),
        trips=vectors * folds,
        schedule=np.arange(vectors * folds, dtype=np.int64),
    )


@st.composite
def max_pools(draw: st.DrawFn) -> Case:
    depth = draw(channels)
    half = draw(sides(4))
    maps = Maps(draw(integers()), 2 * half[0], 2 * half[1], depth, draw(st.sampled_from(divisors(depth))))
    images = maps.images(draw(generator()))
    return Case(
        f"max_pool_2x2<{maps.kind}, {maps.lanes}, {depth}, {maps.height}, {maps.width}>",
        source=maps.stream,
        sink=maps.stream,
        frames=streams(images, maps.lanes),
        expected=np.stack([reference.beats(reference.max_pool(image), maps.lanes) for image in images]),
        trips=maps.height * maps.width * maps.folds,
        schedule=reference.max_pool_schedule(maps.size, maps.folds),
    )


@st.composite
def width_conversions(draw: st.DrawFn) -> Case:
    kind = draw(integers())
    narrow, ratio, groups = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 6))
    lanes = (narrow * ratio, narrow) if draw(st.booleans()) else (narrow, narrow * ratio)
    values = frames(draw(generator()), kind, (groups * narrow * ratio,))
    beats_in, beats_out = values.shape[1] // lanes[0], values.shape[1] // lanes[1]
    return Case(
        f"convert_width<{kind}, {lanes[0]}, {lanes[1]}, {beats_in}>",
        source=Lanes(kind, lanes[0]),
        sink=Lanes(kind, lanes[1]),
        frames=streams(values, lanes[0]),
        expected=streams(values, lanes[1]),
        trips=max(beats_in, beats_out),
        schedule=reference.convert_width_schedule(beats_in, *lanes),
    )


@st.composite
def ports(draw: st.DrawFn, reads: bool) -> Case:
    kind = draw(integers(most_bits=32))
    lanes, count = draw(st.integers(1, 9)), draw(st.integers(1, 12))
    rng = draw(generator())
    values = frames(rng, kind, (count, lanes))
    packed = np.stack([reference.words(frame, kind.bits) for frame in values])
    word = Words(packed.shape[2])
    stream = Lanes(kind, lanes)
    arguments = f"<{kind}, {lanes}, {count}>"
    if reads:
        # What is above the lanes means nothing.
        spare = packed.shape[2] * 8 - kind.bits * lanes
        packed[..., -1] |= rng.integers(0, 1 << spare) << (8 - spare)
        return Case(f"read_port{arguments}", word, stream, packed, values, count, np.arange(count, dtype=np.int64))
    return Case(f"write_port{arguments}", stream, word, values, packed, count, np.arange(count, dtype=np.int64))


LAYERS: dict[str, st.SearchStrategy[Case]] = {
    "pad": paddings(),
    "sliding_window": sliding_windows(),
    "parallel_window": parallel_windows(),
    "matrix_vector": matrix_vectors(),
    "thresholds_by_comparison": comparisons(),
    "thresholds_by_search": searches(),
    "hard_tanh": hard_tanhs(),
    "max_pool_2x2": max_pools(),
    "convert_width": width_conversions(),
    "read_port": ports(reads=True),
    "write_port": ports(reads=False),
}
"""Each layer of the library by its name."""


sweep = settings(
    max_examples=1,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
"""One batch of configurations, others in every run.

A failing batch is not shrunk, at some seconds a try: it names each configuration that fails, the shortest first, and
the line with which hypothesis draws it again. It keeps none for the next run, which would take that run's one batch.
"""


def batches(strategy: st.SearchStrategy[Case], size: int) -> st.SearchStrategy[list[Case]]:
    """Up to `size` configurations of a layer, for one translation unit: each costs a second before its first line."""
    return distinct(st.lists(strategy, min_size=size, max_size=size))


def mixed(strategies: Iterable[st.SearchStrategy[Case]], size: int) -> st.SearchStrategy[list[Case]]:
    """Up to `size` configurations of each layer, for one translation unit."""
    several = [st.lists(strategy, min_size=size, max_size=size) for strategy in strategies]
    return distinct(st.tuples(*several).map(lambda parts: [case for part in parts for case in part]))


def distinct(batch: st.SearchStrategy[list[Case]]) -> st.SearchStrategy[list[Case]]:
    """Leave each configuration once, and no batch of much the same draws, as hypothesis's first try is."""
    once = batch.map(lambda cases: (len(cases), list({case.call: case for case in cases}.values())))
    return once.filter(lambda pair: len(pair[1]) > 0.7 * pair[0]).map(lambda pair: pair[1])
