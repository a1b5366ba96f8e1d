"""Two processes that hold one run on an engine: the one that took it over goes on, the other hears of it and ends."""

from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from flows.data import outputs
from flows.data.objects import UnreachableError
from flows.executors import dispatch, holding
from flows.executors.dispatch import published_snapshot
from flows.git import commit_of
from flows.runs.publication import published_hash, withdraw
from flows.runs.record import RunError, RunRecord, run_folder
from flows.whole_file import write_json
from tests.flows.clones import fresh_clone
from tests.flows.conftest import shell, wait_for
from tests.flows.runs.test_record import RECORD

SOON = 20.0


@pytest.fixture
def alpha(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(holding, "CHECK_S", 0.1)
    folder = tmp_path / "alpha"
    shell(tmp_path, f"git init -q -b main {folder} && git init -q --bare -b main {tmp_path / 'origin.git'}")
    shell(folder, f"git commit -q --allow-empty -m first && git remote add origin {tmp_path / 'origin.git'}")
    shell(folder, "git push -q origin main")
    return folder


def write_record(workspace: Path, **values: str) -> RunRecord:
    record = replace(RECORD, snapshot=commit_of(workspace), **values)  # type: ignore[arg-type]
    with run_folder(workspace, record.id) as (folder, _):
        write_json(folder / "run.json", asdict(record))
    return record


def test_a_coordinator_that_lost_the_run_ends_and_leaves_what_is_there(alpha: Path) -> None:
    beta, told = fresh_clone(alpha.parent / "origin.git", alpha.parent / "beta"), list[bool]()
    run = write_record(alpha)
    holds = published_snapshot(alpha, run.id, run.snapshot, lambda: told.append(True))
    holds.__enter__()
    write_record(beta, resumed="2026-11-23T11:10:10+00:00")
    with published_snapshot(beta, run.id, run.snapshot, lambda: pytest.fail("beta has lost it")):
        wait_for(lambda: told, SOON)
        write_record(alpha, state="completed")  # just before it saw that
        there = published_hash(beta, "origin", run.id)
        with pytest.raises(RunError, match=f"run {run.id} was taken over by process .* in {beta} on"):
            holds.__exit__(None, None, None)
        assert published_hash(beta, "origin", run.id) == there is not None
        write_record(beta, state="completed")
    assert published_hash(beta, "origin", run.id) is None


def test_the_dvc_remote_may_be_away_at_the_end_of_a_run(alpha: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = list[str]()

    def clean(_workspace: Path, run: str) -> None:
        cleaned.append(run)
        if len(cleaned) == 1:
            raise UnreachableError("s3://store: no answer")

    monkeypatch.setattr(dispatch, "_clean_remote", clean)
    monkeypatch.setattr(outputs, "WAITS_S", (0.0,))
    run = write_record(alpha)
    with published_snapshot(alpha, run.id, run.snapshot):
        write_record(alpha, state="completed")
    assert cleaned == [run.id] * 2
    assert published_hash(alpha, "origin", run.id) is None


def test_what_a_run_left_that_was_killed_at_its_very_end_is_deleted_by_the_next(
    alpha: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned = list[str]()
    monkeypatch.setattr(dispatch, "_clean_remote", lambda _workspace, run: cleaned.append(run))
    old, new = write_record(alpha), replace(RECORD, id="29991123-101010-ab12", snapshot=commit_of(alpha))
    published_snapshot(alpha, old.id, old.snapshot).__enter__()
    write_record(alpha, state="completed")
    with published_snapshot(alpha, new.id, new.snapshot):
        assert cleaned == [old.id]
        assert published_hash(alpha, "origin", old.id) is None


def test_a_run_that_is_gone_at_the_remote_says_so(alpha: Path) -> None:
    told, run = list[bool](), write_record(alpha)
    holds = published_snapshot(alpha, run.id, run.snapshot, lambda: told.append(True))
    holds.__enter__()
    withdraw(alpha, "origin", [run.id])
    wait_for(lambda: told, SOON)
    with pytest.raises(RunError, match=f"is no longer at the git remote.*genai run --resume {run.id}"):
        holds.__exit__(None, None, None)


def test_a_holder_that_nobody_replaced_hears_nothing(alpha: Path) -> None:
    run = write_record(alpha)
    with published_snapshot(alpha, run.id, run.snapshot, lambda: pytest.fail("it was not lost")):
        for _ in range(3):
            shell(alpha, "git -c gc.auto=0 ls-remote -q origin")


def test_a_run_in_a_checkout_of_its_own_keeps_what_it_has_while_it_lives(
    alpha: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of a search run side by side; nobody could resume them by their ids."""
    cleaned = list[str]()
    monkeypatch.setattr(dispatch, "_clean_remote", lambda _workspace, run: cleaned.append(run))
    trial, other = write_record(alpha, place="slot-0"), replace(RECORD, id="29991123-101010-ab12")
    holds = published_snapshot(alpha, trial.id, trial.snapshot)
    holds.__enter__()
    for is_alive in (True, False):
        with ExitStack() as stack:
            if is_alive:
                stack.enter_context(run_folder(alpha, trial.id))
            stack.enter_context(published_snapshot(alpha, other.id, trial.snapshot))
            assert (published_hash(alpha, "origin", trial.id) is not None) == is_alive
    assert trial.id in cleaned
