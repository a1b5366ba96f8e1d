"""Measure trials again on what the search never saw: other seeds, and images that were held out."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flows.search import SearchError
from flows.search.results import FRESH, TrialRow, best_of, rows_of
from flows.search.slot import Slot
from flows.search.trial import read_figures
from flows.view import SilentView

if TYPE_CHECKING:
    from optuna.study import Study

    from flows.search.driver import Plan

SEED = "evaluation.seed"


def measure_again(study: "Study", plan: "Plan", slot: Slot, say: Callable[[str], None]) -> None:
    """Measure the winner and the settings before the search with `search.fresh_seed`, and record that in the study.

    The smallest of many noisy figures is too small; the new one is not, since it chose nothing. The models come from
    DVC's cache. What was measured before is not measured again. say: receives a line before each of them. Raises
    SearchError if a run fails.
    """
    search = plan.config.search
    found: dict[str, Any] = dict(study.user_attrs.get(FRESH, {}))
    for row in _to_measure(rows_of(study)):
        key = f"{row.number}"
        if found.get(key, {}).get("seed") == search.fresh_seed:
            continue
        say(f"measuring trial {key} again, with other seeds and held-out images ...")
        slot.set_up({**row.values, SEED: search.fresh_seed}, plan.stages)
        run = slot.run((plan.target.stage,), SilentView(), lambda _active: None)
        if not run.is_complete:
            raise SearchError(f"trial {row.number} could not be measured again: {run.message}")
        figures = read_figures(slot.folder, plan.target, plan.metric)
        found[key] = {"seed": search.fresh_seed, "distance": figures.distance, "held_out": figures.held_out}
        study.set_user_attr(FRESH, found)


def _to_measure(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """The winner, and the settings before the search if they are another trial, which is complete."""
    best = best_of(rows)
    return [row for row in rows if row is best or (row.present and row.distance is not None)]
