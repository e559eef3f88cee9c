from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fpga_facedet.detections import Detections
from fpga_facedet.errors import InternalError, UserError
from fpga_facedet.host import decode as module
from fpga_facedet.host.decode import decode, faces_in_frame
from fpga_facedet.letterbox import Letterbox
from fpga_facedet.native import library
from tests.host.conftest import MANIFEST

HEAD = MANIFEST.head
outputs = hnp.arrays(np.int8, (HEAD.grid_height, HEAD.grid_width, HEAD.channels))
thresholds = st.integers(0, 65536).map(lambda product: product / 65536)


def exactly(output, head, threshold):
    """The formula of the docstring in exact fractions, every candidate one by one."""
    boxes, scores = [], []
    for y in range(head.grid_height):
        for x in range(head.grid_width):
            for a, (anchor_w, anchor_h) in enumerate(head.anchors):
                t = [Fraction(int(q), 128) for q in output[y, x, 6 * a : 6 * a + 6]]
                cx, cy = (t[0] + Fraction(1, 2) + x) * head.stride, (t[1] + Fraction(1, 2) + y) * head.stride
                w, h = (t[2] + 1) ** 2 * Fraction(anchor_w), (t[3] + 1) ** 2 * Fraction(anchor_h)
                score = (t[4] / 2 + Fraction(1, 2)) * (t[5] / 2 + Fraction(1, 2))
                if score >= Fraction(threshold):
                    boxes.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                    scores.append(score)
    as_array = np.array([[float(v) for v in box] for box in boxes], np.float64).reshape(-1, 4)
    return as_array, np.array([float(score) for score in scores], np.float64)


@given(outputs, thresholds)
@settings(max_examples=80)
def test_boxes_and_scores_are_the_formula_exactly(output, threshold):
    found = decode(output, HEAD, threshold)
    boxes, scores = exactly(output, HEAD, threshold)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    np.testing.assert_array_equal(found.boxes.astype(np.float64), boxes)
    np.testing.assert_array_equal(found.scores.astype(np.float64), scores)


def test_the_formula_is_exact_on_the_whole_grid_of_416(rng):
    head = replace(HEAD, grid_height=13, grid_width=13, channels=18, anchors=((10, 14), (23, 27), (37, 58)))
    output = rng.integers(-128, 128, (13, 13, 18)).astype(np.int8)
    found = decode(output, head, 0.0)
    boxes, scores = exactly(output, head, 0)
    assert len(found) == 507
    np.testing.assert_array_equal(found.boxes.astype(np.float64), boxes)
    np.testing.assert_array_equal(found.scores.astype(np.float64), scores)


@given(outputs, thresholds, thresholds)
@settings(max_examples=80)
def test_a_higher_threshold_takes_from_the_lower_ones_faces(output, one, other):
    low, high = sorted((one, other))
    loose, strict = decode(output, HEAD, low), decode(output, HEAD, high)
    kept = loose[loose.scores >= np.float32(high)]
    np.testing.assert_array_equal(kept.boxes, strict.boxes)
    np.testing.assert_array_equal(kept.scores, strict.scores)


@given(outputs, st.permutations(range(len(HEAD.anchors))), thresholds)
@settings(max_examples=80)
def test_the_order_of_the_anchors_does_not_matter(output, order, threshold):
    turned = output.reshape(HEAD.grid_height, HEAD.grid_width, -1, 6)[:, :, list(order)].reshape(output.shape)
    head = replace(HEAD, anchors=tuple(HEAD.anchors[a] for a in order))

    def rows(found: Detections) -> list[list[float]]:
        return sorted(np.column_stack([found.boxes, found.scores]).tolist())

    assert rows(decode(turned, head, threshold)) == rows(decode(output, HEAD, threshold))


