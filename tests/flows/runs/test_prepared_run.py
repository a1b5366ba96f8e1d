"""A run begins before Prefect is loaded: later edits are not part of it, and its end is recorded."""

from pathlib import Path

import pytest

from flows.git import git
from flows.runs.prepared_run import handed, handed_to_flow, prepare_run
from flows.runs.record import CHECKOUT, RUNS, read_runs
from tests.flows.conftest import DVC_WARNS, Server, ended, parameter, set_parameter, started_genai

pytestmark = DVC_WARNS
SEED = "models.gan.training.seed"


def test_state_before_the_first_stage(done: Path) -> None:
    set_parameter(done, SEED, 5)
    with prepare_run(done, (), None, print) as prepared:
        assert prepared.active is not None
        (run,) = read_runs(done)
        assert (run.id, run.state, run.planned) == (prepared.active.id, "running", ("train@gan", "select"))
        assert prepared.notes == (f"run {run.id} works on a snapshot of main, uncommitted files: {len(run.changed)}",)
        assert parameter(done / RUNS / run.id / CHECKOUT, SEED) == 5
        assert handed() is None
        with handed_to_flow(prepared):
            assert handed() is prepared
        assert handed() is None
    assert not (done / RUNS / run.id / CHECKOUT).exists()


def test_the_executor_is_recorded_at_once_and_a_resumed_run_keeps_it(done: Path) -> None:
    """A run that is killed while Prefect loads is resumed on the same machines."""
    set_parameter(done, SEED, 5)
    for resumed, chosen, recorded in ((False, "local", "local"), (True, None, "local"), (True, "pool", "pool")):
        name = read_runs(done)[0].id if resumed else None
        with prepare_run(done, (), name, print, executor=chosen):
            pass
        assert read_runs(done)[0].executor == recorded


def test_no_run_begins_if_there_is_nothing_to_do(done: Path) -> None:
    with prepare_run(done, (), None, print) as prepared:
        assert prepared.active is None
        assert prepared.notes == ()
    assert read_runs(done) == []


def test_a_run_whose_flow_was_never_called_is_recorded_as_stopped(done: Path) -> None:
    """As if a user cancels it at the server before it begins."""
    set_parameter(done, SEED, 5)
    with prepare_run(done, (), None, print):
        pass
    (run,) = read_runs(done)
    assert (run.state, run.message) == ("stopped", "ended before a stage began")


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (ValueError("no server\nhere"), "failed", "no server"),
        (KeyboardInterrupt(), "stopped", "ended before a stage began"),
        (SystemExit(143), "stopped", "ended before a stage began"),
    ],
)
def test_an_error_before_the_flow_is_recorded(done: Path, error: BaseException, state: str, message: str) -> None:
    set_parameter(done, SEED, 5)
    with pytest.raises(type(error)), prepare_run(done, (), None, print):
        raise error
    (run,) = read_runs(done)
    assert (run.state, run.message) == (state, message)
    assert git(done, "worktree", "list", "--porcelain").count("worktree ") == 1
    # It can be resumed like any other run.
    with prepare_run(done, (), run.id, print) as prepared:
        assert prepared.active is not None
        assert prepared.run_plan.plan["train@gan"].action == "run"


def test_edits_after_the_first_line_are_not_part_of_the_run(fresh: Path, server: Server) -> None:
    """While Prefect is still loading."""
    before = parameter(fresh, SEED)
    with started_genai(fresh, "run", "train", api_url=server.url) as process:
        assert process.stdout is not None
        while "works on a snapshot" not in process.stdout.readline():
            assert process.poll() is None
        assert not list((fresh / ".genai/toy").glob("*"))
        set_parameter(fresh, SEED, 777)
        status, output = ended(process, 60.0)
    assert status == 0, output
    assert "train@gan: only in DVC's cache, not in this checkout: params.yaml models.gan.training" in output
    assert not (fresh / "out/train/gan").exists()
    (run,) = read_runs(fresh)
    assert f"seed: {before}" in git(fresh, "show", f"{run.snapshot}:params.yaml")
