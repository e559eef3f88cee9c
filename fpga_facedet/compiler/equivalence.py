"""Is a compiled graph still the model it came from? Both are executed on pictures, and every integer compared."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fpga_facedet.errors import InternalError, UserError

if TYPE_CHECKING:
    from qonnx.core.modelwrapper import ModelWrapper

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

_ROUNDING_STEPS = ("tidy", "streamline")
"""The steps that replace floating-point rounding by thresholds."""


@dataclass(frozen=True)
class Reference:
    """Pictures, uint8 (H, W, C) by name, and what the first graph makes of each: integers (rows, columns, channels)."""

    pictures: dict[str, Pixels]
    answers: dict[str, Integers]
    output_scale: float

    @classmethod
    def of(cls, first: "ModelWrapper", output_scale: float) -> "Reference":
        """Execute `first`, which takes pixels NCHW and gives multiples of `output_scale` NCHW.

        Raises UserError where its outputs are no such multiples.
        """
        _, channels, height, width = first.get_tensor_shape(first.graph.input[0].name)
        shown = pictures(height, width, channels)
        answers = {name: integers(first, picture, output_scale) for name, picture in shown.items()}
        return cls(shown, answers, output_scale)

    def check(self, model: "ModelWrapper", step: str) -> None:
        """Compare `model` on every picture; InternalError that names `step` and the count where an integer differs.

        Differences of one alone, where thresholds take the place of rounding, are the model's: a UserError says so.
        """
        for name, picture in self.pictures.items():
            expected, found = self.answers[name], integers(model, picture, self.output_scale)
            if found.shape != expected.shape:
                raise InternalError(f"Step '{step}' changed the output's shape from {expected.shape} to {found.shape}.")
            wrong = int(np.count_nonzero(found != expected))
            if wrong and step in _ROUNDING_STEPS and np.abs(found - expected).max() == 1:
                raise UserError(
                    f"In step '{step}' {wrong} of {expected.size} outputs change by 1 on the picture '{name}': sums in "
                    "the model lie on rounding boundaries, where no two programs agree; use a model that facedet "
                    "train finished, which keeps them apart."
                )
            if wrong:
                raise InternalError(
                    f"Step '{step}' changed the mathematics: {wrong} of {expected.size} outputs differ "
                    f"from the imported model on the picture '{name}'."
                )


def integers(model: "ModelWrapper", picture: Pixels, output_scale: float) -> Integers:
    """Execute a graph on a picture and return the integers behind its outputs, (rows, columns, channels).

    Graphs before streamlining take NCHW and give multiples of `output_scale`, later ones NHWC and integers: the shape
    of the input tells which. Raises UserError where outputs are not integers then.
    """
    early = model.get_tensor_shape(model.graph.input[0].name)[1:] != list(picture.shape)
    values = execute(model, picture.transpose(2, 0, 1)[None] if early else picture[None])[0]
    if early:
        values = values.transpose(1, 2, 0) / np.float32(output_scale)
    found = np.rint(values).astype(np.int64)
    if not np.array_equal(found, values):
        raise UserError(
            f"The model's outputs are no multiples of {output_scale:g}; end it with a quantizer of that scale."
        )
    return found


def execute(model: "ModelWrapper", pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Execute a graph on one input, in the layout that it takes, and return its output."""
    from finn.core.onnx_exec import execute_onnx

    feed = {model.graph.input[0].name: np.ascontiguousarray(pixels, dtype=np.float32)}
    return execute_onnx(model, feed)[model.graph.output[0].name]


def pictures(height: int, width: int, channels: int) -> dict[str, Pixels]:
    """Return what every graph is executed on, uint8 (height, width, channels) by name."""
    return {"noise": noise(height, width, channels), "scene": scene(height, width, channels)}


def noise(height: int, width: int, channels: int) -> Pixels:
    """Return independent random pixels: every value, every sharp edge."""
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), dtype=np.uint8)


def scene(height: int, width: int, channels: int) -> Pixels:
    """Return something like a photograph: soft light, a few bright discs with dark ones in them, a little noise."""
    random = np.random.default_rng(2)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    picture = 90 + 80 * np.sin(5 * rows[..., None] + 7 * columns[..., None] + random.uniform(0, 6, channels))
    for _ in range(12):
        row, column, radius = random.uniform(0, 1), random.uniform(0, 1), random.uniform(0.03, 0.2)
        distance = np.hypot(rows - row, columns - column)
        picture[distance < radius] = random.uniform(120, 250, channels)
        picture[distance < radius / 3] = random.uniform(0, 80, channels)
    return np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