@given(outputs)
@settings(max_examples=80)
def test_the_integers_can_be_read_back_from_the_boxes(output):
    found = decode(output, HEAD, 0.0)
    q = output.reshape(-1, 6).astype(np.float64)
    cells = np.repeat([(x, y) for y in range(HEAD.grid_height) for x in range(HEAD.grid_width)], len(HEAD.anchors), 0)
    anchors = np.tile(np.array(HEAD.anchors), (HEAD.grid_height * HEAD.grid_width, 1))
    boxes = found.boxes.astype(np.float64)
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_array_equal((centre / HEAD.stride - 0.5 - cells) * 128, q[:, :2])
    np.testing.assert_array_equal(np.rint((np.sqrt(size / anchors) - 1) * 128), q[:, 2:4])


def test_the_default_threshold_is_the_heads_and_counts_as_reached():
    output = np.full((2, 3, 12), -128, np.int8)
    output[1, 2, 4:6] = 0  # (0/2 + 0.5)^2 = 0.25
    assert len(decode(output, replace(HEAD, score_threshold=0.25))) == 1
    assert len(decode(output, replace(HEAD, score_threshold=0.250001))) == 0
    assert len(decode(output, HEAD, 0.0)) == 12


def test_an_output_of_another_head_is_refused():
    for wrong in (np.zeros((3, 2, 12), np.int8), np.zeros((2, 3, 12), np.float32), np.zeros((2, 3, 6), np.int8)):
        with pytest.raises(InternalError, match=r"int8 \(2, 3, 12\)"):
            decode(wrong, HEAD)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(threshold):
    with pytest.raises(UserError, match=r"outside 0\.\.1"):
        decode(np.zeros((2, 3, 12), np.int8), HEAD, threshold)


def test_a_scale_that_is_not_one_over_a_whole_number_is_refused():
    with pytest.raises(UserError, match="output scale"):
        decode(np.zeros((2, 3, 12), np.int8), replace(HEAD, output_scale=0.3))


def test_faces_are_suppressed_then_mapped_and_clipped():
    output = np.full((2, 3, 12), -128, np.int8)
    output[0, 1, 0:6] = (0, 0, 0, 0, 127, 127)
    output[0, 1, 6:12] = (0, 0, -44, -38, 120, 120)  # almost the same box from the other anchor: suppressed
    output[0, 0, 0:6] = (-64, -64, 0, 0, 100, 100)  # centred at the corner: clipped
    letterbox = Letterbox.fit(192, 128, 96, 64)
    faces = faces_in_frame(output, MANIFEST, letterbox)
    np.testing.assert_array_equal(faces.boxes, np.array([[86, 18, 106, 46], [0, 0, 10, 14]], np.float32))
    assert faces.scores[0] > faces.scores[1]


def test_what_lies_in_the_bars_only_is_no_face():
    output = np.full((2, 3, 12), -128, np.int8)
    output[0, 0, 0:6] = (0, 0, 0, 0, 127, 127)  # centre (16, 16): in the left bar of an upright picture
    output[0, 1, 0:6] = (0, 0, 0, 0, 100, 100)
    faces = faces_in_frame(output, MANIFEST, Letterbox.fit(20, 64, 96, 64))
    assert len(faces) == 1


def same_faces(output, manifest, letterbox, threshold, iou):
    """The faces by the native library and by numpy, which have to be the same bits; returns them."""
    if library() is None:
        pytest.skip("needs g++")
    native = faces_in_frame(output, manifest, letterbox, threshold, iou)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "library", lambda: None)
        plain = faces_in_frame(output, manifest, letterbox, threshold, iou)
    assert native.boxes.dtype == native.scores.dtype == np.float32
    assert native.boxes.shape == plain.boxes.shape
    # As integers: a zero's sign would show in the stream.
    np.testing.assert_array_equal(native.boxes.view(np.uint32), plain.boxes.view(np.uint32))
    np.testing.assert_array_equal(native.scores.view(np.uint32), plain.scores.view(np.uint32))
    return native


few_values = hnp.arrays(np.int8, (2, 3, 12), elements=st.sampled_from([-128, -127, -64, 0, 1, 100, 127]))
frame_sides = st.integers(1, 3000)
overlaps = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 0.45, 0.5, 1.0]), st.floats(0, 1))


