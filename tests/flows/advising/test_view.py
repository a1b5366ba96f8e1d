"""What `genai init` says of images that cannot be decoded."""

from dataclasses import replace

from flows.advising.view import _short, unreadable_lines
from genai_core.advice.facts import DataFacts

BROKEN = DataFacts(
    6_000,
    sampled=300,
    unreadable=7,
    unreadable_files=tuple((f"set/hat/{n}.jpg", "corrupt" if n else "empty_file") for n in range(5)),
)


def test_names_reasons_numbers_and_what_a_run_does_with_them() -> None:
    lines = unreadable_lines(BROKEN, 0.05)
    assert lines[0].startswith("cannot be decoded: set/hat/0.jpg (empty_file), set/hat/1.jpg (corrupt), ")
    assert lines[0].endswith("set/hat/4.jpg (corrupt) and 2 more, about 140 of all 6,000")
    assert "rejects such files" in lines[1]
    assert "data.max_rejected_share (0.05)" in lines[1]


def test_no_line_where_all_can_be_decoded() -> None:
    assert unreadable_lines(replace(BROKEN, unreadable=0, unreadable_files=()), 0.05) == []


def test_ranges_of_a_search_are_shown_by_their_last_names() -> None:
    space = {"models.gan.training.learning_rate": {"low": 0.1, "high": 0.2}, "models.gan.network.width": {}}
    assert _short(space) == "learning_rate, width"
    assert (_short([1, 2]), _short(12_000), _short(None), _short(False)) == ("1, 2", "12,000", "null", "false")
