"""The start and the end of a run: its results reach the workspace, and nothing is left of killed runs."""

import shutil
import time
from pathlib import Path

import pytest

from flows.git import git
from flows.runs import active_run as module
from flows.runs.acceptance import Verdict
from flows.runs.active_run import Acceptance, finish_run, resume_run, start_run
from flows.runs.checkout import open_detached
from flows.runs.job import Job, Result
from flows.runs.leftovers import sweep
from flows.runs.one_at_a_time import FOLDER
from flows.runs.place import open_place
from flows.runs.record import CHECKOUT, RUNS, RunError, read_runs, run_folder
from flows.runs.run_plan import RunPlan, plan_run
from tests.flows.conftest import DVC_WARNS, edit, genai, set_parameter
from tests.flows.runs.places import locked, made
from tests.flows.test_results import FIGURES, write

pytestmark = DVC_WARNS


def planned(workspace: Path) -> RunPlan:
    run_plan = plan_run(workspace, [], print)
    assert run_plan.snapshot is not None
    return run_plan


def worktrees(workspace: Path) -> int:
    return git(workspace, "worktree", "list", "--porcelain").count("worktree ")


def test_a_run_and_its_results(done: Path) -> None:
    """Results are accepted when they are ready; one kept out by an edit is accepted once the edit is undone."""
    set_parameter(done, "models.gan.training.seed", 5)
    run_plan = planned(done)
    with start_run(done, run_plan, []) as run:
        assert worktrees(done) == 2
        assert read_runs(done)[0].state == "running"
        assert run.acceptance is not None
        edit(done / "work.py", "import json", "import json  # edited")
        for stage in ("train@gan", "select"):
            run.acceptance.offer(made(run.place, stage))
        run.acceptance.stop()
        assert locked(done) != locked(run.place.folder)
        edit(done / "work.py", "import json  # edited", "import json")
        record = finish_run(run, "completed", "2 stages")
        assert locked(done) == locked(run.place.folder)
    assert worktrees(done) == 1
    assert read_runs(done) == [record]
    assert (record.state, record.planned) == ("completed", ("train@gan", "select"))
    assert {"params.yaml", "dvc.lock"} <= set(record.changed)
    assert not [stage for stage in record.stages.values() if stage.left]
    assert plan_run(done, [], print).snapshot is None


def test_rejected_results_are_reported(done: Path) -> None:
    set_parameter(done, "models.gan.training.seed", 5)
    before = locked(done)
    with start_run(done, planned(done), []) as run:
        assert run.acceptance is not None
        set_parameter(done, "models.gan.training.seed", 6)
        for stage in ("train@gan", "select"):
            run.acceptance.offer(made(run.place, stage))
        record = finish_run(run, "completed", "")
    assert {name: stage.left for name, stage in record.stages.items()} == {
        "train@gan": "params.yaml models.gan.training changed here after the run began",
        "select": "out/train changed here after the run began",
    }
    assert read_runs(done) == [record]
    assert locked(done) == before


def test_a_run_has_only_its_own_figures(done: Path) -> None:
    """Metrics files of its parent commit, from stages that it did not reach, do not count."""
    for name in ("trained/gan", "trained/diffusion", "finetuned"):
        write(done / "metrics" / f"{name}.json", FIGURES)
    set_parameter(done, "models.gan.training.seed", 5)
    with start_run(done, planned(done), []) as run:
        run.recorder.finished("evaluate@diffusion", "kept", 0.0)
        run.recorder.finished("train@gan", "ran", 3.0)
        run.recorder.started("evaluate@gan")
        run.recorder.finished("evaluate@gan", "stopped", 1.0)
        run.recorder.finished("evaluate-finetuned", "skipped", 0.0)
        record = finish_run(run, "stopped", "stopped on request")
    assert [row["model"] for row in record.figures] == ["trained/diffusion"]


def test_an_error_during_a_run_leaves_nothing(done: Path) -> None:
    set_parameter(done, "models.gan.training.seed", 5)
    with pytest.raises(ValueError, match="fault"), start_run(done, planned(done), []) as run:
        raise ValueError("fault")
    assert run.acceptance is not None
    assert not run.acceptance._thread.is_alive()
    assert worktrees(done) == 1
    assert [(record.state, record.message) for record in read_runs(done)] == [("failed", "fault")]
    with resume_run(done, run.id, print) as (again, run_plan):
        assert again.id == run.id
        assert run_plan.snapshot is not None
        assert run_plan.snapshot.commit == again.recorder.record.snapshot
        assert run_plan.plan["train@gan"].action == "run"
        with pytest.raises(RunError, match="is active"), resume_run(done, run.id, print):
            pass
    assert worktrees(done) == 1


