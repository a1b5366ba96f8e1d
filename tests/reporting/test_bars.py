import numpy as np

from genai_core.reporting.bars import COLOURS, LENGTH_PX, MAX_ROWS, Bar, bar_chart


def pixels_of(chart, colour):
    return int((np.asarray(chart) == colour).all(axis=2).sum())


def test_bar_lengths_are_proportional():
    chart = bar_chart("images", [Bar("cat", (300, 100)), Bar("dog", (100, 0))], ["train", "test"])
    bar_px = 16
    first, second = (pixels_of(chart, colour) for colour in COLOURS)
    # 300 and 100 of the longest bar's 400, and a little more for the legend.
    assert 0.98 < first / (bar_px * LENGTH_PX) < 1.05
    assert 0.2 < second / (bar_px * LENGTH_PX) < 0.3


def test_excess_rows_are_added_up_and_no_rows_are_accepted():
    many = bar_chart("x", [Bar(str(number), (1,)) for number in range(500)], ["files"])
    assert many.height == bar_chart("x", [Bar("a", (1,))] * MAX_ROWS, ["files"]).height
    assert bar_chart("x", [], ["files"]).width == many.width


def test_equal_values_give_equal_pixels():
    bars = [Bar("\u00e4\u00df\u0416" * 20, (3, 4)), Bar("", (0, 0))]
    assert bar_chart("x", bars, ["a", "b"]).tobytes() == bar_chart("x", bars, ["a", "b"]).tobytes()
