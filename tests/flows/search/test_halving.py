"""Which trials go on behind a rung."""

import math
from itertools import permutations

import pytest

from flows.search.halving import goes_on


def survivors(distances: tuple[float, ...], reduction: int) -> list[float]:
    """The trials that go on, if they reach the rung one after another."""
    return [d for number, d in enumerate(distances) if goes_on(d, distances[:number], reduction)]


def test_the_first_trial_goes_on_then_the_best_third_rounded_up() -> None:
    assert goes_on(9.0, [], 3)
    assert not goes_on(2.0, [1.0], 3)
    assert goes_on(2.0, [1.0, 3.0, 4.0], 3)  # the second of four
    assert not goes_on(2.0, [1.0, 3.0], 3)
    assert goes_on(1.0, [1.0], 2)  # equal ones are not worse


@pytest.mark.parametrize("reduction", [2, 3])
def test_the_best_trial_always_goes_on_whatever_the_order(reduction: int) -> None:
    for order in permutations((1.0, 2.0, 3.0, 4.0, 5.0)):
        assert 1.0 in survivors(order, reduction)
    falling = tuple(float(12 - number) for number in range(12))
    assert survivors(falling, reduction) == list(falling)  # each was the best one when it came


def test_a_distance_that_is_no_number_does_not_go_on() -> None:
    assert not goes_on(math.nan, [], 3)
    assert not goes_on(math.inf, [], 3)
