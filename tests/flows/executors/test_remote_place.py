"""A job on a machine that has only git and the DVC remote: same hashes, little data, nothing left, nothing shared."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from flows.data.objects import RemoteError, UnreachableError
from flows.data.outputs import StoredOutput
from flows.executors.checkpoints import RemoteCheckpoints
from flows.executors.dispatch import Dispatch, published_snapshot
from flows.executors.executor import CommandFailed, JobFailed
from flows.executors.order import outcome_from
from flows.executors.remote_place import OWN_GPUS, resources_of
from flows.executors.worked import outcome_of
from flows.git import GitError, commit_of, git
from flows.graph import Needs
from flows.process import Processes
from flows.runs.place import Place, PlaceError
from flows.runs.publication import KEEP_DAYS
from flows.runs.record import RunRecord, run_folder
from flows.runs.snapshot import REFS, take_snapshot
from flows.whole_file import write_json
from genai_core.config import ConfigError
from tests.flows.conftest import DVC_WARNS, edit, set_parameter, shell
from tests.flows.executors.machines import Heard, connect, ordered, worked
from tests.flows.runs.places import locked, made, place_of

pytestmark = DVC_WARNS

UPSTREAM = ["prepare", "train@diffusion", "train@gan", "select"]
REF = f"{REFS}one"


@pytest.fixture
def bare(fresh: Path) -> Path:
    return connect(fresh)


@pytest.fixture
def place(fresh: Path, bare: Path) -> Iterator[Place]:
    with place_of(fresh) as place:
        yield place


@pytest.fixture
def dispatch(fresh: Path, place: Place) -> Iterator[Dispatch]:
    variables = {"TOY_DIARY": str(fresh.parent / "diary")}
    with (
        published_snapshot(fresh, "one", take_snapshot(fresh).commit) as address,
        closing(Dispatch(place, address, variables)) as dispatch,
    ):
        yield dispatch


def objects(store: Path) -> set[str]:
    return {path.parent.name + path.name for path in (store / "files" / "md5").glob("??/*")}


def test_two_machines_make_what_one_makes(fresh: Path, done: Path, dispatch: Dispatch, place: Place) -> None:
    commit, homes = take_snapshot(fresh).commit, [fresh.parent / "home a", fresh.parent / "home-b"]
    for number, stage in enumerate(UPSTREAM):
        order = ordered(dispatch, place, stage, commit, REF)
        outcome, heard = worked(order, homes[number % 2])
        assert f"{stage} did 1 steps" in heard.lines
        result = dispatch.take(order, outcome_from(outcome.text()), print)
        assert (result.ran, result.entry) == (True, locked(done)[stage])
    place.copy_lock(fresh.parent / "dvc.lock")  # entries of other machines are written together
    assert locked(fresh.parent) == locked(done)
    assert (place.folder / "metrics/gan.json").read_bytes() == (done / "metrics/gan.json").read_bytes()
    for home in homes:  # the clone, the cache and the records stay, the places do not
        (own,) = home.iterdir()
        assert sorted(path.name for path in own.iterdir()) == ["cache", "genai", "jobs", "lock", "repository.git"]
        assert list((own / "jobs").iterdir()) == []
        assert git(own / "repository.git", "worktree", "list").count("\n") == 1
    # The machine that did not prepare never got the raw images.
    raw = shell(fresh, "cat data/raw.dvc").split("md5: ")[1].split()[0]
    assert [raw in objects(next(home.glob("*/cache"))) for home in homes] == [True, False]


def test_the_snapshot_is_at_the_git_remote_while_the_run_lives(fresh: Path, bare: Path) -> None:
    commit = take_snapshot(fresh).commit
    # Runs of this workspace of which one was killed, so that it may be resumed; of another clone; a forgotten one.
    for state in ("running", "completed"):
        with run_folder(fresh, state) as (folder, _lock):
            record = RunRecord(state, commit, None, None, (), (), "", "", 1, state=state)
            write_json(folder / "run.json", asdict(record))
    for name in ("running", "completed", "foreign", "20200101-000000-ab12"):
        shell(fresh, f"git push -q origin HEAD:{REFS}{name}")
    with published_snapshot(fresh, "one", commit):
        assert commit_of(bare, REF) == commit
        names = git(bare, "for-each-ref", "--format=%(refname)", REFS).split()
    assert names == [f"{REFS}foreign", REF, f"{REFS}running"]
    assert git(bare, "for-each-ref", "--format=%(refname)", REFS).split() == [f"{REFS}foreign", f"{REFS}running"]


@pytest.mark.parametrize(("state", "stays"), [("completed", False), ("failed", True), ("stopped", True)])
def test_a_run_that_is_not_completed_stays_at_the_git_remote(fresh: Path, bare: Path, state: str, stays: bool) -> None:
    commit = take_snapshot(fresh).commit
    with run_folder(fresh, "one") as (folder, _lock):
        record = RunRecord("one", commit, None, "main", (), (), "2026-11-23T10:10:10+00:00", "", 1)
        write_json(folder / "run.json", asdict(record))
        with published_snapshot(fresh, "one", commit):
            write_json(folder / "run.json", asdict(replace(record, state=state)))  # type: ignore[arg-type]
    assert bool(shell(bare, f"git for-each-ref {REFS}")) == stays


def test_a_stage_fetches_only_what_it_reads(fresh: Path, dispatch: Dispatch, place: Place) -> None:
    made(place, "prepare")
    assert [(read.path, read.parts) for read in place.reads("train@gan", ())] == [("out/prepared", None)]
    assert [read.path for read in place.reads("train@gan", ("data/raw",))] == ["out/prepared", "data/raw"]
    with pytest.raises(PlaceError, match=r"meta\.reads: out/train/gan is no output of an upstream stage"):
        place.reads("train@gan", ("out/train/gan",))
    # A file of a folder: the others are not fetched.
    (part,) = (replace(read, parts=("a",)) for read in place.reads("train@gan", ()))
    order = ordered(dispatch, place, "train@gan", take_snapshot(fresh).commit, REF)
    with pytest.raises(PlaceError, match="out/prepared differs here from the run's own checkout"):
        worked(replace(order, reads=(part,)), fresh.parent / "home")
    (cache,) = (fresh.parent / "home").glob("*/cache")
    assert len(objects(cache)) == 2  # the listing and the file


def test_a_second_job_of_the_same_inputs_moves_and_runs_nothing(fresh: Path, dispatch: Dispatch, place: Place) -> None:
    commit, home = take_snapshot(fresh).commit, fresh.parent / "home"
    first, _ = worked(ordered(dispatch, place, "prepare", commit, REF), home)
    (own,) = home.iterdir()
    for name, days in (("abandoned", KEEP_DAYS + 1), ("interrupted", KEEP_DAYS - 1)):
        (own / "genai/checkpoints" / name).mkdir()
        os.utime(own / "genai/checkpoints" / name, (time.time() - days * 86_400,) * 2)
    again, heard = worked(ordered(dispatch, place, "prepare", commit, REF), home)
    assert (again.entry, again.ran, again.attempt) == (first.entry, False, 2)
    assert heard.lines == ["fetched 0 objects, 0.0 MB", "sent 0 objects, 0.0 MB"]
    assert sorted(path.name for path in (own / "genai/checkpoints").iterdir())[1:] == ["interrupted"]


def test_checkpoints_that_cannot_be_deleted_harm_no_result(
    fresh: Path, dispatch: Dispatch, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: RemoteCheckpoints) -> None:
        raise UnreachableError("away")

    monkeypatch.setattr(RemoteCheckpoints, "delete", fail)
    outcome, _ = worked(ordered(dispatch, place, "prepare", take_snapshot(fresh).commit, REF), fresh.parent / "home")
    assert outcome.entry is not None


def test_late_and_foreign_outcomes_are_not_current(fresh: Path, dispatch: Dispatch, place: Place) -> None:
    commit = take_snapshot(fresh).commit
    lost = ordered(dispatch, place, "prepare", commit, REF)
    late, _ = worked(lost, fresh.parent / "home-a")
    assert dispatch.is_current(lost, late)
    order = ordered(dispatch, place, "prepare", commit, REF)  # its worker was given up
    assert not dispatch.is_current(lost, late)
    assert not dispatch.is_current(order, late)
    good, _ = worked(order, fresh.parent / "home-b")
    assert dispatch.is_current(order, good)
    assert not dispatch.is_current(order, replace(good, key="0" * 32))
    # A result of other inputs is never taken over, whatever its attempt.
    assert good.entry is not None
    forged = {**good.entry, "cmd": "python work.py"}
    with pytest.raises(PlaceError, match="made from other inputs: the command"):
        dispatch.take(order, replace(good, entry=forged), print)


def test_failures_say_what_and_where(
    fresh: Path, dispatch: Dispatch, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, home = take_snapshot(fresh).commit, fresh.parent / "home"
    order = ordered(dispatch, place, "prepare", commit, REF)
    other = replace(order.software, python="3.9", packages={"dvc": "1.0"}, code="f" * 12)
    with pytest.raises(
        PlaceError, match=r"Python 3\.\d+ instead of 3\.9; code of the pipeline \w{12} instead of f{12}"
    ):
        worked(replace(order, software=other), home)
    monkeypatch.setenv("GENAI_WORKER_HOME", str(home))
    refused = outcome_of(replace(order, software=other), Heard(), Processes())
    assert (refused.retryable, refused.is_command_fault) == (False, False)
    with pytest.raises(GitError, match=r"nowhere\.git: the run's snapshot .* cannot be fetched"):
        worked(replace(order, repository=str(fresh / "nowhere.git")), home)
    monkeypatch.setenv("TOY", '{"prepare": {"exit": 2}}')
    with pytest.raises(CommandFailed, match="status 2") as failure:
        worked(order, home)
    assert not failure.value.retryable
    with pytest.raises(CommandFailed, match="status 2"):
        dispatch.take(order, outcome_of(order, Heard(), Processes()), print)
    with pytest.raises(JobFailed, match="this machine has Python") as not_executed:
        dispatch.take(order, refused, print)
    assert not isinstance(not_executed.value, CommandFailed)
    shutil.rmtree(fresh.parent / "store")
    with pytest.raises(RemoteError, match="store: data/raw"):
        worked(order, fresh.parent / "another home")


def test_jobs_that_have_their_gpus_for_themselves_do_not_wait_for_each_other(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs of Slurm on one node: both see their GPU as number 0."""
    set_parameter(fresh, "compute.accelerator", "auto")
    other = shutil.copytree(fresh, tmp_path / "other", symlinks=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for own, second in (("1", ("0",)), ("", None)):
        monkeypatch.setenv(OWN_GPUS, own)
        needs, tries = Needs(gpus=1), iter([False, True])
        with (
            resources_of(fresh).lease(needs, lambda: False) as lease,
            resources_of(other).lease(needs, lambda: next(tries)) as another,  # noqa: B023
        ):
            assert lease is not None
            assert lease.gpus == ("0",)
            assert (another.gpus if another else None) == second


def test_a_run_needs_a_git_remote(fresh: Path) -> None:
    with (
        pytest.raises(ConfigError, match="there is none; add one that all of them reach"),
        published_snapshot(fresh, "one", "HEAD"),
    ):
        pass


def test_an_input_whose_size_cannot_be_read_is_no_reason_to_fail(fresh: Path, place: Place, dispatch: Dispatch) -> None:
    listing = StoredOutput("data", "0123456789abcdef0123456789abcdef.dir", None, ("a",))
    assert dispatch.size_of(listing) == 0
    (fresh / ".dvc/cache/files/md5" / listing.oid[:2] / listing.oid[2:]).mkdir(parents=True)
    with pytest.raises(RemoteError):
        place.size_of(listing)
    assert dispatch.size_of(listing) == 0


def test_edited_code_reaches_the_other_machine(fresh: Path, bare: Path) -> None:
    edit(fresh / "work.py", "import json", "import json  # edited, not committed")
    set_parameter(fresh, "data.image_size", 8)
    with place_of(fresh) as place:
        commit = take_snapshot(fresh).commit
        with published_snapshot(fresh, "one", commit) as address:
            dispatch = Dispatch(place, address, {})
            order = ordered(dispatch, place, "prepare", commit, REF)
            outcome, _ = worked(order, fresh.parent / "home")
            entry = dispatch.take(order, outcome, print).entry
    assert entry["params"]["params.yaml"]["data"]["image_size"] == 8
    assert shell(bare, "git for-each-ref refs/heads").split()[2:] == ["refs/heads/main"]
