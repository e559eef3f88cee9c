"""Windows cut from pictures: the scales, colours and defects that a camera in the street shows.

Everything draws from one numpy generator, so a window depends on its seed alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import printable

import cv2
import numpy as np
import numpy.typing as npt

from fpga_facedet.detections import FloatArray
from fpga_facedet.letterbox import FILL
from fpga_facedet.training.dataset import Picture

Pixels = npt.NDArray[np.uint8]

FACE_PIXELS = (8.0, 150.0)
"""Sizes (square root of the area) to which a chosen face is brought, evenly on a logarithmic scale."""

SCALES = (0.2, 3.0)
"""How far a picture is shrunk or enlarged at most."""

LEAST_COVER = 0.6
"""The longer side of a picture fills at least this share of the window's shorter side."""

LEAST_VISIBLE = 0.4
"""A face of which less lies inside the window is neither a face nor background."""


@dataclass(frozen=True)
class Mix:
    """How often what kind of window is drawn, shares of 0..1.

    `mosaic` of all windows are put together from four. Of the others, and of the four parts, `own_scale` are cut at
    the scale at which the detector sees the picture, `background` without faces at any scale; the rest is cut around
    a face brought to a random size.
    """

    mosaic: float
    own_scale: float
    background: float


VARIED = Mix(mosaic=0.25, own_scale=0.5, background=0.12)
"""For most of a run: as many sizes and surroundings as possible."""

CALM = Mix(mosaic=0.08, own_scale=0.6, background=0.1)
"""For the end of a run: closer to what the detector will see."""

PRINT = 0.02
"""Share of windows that are a page of print."""

OWN_SCALE_SPREAD = 0.25
"""How far from the detector's own scale such a window is cut, as the logarithm of the factor."""

ASPECT = 0.08
"""How far a window is stretched, as the logarithm of the factor; its inverse for the height."""

CROSS = (0.35, 0.65)
"""Where the cross of a mosaic lies, as shares of the window."""

TRIES = 6
"""How often a window without faces is looked for, each time at a larger scale."""

GAIN, CAST, GAMMA, BRIGHTNESS = (-0.3, 0.25), 0.12, 0.35, 0.06
"""Light: logarithms of the gain of all colours, of each colour's own and of the exponent, and what is added (0..1)."""

GREY = (0.12, 0.35)
"""Shares of the windows that lose all colour, and that lose all or some."""

DEFECT = 0.08
"""Share of the windows that are blurred; as many are saved as JPEG, and as many get noise."""

BLUR, JPEG_QUALITY, NOISE = (0.4, 1.5), (25, 80), (2.0, 10.0)
"""Standard deviation of the blur in pixels, quality of the JPEG, and standard deviation of the noise (0..255)."""


@dataclass(frozen=True)
class Window:
    """One training input: RGB uint8 (height, width, 3), its faces and the regions that do not count, both xyxy."""

    pixels: Pixels
    faces: FloatArray
    ignored: FloatArray


def random_window(
    rng: np.random.Generator,
    pictures: Sequence[Picture],
    height: int,
    width: int,
    full: tuple[int, int],
    mix: Mix = VARIED,
) -> Window:
    """Draw one window of `height` x `width` pixels; `full` is the detector's whole input (height, width)."""
    kind = rng.random()
    if kind < PRINT:
        window = text_page(rng, height, width)
    elif kind < PRINT + mix.mosaic:
        window = _mosaic(rng, pictures, height, width, full, mix)
    else:
        window = _cut(rng, pictures[int(rng.integers(len(pictures)))], height, width, full, mix)
    if rng.random() < 0.5:
        window = _flip(window)
    return Window(_spoil(rng, window.pixels), window.faces, window.ignored)


def _cut(
    rng: np.random.Generator, picture: Picture, height: int, width: int, full: tuple[int, int], mix: Mix
) -> Window:
    """Cut one window: at the detector's own scale, around a face brought to a random size, or of the background."""
    picture_height, picture_width = picture.pixels.shape[:2]
    kind = rng.random()
    if kind < mix.own_scale or not len(picture.faces):
        scale = min(full[0] / picture_height, full[1] / picture_width) * np.exp(
            rng.uniform(-OWN_SCALE_SPREAD, OWN_SCALE_SPREAD)
        )
        return _at_scale(rng, picture, scale, height, width, _any_point(rng, picture))
    if kind < 1 - mix.background:
        box = picture.faces[rng.integers(len(picture.faces))]
        size = max(1.0, float(np.sqrt(np.prod(box[2:] - box[:2]))))
        scale = np.clip(np.exp(rng.uniform(*np.log(FACE_PIXELS))) / size, *SCALES)
        return _at_scale(rng, picture, scale, height, width, (box[:2] + box[2:]) / 2)
    scale = np.exp(rng.uniform(*np.log(SCALES)))
    return _background(rng, picture, scale, height, width)


