"""Draws frame_through_hls.png: one frame's way through the HLS layers, with the values that the hardware computes.

    .venv/bin/python docs/frame_through_hls.py            # compiles lpyolo-4w4a as far as its FIFOs first, in a minute
    .venv/bin/python docs/frame_through_hls.py DIRECTORY  # takes the folded graph of an accelerator that was built

Shapes, folding, beats and trips are those of the calls that `facedet build --layers hls` writes; weights and thresholds
are theirs too. The values between layers are the golden engine's, and those that are shown are computed anew here.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

from fpga_facedet import zoo
from fpga_facedet.boards import get_board
from fpga_facedet.compiler import flow
from fpga_facedet.compiler.hls.plan import plan
from fpga_facedet.compiler.hls.styles import Styles, segments
from fpga_facedet.engines.golden import GoldenEngine
from fpga_facedet.errors import InternalError
from fpga_facedet.letterbox import Letterbox

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrow, Rectangle
from PIL import Image
from PIL.PngImagePlugin import PngInfo

MODEL, BOARD = "lpyolo-4w4a", "pynq-z2"
PICTURE = Path(__file__).with_suffix(".png")

ROW, COLUMN, CHANNEL = 81, 165, 2
"""The pixel that is followed, at an eye, and the feature channel that is shown."""
CELL, SCORE = (2, 5), 10
"""The head's cell that this pixel lies in, and the channel that holds the score of its second anchor."""

WIDTH, HEIGHT = 900, 1556
"""Of the page in pixels, as GitHub shows it; the file has twice as many each way."""
INK, FLOW, FOLLOWED, SUMS = "#1b1f24", "#1f5fa8", "#d1242f", "#b45309"
"""Colours: text; layers and streams; the pixel that is followed; sums. Levels are viridis, weights red and blue."""
TINTS = (("red", "Reds"), ("green", "Greens"), ("blue", "Blues"))
"""Of a pixel's three colours, and the maps that show their values."""

