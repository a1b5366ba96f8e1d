"""Which trials a search counts: the ends of their runs are written down beforehand."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from optuna.study import Study
from optuna.trial import TrialState
from prefect.states import Cancelled, Failed
from sqlalchemy.exc import OperationalError

from flows.executors.executor import CommandFailed, failed_with
from flows.git import GitError
from flows.graph import GraphError
from flows.runs.record import RunRecord, StageRecord
from flows.search import SearchError, driver
from flows.search.driver import Limits, Plan, Search
from flows.search.slot import Slot, SlotRun
from flows.search.space import Target
from flows.search.stages import TrialStages
from flows.search.study import Fingerprint, interrupted, open_study
from flows.search.table import SearchTable
from flows.search.trial import Figures, TrialView
from genai_core.config import MACHINE_FAULT, ConfigError, load_config
from tests.flows.search.test_space import RATE
from tests.project import ROOT, change_parameters

GOOD = SlotRun(None, None)


def failed(not_executed: str | None, message: str = "failed: train@gan") -> SlotRun:
    """A run whose training failed."""
    stages = {"prepare": StageRecord("kept", ""), "train@gan": StageRecord("failed", "", not_executed=not_executed)}
    record = RunRecord("one", "", None, None, (), (), "", "slot", 1, stages=stages)
    return SlotRun(Failed(message=message), record)


class Written(Slot):
    """A slot whose runs end as they are written down, then well."""

    def __init__(self, folder: Path, ends: Sequence[SlotRun | Exception] = ()) -> None:
        self.folder, self.ends, self.tried = folder, list(ends), list[Any]()
        self.before: Callable[[], None] = lambda: None
        self.rungs = list[dict[str, float]]()  # that each run reports, twice

    def set_up(self, values: Any, _stages: Any) -> None:
        self.tried.append(values)

    def remove_figures(self, _stages: Any) -> None: ...

    def run(self, _stages: Any, view: TrialView, *_: Any) -> SlotRun:
        self.before()
        for _ in range(2):
            with suppress(Exception):  # it would end the thread that follows a training, not the run
                view.progress("train@gan", {"total": 1, "done": 1, "rungs": self.rungs})
        end = self.ends.pop(0) if self.ends else GOOD
        if isinstance(end, Exception):
            raise end
        return end


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(driver, "_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(driver, "record_trial", lambda *_: "")
    monkeypatch.setattr("flows.search.trial.read_figures", lambda *_: Figures(1.0, None, None))
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    space = {RATE: {"low": 1e-4, "high": 1e-2}}
    change_parameters(tmp_path, lambda values: values["search"].update(space=space, pruning=None))
    return tmp_path


def searched(folder: Path, trials: int, *slots: Written) -> Study:
    """Search, or go on, until the study has so many trials; what is raised has its study as `study`."""
    config = load_config(folder / "params.yaml")
    nothing = Fingerprint({})
    study = open_study(folder, "one", config.search, "fd", nothing, None)
    target = Target("gan", "evaluate@gan", "train@gan")
    stages = TrialStages((), (), (), nothing)
    plan = Plan(config, target, stages, "one", folder, "", interrupted(study, folder))
    Search(study, plan, SearchTable([RATE], "fd", None, trials, live=False), Limits(trials, None)).run(list(slots))
    return study


def states(folder: Path) -> list[TrialState]:
    study = open_study(folder, "one", load_config(folder / "params.yaml").search, "fd", Fingerprint({}), None)
    return [trial.state for trial in study.get_trials()]


def test_trials_that_could_not_run_are_tried_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults: list[SlotRun | Exception] = [
        failed("on beta: this machine has Python 3.11 instead of 3.12"),
        SlotRun(Failed(message="Flow run encountered an exception: RunError: it was taken over"), None),
        GitError("origin does not answer"),
        OSError(28, "No space left on device"),
        httpx.ConnectError("no Prefect server answers"),
    ]
    slot = Written(folder, [end for fault in faults for end in (fault, fault, GOOD)])
    searched(folder, 5, slot)
    assert states(folder) == [TrialState.COMPLETE] * 5
    assert [slot.tried.count(values) for values in slot.tried] == [3] * 15
    said = capsys.readouterr().out
    assert [said.count(f"trial {number}: interrupted: ") for number in range(5)] == [2] * 5
    assert "trial 1: interrupted: it was taken over" in said


def test_trials_whose_values_are_at_fault_have_failed(folder: Path) -> None:
    faults: list[SlotRun | Exception] = [
        failed(None, "failed: train@gan\nits last line"),
        ConfigError("width: 30 is no multiple of 8"),
        GraphError("dvc.yaml: no such stage"),
        ValueError("metrics/trained/gan.json has no fd"),
    ]
    study = searched(folder, 5, Written(folder, [GOOD, *faults]))
    assert states(folder) == [TrialState.COMPLETE, *[TrialState.FAIL] * 4]
    said = [trial.user_attrs["fault"] for trial in study.trials[1:]]
    assert said == ["its last line", *map(str, faults[1:])]


def test_if_no_machine_can_run_trials_the_search_ends_and_can_be_continued(folder: Path) -> None:
    refused = failed("on beta: this machine has dvc 1.0 instead of 3.0")
    with pytest.raises(SearchError, match=r"not at fault: on beta: .* continues the study, which has 1 trial$"):
        searched(folder, 3, Written(folder, [GOOD, *[refused] * 3]))
    assert states(folder) == [TrialState.COMPLETE, TrialState.RUNNING]
    searched(folder, 3, Written(folder))
    assert states(folder) == [TrialState.COMPLETE] * 3


def test_other_slots_take_over_from_one_that_gives_up(folder: Path) -> None:
    refused = failed("on beta: this machine has dvc 1.0 instead of 3.0")
    searched(folder, 8, Written(folder, [refused] * 100), Written(folder))
    assert states(folder) == [TrialState.COMPLETE] * 8


def test_the_last_trial_is_not_lost_with_its_slot(folder: Path) -> None:
    """The other slot has done all of its trials when it is interrupted, and waits for it."""
    bad, good = Written(folder, [failed("on beta: this machine has dvc 1.0 instead of 3.0")] * 100), Written(folder)

    def until_the_other_is_done() -> None:
        deadline = time.monotonic() + 20.0
        while len(good.tried) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)  # for it to look for another trial

    bad.before = until_the_other_is_done
    searched(folder, 4, bad, good)
    assert states(folder) == [TrialState.COMPLETE] * 4
    assert len(good.tried) == 4


def test_a_trial_that_somebody_stopped_ends_the_search(folder: Path) -> None:
    with pytest.raises(SearchError, match="a trial was stopped, and the search with it"):
        searched(folder, 3, Written(folder, [GOOD, SlotRun(Cancelled(message="stopped on request"), None)]))
    assert states(folder) == [TrialState.COMPLETE, TrialState.RUNNING]


def test_a_database_that_is_away_at_a_rung_ends_the_search_which_can_be_continued(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruning = {"first_share": 0.2, "reduction": 3, "images": 10}
    change_parameters(folder, lambda values: values["search"].update(pruning=pruning))
    asked, stopped = list[float](), list[int]()

    def is_away(share: float, _distance: float) -> bool:
        asked.append(share)
        raise OperationalError("SELECT", {}, Exception("server closed the connection"))

    slot = Written(folder)
    slot.rungs = [{"share": 0.2, "distance": 1.0}]
    with monkeypatch.context() as patched:
        patched.setattr(driver, "judge_of", lambda *_: is_away)
        patched.setattr(TrialView, "stop", lambda view: stopped.append(view.state.number))
        with pytest.raises(OperationalError, match="server closed the connection"):
            searched(folder, 2, slot)
    assert asked == [0.2]
    assert 0 in stopped
    assert states(folder) == [TrialState.RUNNING]
    study = searched(folder, 2, slot)
    assert states(folder) == [TrialState.COMPLETE] * 2
    assert [trial.intermediate_values for trial in study.trials] == [{1: 1.0}] * 2, "the rung is asked again"


def test_a_status_says_whether_the_command_or_its_machine_failed() -> None:
    assert isinstance(failed_with(1), CommandFailed)
    assert isinstance(failed_with(-9), CommandFailed)  # out of memory: with other values it may fit
    assert not failed_with(2).retryable
    full = failed_with(MACHINE_FAULT, " on beta")
    assert not isinstance(full, CommandFailed)
    assert (str(full), full.retryable) == ("status 74 on beta", True)
