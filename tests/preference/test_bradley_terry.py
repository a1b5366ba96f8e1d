"""Closed forms for two models, scipy's optimum and information for several, and coverage of the interval."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from genai_core.preference.bradley_terry import (
    EXTRA_TIE,
    Pairing,
    count_votes,
    preference,
    preference_of,
    strengths,
)


@pytest.mark.parametrize(("wins", "losses", "ties"), [(30, 10, 5), (0, 0, 0), (12, 0, 0), (0, 40, 1), (500, 300, 100)])
def test_two_models_have_the_logit_with_a_half_added(wins: int, losses: int, ties: int) -> None:
    w, n = wins + ties / 2 + 0.5, losses + ties / 2 + 0.5
    middle, deviation = math.log(w / n), math.sqrt(1 / w + 1 / n)
    expected = [1 / (1 + math.exp(-x)) for x in (middle, *(middle + deviation * norm.ppf([0.025, 0.975])))]
    found = preference(wins, losses, ties)
    assert [found.value, found.low, found.high] == pytest.approx(expected)
    assert found.votes == wins + losses + ties
    _, fitted = sorted(strengths([Pairing("new", "old", wins, losses, ties)], "old"), key=lambda s: s.model == "new")
    assert fitted.preference is not None
    assert [fitted.preference.value, fitted.preference.low, fitted.preference.high] == pytest.approx(expected)


def test_several_models_have_the_greatest_likelihood_and_its_curvature() -> None:
    random = np.random.default_rng(3)
    names = "abcd"
    counts = [(a, b, *random.integers(0, 40, 3).tolist()) for a, b in itertools.combinations(names, 2) if a + b != "ad"]
    pairings = [Pairing(*values) for values in counts]

    def loss(free: np.ndarray) -> float:
        at = dict(zip(names, (0.0, *free), strict=True))
        return sum(
            (p.wins + p.ties / 2 + EXTRA_TIE) * math.log1p(math.exp(at[p.b] - at[p.a]))
            + (p.losses + p.ties / 2 + EXTRA_TIE) * math.log1p(math.exp(at[p.a] - at[p.b]))
            for p in pairings
        )

    best = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9}).x
    step = 1e-4
    hessian = np.array(
        [
            [
                sum(s * t * loss(best + step * (s * np.eye(3)[i] + t * np.eye(3)[j])) for s in (1, -1) for t in (1, -1))
                / (4 * step**2)
                for j in range(3)
            ]
            for i in range(3)
        ]
    )
    deviations = np.sqrt(np.diag(np.linalg.inv(hessian)))
    found = {strength.model: strength for strength in strengths(pairings, "a")}
    for index, name in enumerate("bcd"):
        strength = found[name]
        assert strength.log_odds == pytest.approx(best[index], abs=1e-4)
        assert strength.preference is not None
        ends = [math.log(x / (1 - x)) for x in (strength.preference.low, strength.preference.high)]
        assert (ends[1] - ends[0]) / 2 / norm.ppf(0.975) == pytest.approx(deviations[index], rel=1e-3)
    assert [s.log_odds for s in strengths(pairings, "a")] == sorted((s.log_odds for s in found.values()), reverse=True)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_the_interval_contains_the_truth_about_as_often_as_it_says(share: float) -> None:
    random = np.random.default_rng(0)
    wins = random.binomial(60, share, 4000)
    found = [preference(int(won), 60 - int(won), 0) for won in wins]
    covered = np.mean([answer.low <= share <= answer.high for answer in found])
    assert 0.93 <= covered <= 0.98


def test_all_votes_for_one_side_are_finite() -> None:
    pairings = [Pairing("a", "b", 10_000, 0, 0), Pairing("b", "c", 10_000, 0, 0)]
    first, second, third = strengths(pairings, "c")
    assert [first.model, second.model, third.model] == ["a", "b", "c"]
    assert first.preference is not None
    assert 0.99 < first.preference.value <= 1.0


def test_sides_do_not_matter_and_skips_do_not_count() -> None:
    results = [("x", "y", "left"), ("y", "x", "right"), ("y", "x", "left"), ("x", "y", "tie"), ("x", "y", "skip")]
    assert count_votes([*results, ("x", "x", "left")]) == (Pairing("x", "y", 2, 1, 1),)
    one, other = preference_of(count_votes(results), "x", "y"), preference_of(count_votes(results), "y", "x")
    assert one.value == pytest.approx(1 - other.value)
    assert one.low == pytest.approx(1 - other.high)
    assert preference_of((), "x", "y").votes == 0
    with pytest.raises(ValueError, match="expected left, right, tie or skip"):
        count_votes([("x", "y", "both")])


def test_models_that_no_votes_connect_are_listed_without_a_strength() -> None:
    found = strengths([Pairing("a", "b", 3, 1, 0), Pairing("x", "y", 3, 1, 0)], "b")
    assert [(s.model, s.log_odds is None) for s in found] == [("a", False), ("b", False), ("x", True), ("y", True)]
    assert [s.model for s in strengths([], "b")] == ["b"]
