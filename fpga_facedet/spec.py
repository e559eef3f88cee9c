"""The detector spec: one TOML file says everything about a detector, and no number of it is repeated in code."""

import math
from pathlib import Path
from typing import Any

import tomllib
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fpga_facedet import zoo
from fpga_facedet.errors import UserError
from fpga_facedet.manifest import VALUES_PER_ANCHOR

INPUT_MULTIPLE = 32


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSpec(_Part):
    """The detector's input in pixels: RGB, uint8; every picture reaches it in three colours."""

    width: int
    height: int
    channels: int = 3

    @field_validator("width", "height")
    @classmethod
    def _check_size(cls, value: int) -> int:
        if value < INPUT_MULTIPLE or value % INPUT_MULTIPLE:
            raise ValueError(f"{value} is not a positive multiple of {INPUT_MULTIPLE}")
        return value

    @field_validator("channels")
    @classmethod
    def _check_channels(cls, value: int) -> int:
        if value != 3:
            raise ValueError(f"{value} is not supported; pictures come as RGB, use 3")
        return value


class ConvSpec(_Part):
    """One convolution with its BatchNorm and quantized ReLU, and the max-pool behind it if `pool` is 2.

    `kernel` and `stride` in pixels, 'same' padding; bits are those of the weights and of the ReLU's output.
    """

    channels: int = Field(ge=1)
    kernel: int = 3
    stride: int = Field(default=1, ge=1, le=2)
    pool: int = Field(default=1, ge=1, le=2)
    weight_bits: int
    activation_bits: int

    @field_validator("kernel")
    @classmethod
    def _check_kernel(cls, value: int) -> int:
        if value not in (1, 3, 5):
            raise ValueError(f"{value} is not a supported kernel; use 1, 3 or 5")
        return value

    @field_validator("weight_bits")
    @classmethod
    def _check_weight_bits(cls, value: int) -> int:
        return _check_bits(value)

    @field_validator("activation_bits")
    @classmethod
    def _check_activation_bits(cls, value: int) -> int:
        return _check_bits(value)


class HeadSpec(_Part):
    """The last convolution and what its channels mean: six values for each anchor (width, height in input pixels)."""

    kernel: int = 3
    weight_bits: int = 8
    output_bits: int = 8
    anchors: tuple[tuple[float, float], ...] = Field(min_length=1)

    @field_validator("anchors")
    @classmethod
    def _check_anchors(cls, value: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        for anchor in value:
            if not all(math.isfinite(side) and side > 0 for side in anchor):
                raise ValueError(f"{list(anchor)} is no size; give width and height above 0")
        return value

    _check_kernel = field_validator("kernel")(ConvSpec._check_kernel.__func__)  # type: ignore[attr-defined]

    @field_validator("weight_bits")
    @classmethod
    def _check_weight_bits(cls, value: int) -> int:
        return _check_bits(value)

    @field_validator("output_bits")
    @classmethod
    def _check_output_bits(cls, value: int) -> int:
        if value != 8:
            raise ValueError(f"{value} bits; the head's output crosses to the host as 8-bit integers, use 8")
        return value


def _check_bits(value: int) -> int:
    if not 2 <= value <= 8:
        raise ValueError(f"{value} bits; use 2 to 8")
    return value


class DetectorSpec(_Part):
    """The whole description of a detector.

    >>> DetectorSpec.load("lpyolo-4w4a").parameter_count
    350696
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    input: InputSpec
    layers: tuple[ConvSpec, ...] = Field(min_length=1)
    head: HeadSpec

    @model_validator(mode="before")
    @classmethod
    def _fill_bits(cls, data: Any) -> Any:
        """Let a file state the common bits once, in [bits]; a layer may still say otherwise."""
        if not isinstance(data, dict) or "bits" not in data:
            return data
        data = dict(data)
        bits = data.pop("bits")
        if not isinstance(bits, dict):
            raise ValueError(f"[bits] is {bits!r}; give it as a table with weight and activation")
        bits = dict(bits)
        weight, activation = bits.pop("weight", None), bits.pop("activation", None)
        first, last = bits.pop("first_weight", weight), bits.pop("last_weight", weight)
        if bits or weight is None or activation is None:
            wrong = f"unknown {', '.join(bits)}" if bits else "needs weight and activation"
            raise ValueError(f"[bits] {wrong}; it takes weight, activation, first_weight, last_weight")
        # What is no table stays as it is: the check of the fields, which comes next, names it.
        layers, head = data.get("layers", ()), data.get("head", {})
        if isinstance(layers, list | tuple):
            weights = [first, *[weight] * len(layers)]
            data["layers"] = [
                {"weight_bits": bits_of, "activation_bits": activation, **layer} if isinstance(layer, dict) else layer
                for layer, bits_of in zip(layers, weights, strict=False)
            ]
        if isinstance(head, dict):
            data["head"] = {"weight_bits": last, **head}
        return data

    @model_validator(mode="after")
    def _check_grid(self) -> "DetectorSpec":
        for side in ("width", "height"):
            if getattr(self.input, side) % self.stride:
                raise ValueError(
                    f"input.{side} {getattr(self.input, side)} is not a multiple of the stride {self.stride}"
                )
        return self

    @classmethod
    def load(cls, name_or_path: str | Path) -> "DetectorSpec":
        """Read a spec of the zoo by name, or a TOML file by path; UserError where it is missing or wrong."""
        path = zoo.spec_path(name_or_path)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"Cannot read the spec {path}: {error.strerror}; check the path.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UserError(f"The spec {path} is not valid TOML ({error}); correct it.") from error
        return cls.from_dict(data, str(path))

    @classmethod
    def from_dict(cls, data: dict[str, Any], source: str = "spec") -> "DetectorSpec":
        """Check `data` (as TOML or `to_dict` gives it); UserError that names `source`, the field and its value."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "spec"
            reason = first["msg"].removeprefix("Value error, ")
            raise UserError(f"{source}: {place}: {reason}.") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-ready dictionaries and lists, every layer's bits spelled out."""
        return self.model_dump(mode="json")

    @property
    def stride(self) -> int:
        """Input pixels a grid cell, the product of all strides and pools."""
        total = 1
        for layer in self.layers:
            total *= layer.stride * layer.pool
        return total

    @property
    def grid_height(self) -> int:
        """Rows of the output grid."""
        return self.input.height // self.stride

    @property
    def grid_width(self) -> int:
        """Columns of the output grid."""
        return self.input.width // self.stride

    @property
    def head_channels(self) -> int:
        """Channels of the output: six for each anchor."""
        return VALUES_PER_ANCHOR * len(self.head.anchors)

    @property
    def parameter_count(self) -> int:
        """Convolution weights, as LPYOLO counts them: without BatchNorm, scales and the head's biases."""
        total, channels = 0, self.input.channels
        for layer in self.layers:
            total += layer.kernel**2 * channels * layer.channels
            channels = layer.channels
        return total + self.head.kernel**2 * channels * self.head_channels
