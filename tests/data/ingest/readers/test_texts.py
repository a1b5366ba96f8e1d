import time

import pytest

from genai_core.data.ingest.readers.texts import are_boxes, are_captions, lines_of


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["hat", "shoe"] * 10, False),
        (["fire truck", "T-shirt"] * 10, False),
        ([f"a hat of kind {number}" for number in range(20)], True),
        ([str(number) for number in range(20)], True),  # numbers of images
        (["a red hat on a long table", "a blue hat on a long table"] * 10, True),
        (["hat", "shoe"], False),
        (["red hat", "blue shoe", "old coat"], True),
        (["red hat"] * 3, False),
    ],
)
def test_captions_differ_and_labels_repeat(texts, expected):
    assert are_captions(texts) == expected


def test_one_caption_per_line():
    assert lines_of("a hat \n\n  a  red hat\r\n") == ("a hat", "a red hat")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 0.51 0.4 0.2 0.31\n1 .5 -0.25 1 1e-05\n", True),
        ("0 0.1 0.2 0.3 0.4 0.5 0.6", True),  # a polygon
        ("3 0.51 0.4 0.2", False),
        ("3 hats on 2 tables", False),
        ("", False),
    ],
)
def test_boxes_are_a_number_and_coordinates(text, expected):
    assert are_boxes(text) == expected


@pytest.mark.parametrize("digits", ["1", "1 ", "1.", "0.1e-5"])
def test_a_long_text_of_digits_is_judged_at_once(digits):
    """A hundredth of a second; with a number that can be split in two ways, minutes."""
    before = time.process_time()
    assert not are_boxes("1 " + digits * ((64 << 10) // len(digits)) + "x")
    assert time.process_time() - before < 2