@given(st.one_of(outputs, few_values), thresholds, overlaps, frame_sides, frame_sides)
@settings(max_examples=400)
def test_native_and_numpy_find_the_same_faces(output, threshold, iou, width, height):
    same_faces(output, MANIFEST, Letterbox.fit(width, height, 96, 64), threshold, iou)


@pytest.mark.parametrize("steps", [1, 8, 100, 127, 128, 129, 3000, 32767, 32768, 1000000])
def test_native_and_numpy_agree_for_every_output_scale(rng, steps):
    """With few steps a value may lie below -1, and a product of two such counts; with many, products grow large."""
    if steps * (1 / steps) != 1:
        pytest.skip("no float is one over it")
    manifest = replace(MANIFEST, head=replace(HEAD, output_scale=1 / steps))
    for threshold in (0.0, 0.2, 0.25, 0.3, 1.0):
        for _ in range(10):
            output = rng.integers(-128, 128, (2, 3, 12)).astype(np.int8)
            same_faces(output, manifest, Letterbox.fit(50, 70, 96, 64), threshold, 0.3)


@pytest.mark.parametrize("anchors", [((1e-6, 1e-6), (1e9, 1e9)), ((0.3, 7.77), (1e-3, 333.3))])
def test_native_and_numpy_agree_for_strange_anchors(rng, anchors):
    manifest = replace(MANIFEST, head=replace(HEAD, anchors=anchors))
    for _ in range(60):
        output = rng.integers(-128, 128, (2, 3, 12)).astype(np.int8)
        same_faces(output, manifest, Letterbox.fit(333, 77, 96, 64), 0.1, 0.2)


def test_native_and_numpy_agree_on_crowds(rng):
    """507 candidates, and scores from so few values that most are ties."""
    head = replace(HEAD, grid_height=13, grid_width=13, channels=18, anchors=((10, 14), (23, 27), (37, 58)))
    manifest = replace(MANIFEST, head=head)
    for iou in (0.0, 0.3, 0.45, 0.9, 1.0):
        output = rng.integers(-128, 128, (13, 13, 18)).astype(np.int8)
        output.reshape(-1, 6)[:, 4:] = rng.choice([100, 101], (507, 2))
        faces = same_faces(output, manifest, Letterbox.fit(641, 479, 416, 416), 0.0, iou)
        assert len(faces) > 0


def test_equal_scores_keep_the_order_of_the_grid_in_both():
    output = np.full((2, 3, 12), -128, np.int8)
    output[0, :, 0:6] = (0, 0, -100, -100, 50, 50)
    faces = same_faces(output, MANIFEST, Letterbox.fit(96, 64, 96, 64), 0.1, 0.5)
    assert faces.boxes[:, 0].tolist() == sorted(faces.boxes[:, 0].tolist()) and len(faces) == 3


def test_a_view_of_an_output_is_read_as_itself(rng):
    both = rng.integers(-128, 128, (2, 3, 24)).astype(np.int8)
    letterbox = Letterbox.fit(96, 64, 96, 64)
    view, copy = both[..., ::2], both[..., ::2].copy()
    assert not view.flags.c_contiguous
    found, wanted = (same_faces(output, MANIFEST, letterbox, 0.1, 0.5) for output in (view, copy))
    np.testing.assert_array_equal(found.boxes, wanted.boxes)


def test_faces_refuse_what_decode_refuses():
    letterbox = Letterbox.fit(96, 64, 96, 64)
    with pytest.raises(InternalError, match=r"int8 \(2, 3, 12\)"):
        faces_in_frame(np.zeros((3, 2, 12), np.int8), MANIFEST, letterbox)
    with pytest.raises(UserError, match=r"outside 0\.\.1"):
        faces_in_frame(np.zeros((2, 3, 12), np.int8), MANIFEST, letterbox, float("nan"))
