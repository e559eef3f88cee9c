"""What each HLS layer must compute, by numpy: its values, their order in the stream, its trips and its schedule.

Written from the layers' mathematics, not from their code. Feature maps are int64 (height, width, channels), streams
int64 (beats, lanes); a pixel's channels follow each other over its `folds` = channels / lanes beats, lowest in lane 0.

A schedule is int64 (beats in,): how many beats the layer has written when it reads each beat. It says what a layer
asks of the FIFO before it: one that reads ahead or writes late shows here, though its values be right.
"""

import itertools

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Pair = tuple[int, int]
Sides = tuple[int, int, int, int]
"""Top, left, bottom, right."""


def beats(values: Integers, lanes: int) -> Integers:
    """Return `values` in stream order as (beats, lanes)."""
    return values.reshape(-1, lanes)


def pad(image: Integers, sides: Sides) -> Integers:
    """Return the map with zeros around it."""
    top, left, bottom, right = sides
    height, width, channels = image.shape
    padded = np.zeros((top + height + bottom, left + width + right, channels), np.int64)
    padded[top : top + height, left : left + width] = image
    return padded


def pad_trips(size: Pair, sides: Sides, folds: int) -> int:
    top, left, bottom, right = sides
    return (top + size[0] + bottom) * (left + size[1] + right) * folds


def pad_schedule(size: Pair, sides: Sides, folds: int) -> Integers:
    """An input beat is read where it goes out, after the zeros before it."""
    (height, width), (top, left, _, right) = size, sides
    places = [
        ((top + y) * (left + width + right) + left + x) * folds + fold
        for y, x, fold in itertools.product(range(height), range(width), range(folds))
    ]
    return np.array(places, np.int64)


def output_size(size: Pair, kernel: Pair, stride: Pair) -> Pair:
    return (size[0] - kernel[0]) // stride[0] + 1, (size[1] - kernel[1]) // stride[1] + 1


def windows(image: Integers, kernel: Pair, stride: Pair) -> Integers:
    """Return (out height, out width, kernel height, kernel width, channels)."""
    height, width = output_size(image.shape[:2], kernel, stride)
    result = np.empty((height, width, *kernel, image.shape[2]), np.int64)
    for y, x in itertools.product(range(height), range(width)):
        top, left = y * stride[0], x * stride[1]
        result[y, x] = image[top : top + kernel[0], left : left + kernel[1]]
    return result


def completing(size: Pair, kernel: Pair, stride: Pair) -> set[int]:
    """Return the pixels, counted in raster order, that are the last of a window."""
    height, width = output_size(size, kernel, stride)
    return {
        (y * stride[0] + kernel[0] - 1) * size[1] + x * stride[1] + kernel[1] - 1
        for y, x in itertools.product(range(height), range(width))
    }


def sliding_window_trips(size: Pair, kernel: Pair, stride: Pair, folds: int) -> int:
    ends = completing(size, kernel, stride)
    pixels, area = size[0] * size[1], kernel[0] * kernel[1]
    last = 1 if pixels - 1 in ends else 0
    return len(ends) * area * folds + (pixels - len(ends) + last) * folds


def sliding_window_schedule(size: Pair, kernel: Pair, stride: Pair, folds: int) -> Integers:
    """Step n reads pixel n in its first iterations, and meanwhile writes the window that pixel n-1 completed."""
    ends = completing(size, kernel, stride)
    written = 0
    schedule = []
    for pixel in range(size[0] * size[1]):
        emits = pixel - 1 in ends
        schedule += [written + fold if emits else written for fold in range(folds)]
        written += kernel[0] * kernel[1] * folds if emits else 0
    return np.array(schedule, np.int64)


def parallel_window_schedule(size: Pair, kernel: Pair, stride: Pair) -> Integers:
    """A window goes out with the pixel that completes it."""
    ends = completing(size, kernel, stride)
    return np.array([sum(end < pixel for end in ends) for pixel in range(size[0] * size[1])], np.int64)


def matrix_vector(vectors: Integers, weights: Integers) -> Integers:
    """Return (vectors, rows) of `vectors` (vectors, columns) and `weights` (rows, columns)."""
    return vectors @ weights.T


def weight_table(weights: Integers, pe: int, simd: int) -> Integers:
    """Return the weights (rows, columns) as the layer keeps them: (passes, words, pe, simd)."""
    rows, columns = weights.shape
    table = np.empty((rows // pe, columns // simd, pe, simd), np.int64)
    for row, column in itertools.product(range(rows), range(columns)):
        table[row // pe, column // simd, row % pe, column % simd] = weights[row, column]
    return table


def matrix_vector_schedule(vectors: int, passes: int, words: int) -> Integers:
    """A vector is read in its first pass, whose sums go out with its last word."""
    return np.repeat(np.arange(vectors, dtype=np.int64) * passes, words)


def thresholds(values: Integers, steps: Integers, least: int) -> Integers:
    """Return `least` + the number of steps reached: values (vectors, channels), steps (channels, levels)."""
    return least + np.count_nonzero(values[:, :, None] >= steps[None], axis=2)


def search_stages(steps: Integers) -> list[Integers]:
    """Return ascending steps (channels, 2^n - 1) as the n stages of a binary search, stage s (channels, 2^s)."""
    levels = steps.shape[1] + 1
    stages = []
    span = levels
    while span > 1:
        # The middle of each part of the range that the stages before have left.
        stages.append(steps[:, [start + span // 2 - 1 for start in range(0, levels, span)]])
        span //= 2
    return stages


def hard_tanh(values: Integers, scale: Integers, offset: Integers, shift: int, least: int, most: int) -> Integers:
    """Return floor((values * scale + offset) / 2^shift), limited to least .. most; values (vectors, channels)."""
    exact = np.floor_divide(values * scale + offset, np.int64(1) << np.int64(shift))
    return np.minimum(np.maximum(exact, least), most)


def max_pool(image: Integers) -> Integers:
    """Return the largest of each channel in each 2x2 window."""
    height, width, channels = image.shape
    pooled = np.empty((height // 2, width // 2, channels), np.int64)
    for y, x in itertools.product(range(height // 2), range(width // 2)):
        pooled[y, x] = image[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].max(axis=(0, 1))
    return pooled


def max_pool_schedule(size: Pair, folds: int) -> Integers:
    """A beat goes out with the last beat of its four: at odd rows and columns."""
    odd = [y % 2 == 1 and x % 2 == 1 for y, x, _ in itertools.product(range(size[0]), range(size[1]), range(folds))]
    return np.cumsum([0, *odd[:-1]], dtype=np.int64)


def convert_width_schedule(beats_in: int, lanes_in: int, lanes_out: int) -> Integers:
    """A narrower beat goes out as soon as its values are there, a wider one with its last part."""
    return np.arange(beats_in, dtype=np.int64) * lanes_in // lanes_out


def word_bytes(bits: int, lanes: int) -> int:
    return (bits * lanes + 7) // 8


def words(values: Integers, bits: int) -> Integers:
    """Return the bytes (beats, word bytes), lowest first, of beats of `bits` a lane: lane 0 in the lowest bits."""
    size = word_bytes(bits, values.shape[1])
    whole = [sum((int(value) & ((1 << bits) - 1)) << (bits * lane) for lane, value in enumerate(row)) for row in values]
    return np.array([list(word.to_bytes(size, "little")) for word in whole], np.int64)