Map = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Walk:
    """One frame's way: `layers` are the calls by name; `maps` int (height, width, channels).

    The first map is the frame; behind it come the golden model's steps, whose kinds are in `kinds`.
    """

    layers: dict[str, Any]
    maps: list[Map]
    kinds: list[str]

    @property
    def window(self) -> Map:
        """The followed pixel's window, (3, 3, colours); no padding reaches it."""
        return self.maps[0][ROW - 1 : ROW + 2, COLUMN - 1 : COLUMN + 2]

    @property
    def matrix(self) -> Map:
        """The first layer's weights, (rows, columns)."""
        weights = self.layers["MVAU_0"].weights
        passes, words, pe, simd = weights.shape
        return weights.transpose(0, 2, 1, 3).reshape(passes * pe, words * simd)

    @property
    def head(self) -> Any:
        """The last layer's call."""
        return list(self.layers.values())[-1]

    @property
    def blocks(self) -> list[Map]:
        """What each convolution hands to the next."""
        ends = [index for index, kind in enumerate(self.kinds) if kind == "convolution"][1:]
        return [self.maps[index - 1] for index in ends]

    def check(self) -> None:
        """Raise InternalError unless the values shown follow from one another by the layers' own mathematics."""
        first, (rows, columns) = self.layers["Thresholding_0"], np.mgrid[ROW - 1 : ROW + 1, COLUMN - 1 : COLUMN + 1]
        shown = (
            ("sums", self.matrix @ self.window.ravel(), self.maps[1][ROW, COLUMN]),
            ("levels", _levels(first, self.maps[1][ROW]), self.maps[2][ROW]),
            ("maxima", self.maps[2][rows, columns].max(axis=(0, 1)), self.maps[3][ROW // 2, COLUMN // 2]),
            ("head", _levels(self.head, self.maps[-2][CELL][None]), self.maps[-1][CELL][None]),
        )
        for what, ours, golden in shown:
            if not np.array_equal(ours, golden):
                raise InternalError(f"The {what} of the picture are {ours}, the golden engine's {golden}.")


def _levels(layer: Any, sums: Map) -> Map:
    """Return what thresholds or HardTanh make of sums (pixels, channels)."""
    return layer.least + layer.staircase.count(sums.astype(np.int64).T).T


def calls(folder: Path) -> dict[str, Any]:
    """Return the HLS calls of the accelerator in `folder` by layer, of the graph that its build saved."""
    from qonnx.core.modelwrapper import ModelWrapper

    name = "fifos"
    graph = ModelWrapper(str(folder / "steps" / f"{flow.STEPS.index(name) + 1:02d}_{name}.onnx"))
    (segment,) = segments(graph, Styles.hls().of_graph(graph))
    return {layer.name: layer for layer in plan(graph, segment.nodes)}


def fold(folder: Path) -> None:
    """Compile the model into `folder` as far as its FIFOs."""
    flow.build(
        zoo.model_path(MODEL),
        get_board(BOARD),
        folder,
        to_step="fifos",
        progress=lambda text, _: print(text),
        layers=Styles.hls(),
    )


def walk(layers: dict[str, Any]) -> Walk:
    """Run scikit-image's photograph of an astronaut through the golden engine."""
    from skimage.data import astronaut

    photograph = np.ascontiguousarray(astronaut()[..., ::-1])
    engine = GoldenEngine(zoo.model_path(MODEL))
    sizes = engine.manifest.input
    height, width, _ = photograph.shape
    frame = Letterbox.fit(width, height, sizes.width, sizes.height).apply(photograph)
    opened = engine.opened()
    found = Walk(layers, opened.run(frame), ["frame", *(step.kind for step in opened.steps)])
    found.check()
    return found


class Page:
    """A white page whose places are counted in pixels from the upper left corner."""

    def __init__(self) -> None:
        self.figure = plt.figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=200, facecolor="white")
        self.sheet = self.figure.add_axes((0, 0, 1, 1))
        self.sheet.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        self.sheet.axis("off")
        self.words: list[str] = []

    def panel(self, left: float, top: float, width: float, height: float) -> Any:
        """Return axes for a plot."""
        place = (left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT)
        axes = self.figure.add_axes(place)
        axes.tick_params(labelsize=8.5, length=2, pad=2, colors=INK)
        return axes

    def image(self, left: float, top: float, width: float, height: float, values: Any, **how: Any) -> Any:
        """Show an array and return its axes."""
        axes = self.panel(left, top, width, height)
        axes.imshow(values, aspect="auto", **how)
        axes.set(xticks=[], yticks=[])
        return axes

    def text(self, left: float, top: float, words: str, size: float = 9.2, **how: Any) -> None:
        """Write text; `top` is that of its first line."""
        self.words.append(words)
        self.sheet.text(left, top, words, fontsize=size, **{"va": "top", "color": INK, "linespacing": 1.35, **how})

    def stage(self, top: float, number: int, title: str, layer: str, words: str) -> None:
        """Write what a stage is, in the left column."""
        self.sheet.plot([14, WIDTH - 14], [top - 8, top - 8], color="#d8dee4", linewidth=0.8)
        self.text(14, top, f"{number}  {title}", 11.5, weight="bold")
        self.text(14, top + 22, layer, 9, family="monospace", color=FLOW)
        self.text(14, top + 41, words)

    def stream(self, top: float, words: str) -> None:
        """Draw the arrow to the next stage, with what the stream carries."""
        self.sheet.add_patch(
            FancyArrow(26, top, 0, 32, width=5, head_width=15, head_length=12, length_includes_head=True, color=FLOW)
        )
        self.text(44, top + 6, words, 9.2, color=FLOW, weight="bold")

    def save(self, path: Path) -> None:
        """Write the page as a PNG of 256 colours, a third of the bytes, with its words for those who compare them."""
        self.figure.canvas.draw()
        drawn = Image.fromarray(np.asarray(self.figure.canvas.buffer_rgba())[..., :3])
        drawn.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True, pnginfo=self.described())

    def described(self) -> PngInfo:
        """Return the words as the PNG's description."""
        info = PngInfo()
        info.add_itxt("Description", self.description)
        return info

    @property
    def description(self) -> str:
        """All words on the page, in the order of writing."""
        return "\n".join(self.words)

    def arrow(self, left: float, top: float) -> None:
        """Draw a short arrow to the right."""
        self.text(left, top, "→", 15, va="center", color=INK)


def _carried(stream: Any) -> str:
    lanes = "1 lane" if stream.lanes == 1 else f"{stream.lanes} lanes"
    return f"{stream.beats:,} beats of {lanes} × {stream.values.bits} bits"


def _mark(axes: Any, left: float, top: float, width: float = 1, height: float = 1, **how: Any) -> None:
    """Frame pixels of an image."""
    axes.add_patch(
        Rectangle((left - 0.5, top - 0.5), width, height, fill=False, **{"edgecolor": FOLLOWED, "linewidth": 2, **how})
    )


