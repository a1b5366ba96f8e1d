import re
from xml.etree import ElementTree

import numpy as np
import pytest

from genai_core.reporting.curves import HEIGHT, LEFT, MAX_POINTS, RIGHT, TOP, WIDTH, curve_svg

NAMESPACE = "{http://www.w3.org/2000/svg}"


def points(svg):
    line = ElementTree.fromstring(svg).find(f"{NAMESPACE}polyline")
    return [tuple(map(float, point.split(","))) for point in line.get("points").split()]


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{NAMESPACE}text")]


def test_a_falling_loss_falls_and_fills_the_axis():
    svg = curve_svg("loss", np.array([0.0, 500, 1000]), np.array([2.0, 1.0, 0.0]))
    assert points(svg)[0] == (LEFT, TOP)
    assert points(svg)[-1][0] == WIDTH - RIGHT
    _, ys = zip(*points(svg), strict=True)
    assert list(ys) == sorted(ys)
    assert "1k" in texts(svg)
    assert texts(svg)[-1] == "0"


def test_many_points_are_thinned():
    x = np.arange(10_000.0)
    assert len(points(curve_svg("loss", x, np.sin(x)))) == MAX_POINTS


def test_an_extreme_first_step_does_not_flatten_the_curve():
    values = np.r_[1e6, 1 + 0.1 * np.sin(np.arange(199))]
    _, ys = zip(*points(curve_svg("loss", np.arange(200.0), values)), strict=True)
    assert max(ys[1:]) - min(ys[1:]) > (HEIGHT - TOP) / 3
    assert min(ys) >= TOP


@pytest.mark.parametrize("value", [0.0, 3.5, -2e-9])
def test_a_constant_is_drawn_within_the_axis(value):
    svg = curve_svg("constant", np.arange(5.0), np.full(5, value))
    assert all(TOP <= y <= HEIGHT for _, y in points(svg))


def test_non_finite_values_are_skipped():
    values = np.array([1.0, np.nan, np.inf, 2.0])
    assert len(points(curve_svg("loss", np.arange(4.0), values))) == 2
    assert "no values" in texts(curve_svg("loss", np.arange(2.0), np.array([np.nan, np.nan])))


def test_a_name_is_escaped():
    svg = curve_svg('<script>"&', np.arange(3.0), np.arange(3.0))
    assert not re.search("<script>", svg)
    assert '<script>"&' in texts(svg)


def test_marks_are_drawn_at_the_rollbacks():
    svg = curve_svg("loss", np.array([0.0, 500, 1000]), np.array([2.0, 1.0, 0.0]), marks=[500])
    (mark,) = (e for e in ElementTree.fromstring(svg).iter(f"{NAMESPACE}path") if e.get("class") == "mark")
    middle = (LEFT + WIDTH - RIGHT) / 2
    assert mark.get("d").startswith(f"M{middle:.1f} ")
