"""The metadata a model file carries, read with onnx alone: no torch, no Brevitas."""

import json
import math
import os
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from fpga_facedet.errors import UserError
from fpga_facedet.files import sha256_of
from fpga_facedet.letterbox import FILL
from fpga_facedet.manifest import FORMAT, Manifest

PREFIX = "facedet."
THRESHOLDS = ("score_threshold", "nms_iou")
REQUIRED = ("spec", "head", "normalisation", "output_scale", *THRESHOLDS)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what the model file `path` says of itself.

    Keys: `spec` (dictionary), `head` (grid_height, grid_width, channels, stride, anchors in pixels), `normalisation`
    (the divisor of a pixel), `output_scale`, `score_threshold`, `nms_iou`, `training` (dictionary or None), `date`
    (ISO, UTC) and `ap` (dictionary or None: not measured). UserError where the file is missing, no ONNX file, or an
    ONNX file that this program did not export.
    """
    path = Path(path)
    try:
        model = onnx.load(str(path), load_external_data=False)
        properties = {item.key: item.value for item in model.metadata_props}
    except OSError as error:
        raise UserError(f"Cannot read the model {path}: {error.strerror}; check the path.") from error
    except DecodeError as error:
        raise UserError(f"The model {path} is corrupt or no ONNX file; export or download it again.") from error
    try:
        found = {
            key.removeprefix(PREFIX): json.loads(text) for key, text in properties.items() if key.startswith(PREFIX)
        }
    except ValueError as error:
        raise UserError(f"The metadata of the model {path} is garbled ({error}); export it again.") from error
    missing = [key for key in REQUIRED if key not in found]
    if missing:
        raise UserError(
            f"The model {path} lacks the metadata '{PREFIX}{missing[0]}'; use one that facedet train or export wrote."
        )
    return found


def write_metadata(model: onnx.ModelProto, metadata: dict[str, Any]) -> None:
    """Put `metadata` (JSON-ready values) into `model`, in place of what it carried."""
    del model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=f"{PREFIX}{key}", value=json.dumps(value))


def manifest_of_model(path: str | os.PathLike[str]) -> Manifest:
    """Return the manifest of the model file `path`, without hardware figures.

    UserError as `read_metadata`, and naming the key and its value where one is not what the manifest takes.
    """
    metadata = read_metadata(path)
    try:
        spec = metadata["spec"]
        values = {
            "format": FORMAT,
            "model": {
                "name": spec["name"],
                "sha256": sha256_of(path),
                "spec": spec,
                "training": metadata.get("training"),
                "ap": metadata.get("ap"),
            },
            "input": {"fill": FILL, **spec["input"]},
            "head": {**metadata["head"], **{key: metadata[key] for key in ("output_scale", *THRESHOLDS)}},
        }
    except (KeyError, TypeError) as error:
        raise UserError(f"The metadata of the model {path} is garbled ({error!r}); export it again.") from error
    try:
        manifest = Manifest.from_dict(values, f"The metadata of the model {path}")
    except UserError as error:
        # What is wrong is the model, not an accelerator.
        raise UserError(f"{str(error).removesuffix('; build the accelerator again.')}; export it again.") from None
    if not (1 / manifest.head.output_scale).is_integer():
        raise _wrong(path, "output_scale", manifest.head.output_scale, "1 divided by a whole number")
    return manifest


def normalisation_of_model(path: str | os.PathLike[str]) -> float:
    """Return what the model file `path` wants its pixels (0..255) divided by; UserError where it is no such number."""
    value = read_metadata(path)["normalisation"]
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise _wrong(path, "normalisation", value, "a number above 0")
    return float(value)


def _wrong(path: str | os.PathLike[str], key: str, value: object, wanted: str) -> UserError:
    return UserError(
        f"The metadata of the model {path}: {key} is {value!r} where it should be {wanted}; export it again."
    )