def _numbers(axes: Any, values: Map, colours: Any, size: float = 9) -> None:
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, str(value), ha="center", va="center", fontsize=size, color=colours(value))


def draw_pixels(page: Page, top: float, way: Walk) -> None:
    """Stage 1: the frame, and the followed pixel's neighbourhood."""
    page.stage(
        top,
        1,
        "Pixels",
        "read_port",
        "A photograph, letterboxed. One beat is\none pixel: red, green, blue.\nRow by row, left to right.",
    )
    frame = way.maps[0]
    axes = page.image(300, top, 160, 160, frame)
    _mark(axes, COLUMN - 8, ROW - 8, 17, 17)
    axes = page.image(510, top, 160, 160, frame[ROW - 8 : ROW + 9, COLUMN - 8 : COLUMN + 9])
    _mark(axes, 8, 8)
    height, width, colours = frame.shape
    page.text(300, top + 165, f"{height} × {width} × {colours}, 8 bits each")
    page.text(
        690, top + 50, f"The pixel in row {ROW},\ncolumn {COLUMN} is followed\nfrom here on, in red.", color=FOLLOWED
    )


def draw_padding(page: Page, top: float, way: Walk) -> None:
    """Stage 2: the upper left corner of the padded frame."""
    call = way.layers["FMPadding_0"]
    page.stage(
        top, 2, "Padding", "pad", f"A ring of zeros around the frame.\n{call.cycles:,} trips of its loop, a beat each."
    )
    corner = np.pad(way.maps[0][:5, :17], ((1, 0), (1, 0), (0, 0)))
    axes = page.image(300, top, 370, 123, corner)
    axes.text(8.5, 0, "zeros", color="white", fontsize=9, ha="center", va="center")
    page.text(690, top + 44, "The upper left corner\nof the padded frame,\n418 × 418 × 3")


def draw_window(page: Page, top: float, way: Walk) -> None:
    """Stage 3: the rows that the line buffer holds, and the window's 27 values."""
    call = way.layers["ConvolutionInputGenerator_0"]
    words = (
        "The last rows stay in a line buffer; each\npixel that arrives completes a window,\n"
        f"which leaves whole, as one beat.\n{call.cycles:,} trips, a pixel each."
    )
    page.stage(top, 3, "Line buffer and window", "parallel_window", words)
    rows, columns = (ROW - 4, ROW + 5), (COLUMN - 8, COLUMN + 9)
    shown = way.maps[0][slice(*rows), slice(*columns)].astype(float)
    bright = shown * 0.35 + 255 * 0.65
    bright[3:5] = shown[3:5]
    bright[5, :10] = shown[5, :10]
    axes = page.image(300, top, 272, 144, bright.astype(np.uint8))
    _mark(axes, 7, 3, 3, 3)
    _mark(axes, 0, 3, 17, 2, edgecolor=FLOW, linestyle="--", linewidth=1.5)
    page.text(300, top + 149, "blue: the two rows kept · red: the window,\ncompleted by the pixel at its lower right")
    page.arrow(582, top + 72)
    for colour, (name, tint) in enumerate(TINTS):
        axes = page.image(616 + 92 * colour, top + 22, 82, 100, way.window[..., colour], cmap=tint, vmin=0, vmax=255)
        _numbers(axes, way.window[..., colour], lambda value: "white" if value > 130 else INK)
        page.text(616 + 92 * colour, top + 2, name)
    page.text(616, top + 128, "order of the 27 lanes: row, column, colour")


