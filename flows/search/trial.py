"""One trial: its run in a slot, compared with the others at its rungs, recorded as an experiment."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import Trial

from flows.git import GitError
from flows.graph import GraphError
from flows.runs.active_run import ActiveRun
from flows.runs.record import STOP
from flows.runs.server_away import is_no_answer
from flows.search.experiment import record_experiment
from flows.search.halving import goes_on
from flows.search.slot import Slot
from flows.search.space import Target
from flows.search.stages import TrialStages
from flows.view import Outcome
from genai_core import GenaiError
from genai_core.config import ConfigError, PruningConfig, resolved_metric
from genai_core.config.extractor import AUTO

End = Literal["complete", "pruned", "failed", "stopped", "interrupted"]
VARIABLE, KEPT = "GENAI_RUNGS", "rungs"  # read by tasks/rungs.py, and written by it into a training's progress
# Attributes of a trial: the share of its training at which it fell behind; the steps of the rungs that it passed.
BEHIND, PASSED = "behind", "passed"


@dataclass(frozen=True)
class Figures:
    """What the objectives are made of. held_out: the same distance from images that were not trained on."""

    distance: float
    held_out: float | None
    seconds_per_image: float | None


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended. fault: why it failed or was interrupted, in a line.

    failed: its values are at fault. interrupted: something else is, such as a machine; it remains unfinished, as one
    that was stopped. seconds: of its stages' own work. overhead_s: beside that, until it was recorded.
    """

    end: End
    figures: Figures | None = None
    seconds: float = 0.0
    overhead_s: float = 0.0
    fault: str = ""
    commit: str = ""

    @property
    def is_unfinished(self) -> bool:
        return self.end in ("stopped", "interrupted")


@dataclass
class TrialState:
    """What the table shows of a trial while it runs."""

    number: int
    values: Mapping[str, Any]
    stage: str = "waits"
    share: float = 0.0
    distances: dict[float, float] = field(default_factory=dict)  # share of the training -> at that rung
    ended: TrialEnd | None = None


class TrialView:
    """Receives the events of a trial's run. At each rung of the training, `judge` decides whether it goes on.

    trains: the stage that trains. error: what `judge` raised, such as that the study's database is away; the run is
    stopped then.
    """

    def __init__(self, state: TrialState, trains: str, judge: Callable[[float, float], bool]) -> None:
        self.state, self.trains, self._judge = state, trains, judge
        self._active: ActiveRun | None = None
        self._turn = threading.Lock()
        self.is_pruned = False
        self.error: Exception | None = None

    def begin(self, active: ActiveRun) -> None:
        self._active = active

    def stop(self) -> None:
        """Stop the run. A training saves a checkpoint, from which it resumes exactly."""
        if self._active is not None:
            with suppress(OSError):
                (self._active.recorder.folder / STOP).touch()

    def waits(self, stage: str, why: str) -> None:
        self.state.stage = f"{stage} waits {why}"

    def started(self, stage: str) -> None:
        self.state.stage, self.state.share = stage, 0.0

    def line(self, stage: str, text: str) -> None:
        """Ignore it: the run's log has it."""

    def progress(self, stage: str, state: dict[str, Any]) -> None:
        if state.get("total"):
            self.state.stage, self.state.share = stage, state["done"] / state["total"]
        if stage == self.trains:
            self._look_at_rungs(state)

    def finished(self, stage: str, outcome: Outcome, seconds: float) -> None:
        """Ignore it: the last progress came before."""

    def note(self, text: str) -> None:
        """Ignore it: it is about the slot's checkout."""

    def _look_at_rungs(self, progress: Mapping[str, Any]) -> None:
        with self._turn:
            for share, distance in rungs_of(progress).items():
                if self.error is not None:
                    return
                if share in self.state.distances:
                    continue
                try:
                    stays = self.is_pruned or self._judge(share, distance)
                except Exception as error:
                    # Raised here, it would end the thread that follows the training, or have Prefect repeat the stage.
                    self.error = error
                    self.stop()
                    return
                self.state.distances[share] = distance
                if not stays:
                    self.is_pruned = True
                    self.stop()


def rungs_of(progress: Mapping[str, Any]) -> dict[float, float]:
    """The distances that a training has measured so far, by share of the training."""
    return {float(rung["share"]): float(rung["distance"]) for rung in progress.get(KEPT, ())}


def rung_variables(pruning: PruningConfig | None) -> dict[str, str]:
    """The environment with which a training measures itself at its rungs."""
    if pruning is None:
        return {}
    return {VARIABLE: json.dumps({"shares": pruning.rungs, "images": pruning.images})}