def test_a_resumed_run_keeps_its_history(done: Path) -> None:
    """The first attempt ran a training and kept a model; the second keeps both records, and is stopped at once."""
    for name in ("trained/gan", "trained/diffusion"):
        write(done / "metrics" / f"{name}.json", FIGURES)
    set_parameter(done, "models.gan.training.seed", 5)
    with start_run(done, planned(done), []) as run:
        run.recorder.finished("evaluate@diffusion", "kept", 0.0)
        run.recorder.started("train@gan")
        run.recorder.finished("train@gan", "ran", 44.5)
        run.recorder.finished("evaluate@gan", "ran", 5.0)
        run.recorder.started("select")
        run.recorder.finished("select", "stopped", 1.0)
        first = finish_run(run, "stopped", "")
    with resume_run(done, run.id, print) as (again, _):
        assert set(again.recorder.record.stages) == {"evaluate@diffusion", "train@gan", "evaluate@gan"}
        again.recorder.finished("train@gan", "restored", 0.1)
        second = finish_run(again, "stopped", "")
    assert (second.began, first.resumed) == (first.began, None)
    assert second.resumed is not None
    assert second.stages == {name: stage for name, stage in first.stages.items() if name != "select"}
    assert second.figures == first.figures
    assert len(first.figures) == 2
    with resume_run(done, run.id, print) as (again, _):
        finish_run(again, "completed", "")
    with pytest.raises(RunError, match="is completed"), resume_run(done, run.id, print):
        pass


def test_acceptance_continues_after_an_error(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is reported for its result, and later results are accepted."""

    def accept(_workspace: Path, _place: Path, pairs: list[tuple[Result, object]]) -> list[Verdict]:
        if any(result.job.stage == "first" for result, _ in pairs):
            raise RuntimeError("nobody foresaw it")
        return [Verdict(result.job.stage, None) for result, _ in pairs]

    monkeypatch.setattr(module, "accept", accept)
    with open_place(fresh) as place:
        acceptance = Acceptance(fresh, place, tmp_path, module.Plan(()))
        for stage in ("first", "second"):
            acceptance.offer(Result(Job("run", "commit", stage, {}), {}, ran=True))
        assert acceptance.close() == {"first": "RuntimeError: nobody foresaw it"}


def test_results_that_come_after_slow_ones_are_accepted_together(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To accept results takes long in a large pipeline. The end of a run does not wait for the pause."""
    accepted: list[list[str]] = []

    def accept(_workspace: Path, _place: Path, pairs: list[tuple[Result, object]]) -> list[Verdict]:
        time.sleep(0.2)
        accepted.append([result.job.stage for result, _ in pairs])
        return [Verdict(result.job.stage, None) for result, _ in pairs]

    monkeypatch.setattr(module, "accept", accept)
    monkeypatch.setattr(module, "PAUSE", 100.0)
    with open_place(fresh) as place:
        acceptance = Acceptance(fresh, place, tmp_path, module.Plan(()))
        for stage in ("first", "second", "third"):
            acceptance.offer(Result(Job("run", "commit", stage, {}), {}, ran=True))
            while not accepted:
                time.sleep(0.01)
            time.sleep(0.1)  # without a pause, the second one would be accepted before the third one comes
        began = time.monotonic()
        assert acceptance.close() == {}
        assert accepted == [["first"], ["second", "third"]]
        assert time.monotonic() - began < 5.0


def test_files_of_killed_runs_are_removed(fresh: Path) -> None:
    for run in ("20261122-101010-dead", "20261123-101010-live"):
        open_detached(fresh, "HEAD", fresh / RUNS / run / CHECKOUT)
    (fresh / FOLDER).mkdir()
    (fresh / FOLDER / "job").touch()
    with run_folder(fresh, "20261123-101010-live") as (folder, _):
        sweep(fresh)
        assert worktrees(fresh) == 2
        assert (folder / CHECKOUT / "params.yaml").is_file()
    assert not (fresh / RUNS / "20261122-101010-dead" / CHECKOUT).exists()
    assert not list((fresh / FOLDER).iterdir())
    shutil.rmtree(folder / CHECKOUT)  # somebody removed it: git forgets it too
    (folder / CHECKOUT).mkdir()
    sweep(fresh)
    assert worktrees(fresh) == 1


def test_a_run_with_nothing_to_do_removes_what_a_killed_one_left(done: Path) -> None:
    """It was killed together with its keeper, so nothing else removes its checkout."""
    left = open_detached(done, "HEAD", done / RUNS / "some" / CHECKOUT)
    answer = genai(done, "run")
    assert (answer.returncode, left.exists()) == (0, False), answer.stderr
    assert "to keep" in answer.stdout
    assert git(done, "worktree", "list", "--porcelain").count("worktree ") == 1
