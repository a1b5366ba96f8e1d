"""A column of names behaves and sorts like a sequence of Python strings."""

from hypothesis import given
from hypothesis import strategies as st

from genai_core.data.raw.name_column import Names

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=12)


@given(NAMES, NAMES)
def test_names_equal_a_list_of_strings(one, other):
    names = Names.joined([Names.of(one), Names.of(other)])
    both = one + other
    assert names == both
    assert [names[index] for index in range(len(names))] == both
    assert names[1:] == both[1:]
    assert names.below("a") == [f"a/{name}" for name in both]
    assert names.order().tolist() == sorted(range(len(both)), key=both.__getitem__)
    assert names.at(names.order()).has_duplicates() == (len(set(both)) < len(both))
    assert Names.from_text(*names[1:].to_text()) == both[1:]
