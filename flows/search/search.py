"""A search from beginning to end: its snapshot, study and slots, its trials, the winner measured again, its page."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.data.add import run_task
from flows.runs.leftovers import sweep
from flows.runs.run_plan import RunPlan, plan_run
from flows.runs.snapshot import Snapshot, take_snapshot
from flows.search import SearchError
from flows.search.driver import Limits, Plan, Search
from flows.search.experiment import baseline_of
from flows.search.fresh import measure_again
from flows.search.results import best_of, rows_of, study_values
from flows.search.slot import open_slots
from flows.search.space import Target, checked_settings, present_in, values_otherwise
from flows.search.stages import TrialStages, trial_stages
from flows.search.study import (
    FOLDER,
    LATEST,
    answering,
    begin_with,
    checked_name,
    ended,
    interrupted,
    is_new,
    only_search,
    open_study,
    otherwise_of,
    searched,
    without_password,
)
from flows.search.table import SearchTable, shown
from flows.search.trial import searched_metric
from flows.whole_file import write_file, write_json
from genai_core.config import Config
from genai_core.counted import counted

if TYPE_CHECKING:
    from optuna.study import Study

VALUES_FILE = "study.json"
PAGES = Path("search")  # NAME/report.html, and its values
_MAX_ATTEMPTS = 5


@dataclass(frozen=True)
class Request:
    """What `genai search` is asked for. trials: that the study is to have in the end. storage: a database's address.

    executor: who runs the trials' stages.
    """

    trials: int | None
    minutes: float | None
    parallel: int
    study: str | None
    storage: str | None
    executor: str


@dataclass(frozen=True)
class Found:
    """The result of a search. values: results.study_values. page: the written page."""

    values: dict[str, Any]
    page: Path


def search(
    workspace: Path, request: Request, say: Callable[[str], None], check: Callable[[RunPlan], None], *, live: bool
) -> Found:
    """Search until the study has enough trials, or for some minutes. Continues a study that was interrupted.

    Needs Prefect's API to be set. say: receives lines for the user. check: called with the plan of one trial; what it
    raises ends the search. Raises GenaiError if the search cannot start or its first trials all fail.
    """
    began = time.monotonic()
    settings = checked_settings(workspace)
    config, values, target = settings.config, settings.values, settings.target
    sweep(workspace)
    run_plan = plan_run(workspace, (target.stage,), say)
    check(run_plan)
    metric = searched_metric(config.selection.metric)
    snapshot, stages = _snapshot(workspace, target, config)
    baseline = baseline_of(workspace, snapshot.base)
    name = checked_name(request.study) if request.study else stages.fingerprint.name
    folder = workspace / FOLDER / name
    with only_search(folder, name), answering("the same command continues"):
        study = open_study(folder, name, config.search, metric, stages.fingerprint, request.storage)
        write_file(workspace / FOLDER / LATEST, name)
        present = present_in(values, config.search.space)
        if isinstance(present, str) and is_new(study):
            say(f"the present {present} is outside the space, so no trial has the present settings")
        begin_with(study, None if isinstance(present, str) else present, values_otherwise(values, config.search.space))
        left = () if _is_reached(study, request) else interrupted(study, folder)
        plan = Plan(config, target, stages, name, folder, baseline, left)
        for line in (_headline(plan, study, request), *snapshot.notes):
            say(line)
        table = _table(study, plan, request, live=live)
        limits = Limits(request.trials, began + 60 * request.minutes if request.minutes else None)
        driver = Search(study, plan, table, limits)
        where = workspace, snapshot.commit, name, request.parallel
        with open_slots(*where, otherwise_of(study), request.executor) as slots:
            if not _is_reached(study, request):
                say("bringing up to date what all trials share ...")
                driver.share_stages(slots)
                with shown(table, live=live):
                    driver.run(slots)
            measure_again(study, plan, slots[0], say)
        return Found(*write_page(workspace, study, name))


def write_page(workspace: Path, study: "Study", name: str) -> tuple[dict[str, Any], Path]:
    """Write the study's values and its page. Returns both. To be called while `answering`."""
    values = study_values(study, *searched(study), name)
    folder = workspace / PAGES / name
    write_json(folder / VALUES_FILE, values)
    run_task(workspace, "tasks.search_page", str(workspace / FOLDER / name), str(folder))
    return values, folder / "report.html"


def _snapshot(workspace: Path, target: Target, config: Config) -> tuple[Snapshot, TrialStages]:
    """The snapshot that all trials start from, and its stages, read of the same contents. Raises SearchError."""
    before = take_snapshot(workspace)
    for _ in range(_MAX_ATTEMPTS):
        stages = trial_stages(workspace, target, config.search)
        snapshot = take_snapshot(workspace)
        if snapshot.tree == before.tree:
            return snapshot, stages
        before = snapshot
    raise SearchError(f"{workspace}: files keep changing here; wait until nothing writes them, then search again")


def _is_reached(study: "Study", request: Request) -> bool:
    return request.trials is not None and len(ended(study)) >= request.trials


def _table(study: "Study", plan: Plan, request: Request, *, live: bool) -> SearchTable:
    best = best_of(rows_of(study))
    keys = list(plan.config.search.space)
    return SearchTable(keys, plan.metric, best.distance if best else None, request.trials or 0, live=live)


def _headline(plan: Plan, study: "Study", request: Request) -> str:
    """What the search understood: whose figures, over which keys, how long, new or continued."""
    done = len(ended(study))
    if _is_reached(study, request):
        return f"study {plan.name} has {counted(done, 'trial')} already; --trials {done + 10} continues it"
    state = f"continues after {counted(done, 'trial')}" if done or plan.resumed else "is new"
    if plan.resumed:
        state += f" and resumes {counted(len(plan.resumed), 'interrupted one')}"
    limits = [f"until it has {counted(request.trials, 'trial')}"] if request.trials else []
    limits += [f"no trial begins after {request.minutes:g} minutes"] if request.minutes else []
    figures = f"{plan.metric} of {plan.target.model}"
    if len(plan.config.search.objectives) > 1:
        figures += " and its seconds an image (two objectives: no trial is pruned)"
    elif _trains_a_tokenizer_at_all_rungs(plan):
        figures += " (no trial is pruned: at search.pruning's rungs, its tokenizer is trained)"
    keys = counted(len(plan.config.search.space), "key")
    place = f" in {without_password(request.storage)}" if request.storage else ""
    return f"study {plan.name}{place} {state}; {figures} over {keys}; {', '.join(limits)}"


def _trains_a_tokenizer_at_all_rungs(plan: Plan) -> bool:
    """Whether a VQ-VAE cannot generate images at any rung, so that it is never compared."""
    pruning, model = plan.config.search.pruning, plan.config.models.get(plan.target.model)
    if pruning is None or model is None or model.family != "vqvae":
        return False
    return pruning.rungs[-1] <= model.objective.tokenizer_share
