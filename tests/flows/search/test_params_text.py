"""Values written into params.yaml: nothing else changes."""

import io

import pytest
from ruamel.yaml import YAML

from flows.git import GitError
from flows.search import SearchError
from flows.search.params_text import with_values, written
from tests.test_rooms import ROOT

TEXT = (ROOT / "params.yaml").read_text()


def test_only_the_values_change_and_comments_stay_in_their_column() -> None:
    new = with_values(
        TEXT, {"models.vae.training.learning_rate": 1.5e-5, "augment.policy": ["flip", "move"], "data.fit": "pad"}
    )
    changed = [(old, now) for old, now in zip(TEXT.splitlines(), new.splitlines(), strict=True) if old != now]
    assert [now.partition("#")[0].strip() for _, now in changed] == [
        "fit: pad",
        "policy: [flip, move]",
        "learning_rate: 1.5e-05",
    ]
    for old, now in changed[:2]:
        assert old.partition("#")[2] == now.partition("#")[2]
        assert old.index("#") == now.index("#")
    assert YAML(typ="safe").load(io.StringIO(new))["models"]["vae"]["training"]["learning_rate"] == 1.5e-5


def test_a_value_that_is_there_already_stays_as_it_is_written() -> None:
    assert with_values(TEXT, {"models.vae.training.learning_rate": 0.002}) == TEXT  # written as 2.0e-3


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("a:\n  b:\n  - 0.9\n  - 0.99\n  c: 1\n", "a:\n  b: [0.5, 1]\n  c: 1\n"),
        ("a:\n  b:  # two\n    - 0.9\n    - 0.99  # the other\n\n# next\nc: 1\n", None),
        ("a:\n  b: [0.9,\n      0.99]  # two\n  c: 1\n", None),
        ("a:\n  b:\n  c: 1\n", "a:\n  b: [0.5, 1]\n  c: 1\n"),
        ("a:\n  b:   # none yet\n  c: 1\n", None),
        ("a:\n  b: [[1, 2], [3]]\n", "a:\n  b: [0.5, 1]\n"),
        ("a:\n  b:\n  - - 1\n    - 2\n  - - 3\n", "a:\n  b: [0.5, 1]\n"),
        ("a:\n  b:\n  - c: 1\n    d: 2\n", "a:\n  b: [0.5, 1]\n"),
    ],
)
def test_a_list_may_be_written_in_any_way(text: str, new: str | None) -> None:
    found = with_values(text, {"a.b": [0.5, 1]})
    assert new is None or found == new
    before, after = (YAML(typ="safe").load(io.StringIO(one)) for one in (text, found))
    before["a"]["b"] = [0.5, 1]
    assert after == before
    comments = [line.partition("#")[2] for line in text.splitlines() if "#" in line]
    assert all(comment in found for comment in comments)


@pytest.mark.parametrize("key", ["models.vae.training", "models.none.training.learning_rate", "nothing.at.all"])
def test_a_name_without_a_value_is_refused(key: str) -> None:
    with pytest.raises(SearchError, match=f"params.yaml has no value {key}"):
        with_values(TEXT, {key: 1})


def test_a_key_that_is_there_twice_is_named_with_its_line() -> None:
    with pytest.raises(GitError, match=r"params.yaml: not valid YAML: line 3: the key b stands there twice"):
        with_values("a:\n  b: 1\n  b: 2\n", {"a.b": 3})


def test_numbers_are_read_alike_by_yaml_1_1_and_1_2() -> None:
    assert [written(value) for value in (1e-5, 2e16, 0.25, 3.0, True, None, 20000)] == [
        "1.0e-05",
        "2.0e+16",
        "0.25",
        "3.0",
        "true",
        "null",
        "20_000",
    ]
