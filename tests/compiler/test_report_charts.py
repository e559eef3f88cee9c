import re

import pytest

from fpga_facedet import page as web
from fpga_facedet.compiler.report_charts import Series, feature_map, lines, span
from tests.html_page import Page

FRONT = Series("LUTs <", ((0.0, 0.0), (50.0, 20.0), (100.0, 80.0)), 40.0)


def read(drawn: str) -> Page:
    return Page(web.page("t", "r", [drawn], "f"))


def test_points_stand_where_their_values_are() -> None:
    drawn = lines([FRONT], "frames", "%", 50.0, "a front")
    (first, second, third) = [
        tuple(map(float, place)) for place in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="3"', drawn)[:3]
    ]
    assert first[0] < second[0] < third[0] and first[1] > second[1] > third[1]
    assert second[0] - first[0] == pytest.approx((third[0] - first[0]) / 2, abs=0.1)
    assert first[1] - second[1] == pytest.approx((first[1] - third[1]) / 4, abs=0.1)
    # This build: its line goes through the x of the second point, its ring is half as high as the third.
    (ring,) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="5.5"', drawn)
    assert float(ring[0]) == second[0] and first[1] - float(ring[1]) == pytest.approx(
        (first[1] - third[1]) / 2, abs=0.1
    )


def test_lines_differ_in_more_than_their_colour_and_are_named() -> None:
    series = [Series(name, ((1.0, 1.0), (2.0, 2.0))) for name in ("a", "b", "c")]
    drawn = lines(series, "x", "y", None, "three")
    styles = re.findall(r'<polyline points="[^"]*" style="([^"]*)"', drawn)
    dashes = [re.findall("stroke-dasharray:[^;]*", style) for style in styles[:3]]
    assert len({str(dash) for dash in dashes}) == 3 and len(styles) == 6
    assert "this build" not in drawn and read(drawn).text.count("a") >= 1


def test_text_is_escaped_and_pictures_have_words() -> None:
    found = read(lines([FRONT], "<b>", "&", 50.0, 'a "front"'))
    assert 'a "front"' in found.labels and "LUTs <" in found.text and "<b>" in found.text


@pytest.mark.parametrize("most", [0.0, 0.013, 1.0, 7.0, 99.0, 5_000.0])
def test_axes_reach_the_largest_value_and_not_far_beyond(most: float) -> None:
    drawn = lines([Series("a", ((most, most),))], "x", "y", None, "one")
    labels = [float(text) for text in re.findall(r'text-anchor="middle">([\d.e-]+)<', drawn)]
    assert len(labels) == 5 and labels[0] == 0
    assert most <= labels[-1] <= max(2 * most, 1.0)


def test_a_range_has_its_likely_value_inside_and_the_reference_beside() -> None:
    drawn = span(0.5, 2.0, 3.0, (2.4, "the board"), "W", "from 0.5 to 3")
    bar = re.search(r'<rect x="([\d.]+)" y="27" width="([\d.]+)"', drawn)
    likely = re.search(r'<circle cx="([\d.]+)"', drawn)
    mark = re.search(r'<line x1="([\d.]+)"', drawn)
    assert bar and likely and mark
    left, width = float(bar[1]), float(bar[2])
    assert float(likely[1]) == pytest.approx(left + width * 1.5 / 2.5, abs=0.1)
    assert float(mark[1]) == pytest.approx(left + width * 1.9 / 2.5, abs=0.1)
    assert "the board" in read(drawn).text


def test_larger_maps_have_larger_faces_and_more_channels_more_depth() -> None:
    def extent(*shape: int) -> list[float]:
        corners = re.findall(r"([\d.]+),([\d.]+)", feature_map(*shape, 416))
        return [max(float(corner[axis]) for corner in corners) for axis in (0, 1)] + [
            min(float(corner[1]) for corner in corners)
        ]

    assert extent(416, 416, 3)[0] > extent(13, 13, 3)[0]
    assert extent(13, 13, 208)[0] > extent(13, 13, 8)[0]
    for shape in ((416, 416, 3), (13, 13, 1024), (416, 13, 1)):
        right, bottom, top = extent(*shape)
        assert right <= 64 and bottom <= 48 and top >= 0
