import pytest

from genai_core.data.ingest.readers.texts import are_captions, lines_of


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