def draw_matrix(page: Page, top: float, way: Walk) -> None:
    """Stage 4: 27 values times the weights in two passes, and the sums."""
    call = way.layers["MVAU_0"]
    passes, _, pe, simd = call.weights.shape
    words = (
        f"Each window times {passes * pe} × {simd} weights.\nPE {pe} rows × SIMD {simd} columns at once are\n"
        f"{pe * simd} multipliers, so {passes} passes a window:\n{call.cycles:,} trips."
    )
    page.stage(top, 4, "Matrix times vector", "matrix_vector", words)
    page.text(300, top - 2, "27 values of the window")
    colours = np.stack([matplotlib.colormaps[tint](way.window[..., at] / 255) for at, (_, tint) in enumerate(TINTS)], 2)
    page.image(300, top + 18, 378, 16, colours.reshape(1, -1, 4))
    page.text(300, top + 40, f"{call.weight_bits}-bit weights (the first layer's): red positive, blue negative")
    limit = np.abs(way.matrix).max()
    axes = page.image(300, top + 60, 378, 112, way.matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
    for index in range(passes):
        _mark(axes, 0, index * pe, simd, pe, edgecolor=FLOW, linewidth=2)
        page.text(686, top + 80 + 56 * index, f"pass {index}", color=FLOW)
    page.arrow(732, top + 116)
    page.text(764, top + 40, "8 sums")
    for row, total in enumerate(way.maps[1][ROW, COLUMN]):
        chosen = {"color": FOLLOWED, "weight": "bold"} if row == CHANNEL else {"color": SUMS}
        page.text(840, top + 60 + 14 * row, f"{total:,}", 8.8, ha="right", family="monospace", **chosen)


_TICKS, _TICK_LABELS = (-40000, 0, 40000), ("−40,000", "0", "40,000")


def draw_thresholds(page: Page, top: float, way: Walk) -> None:
    """Stage 5: the sums of one row of pixels among their thresholds, and the staircase of that channel."""
    call = way.layers["Thresholding_0"]
    words = (
        "The level is the number of the channel's\nthresholds that the sum has reached:\n"
        f"0 … {call.staircase.levels}, {call.result.values.bits} bits.\n{call.cycles:,} trips."
    )
    page.stage(top, 5, "Thresholds", call.function, words)
    sums, steps = way.maps[1][ROW, :, CHANNEL], call.staircase.steps[CHANNEL]
    total, level = way.maps[1][ROW, COLUMN, CHANNEL], way.maps[2][ROW, COLUMN, CHANNEL]
    axes = page.panel(350, top + 16, 240, 132)
    axes.hlines(steps, 0, len(sums) - 1, color="#9aa4af", linewidth=0.6)
    axes.plot(sums, color=SUMS, linewidth=0.8)
    axes.plot(COLUMN, total, "o", color=FOLLOWED, markersize=6)
    axes.set(xlim=(0, len(sums) - 1), xticks=range(0, 401, 100), yticks=_TICKS, yticklabels=_TICK_LABELS)
    page.text(350, top - 6, f"sums of row {ROW}, channel {CHANNEL}; grey: {len(steps)} thresholds", 8.8)
    page.text(430, top + 164, "column", 8.8)
    axes = page.panel(660, top + 16, 215, 132)
    reach = np.arange(min(sums.min(), steps[0] - 3000), max(sums.max(), steps[-1] + 3000))
    axes.plot(
        reach,
        _levels(call, np.repeat(reach[:, None], len(call.staircase.steps), axis=1))[:, CHANNEL],
        color=SUMS,
        linewidth=1.4,
    )
    axes.plot(total, level, "o", color=FOLLOWED, markersize=6)
    axes.annotate(
        f"{total:,} → {level}",
        (total, level),
        (-8, 2),
        textcoords="offset points",
        color=FOLLOWED,
        fontsize=9,
        ha="right",
    )
    axes.set(yticks=[0, 5, 10, 15], xticks=_TICKS, xticklabels=_TICK_LABELS, ylim=(-0.7, 16.2))
    page.text(660, top - 6, "staircase: sum → level", 8.8)


def draw_pool(page: Page, top: float, way: Walk) -> None:
    """Stage 6: a channel before and after max-pooling, and the four levels of the followed pixel's window."""
    call = way.layers["StreamingMaxPool_0"]
    page.stage(
        top,
        6,
        "2 × 2 max-pool",
        "max_pool_2x2",
        f"The largest of four levels. The upper\nrow's pairs wait in a line buffer.\n{call.cycles:,} trips.",
    )
    before, after = way.maps[2][..., CHANNEL], way.maps[3][..., CHANNEL]
    tint = {"cmap": "viridis", "vmin": 0, "vmax": 15}
    axes = page.image(300, top, 160, 160, before, **tint)
    _mark(axes, COLUMN - 8, ROW - 8, 17, 17)
    page.text(300, top + 165, f"levels of channel {CHANNEL}, 416 × 416")
    four = before[ROW - 1 : ROW + 1, COLUMN - 1 : COLUMN + 1]
    axes = page.image(498, top + 40, 80, 80, four, **tint)
    _numbers(axes, four, lambda value: INK if value > 9 else "white", 11)
    _mark(axes, 1, 1)
    page.arrow(588, top + 80)
    largest = after[ROW // 2, COLUMN // 2]
    axes = page.image(622, top + 60, 40, 40, [[largest]], **tint)
    _numbers(axes, np.array([[largest]]), lambda value: INK, 11)
    axes = page.image(700, top + 40, 80, 80, after, **tint)
    _mark(axes, COLUMN // 2 - 4, ROW // 2 - 4, 9, 9)
    page.text(700, top + 125, f"{after.shape[0]} × {after.shape[1]}")


def draw_blocks(page: Page, top: float, way: Walk) -> None:
    """Stage 7: a map from each of the convolutions between the first and the last."""
    blocks = way.blocks[1:]
    words = (
        "Stages 2 to 6 again; five pools in all.\nWidth converters join layers of different\n"
        "folding. Then the head's weights."
    )
    page.stage(top, 7, f"{len(blocks)} more convolutions", "pad … matrix_vector", words)
    for number, block in enumerate(blocks):
        left = 300 + 74 * number
        channel = np.argmax(block[CELL] if len(block) == 13 else block.std(axis=(0, 1)))
        page.image(left, top, 66, 66, block[..., channel], cmap="viridis", vmin=0, vmax=15)
        page.text(left, top + 70, f"{block.shape[0]} × {block.shape[1]}\n× {block.shape[2]}", 8.8)


def draw_head(page: Page, top: float, way: Walk) -> None:
    """Stage 8: the head's staircase and the score map over the frame."""
    call = way.head
    most = call.least + call.staircase.levels
    words = f"HardTanh: a line between two limits, as\nan integer from {call.least} to {most}.\n{call.cycles:,} trips."
    page.stage(top, 8, "HardTanh head", call.function, words)
    total, value = way.maps[-2][(*CELL, SCORE)], way.maps[-1][(*CELL, SCORE)]
    axes = page.panel(350, top + 16, 220, 132)
    steps = call.staircase.steps[SCORE]
    reach = np.arange(steps[0] - 2500, steps[-1] + 2500, 5)
    axes.plot(
        reach,
        _levels(call, np.repeat(reach[:, None], len(call.staircase.steps), axis=1))[:, SCORE],
        color=SUMS,
        linewidth=1.4,
    )
    axes.plot(total, value, "o", color=FOLLOWED, markersize=6)
    axes.annotate(
        f"{total:,} → {value}",
        (total, value),
        (-8, 2),
        textcoords="offset points",
        color=FOLLOWED,
        fontsize=9,
        ha="right",
    )
    axes.set(yticks=[-128, 0, 127])
    page.text(350, top - 6, f"sum → int8, channel {SCORE} (a score)", 8.8)
    axes = page.image(640, top, 170, 170, way.maps[0])
    axes.imshow(
        way.maps[-1][..., SCORE], extent=(-0.5, 415.5, 415.5, -0.5), cmap="viridis", alpha=0.6, vmin=-128, vmax=127
    )
    axes.set(xlim=(-0.5, 415.5), ylim=(415.5, -0.5))
    _mark(axes, CELL[1] * 32, CELL[0] * 32, 32, 32)
    page.text(640, top + 175, "that channel's 13 × 13 cells")


def draw(way: Walk) -> Page:
    """Return the page."""
    page = Page()
    page.text(14, 10, "One frame's way through the HLS layers", 14, weight="bold")
    page.text(
        14, 36, f"{MODEL} on the {BOARD.upper()}: real values of a photograph; every loop is written for a trip a cycle"
    )
    layers = way.layers
    stages: Sequence[tuple[Any, int, Any]] = (
        (draw_pixels, 192, layers["FMPadding_0"].source),
        (draw_padding, 150, layers["FMPadding_0"].result),
        (draw_window, 192, layers["ConvolutionInputGenerator_0"].result),
        (draw_matrix, 198, layers["MVAU_0"].result),
        (draw_thresholds, 200, layers["Thresholding_0"].result),
        (draw_pool, 194, layers["StreamingMaxPool_0"].result),
        (draw_blocks, 150, way.head.source),
        (draw_head, 200, way.head.result),
    )
    top = 76.0
    for stage, height, stream in stages:
        stage(page, top, way)
        page.stream(top + height - 50, _carried(stream))
        top += height
    return page


def main() -> None:
    """Draw the picture beside this file."""
    parser = argparse.ArgumentParser(description="Draw one frame's way through the HLS layers.")
    parser.add_argument("accelerator", nargs="?", type=Path, help="a folder that facedet build wrote")
    parser.add_argument("--out", type=Path, default=PICTURE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.accelerator is None:
            fold(Path(scratch))
        draw(walk(calls(arguments.accelerator or Path(scratch)))).save(arguments.out)


if __name__ == "__main__":
    main()
