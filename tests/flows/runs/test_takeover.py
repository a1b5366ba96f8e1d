"""A run whose machine died goes on in a clone that has only the git and the DVC remote."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from flows.data.objects import RemoteError
from flows.executors.dispatch import Dispatch, published_snapshot
from flows.executors.order import Order
from flows.git import git
from flows.runs.prepared_run import prepare_run
from flows.runs.record import RunError, RunRecord, read_runs, run_folder
from flows.runs.snapshot import REFS
from flows.whole_file import write_json
from tests.flows.clones import fresh_clone
from tests.flows.conftest import DVC_WARNS, set_parameter, shell
from tests.flows.executors.machines import connect, node_of, ordered, worked
from tests.flows.runs.places import locked

pytestmark = DVC_WARNS


@contextmanager
def published(home: Path, stage: str, executor: str | None = None) -> Iterator[tuple[RunRecord, Dispatch, Order]]:
    """A run whose snapshot is at the git remote, and an order of its stage `prepare`."""
    with prepare_run(home, (stage,), None, print, executor=executor) as prepared:
        assert prepared.active is not None
        prepared.active.recorder.set(is_published=executor is not None)
        run, place = prepared.active.recorder.record, prepared.active.place
        with published_snapshot(home, run.id, run.snapshot) as address:
            dispatch = Dispatch(place, address, {})
            yield run, dispatch, ordered(dispatch, place, "prepare", run.snapshot, f"{REFS}{run.id}")


def test_a_clone_takes_a_run_over_with_its_results(fresh: Path) -> None:
    bare = connect(fresh)
    set_parameter(fresh, "data.image_size", 8)  # not committed: only the snapshot has it
    home = fresh.parent / "home"
    with published(fresh, "train@gan") as (first, dispatch, order):
        assert dispatch.known(order.job, print) is None
        outcome, _ = worked(order, home)  # and the coordinator dies before it has heard of it
    clone = fresh_clone(bare, fresh.parent / "beta")
    said: list[str] = []
    with prepare_run(clone, (), first.id[-4:], said.append) as again:
        assert again.active is not None
        assert f"process {first.pid} in {fresh} on" in said[0]
        assert (again.asked, again.run_plan.plan["train@gan"].action) == (("train@gan",), "run")
        record, place = again.active.recorder.record, again.active.place
        assert (record.id, record.snapshot, record.began) == (first.id, first.snapshot, first.began)
        dispatch = Dispatch(place, str(bare), {})
        job = place.job(record.id, record.snapshot, "prepare", {})
        result = dispatch.known(job, print)
        assert result is not None
        assert (result.entry, result.ran) == (outcome.entry, True)
        place.copy_lock(clone.parent / "dvc.lock")  # entries of other machines are written together
        assert locked(clone.parent)["prepare"]["params"]["params.yaml"]["data"]["image_size"] == 8
        # The next stage finds its inputs.
        order = dispatch.order(
            node_of(place, "train@gan"), place.job(record.id, record.snapshot, "train@gan", {}), print
        )
        assert [read.path for read in order.reads] == ["out/prepared"]
    assert read_runs(clone)[0].state == "stopped"
    assert git(bare, "for-each-ref", "--format=%(refname)", REFS).split() == [f"{REFS}{first.id}"]


def test_a_result_whose_outputs_are_lost_is_made_again(fresh: Path) -> None:
    connect(fresh)
    with published(fresh, "prepare") as (_, dispatch, order):
        outcome, _ = worked(order, fresh.parent / "home")
        assert outcome.entry is not None
        (lost,) = (out["md5"] for out in outcome.entry["outs"] if out["path"] == "out/prepared")
        (fresh.parent / "store/files/md5" / lost[:2] / lost[2:]).unlink()
        said: list[str] = []
        assert dispatch.known(order.job, said.append) is None
        assert "the result of an earlier attempt is not complete, so the stage runs again" in said[0]


def test_what_is_missing_for_a_takeover_is_named(fresh: Path) -> None:
    bare = connect(fresh)
    with prepare_run(fresh, (), None, print) as prepared:
        assert prepared.active is not None
        run = prepared.active.recorder.record
        with published_snapshot(fresh, run.id, run.snapshot):
            pass
    clone = fresh_clone(bare, fresh.parent / "beta")
    with (
        pytest.raises(RunError, match="no run matches 'nothing', neither here nor at the git remote"),
        prepare_run(clone, (), "nothing", print),
    ):
        pass
    with (
        pytest.raises(RemoteError, match=r"the run's data are not at the DVC remote: .*data/raw"),
        prepare_run(clone, (), run.id, print),
    ):
        pass
    # Once they are there, the second attempt finds them. It knows the run already, as one that used other machines.
    shell(fresh, "dvc push -q")
    with run_folder(clone, run.id) as (folder, _lock):
        write_json(folder / "run.json", asdict(replace(run, executor="pool")))
    with prepare_run(clone, (), run.id, print) as again:
        assert again.run_plan.plan["data/raw.dvc"].action == "restore"
    shell(clone, "git remote set-url origin nowhere.git")
    with (
        pytest.raises(RunError, match="no run here matches 'nothing', and the git remote cannot be asked"),
        prepare_run(clone, (), "nothing", print),
    ):
        pass
