"""Numbers with their nouns."""

import pytest

from genai_core.counted import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "stage", "1 stage"),
        (0, "file", "0 files"),
        (1_200, "image", "1,200 images"),
        (2, "remote branch", "2 remote branches"),
        (2, "class", "2 classes"),
        (2, "entry", "2 entries"),
        (2, "day", "2 days"),
    ],
)
def test_noun_follows_its_number(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
