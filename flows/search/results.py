"""What a study has found, as plain values: for the table, for JSON and for the page."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from flows.search import SearchError
from flows.search.space import label_of
from flows.search.study import PRESENT, VALUES, ended
from flows.search.table import short_names
from genai_core.config import RangeConfig, SearchConfig

if TYPE_CHECKING:
    from optuna.study import Study

FRESH = "fresh"
_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
_LEAST_IMPORTANCE = 4  # complete trials; with fewer, nothing can be said of any key


@dataclass(frozen=True)
class TrialRow:
    """An ended trial. rungs: step -> distance while it trained. present: it has the settings of params.yaml."""

    number: int
    state: str
    values: Mapping[str, Any]
    distance: float | None
    held_out: float | None
    seconds_per_image: float | None
    seconds: float
    overhead_s: float
    rungs: Mapping[int, float]
    fault: str
    commit: str
    present: bool


def rows_of(study: "Study") -> list[TrialRow]:
    """The ended trials of a study, by number."""
    return [_row(trial) for trial in ended(study)]


def best_of(rows: Sequence[TrialRow]) -> TrialRow | None:
    """The complete trial with the smallest distance; None if none is complete."""
    measured = [row for row in rows if row.distance is not None]
    return min(measured, key=lambda row: (row.distance, row.number), default=None)


def front_of(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """The complete trials that no other one beats in distance and in seconds an image, the fastest last."""
    found: list[TrialRow] = []
    measured = [row for row in rows if row.distance is not None and row.seconds_per_image is not None]
    for row in sorted(measured, key=lambda row: (row.distance, row.seconds_per_image)):
        if not found or row.seconds_per_image < found[-1].seconds_per_image:  # type: ignore[operator]
            found.append(row)
    return found


def chosen_row(rows: Sequence[TrialRow], number: int | None) -> TrialRow:
    """The trial of that number, or the best one. Raises SearchError."""
    if number is None:
        best = best_of(rows)
        if best is None:
            raise SearchError("no trial of this study is complete yet, so there is nothing to apply")
        return best
    found = next((row for row in rows if row.number == number), None)
    if found is None:
        raise SearchError(f"the study has no ended trial {number}; `genai search show` lists them")
    return found


def importance_of(study: "Study", objectives: Sequence[str]) -> dict[str, float]:
    """How much of the distance's variation each key explains (fANOVA, Hutter et al. 2014); empty if unknown.

    Only keys that all complete trials have.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < _LEAST_IMPORTANCE or len({_distance(trial) for trial in complete}) < 2:
        return {}
    target = None if len(objectives) == 1 else _distance
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Its forest is drawn from a seed, so that the same trials have the same importance each time.
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            found = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)
        except (ValueError, RuntimeError):  # all values of a key are the same, for example
            return {}
    return {key: float(share) for key, share in found.items()}


def study_values(study: "Study", search: SearchConfig, metric: str, name: str) -> dict[str, Any]:
    """Everything that the page shows, as JSON values."""
    rows = rows_of(study)
    best = best_of(rows)
    compared = {f"{row.number}" for row in rows if row is best or row.present}  # an earlier winner is of no interest
    return {
        "study": name,
        "metric": metric,
        "objectives": list(search.objectives),
        "reduction": search.pruning.reduction if search.pruning else None,
        "first_share": search.pruning.first_share if search.pruning else None,
        "space": {key: _range_values(given) for key, given in search.space.items()},
        "names": short_names(list(search.space)),
        "trials": [asdict(row) for row in rows],
        "best": best.number if best else None,
        "front": [row.number for row in front_of(rows)] if len(search.objectives) > 1 else [],
        "importance": importance_of(study, search.objectives),
        "fresh": {number: again for number, again in study.user_attrs.get(FRESH, {}).items() if number in compared},
    }


def _row(trial: FrozenTrial) -> TrialRow:
    values = trial.values if trial.state == TrialState.COMPLETE else None
    return TrialRow(
        number=trial.number,
        state=_STATES[trial.state],
        values=trial.user_attrs.get(VALUES, trial.params),
        distance=values[0] if values else None,
        held_out=trial.user_attrs.get("held_out"),
        seconds_per_image=trial.user_attrs.get("seconds_per_image"),
        seconds=trial.user_attrs.get("seconds", 0.0),
        overhead_s=trial.user_attrs.get("overhead_s", 0.0),
        rungs=dict(trial.intermediate_values),
        fault=trial.user_attrs.get("fault", ""),
        commit=trial.user_attrs.get("commit", ""),
        present=bool(trial.user_attrs.get(PRESENT)),
    )


def _distance(trial: FrozenTrial) -> float:
    assert trial.values is not None
    return float(trial.values[0])


def _range_values(given: RangeConfig) -> dict[str, Any]:
    if given.choices is not None:
        return {"choices": [label_of(choice) for choice in given.choices]}
    return {"low": given.low, "high": given.high, "log": given.log}
