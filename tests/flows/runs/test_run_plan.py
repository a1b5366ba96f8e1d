"""Plan and snapshot of a run are of one state of the workspace."""

from pathlib import Path

import pytest

from flows.git import git
from flows.runs import run_plan as module
from flows.runs.run_plan import plan_run, plan_run_in_place
from genai_core.config import ConfigError
from tests.flows.conftest import DVC_WARNS, set_parameter, shell

pytestmark = DVC_WARNS


def test_nothing_to_do(done: Path) -> None:
    run_plan = plan_run(done, [], print)
    assert run_plan.snapshot is None
    assert run_plan.plan.nothing_to_do


def test_an_edit_between_snapshot_and_plan(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are made again until their contents are the same."""
    edits = iter([5, 6])

    def edited(repo: object, graph: object) -> object:
        plan = make_plan(repo, graph)  # type: ignore[arg-type]
        if (seed := next(edits, None)) is not None:
            set_parameter(done, "models.gan.training.seed", seed)
        return plan

    make_plan = module.make_plan
    monkeypatch.setattr(module, "make_plan", edited)
    set_parameter(done, "models.gan.training.seed", 4)
    run_plan = plan_run(done, [], print)
    assert run_plan.snapshot is not None
    assert "seed: 6" in git(done, "show", f"{run_plan.snapshot.commit}:params.yaml")
    assert any("-> 6" in reason for reason in run_plan.plan["train@gan"].reasons)


def test_a_workspace_that_keeps_changing(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_plan, number = module.make_plan, iter(range(100, 200))

    def edited(repo: object, graph: object) -> object:
        set_parameter(done, "models.gan.training.seed", next(number))
        return make_plan(repo, graph)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "make_plan", edited)
    with pytest.raises(ConfigError, match="files keep changing here"):
        plan_run(done, [], print)


@pytest.mark.parametrize("in_place", [False, True])
def test_data_changed_by_hand_is_recorded_first(done: Path, in_place: bool) -> None:
    (done / "data/raw/late.txt").write_text("by hand")
    recorded = (done / "data/raw.dvc").read_text()
    run_plan = plan_run_in_place(done, []) if in_place else plan_run(done, [], print)
    assert (done / "data/raw.dvc").read_text() != recorded
    assert [entry.stage for entry in run_plan.sources] == ["data/raw.dvc"]
    assert run_plan.shown["data/raw.dvc"].reasons
    assert run_plan.plan["data/raw.dvc"].action == "keep"
    assert run_plan.shown["data/raw.dvc"].action == run_plan.shown["prepare"].action == "run"
    assert run_plan.snapshot is not None
    assert git(done, "show", f"{run_plan.snapshot.commit}:data/raw.dvc") == (done / "data/raw.dvc").read_text()
    assert shell(done, "dvc status data/raw.dvc").strip() == "Data and pipelines are up to date."
