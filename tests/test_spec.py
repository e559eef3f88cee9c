"""The detector spec: the paper's numbers, and each wrong value refused by name."""

import pytest

from fpga_facedet import zoo
from fpga_facedet.errors import UserError
from fpga_facedet.spec import DetectorSpec

BITS = {"weight": 4, "activation": 4}


def lpyolo(**changes: object) -> dict[str, object]:
    data = DetectorSpec.load("lpyolo-4w4a").to_dict()
    data.update(changes)
    return data


def test_lpyolo_is_the_papers_network() -> None:
    spec = DetectorSpec.load("lpyolo-4w4a")
    assert spec.parameter_count == 350_696
    assert (spec.stride, spec.grid_height, spec.grid_width, spec.head_channels) == (32, 13, 13, 18)
    assert [layer.channels for layer in spec.layers] == [8, 8, 16, 32, 56, 104, 208, 56, 104]
    assert [layer.weight_bits for layer in spec.layers] == [8] + [4] * 8
    assert spec.head.weight_bits == spec.head.output_bits == 8
    assert spec.head.anchors == ((10, 13), (26, 33), (72, 96))


def test_to_dict_and_back_is_the_same_spec() -> None:
    spec = DetectorSpec.load("lpyolo-4w4a")
    assert DetectorSpec.from_dict(spec.to_dict()) == spec


def test_width_and_height_may_differ_and_strides_count() -> None:
    layers = [{"channels": 4, "stride": 2, "pool": 2}, {"channels": 8, "stride": 2}]
    spec = DetectorSpec.from_dict(
        {
            "name": "small",
            "input": {"width": 96, "height": 64},
            "bits": {"weight": 3, "activation": 5, "first_weight": 8},
            "layers": layers,
            "head": {"anchors": [[8, 8]]},
        }
    )
    assert (spec.stride, spec.grid_width, spec.grid_height) == (8, 12, 8)
    assert [layer.weight_bits for layer in spec.layers] == [8, 3]
    assert spec.head.weight_bits == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": {"width": 400, "height": 416}}, r"input\.width: 400 is not a positive multiple of 32"),
        ({"input": {"width": 416, "height": 0}}, r"input\.height: 0 is not a positive multiple of 32"),
        ({"head": {"anchors": [[1, 1]], "output_bits": 16}}, r"head\.output_bits: 16 bits"),
        ({"head": {"anchors": []}}, r"head\.anchors"),
        ({"layers": [{"channels": 8, "weight_bits": 9, "activation_bits": 4}]}, r"weight_bits: 9 bits; use 2 to 8"),
        ({"layers": [{"channels": 8, "weight_bits": 4, "activation_bits": 1}]}, r"activation_bits: 1 bits; use 2 to 8"),
        ({"layers": [{"channels": 8, "kernel": 4, "weight_bits": 4, "activation_bits": 4}]}, r"kernel: 4 is not"),
        ({"colour": "red"}, r"colour"),
        ({"bits": {"weight": 4}}, r"\[bits\] needs weight and activation"),
        ({"bits": 5}, r"spec: \[bits\] is 5; give it as a table"),
        ({"bits": BITS, "layers": 5}, r"spec: layers: "),
        ({"bits": BITS, "layers": [1]}, r"spec: layers\.0: "),
        ({"bits": BITS, "head": 7}, r"spec: head: "),
        ({"input": {"width": 416, "height": 416, "channels": 1}}, r"input\.channels: 1 is not supported; .* use 3"),
        ({"input": {"width": 416, "height": 416, "channels": 4}}, r"input\.channels: 4 is not supported"),
        (
            {"head": {"anchors": [[8, 8], [-10, 4]]}},
            r"head\.anchors: \[-10\.0, 4\.0\] is no size; give width and height",
        ),
        ({"head": {"anchors": [[8, 0]]}}, r"head\.anchors: \[8\.0, 0\.0\] is no size"),
        ({"head": {"anchors": [[float("nan"), 8]]}}, r"head\.anchors: \[nan, 8\.0\] is no size"),
        ({"head": {"anchors": [[8, float("inf")]]}}, r"head\.anchors: \[8\.0, inf\] is no size"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DetectorSpec.from_dict(lpyolo(**change))


def test_input_must_be_a_multiple_of_the_stride() -> None:
    layers = [{"channels": 4, "pool": 2, "stride": 2, "weight_bits": 4, "activation_bits": 4}] * 3
    with pytest.raises(UserError, match="96 is not a multiple of the stride 64"):
        DetectorSpec.from_dict(lpyolo(input={"width": 64, "height": 96}, layers=layers))


def test_a_missing_spec_lists_the_zoo() -> None:
    with pytest.raises(UserError, match="no spec 'nothing-here'.*lpyolo-4w4a"):
        DetectorSpec.load("nothing-here")


def test_a_broken_toml_names_the_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "broken.toml"
    path.write_text("name = [")
    with pytest.raises(UserError, match=r"broken\.toml is not valid TOML"):
        DetectorSpec.load(path)


def test_the_zoo_lists_its_detectors() -> None:
    assert "lpyolo-4w4a" in zoo.names()
