"""What a study has found: the best trial, the front, importance."""

import math

import optuna
import pytest

from flows.search import SearchError
from flows.search.results import FRESH, TrialRow, best_of, chosen_row, front_of, importance_of, study_values
from flows.search.study import PRESENT
from tests.flows.search.test_study import config_of


def row(number: int, distance: float | None, seconds_per_image: float | None = None) -> TrialRow:
    state = "pruned" if distance is None else "complete"
    return TrialRow(number, state, {}, distance, None, seconds_per_image, 1.0, 0.1, {}, "", "", False)


def test_the_best_trial_has_the_smallest_distance_and_of_equal_ones_is_the_first() -> None:
    rows = [row(0, 3.0), row(1, None), row(2, 2.0), row(3, 2.0)]
    best = best_of(rows)
    assert best is not None
    assert best.number == 2
    assert chosen_row(rows, None) == best
    assert chosen_row(rows, 1).state == "pruned"
    with pytest.raises(SearchError, match="no ended trial 9"):
        chosen_row(rows, 9)
    with pytest.raises(SearchError, match="nothing to apply"):
        chosen_row(rows[1:2], None)


def test_no_trial_beats_one_of_the_front_in_both() -> None:
    rows = [row(0, 1.0, 9.0), row(1, 2.0, 5.0), row(2, 2.5, 6.0), row(3, 4.0, 1.0), row(4, None, None)]
    assert [found.number for found in front_of(rows)] == [0, 1, 3]


def test_the_key_that_matters_is_the_important_one() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(12):
        trial = study.ask()
        matters = trial.suggest_float("matters", 0.0, 1.0)
        trial.suggest_float("idle", 0.0, 1.0)
        study.tell(trial, math.exp(3.0 * matters))
        if len(study.trials) == 3:
            assert importance_of(study, ["distance"]) == {}  # too few to say anything
    found = importance_of(study, ["distance"])
    assert found == importance_of(study, ["distance"])
    assert found["matters"] > 0.8
    assert sum(found.values()) == pytest.approx(1.0)


def test_an_earlier_winner_is_not_compared_with_the_settings_before_the_search() -> None:
    study = optuna.create_study()
    for number, distance in enumerate((3.0, 2.0, 1.0)):  # the search was continued after its second trial
        trial = study.ask()
        if number == 0:
            trial.set_user_attr(PRESENT, True)
        study.tell(trial, distance)
    study.set_user_attr(FRESH, {f"{number}": {"seed": 5} for number in range(3)})
    values = study_values(study, config_of(), "fd", "one")
    assert values["best"] == 2
    assert list(values["fresh"]) == ["0", "2"]
