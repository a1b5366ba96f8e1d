"""Which workers of a Dask cluster have room, by the keys of the tasks that they have."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster

from flows.executors import dask_load
from flows.executors.dask_engine import DaskEngine
from flows.executors.dask_load import OwnTasks, has_room, key_of_task, workers_of
from flows.executors.engine import EngineAway

WORKER = {"cores": 2.0, "memory_gb": 8.0, "gpus": 1.0, "cellar": 1.0}
ONE = key_of_task("genai-run-train@gan-1-ab", {"cores": 1.0, "memory_gb": 1.5})
THIRD = key_of_task("genai-run-train@gan-1-ab", {"cores": 0.1, "gpus": 1 / 3})


@pytest.mark.parametrize(
    ("keys", "wanted", "expected"),
    [
        ([], {"cores": 2.0, "memory_gb": 8.0}, True),
        ([ONE], {"cores": 1.0, "memory_gb": 6.5}, True),
        ([ONE], {"cores": 2.0}, False),
        ([ONE], {"cores": 1.0, "memory_gb": 7.0}, False),
        ([THIRD] * 2, {"gpus": 1 / 3}, True),  # rounding
        ([THIRD] * 3, {"gpus": 1 / 3}, False),
        ([key_of_task("genai-x", {"cellar": 1.0})], {"cellar": 1.0}, False),
        ([], {"attic": 1.0}, False),
        (["sum-123"], {"cores": 1.0}, False),  # of another program: nobody knows what it takes
        ([("x", 1)], {"cores": 1.0}, False),
        (["genai-run-of-an-older-version"], {"cores": 1.0}, False),
        ([key_of_task("genai-x", {"cores": 0.1})] * 4, {"cores": 1.0}, False),  # no thread is left
    ],
)
def test_room(keys: list[object], wanted: dict[str, float], expected: bool) -> None:
    assert has_room(WORKER, 4, keys, wanted) is expected


class Scheduler:
    """What a scheduler would answer, and the client that asks it."""

    def __init__(self) -> None:
        self.workers: dict[str, Any] = {
            name: {"status": "running", "resources": {"cores": 1.0}, "nthreads": 1} for name in ("a", "b")
        }
        self.tasks: dict[str, list[object]] = {"a": [], "b": []}
        self.scheduler, self.identity, self.processing = self, {"workers": self.workers}, self.tasks

    def sync(self, answer: Any, **_arguments: Any) -> Any:
        return answer


def test_a_coordinator_knows_its_own_tasks_earlier_than_the_scheduler() -> None:
    cores, key = {"cores": 1.0}, key_of_task("genai-run-prepare-1-ab", {"cores": 1.0})
    client: Any = Scheduler()
    tasks = OwnTasks(client)
    assert tasks.with_room(["a", "b", "gone"], cores) == {"a", "b"}
    tasks.expect(key, ("a",), seconds=60.0)  # on its way there
    assert tasks.with_room(["a", "b"], cores) == {"b"}
    client.tasks["a"] = [key]
    assert tasks.with_room(["a", "b"], cores) == {"b"}
    tasks.over(key)  # its process is about to end
    assert tasks.with_room(["a", "b"], cores) == {"a", "b"}
    tasks.expect("genai-run-x?cores=1.0", ("b",), seconds=-1.0)  # it did not come there in time
    client.workers["a"]["status"] = "closing"
    assert tasks.with_room(["a", "b"], cores) == {"b"}


@pytest.mark.parametrize(("state", "begun"), [("processing", True), ("memory", True), ("no-worker", False)])
def test_a_task_whose_worker_died_as_it_began_waits_in_vain(state: str, begun: bool) -> None:
    client: Any = Scheduler()
    client.set_restrictions, client.get_task_status = None, {"genai-x?": state}
    task: Any = SimpleNamespace(key="genai-x?", workers=("a",))
    assert OwnTasks(client).begun(task) is begun
    assert OwnTasks(client).begun(SimpleNamespace(key="genai-y?", workers=()))  # it was free for any worker


def test_a_scheduler_that_is_stuck_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is connected, but has no time for an answer: the client of Dask would wait for ever."""
    monkeypatch.setattr(dask_load, "ANSWER_S", 0.1)
    with (
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", host="127.0.0.1") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert workers_of(client) == {}

        async def stuck(**_: Any) -> None:
            await asyncio.sleep(60.0)

        for name in ("identity", "processing"):
            with monkeypatch.context() as patch:
                patch.setitem(cluster.scheduler.handlers, name, stuck)
                with pytest.raises(TimeoutError, match=r"no answer in 0\.1 s"):
                    OwnTasks(client).with_room(["a"], {})
                if name == "identity":
                    with pytest.raises(EngineAway, match=r"the Dask scheduler does not answer: no answer in 0\.1 s"):
                        DaskEngine(client, "").offers()
        waiting = client.submit(int, key="genai-x?", workers=["tcp://127.0.0.1:1"])
        task: Any = SimpleNamespace(key=waiting.key, workers=("tcp://127.0.0.1:1",))
        while waiting.key not in cluster.scheduler.tasks:
            time.sleep(0.01)
        for name in ("set_restrictions", "get_task_status"):
            with monkeypatch.context() as patch:
                patch.setitem(cluster.scheduler.handlers, name, stuck)
                with pytest.raises(TimeoutError, match=r"no answer in 0\.1 s"):
                    OwnTasks(client).begun(task)
