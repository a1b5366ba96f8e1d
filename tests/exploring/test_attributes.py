import numpy as np
import pytest

from genai_core.exploring.attributes import (
    ACROSS,
    BRIGHTNESS,
    COLOURFULNESS,
    CONTRAST,
    DOWN,
    HEIGHT,
    SLANT,
    THICKNESS,
    WARMTH,
    WIDTH,
    measure,
)


def blank(channels=1):
    return np.zeros((channels, 16, 16), np.uint8)


def bar(top, left, height, width):
    image = blank()
    image[:, top : top + height, left : left + width] = 200
    return image


def measured(*images):
    return {attribute: values.tolist() for attribute, values in measure(np.stack(images)).items()}


def test_a_single_pixel_is_where_it_is_and_has_no_extent():
    found = measured(bar(5, 9, 1, 1))
    assert (found[DOWN], found[ACROSS]) == ([5.0], [9.0])
    assert (found[WIDTH], found[HEIGHT], found[SLANT]) == ([0.0], [0.0], [0.0])
    assert found[BRIGHTNESS] == [200 / 256]


def test_width_and_height_are_standard_deviations_of_places():
    found = measured(bar(4, 4, 2, 4))
    assert found[WIDTH] == [pytest.approx(np.std([0, 1, 2, 3]))]
    assert found[HEIGHT] == [0.5]


def test_a_line_that_goes_one_to_the_right_for_each_row_up_has_slant_1():
    image = blank()
    for step in range(8):
        image[0, 12 - step, 4 + step] = 255
    assert measured(image, image[:, :, ::-1])[SLANT] == [pytest.approx(1.0), pytest.approx(-1.0)]


def test_thicker_lines_are_thicker_and_ink_may_be_dark():
    thin, thick = bar(2, 7, 12, 1), bar(2, 6, 12, 3)
    found = measured(thin, thick, 255 - thick)[THICKNESS]
    assert found[1] > 2 * found[0]
    assert found[2] == pytest.approx(found[1])


def test_contrast_is_the_standard_deviation_of_the_pixels():
    image = blank()
    image[:, :8] = 100
    assert measured(image)[CONTRAST] == [50.0]


def test_a_blank_picture_is_in_the_middle():
    found = measured(blank())
    assert (found[ACROSS], found[DOWN]) == ([pytest.approx(7.5)], [pytest.approx(7.5)])
    assert np.isfinite([values[0] for values in found.values()]).all()


def test_colour_is_measured_only_where_there_is_any():
    assert COLOURFULNESS not in measured(blank())
    red = blank(3)
    red[0] = 90
    found = measured(red, red[::-1])
    assert found[COLOURFULNESS] == [90.0, 90.0]
    assert found[WARMTH] == [90.0, -90.0]
