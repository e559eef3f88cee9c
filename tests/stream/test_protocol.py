import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpga_facedet.detections import Detections
from fpga_facedet.errors import UserError
from fpga_facedet.stream.protocol import (
    MAX_LINE,
    PROTOCOL,
    check_hello,
    end_line,
    error_line,
    faces_as_json,
    frame_line,
    parse_line,
)
from tests.stream.conftest import HELLO, line


def test_the_hello_says_what_is_spoken_and_what_looks_at_what():
    assert HELLO.endswith(b"\n") and HELLO.count(b"\n") == 1
    assert json.loads(HELLO) == {
        "type": "hello",
        "protocol": "facedet/1",
        "stream": "5f0c",
        "model": "lpyolo-4w4a",
        "model_sha256": "ab" * 32,
        "engine": "golden",
        "input": {"width": 416, "height": 416, "channels": 3},
        "source": "street.mp4",
        "score_threshold": 0.3,
    }


def test_a_frame_line_is_as_documented():
    faces = Detections(np.array([[178.126, 65, 270, 176.5]], np.float32), np.array([0.5], np.float32))
    assert frame_line(3, 1700000000.1234567, "a.png", 512, 480, faces) == (
        b'{"type":"frame","seq":3,"captured_at":1700000000.123457,"source":"a.png","width":512,"height":480,'
        b'"faces":[{"box":[178.13,65.0,270.0,176.5],"score":0.5}]}\n'
    )


def test_names_of_any_bytes_are_one_line_of_ascii():
    name = b"gr\xc3\xbc\xc3\x9fe\xff\n.png".decode("utf-8", "surrogateescape")
    text = frame_line(0, 0.0, name, 1, 1, Detections())
    assert text.isascii() and text.count(b"\n") == 1
    assert parse_line(text, "here")["source"] == name


@given(st.lists(st.integers(0, 65025), min_size=2, max_size=50, unique=True))
def test_rounding_keeps_every_score_of_an_8_bit_head_apart_and_in_order(products):
    scores = np.sort(np.array(products, np.float32) / np.float32(65536))[::-1]
    rounded = [face["score"] for face in faces_as_json(Detections(np.zeros((len(scores), 4), np.float32), scores))]
    assert all(a > b for a, b in itertools.pairwise(rounded))


def test_the_fullest_frame_of_a_13_by_13_grid_is_far_below_the_limit():
    boxes = np.full((507, 4), 4095.99, np.float32)
    full = frame_line(10**9, 1.7e9, "x" * 255, 4096, 4096, Detections(boxes, np.full(507, 0.12345, np.float32)))
    assert len(full) < 64 * 1024 < MAX_LINE


@given(st.binary(max_size=80))
def test_no_line_can_make_the_reader_fail_otherwise(text):
    try:
        assert "type" in parse_line(text, "here")
    except UserError as error:
        assert str(error).count("\n") == 0


@pytest.mark.parametrize(
    "text",
    [b"HTTP/1.1 400 Bad Request", b"[1]", b"{}", b'{"type":3}', b"[" * 100_000, b"\xff\xfe"],
)
def test_another_language_is_named(text):
    with pytest.raises(UserError, match=r"10\.0\.0\.2:80 does not speak facedet/1"):
        parse_line(text, "10.0.0.2:80")


@pytest.mark.parametrize(
    "change",
    [{"seq": "1"}, {"width": None}, {"faces": {}}, {"faces": [{"box": [1, 2, 3], "score": 1}]}, {"faces": [[]]}],
)
def test_a_frame_that_lacks_something_is_refused(change):
    message = {**json.loads(line(1)), **change}
    with pytest.raises(UserError, match="a frame without"):
        parse_line(json.dumps(message).encode(), "here")


def test_fields_of_a_later_version_are_let_through():
    message = {**json.loads(line(1)), "mood": "good"}
    assert parse_line(json.dumps(message).encode(), "here")["mood"] == "good"


def test_another_version_is_refused_by_name():
    check_hello(parse_line(HELLO, "here"), "here")
    with pytest.raises(UserError, match=f"speaks 'facedet/2', this program {PROTOCOL}"):
        check_hello({"type": "hello", "protocol": "facedet/2"}, "here")
    with pytest.raises(UserError, match="speaks None"):
        check_hello(parse_line(end_line(3, "finished"), "here"), "here")


def test_a_refusal_of_the_server_is_shown():
    with pytest.raises(UserError, match=r"here refused: There are 64 watchers already\."):
        check_hello(parse_line(error_line("There are 64 watchers already."), "here"), "here")