def _any_point(rng: np.random.Generator, picture: Picture) -> FloatArray:
    height, width = picture.pixels.shape[:2]
    return np.array([rng.uniform(0, width), rng.uniform(0, height)], np.float32)


def _background(rng: np.random.Generator, picture: Picture, scale: float, height: int, width: int) -> Window:
    """Return a window without a face, after a few attempts; with one, where the picture is full of them."""
    for _ in range(TRIES):
        window = _at_scale(rng, picture, scale, height, width, _any_point(rng, picture))
        if not len(window.faces) and not len(window.ignored):
            break
        scale = min(scale * 1.3, SCALES[1])
    return window


def _at_scale(
    rng: np.random.Generator, picture: Picture, scale: float, height: int, width: int, around: FloatArray
) -> Window:
    """Cut a window that holds the point `around` (picture pixels), scaled by `scale` with a little aspect change."""
    # A picture much smaller than the window would teach little but the fill.
    scale = max(scale, LEAST_COVER * min(height, width) / max(picture.pixels.shape[:2]))
    stretch = np.exp(rng.uniform(-ASPECT, ASPECT))
    scale_xy = np.array([scale * stretch, scale / stretch])
    inner = np.array(picture.pixels.shape[1::-1], np.float64)
    extent = np.array([width, height]) / scale_xy
    corner = around - rng.uniform(0.1, 0.9, 2) * extent
    # Stay inside the picture where it is larger than the window; else let the picture lie anywhere in it.
    low, high = np.minimum(0, inner - extent), np.maximum(0, inner - extent)
    corner = np.clip(corner, low, high)
    pixels = _resample(rng, picture.pixels, corner, scale_xy, height, width)
    faces = (picture.faces - np.tile(corner, 2)) * np.tile(scale_xy, 2)
    ignored = (picture.ignored - np.tile(corner, 2)) * np.tile(scale_xy, 2)
    return _clip(pixels, faces, ignored)


def _resample(
    rng: np.random.Generator,
    source: Pixels,
    corner: npt.NDArray[np.float64],
    scale_xy: npt.NDArray[np.float64],
    height: int,
    width: int,
) -> Pixels:
    """Scale the part of `source` at `corner` into (height, width), the outside filled as a letterbox is."""
    out = np.full((height, width, 3), FILL, np.uint8)
    begin = np.floor(np.maximum(corner, 0)).astype(int)
    end = np.ceil(np.minimum(corner + np.array([width, height]) / scale_xy, source.shape[1::-1])).astype(int)
    target = np.round((begin - corner) * scale_xy).astype(int)
    size = np.maximum(np.round((end - begin) * scale_xy).astype(int), 1)
    part = source[begin[1] : end[1], begin[0] : end[0]]
    if not part.size:
        return out
    smooth = cv2.INTER_CUBIC if rng.random() < 0.2 else cv2.INTER_LINEAR
    method = cv2.INTER_AREA if scale_xy.min() < 0.75 else smooth
    part = cv2.resize(part, (int(size[0]), int(size[1])), interpolation=method)  # type: ignore[assignment]
    place, skip = np.maximum(target, 0), np.maximum(-target, 0)
    part = part[skip[1] : skip[1] + height - place[1], skip[0] : skip[0] + width - place[0]]
    out[place[1] : place[1] + part.shape[0], place[0] : place[0] + part.shape[1]] = part
    return out


def _clip(pixels: Pixels, faces: FloatArray, ignored: FloatArray) -> Window:
    """Clip boxes to the window; faces that are mostly outside become regions that do not count."""
    height, width = pixels.shape[:2]
    limit = np.array([width, height, width, height], np.float32)
    clipped = np.clip(faces, 0, limit)
    area = np.prod(faces[:, 2:] - faces[:, :2], axis=1)
    visible = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) / np.maximum(area, 1e-6)
    whole = visible >= LEAST_VISIBLE
    outside = np.clip(ignored, 0, limit)
    outside = outside[(outside[:, 2:] > outside[:, :2]).all(axis=1)]
    partly = clipped[(visible > 0) & ~whole]
    return Window(
        pixels, clipped[whole].astype(np.float32), np.concatenate([outside, partly]).astype(np.float32).reshape(-1, 4)
    )


