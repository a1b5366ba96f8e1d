"""The process of a job on an engine's worker: its events, its end when it is not wanted any more, its death."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.executors import forked_job
from flows.executors.dispatch import Dispatch, published_snapshot
from flows.executors.job_runner import run_order
from flows.executors.order import Order, outcome_from
from flows.runs.snapshot import REFS, take_snapshot
from tests.flows.conftest import DVC_WARNS, wait_for
from tests.flows.executors.machines import connect, ordered
from tests.flows.runs.places import locked, place_of
from tests.project import ROOT

pytestmark = DVC_WARNS


@pytest.fixture
def order(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Order]:
    """The order of the stage `prepare`, and a worker's home."""
    connect(fresh)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("GENAI_WORKER_HOME", str(fresh.parent / "home"))
    monkeypatch.setenv("TOY_DIARY", str(fresh.parent / "diary"))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # as Ray and Dask do
    monkeypatch.setattr(forked_job, "_server", None)
    commit = take_snapshot(fresh).commit
    with place_of(fresh) as place, published_snapshot(fresh, "one", commit) as address:
        yield ordered(Dispatch(place, address, {}), place, "prepare", commit, f"{REFS}one")
    if forked_job._server is not None:
        forked_job._server.close()


def places(home: Path) -> list[Path]:
    return list(home.glob("*/jobs/*/checkout"))


def test_events_come_as_they_happen_and_the_outcome_last(order: Order, done: Path) -> None:
    events: list[Any] = [event for batch in run_order(order.text(), lambda: False) for event in json.loads(batch)]
    kinds = [kind for kind, _ in events]
    assert kinds.index("started") < kinds.index("progress")
    assert ["line", "prepare did 1 steps"] in events
    assert kinds[-1] == "outcome"
    outcome = outcome_from(events[-1][1])
    assert (outcome.entry, outcome.attempt) == (locked(done)["prepare"], 1)
    # An order of another version of the code is named.
    (batch,) = run_order(order.text().replace('"reads"', '"red"'), lambda: False)
    ((kind, why),) = json.loads(batch)
    assert (kind, "written by another version" in why) == ("broken", True)


def test_an_unexpected_error_is_an_event(order: Order, fresh: Path) -> None:
    (fresh.parent / "home").write_text("a file where the worker's home should be")
    *_, last = (event for batch in run_order(order.text(), lambda: False) for event in json.loads(batch))
    assert last[0] == "broken"
    assert "on " in last[1]
    assert "Error: " in last[1]
    assert "home" in last[1]


def test_it_ends_with_its_stage_when_it_is_cancelled_or_killed(
    order: Order, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, cancelled = fresh.parent / "home", fresh.parent / "cancelled"
    monkeypatch.setenv("TOY", json.dumps({"prepare": {"until": str(fresh.parent / "never")}}))

    def began(batch: str) -> bool:
        return "prepare begins" in batch

    batches = run_order(order.text(), cancelled.exists)
    assert any(began(batch) for batch in batches)
    cancelled.touch()
    assert list(batches) == []
    assert places(home) == []

    batches = run_order(order.text(), lambda: False)
    assert any(began(batch) for batch in batches)
    assert forked_job._server is not None
    (child,) = psutil.Process(forked_job._server._process.pid).children()
    os.kill(child.pid, signal.SIGKILL)
    assert json.loads(list(batches)[-1])[-1] == ["lost", "its process was ended by signal 9"]
    wait_for(lambda: not places(home), 20.0)  # the keeper's work
