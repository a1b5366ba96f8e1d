"""Which pairs of models are shown, and which are not."""

from pathlib import Path

import pytest

from flows.serving.blind import Blind
from flows.serving.errors import ApiError
from flows.serving.generation import Generation


def model(name: str, sha256: str, *classes: str) -> Generation:
    description = {"sha256": sha256, "classes": list(classes), "family": "gan", "sampling": {}}
    return Generation(name, f"{name} 1", Path(name), None, sha256, description=description)


def names(*generations: Generation) -> set[frozenset[str]]:
    blind = Blind([generation.name for generation in generations])
    pairs = [blind.new_pair(generations) for _ in range(50)]
    return {frozenset((pair.left.name, pair.right.name)) for pair in pairs}


def test_after_a_promotion_only_different_weights_are_compared() -> None:
    same = [model("prod", "a", "x", "y"), model("candidate", "a", "x", "y")]
    with pytest.raises(ApiError, match="nothing to compare: prod and candidate have the same weights") as error:
        names(*same)
    assert (error.value.status, error.value.code) == (409, "nothing_to_compare")
    assert names(*same, model("gan", "b", "y")) == {frozenset(("prod", "gan")), frozenset(("candidate", "gan"))}


def test_models_without_a_common_class_are_not_compared() -> None:
    one, other, plain = model("one", "a", "x"), model("other", "b", "y"), model("plain", "c")
    with pytest.raises(ApiError, match="one and other have no class in common"):
        names(one, other)
    with pytest.raises(ApiError, match="one and plain cannot be compared: only one of them has classes"):
        names(one, plain)
    assert names(one, other, plain, model("both", "d", "x", "y")) == {
        frozenset(("one", "both")),
        frozenset(("other", "both")),
    }
    assert names(plain, model("bare", "e")) == {frozenset(("plain", "bare"))}
