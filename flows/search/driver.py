"""The search: trials in slots, some at a time, until there are enough of them or the time is over."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.search import SearchError
from flows.search.slot import Slot
from flows.search.space import Target, suggested
from flows.search.stages import TrialStages
from flows.search.study import PRESENT, VALUES, WHERE, ended, here, taken_up
from flows.search.table import SearchTable
from flows.search.trial import (
    BEHIND,
    TrialEnd,
    TrialState,
    TrialView,
    judge_of,
    record_trial,
    run_trial,
    searched_metric,
    tell,
)
from flows.view import SilentView
from flows.whole_file import write_file
from genai_core.config import Config
from genai_core.counted import counted

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

_POLL_S = 0.2
_END_S = 20.0  # a training writes a checkpoint when it is stopped
_ALL_FAIL = 3  # after so many trials, none of which did not fail, the fault is not in their values
# A slot tries again after so long when a trial was interrupted: its worker may be replaced, a server be back. Then it
# gives up: of the workers, as many fewer are of use.
_PAUSES_S = (10.0, 60.0)


@dataclass(frozen=True)
class Limits:
    """When a search ends. trials: that have ended, of the whole study. deadline: by time.monotonic()."""

    trials: int | None
    deadline: float | None


@dataclass(frozen=True)
class Plan:
    """What is searched.

    name, folder: of the study. baseline: the commit that the experiments belong to. resumed: interrupted trials.
    """

    config: Config
    target: Target
    stages: TrialStages
    name: str
    folder: Path
    baseline: str
    resumed: "tuple[FrozenTrial, ...]" = ()

    @property
    def metric(self) -> str:
        return searched_metric(self.config.selection.metric)


class Search:
    """Runs trials in threads, one for each slot; `run` waits for them."""

    def __init__(self, study: "Study", plan: Plan, table: SearchTable, limits: Limits) -> None:
        self._study, self._plan, self._table, self._limits = study, plan, table, limits
        search = plan.config.search
        # Of two objectives, a trial with a large distance may be the fastest, and so on the front.
        self._pruning = search.pruning if len(search.objectives) == 1 else None
        self._unfinished = [taken_up(study, trial) for trial in plan.resumed]
        self._changed = threading.Condition()  # a trial ended, or the search does; the lock of all below
        self._stopping = threading.Event()
        self._running: dict[int, TrialView] = {}
        self._ends: list[TrialEnd] = []
        self._given_up = ""  # why a slot did
        self._error: BaseException | None = None

    def share_stages(self, slots: list[Slot]) -> None:
        """Bring what all trials share up to date, in the first slot, before any trial. Raises SearchError."""
        if not self._plan.stages.shared:
            return
        run = slots[0].run(self._plan.stages.shared, SilentView(), lambda _active: None)
        if not run.is_complete:
            raise SearchError(f"the stages that all trials share did not complete: {run.message}")
        for slot in slots:
            slot.keep_lock(slots[0].read_lock())

    def run(self, slots: list[Slot]) -> None:
        """Run trials until a limit is reached.

        On Ctrl-C or SIGTERM, the running trials are stopped and remain unfinished in the study. Raises SearchError if
        the first trials all fail, if trials cannot run, or after `genai runs stop`.
        """
        threads = [threading.Thread(target=self._work, args=(slot,), daemon=True) for slot in slots]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                if self._error is not None:
                    self._stop_running()
                time.sleep(_POLL_S)
        except BaseException:
            self._stop(threads)
            raise
        if self._error is not None:
            raise self._error
        has = f"the same command continues the study, which has {counted(len(ended(self._study)), 'trial')}"
        if self._stopping.is_set():
            raise SearchError(f"a trial was stopped, and the search with it; {has}")
        if self._given_up and not self._is_enough(len(ended(self._study))):
            raise SearchError(
                f"trials cannot run, and their values are not at fault: {self._given_up}. Once that is mended, {has}"
            )

    def _stop(self, threads: list[threading.Thread]) -> None:
        self._begin_no_more()
        deadline = time.monotonic() + _END_S
        while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
            self._stop_running()
            time.sleep(_POLL_S)

    def _stop_running(self) -> None:
        """Stop the running trials. To be called again and again: a run may only just be starting."""
        with self._changed:
            views = list(self._running.values())
        for view in views:
            view.stop()

    def _work(self, slot: Slot) -> None:
        faults = 0
        try:
            while (trial := self._next()) is not None:
                end = self._do(slot, trial)
                if end.end != "interrupted":
                    faults = 0
                elif faults == len(_PAUSES_S):
                    self._given_up = end.fault
                    return
                else:
                    self._stopping.wait(_PAUSES_S[faults])
                    faults += 1
        except BaseException as error:  # raised again by `run`, in the main thread
            self._error = self._error or error
            self._begin_no_more()

    def _begin_no_more(self) -> None:
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def _next(self) -> "Trial | None":
        """The next trial: one that is unfinished, or a new one; None at the end of the search.

        While other slots run the last trials, it waits: one that is interrupted there may run here.
        """
        with self._changed:
            while not self._stopping.is_set():
                self._check_not_all_fail()
                done = len(ended(self._study))
                if self._is_enough(done):
                    return None
                if not self._is_enough(done + len(self._running)):
                    trial = self._unfinished.pop(0) if self._unfinished else self._study.ask()
                    self._running[trial.number] = self._view(trial)
                    return trial
                self._changed.wait()
            return None

    def _check_not_all_fail(self) -> None:
        if len(self._ends) >= _ALL_FAIL and all(trial.state.name == "FAIL" for trial in ended(self._study)):
            raise SearchError(
                f"all of {counted(len(ended(self._study)), 'trial')} failed; the last one: {self._ends[-1].fault}"
            )

    def _is_enough(self, trials: int) -> bool:
        """Whether a limit is reached with so many trials."""
        is_late = self._limits.deadline is not None and time.monotonic() >= self._limits.deadline
        return is_late or (self._limits.trials is not None and trials >= self._limits.trials)

    def _view(self, trial: "Trial") -> TrialView:
        values = suggested(trial, self._plan.config.search.space, exact=PRESENT in trial.user_attrs)
        trial.set_user_attr(VALUES, values)
        trial.set_user_attr(WHERE, here(self._plan.folder))
        state = TrialState(trial.number, values)
        self._table.add(state)
        judge = judge_of(trial, self._pruning) if self._pruning else (lambda _share, _distance: True)
        view = TrialView(state, self._plan.target.trains, judge)
        if (behind := trial.user_attrs.get(BEHIND)) is not None:
            view.is_pruned, state.distances = True, {behind: 0.0}
        return view

    def _do(self, slot: Slot, trial: "Trial") -> TrialEnd:
        view, plan, began = self._running[trial.number], self._plan, time.monotonic()
        end = run_trial(slot, view, plan.stages, plan.target, plan.metric, self._pruning)
        if not end.is_unfinished:
            name = experiment_name(plan.name, trial.number)
            end = replace(end, commit=record_trial(slot, plan.baseline, name, end, described(view.state.values)))
        if end.end == "complete":
            self._keep_samples(slot, trial.number)
        end = replace(end, overhead_s=max(0.0, time.monotonic() - began - end.seconds))
        with self._changed:
            tell(self._study, trial, end, plan.config.search.objectives)
            del self._running[trial.number]
            if end.end == "stopped":  # by `genai runs stop`, if not by us
                self._stopping.set()
            elif end.end == "interrupted":
                self._unfinished.append(trial)
            else:
                self._ends.append(end)
            view.state.ended = end
            self._changed.notify_all()
        self._table.ended(view.state)
        return end

    def _keep_samples(self, slot: Slot, number: int) -> None:
        """Keep a trial's measured samples for the page."""
        source = slot.folder / self._plan.target.samples
        if source.is_file():
            write_file(samples_file(self._plan.folder, number), source.read_bytes())


def experiment_name(study: str, number: int) -> str:
    """The name of a trial among DVC's experiments."""
    return f"{study}-{number}"


def samples_file(folder: Path, number: int) -> Path:
    """Where a study keeps the measured samples of a trial."""
    return folder / "samples" / f"{number}.png"


def described(values: Mapping[str, Any]) -> str:
    """A trial's values, one in a line."""
    return "\n".join(f"{key}: {value}" for key, value in values.items())
