"""An attempt at a Dask cluster whose coordinator stood still: what came meanwhile is heard before it is judged."""

import json
import queue
import time
from types import SimpleNamespace
from typing import Any

import pytest

from flows.executors import dask_engine
from flows.executors.dask_engine import DaskAttempt, Task

PLACED = {"attempt": "x", "execution": "ab", "batch": json.dumps([["placed", {"worker": "w"}]])}


class Site:
    """Counts what was submitted and cancelled, as the scheduler would see it."""

    def __init__(self) -> None:
        self.submitted: list[tuple[str, ...]] = []
        self.cancelled = 0
        self.batches: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def submit(self, workers: tuple[str, ...]) -> Task:
        self.submitted.append(workers)
        future: Any = SimpleNamespace(key="genai-x?", done=lambda: False, cancel=self.cancel)
        return Task(future, self.batches, workers)

    def cancel(self, force: bool) -> None:
        assert force
        self.cancelled += 1


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(dask_engine, "BEGIN_S", 0.05)
    return Site()


def attempt_at(site: Site) -> DaskAttempt:
    tasks: Any = SimpleNamespace(begun=lambda _task: True, over=lambda _key: None)
    return DaskAttempt(site.submit, tasks, ("w",))


def test_a_job_that_began_while_the_coordinator_stood_still_goes_on(site: Site) -> None:
    attempt = attempt_at(site)
    assert attempt.news(0.03) == []
    site.batches.put(PLACED)
    time.sleep(0.1)
    assert attempt.news(0.03) == [["placed", {"worker": "w"}]]
    assert attempt.news(0.03) == []
    assert (site.submitted, site.cancelled) == ([("w",)], 0)


def test_a_job_that_does_not_begin_in_time_is_for_any_worker(site: Site) -> None:
    attempt = attempt_at(site)
    assert [attempt.news(0.03), attempt.news(0.03)] == [[], []]
    assert (site.submitted, site.cancelled) == ([("w",), ()], 1)
