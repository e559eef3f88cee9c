import json
import re
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from fpga_facedet.errors import UserError
from fpga_facedet.network.metadata import REQUIRED, manifest_of_model, normalisation_of_model, read_metadata


def foreign_model(path: Path) -> Path:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "foreign", value[:1], value[1:])
    onnx.save(helper.make_model(graph), str(path))
    return path


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.onnx"):
        read_metadata(tmp_path / "none.onnx")


def test_a_corrupt_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"this is no protocol buffer")
    with pytest.raises(UserError, match=r"broken\.onnx is corrupt"):
        manifest_of_model(tmp_path / "broken.onnx")


def test_an_empty_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(UserError, match=r"empty\.onnx lacks"):
        read_metadata(tmp_path / "empty.onnx")


def test_a_foreign_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks the metadata 'facedet\.spec'"):
        read_metadata(foreign_model(tmp_path / "foreign.onnx"))


def test_garbled_metadata_is_refused(tmp_path: Path) -> None:
    path = with_metadata(tmp_path, {"spec": "{"})
    with pytest.raises(UserError, match="garbled"):
        read_metadata(path)


def test_metadata_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    path = with_metadata(tmp_path, dict.fromkeys(REQUIRED, "7"))
    with pytest.raises(UserError, match="garbled"):
        manifest_of_model(path)


GOOD: dict[str, Any] = {
    "spec": {"name": "small", "input": {"width": 96, "height": 64, "channels": 3}},
    "head": {"grid_height": 4, "grid_width": 6, "channels": 12, "stride": 16, "anchors": [[10.0, 14.0], [30.0, 40.0]]},
    "normalisation": 255.0,
    "output_scale": 1 / 128,
    "score_threshold": 0.5,
    "nms_iou": 0.5,
}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"head": {**GOOD["head"], "grid_width": 5}}, "head.grid_width is 5"),
        ({"head": {**GOOD["head"], "stride": 32}}, "head.stride 32"),
        ({"head": {**GOOD["head"], "channels": 18}}, "head.channels is 18 where 2 anchors take 12"),
        ({"head": {**GOOD["head"], "anchors": [["a", 1]]}}, 'head.anchors.0.0 is "a"'),
        ({"score_threshold": 1.5}, "head.score_threshold is 1.5 where it should be 0 to 1"),
        ({"nms_iou": -0.1}, "head.nms_iou is -0.1"),
        ({"output_scale": 0.3}, "output_scale is 0.3 where it should be 1 divided by a whole number"),
        ({"output_scale": 0}, "output_scale is 0"),
    ],
)
def test_values_that_contradict_are_refused_by_name(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    properties = {key: json.dumps(value) for key, value in {**GOOD, **wrong}.items()}
    path = with_metadata(tmp_path, properties)
    with pytest.raises(UserError, match=rf"model .*garbled\.onnx: .*{re.escape(says)}.*; export it again\.$"):
        manifest_of_model(path)


def test_good_values_are_read(tmp_path: Path) -> None:
    path = with_metadata(tmp_path, {key: json.dumps(value) for key, value in GOOD.items()})
    head = manifest_of_model(path).head
    assert (head.grid_height, head.grid_width, head.anchors) == (4, 6, ((10.0, 14.0), (30.0, 40.0)))
    assert normalisation_of_model(path) == 255.0


@pytest.mark.parametrize("value", ["0", '"255"', "NaN", "null"])
def test_a_divisor_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    path = with_metadata(tmp_path, {key: json.dumps(item) for key, item in GOOD.items()} | {"normalisation": value})
    with pytest.raises(UserError, match=r"garbled\.onnx: normalisation is .* where it should be a number above 0"):
        normalisation_of_model(path)


def with_metadata(folder: Path, properties: dict[str, str]) -> Path:
    path = foreign_model(folder / "garbled.onnx")
    model = onnx.load(str(path))
    for key, value in properties.items():
        model.metadata_props.add(key=f"facedet.{key}", value=value)
    onnx.save(model, str(path))
    return path
