"""A trial's comparison with others at its rungs, and its figures."""

import json
import sqlite3
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError

from flows.search.space import Target, suggested
from flows.search.study import interrupted, open_study, taken_up
from flows.search.trial import (
    BEHIND,
    TrialState,
    TrialView,
    held_out_metric,
    judge_of,
    read_figures,
    searched_metric,
)
from genai_core.config import PruningConfig
from tests.flows.search.test_study import FINGERPRINT, config_of

PRUNING = PruningConfig(first_share=0.2, reduction=3, images=10)


def test_a_trial_outside_the_best_third_falls_behind_also_after_a_kill(tmp_path: Path) -> None:
    config = config_of(pruning=PRUNING.model_dump())
    study = open_study(tmp_path, "one", config, "fd", FINGERPRINT, None)
    goes_on = []
    for distance in (1.0, 2.0, 0.5):
        trial = study.ask()
        suggested(trial, config.space)
        goes_on.append(judge_of(trial, PRUNING)(0.2, distance))
    assert goes_on == [True, False, True]
    # Killed now: none has ended. The one that fell behind is known, and the others may report a rung again.
    again = open_study(tmp_path, "one", config, "fd", FINGERPRINT, None)
    first, second, third = (taken_up(again, trial) for trial in interrupted(again, tmp_path))
    assert [trial.user_attrs.get(BEHIND) for trial in (first, second, third)] == [None, 0.2, None]
    assert judge_of(first, PRUNING)(0.2, 1.0)
    assert judge_of(third, PRUNING)(0.6, 0.4)
    assert not judge_of(first, PRUNING)(0.6, 0.5)


def test_a_database_that_is_away_is_no_fault_of_the_thread_that_follows_the_training(tmp_path: Path) -> None:
    config = config_of(pruning=PRUNING.model_dump())
    study = open_study(tmp_path, "one", config, "fd", FINGERPRINT, None)
    view = TrialView(TrialState(0, {}), "train@gan", judge_of(study.ask(), PRUNING))
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute("DROP TABLE trials")
    rungs = [{"share": 0.2, "distance": 1.0}]
    view.progress("train@gan", {"total": 10, "done": 2, "rungs": rungs})
    assert isinstance(view.error, StorageInternalError)
    assert not view.state.distances, "the rung was not judged"
    assert not view.is_pruned


@pytest.mark.parametrize(
    ("first_share", "reduction", "rungs"),
    [(0.1, 3, [0.1, 0.3]), (0.2, 3, [0.2]), (0.125, 2, [0.125, 0.25, 0.5]), (0.6, 2, [0.6])],
)
def test_rungs_are_reduction_times_apart_and_in_the_first_half(
    first_share: float, reduction: int, rungs: list[float]
) -> None:
    found = PruningConfig(first_share=first_share, reduction=reduction, images=2).rungs
    assert found == pytest.approx(rungs)


def test_figures_are_of_the_metric_that_the_search_may_see(tmp_path: Path) -> None:
    assert searched_metric("kid_inception_test") == "kid_inception"
    assert held_out_metric("fd_inf_classifier") == "fd_classifier_test"
    metrics = {"fd_classifier": 2.0, "fd_classifier_test": 3.0, "protocol": {"extractor": "classifier"}}
    target = Target("gan", "evaluate@gan", "train@gan")
    for name, values in ((target.metrics, metrics), (target.cost, {"images_per_second": 50.0})):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(values))
    for metric in ("fd_classifier", "fd_auto"):
        figures = read_figures(tmp_path, target, metric)
        assert (figures.distance, figures.held_out, figures.seconds_per_image) == (2.0, 3.0, 0.02)