def judge_of(trial: Trial, pruning: PruningConfig) -> Callable[[float, float], bool]:
    """Return a function of a rung's share and distance: whether the trial goes on.

    A trial is judged once at each rung: a resumed one reports its earlier rungs again, and others have come meanwhile.
    """

    def judge(share: float, distance: float) -> bool:
        step = round(share / pruning.first_share)  # 1, 3, 9 for a reduction of 3
        passed = trial.user_attrs.get(PASSED, [])
        if step in passed:
            return True
        trials = trial.study.get_trials(deepcopy=False)
        reached = {
            other.number: other.intermediate_values[step] for other in trials if step in other.intermediate_values
        }
        if reached.pop(trial.number, None) is None:  # else a kill came before this was decided
            trial.report(distance, step)
        if goes_on(distance, list(reached.values()), pruning.reduction):
            trial.set_user_attr(PASSED, [*passed, step])
            return True
        trial.set_user_attr(BEHIND, share)
        return False

    return judge


def read_figures(folder: Path, target: Target, metric: str) -> Figures:
    """Read what a trial measured. Raises OSError or ValueError."""
    metrics = json.loads((folder / target.metrics).read_text())
    cost = json.loads((folder / target.cost).read_text())
    speed = cost.get("images_per_second")
    measured_by = metrics.get("protocol", {}).get("extractor", AUTO)
    metric = resolved_metric(metric, measured_by)  # fd_auto stands for what it is for these images
    if metric not in metrics:
        raise ValueError(f"{target.metrics} has no {metric}")
    return Figures(
        distance=float(metrics[metric]),
        held_out=metrics.get(held_out_metric(metric)),
        seconds_per_image=1.0 / speed if speed else None,
    )


def searched_metric(metric: str) -> str:
    """The distance that a search improves, for selection.metric: from training images, so held-out ones stay unseen."""
    return metric.removesuffix("_test")


def held_out_metric(metric: str) -> str:
    """The same distance from held-out images. There is no extrapolated one of those."""
    return f"{metric.replace('fd_inf_', 'fd_')}_test"


def run_trial(
    slot: Slot,
    view: TrialView,
    stages: TrialStages,
    target: Target,
    metric: str,
    pruning: PruningConfig | None,
) -> TrialEnd:
    """Run a trial in a slot to its end. A fault is an end, too. A trial that has fallen behind is not run.

    Raises what `view` met at a rung, such as that the study's database is away: the trial remains unfinished.
    """
    try:
        slot.set_up(view.state.values, stages)
        if view.is_pruned:
            return TrialEnd("pruned")
        run = slot.run((target.stage,), view, view.begin, rung_variables(pruning))
        if view.error is not None:
            raise view.error
        if view.is_pruned:
            slot.remove_figures(stages)  # the run may have been complete before it could be stopped
            return TrialEnd("pruned", seconds=run.seconds)
        if run.state is not None and run.state.is_cancelled():
            return TrialEnd("stopped", seconds=run.seconds)
        if not run.is_complete:
            if (why := run.not_executed) is not None:
                return TrialEnd("interrupted", seconds=run.seconds, fault=" ".join(why.split()))
            return TrialEnd("failed", seconds=run.seconds, fault=run.fault)
        return TrialEnd("complete", read_figures(slot.folder, target, metric), run.seconds)
    except (ConfigError, GraphError, ValueError) as error:  # values that are only wrong beside other ones
        return TrialEnd("failed", fault=_in_a_line(error))
    except Exception as error:
        if not isinstance(error, GenaiError | OSError) and not is_no_answer(error):
            raise
        return TrialEnd("interrupted", fault=_in_a_line(error))


def record_trial(slot: Slot, baseline: str, name: str, end: TrialEnd, text: str) -> str:
    """Record a trial's checkout as an experiment; return its commit, or "" if git cannot."""
    try:
        return record_experiment(slot.folder, baseline, name, f"{name}: {end.end}\n\n{text}")
    except GitError:
        return ""


def tell(study: "optuna.study.Study", trial: Trial, end: TrialEnd, objectives: tuple[str, ...]) -> None:
    """Record how a trial ended in its study. One that is unfinished can be continued."""
    trial.set_user_attr("seconds", round(trial.user_attrs.get("seconds", 0.0) + end.seconds, 2))
    if end.is_unfinished:
        return
    trial.set_user_attr("overhead_s", round(end.overhead_s, 2))
    if end.commit:
        trial.set_user_attr("commit", end.commit)
    if end.end == "pruned":
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    elif end.figures is None:
        trial.set_user_attr("fault", end.fault)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        trial.set_user_attr("held_out", end.figures.held_out)
        trial.set_user_attr("seconds_per_image", end.figures.seconds_per_image)
        values = [getattr(end.figures, objective) for objective in objectives]
        study.tell(trial, values)


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
