"""The pictures of the build report, as SVG in the page's own colours: a feature map, the Pareto front, a range."""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fpga_facedet import page as web

_WIDTH = 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 12, 12, 34
_COLOURS = ("--bar", "--hot", "--third")
_DASHES = ("", "5 3", "1.5 2.5")
_MARKERS = ("circle", "square", "triangle")


@dataclass(frozen=True)
class Series:
    """One line of a chart: its name, its points as (x, y), and the y that this build has, if it is known."""

    name: str
    points: tuple[tuple[float, float], ...]
    here: float | None = None


def feature_map(height: int, width: int, channels: int, largest: int) -> str:
    """Return a feature map as a box: its face by `height` and `width`, its depth by `channels`.

    `largest` is the longest side in the network. Sides go with their square root and the depth with its logarithm: a
    picture of 416 pixels and a grid of 13 are both to be seen.
    """
    face = [8 + 22 * (side / largest) ** 0.5 for side in (width, height)]
    depth = 2 + 2.6 * math.log2(channels + 1)
    left, top = 2.0, 46 - face[1]
    shift_x, shift_y = depth, -depth * 0.6
    right, bottom = left + face[0], top + face[1]
    roof = _polygon(
        [(left, top), (left + shift_x, top + shift_y), (right + shift_x, top + shift_y), (right, top)], 0.65
    )
    side = _polygon(
        [(right, top), (right + shift_x, top + shift_y), (right + shift_x, bottom + shift_y), (right, bottom)], 0.45
    )
    front = _polygon([(left, top), (right, top), (right, bottom), (left, bottom)], 0.9)
    return web.svg(64, 48, "", (roof, side, front))


def _polygon(corners: Iterable[tuple[float, float]], opacity: float) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f'<polygon points="{points}" style="fill:var(--bar);opacity:{opacity}"/>'


def lines(series: Sequence[Series], x_name: str, y_name: str, here: float | None, alt: str) -> str:
    """Return a chart of up to three series in colours, dashes and marks of their own; x and y begin at 0.

    `here` is the x of this build: a line, with a ring on it for each series that has a y there. Names and `alt` are
    text, not HTML.
    """
    height = 250
    most_x = _nice(max([x for each in series for x, _ in each.points] + [here or 0.0]))
    most_y = _nice(max([y for each in series for _, y in each.points] + [each.here or 0.0 for each in series]))

    def place(x: float, y: float) -> tuple[float, float]:
        right, bottom = _WIDTH - _LEFT - _RIGHT, height - _TOP - _BOTTOM
        return _LEFT + right * x / most_x, _TOP + bottom * (1 - y / most_y)

    shapes = []
    for step in range(5):
        x, y = place(most_x * step / 4, most_y * step / 4)
        shapes.append(_line((_LEFT, y), (_WIDTH - _RIGHT, y), "--line"))
        shapes.append(_text(_LEFT - 4, y + 4, f"{most_y * step / 4:g}", "end"))
        shapes.append(_text(x, height - _BOTTOM + 14, f"{most_x * step / 4:g}", "middle"))
    shapes.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, height - 4, x_name, "middle"))
    shapes.append(_text(_LEFT + 4, _TOP + 13, y_name, "start"))
    for index, each in enumerate(series):
        shapes += _series(index, [place(x, y) for x, y in each.points])
    if here is not None:
        x, _ = place(here, 0)
        shapes.append(_line((x, _TOP), (x, height - _BOTTOM), "--ink", "4 3"))
        shapes.append(_beside(x, height - _BOTTOM - 5, "this build"))
        shapes += [_ring(index, *place(here, each.here)) for index, each in enumerate(series) if each.here is not None]
    return web.drawing(_WIDTH, height, html.escape(alt), shapes) + _legend([each.name for each in series])


def _series(index: int, places: Sequence[tuple[float, float]]) -> list[str]:
    colour = _COLOURS[index]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = [f'<polyline points="{path}" style="fill:none;stroke:var({colour});stroke-width:2;{_dash(index)}"/>']
    return drawn + [_marker(index, x, y) for x, y in places]


def _dash(index: int) -> str:
    return f"stroke-dasharray:{_DASHES[index]}" if _DASHES[index] else ""


def _marker(index: int, x: float, y: float) -> str:
    style = f'style="fill:var({_COLOURS[index]})"'
    if _MARKERS[index] == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" {style}/>'
    if _MARKERS[index] == "square":
        return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" {style}/>'
    return f'<polygon points="{x:.1f},{y - 4:.1f} {x + 4:.1f},{y + 3:.1f} {x - 4:.1f},{y + 3:.1f}" {style}/>'


def _ring(index: int, x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" style="fill:none;stroke:var({_COLOURS[index]});stroke-width:2"/>'


def _legend(names: Sequence[str]) -> str:
    samples = (web.svg(30, 12, "", _series(index, [(2, 6), (15, 6), (28, 6)])) for index in range(len(names)))
    keys = (f"<span>{sample} {html.escape(name)}</span>" for sample, name in zip(samples, names, strict=True))
    return f'<p class="keys">{"".join(keys)}</p>'


def span(low: float, likely: float, high: float, reference: tuple[float, str], unit: str, alt: str) -> str:
    """Return a range as a bar with its likely value and a reference value marked; `alt` is text, not HTML."""
    value, name = reference
    most = _nice(max(high, value))
    height, middle = 74, 34

    def place(x: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * x / most

    shapes = [
        f'<rect x="{place(low):.1f}" y="{middle - 7}" width="{place(high) - place(low):.1f}" height="14" rx="3" '
        'style="fill:var(--bar);opacity:.55"/>',
        f'<circle cx="{place(likely):.1f}" cy="{middle}" r="5" style="fill:var(--ink)"/>',
        _line((place(value), middle - 16), (place(value), middle + 16), "--hot"),
        _beside(place(value), middle - 12, name),
        _line((_LEFT, middle + 18), (_WIDTH - _RIGHT, middle + 18), "--line"),
        *(_text(place(most * step / 4), middle + 32, f"{most * step / 4:g}", "middle") for step in range(5)),
        _text(_LEFT - 26, middle + 32, unit, "start"),
    ]
    return web.drawing(_WIDTH, height, html.escape(alt), shapes)


def _line(start: tuple[float, float], end: tuple[float, float], colour: str, dash: str = "") -> str:
    ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line {ends} style="stroke:var({colour});stroke-width:1.5;stroke-dasharray:{dash or "none"}"/>'


def _beside(x: float, y: float, text: str) -> str:
    """Return a text beside an upright line at `x`, on the side where it has room."""
    at_left = x > _WIDTH * 0.6
    return _text(x - 4 if at_left else x + 4, y, text, "end" if at_left else "start")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _nice(most: float) -> float:
    """Return the smallest of 1, 2, 4, 6, 8 times a power of ten that is no less than `most`: a quarter reads well."""
    power = 10.0 ** math.floor(math.log10(most)) if most > 0 else 1.0
    return next(factor * power for factor in (1, 2, 4, 6, 8, 10) if factor * power >= most * 0.999999)