def _mosaic(
    rng: np.random.Generator,
    pictures: Sequence[Picture],
    height: int,
    width: int,
    full: tuple[int, int],
    mix: Mix,
) -> Window:
    """Put four windows around a random cross."""
    cross = (int(height * rng.uniform(*CROSS)), int(width * rng.uniform(*CROSS)))
    out = np.empty((height, width, 3), np.uint8)
    faces, ignored = [], []
    for top, bottom in ((0, cross[0]), (cross[0], height)):
        for left, right in ((0, cross[1]), (cross[1], width)):
            part = _cut(rng, pictures[int(rng.integers(len(pictures)))], bottom - top, right - left, full, mix)
            out[top:bottom, left:right] = part.pixels
            shift = np.array([left, top, left, top], np.float32)
            faces.append(part.faces + shift)
            ignored.append(part.ignored + shift)
    return Window(out, np.concatenate(faces), np.concatenate(ignored))


def _flip(window: Window) -> Window:
    """Mirror left and right."""
    width = window.pixels.shape[1]

    def mirror(boxes: FloatArray) -> FloatArray:
        return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)

    return Window(np.ascontiguousarray(window.pixels[:, ::-1]), mirror(window.faces), mirror(window.ignored))


def _spoil(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Change light and colour, and now and then lose colour, focus or quality."""
    ramp = np.arange(256, dtype=np.float32) / 255
    gain = np.exp(rng.uniform(*GAIN)) * np.exp(rng.uniform(-CAST, CAST, 3))
    curves = ramp[:, None] ** np.exp(rng.uniform(-GAMMA, GAMMA)) * gain + rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    table = (np.clip(curves, 0, 1) * 255).astype(np.uint8).reshape(1, 256, 3)
    pixels = cv2.LUT(pixels, table)  # type: ignore[assignment]
    grey = rng.random()
    if grey < GREY[1]:
        mixed = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        share = 1.0 if grey < GREY[0] else rng.uniform(0, 1)
        pixels = cv2.addWeighted(mixed, share, pixels, 1 - share, 0)  # type: ignore[assignment]
    defect = rng.random()
    if defect < DEFECT:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(*BLUR))  # type: ignore[assignment]
    elif defect < 2 * DEFECT:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*JPEG_QUALITY))]
        pixels = cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR)  # type: ignore[assignment]
    elif defect < 3 * DEFECT:
        noise = np.empty(pixels.shape, np.int16)
        cv2.randn(noise, np.zeros(3), np.full(3, rng.uniform(*NOISE)))
        pixels = cv2.add(pixels, noise, dtype=cv2.CV_8U)  # type: ignore[assignment]
    return pixels


def text_page(rng: np.random.Generator, height: int, width: int) -> Window:
    """Draw a page of print: textures of strokes that no detector should take for faces."""
    paper, ink = rng.integers(150, 256, 3), rng.integers(0, 90, 3)
    if rng.random() < 0.15:
        paper, ink = ink, paper
    page = np.empty((height, width, 3), np.uint8)
    page[:] = paper
    letters = np.array(list(printable[:94]))
    size, y = rng.uniform(0.3, 1.2), 0.0
    while y < height:
        y += 36 * size * rng.uniform(0.8, 1.4)
        text = "".join(rng.choice(letters, 60)) if rng.random() < 0.92 else ""
        position = (int(rng.uniform(-20, 30)), int(y))
        colour = tuple(int(value) for value in ink)
        font, thickness = int(rng.integers(0, 8)), int(rng.integers(1, 3))
        cv2.putText(page, text, position, font, size, colour, thickness, cv2.LINE_AA)
    light = np.linspace(rng.uniform(0.6, 1), rng.uniform(0.6, 1), width if rng.random() < 0.5 else height)
    shaded = page * (light[None, :, None] if len(light) == width else light[:, None, None])
    empty = np.zeros((0, 4), np.float32)
    return Window(shaded.astype(np.uint8), empty, empty)
