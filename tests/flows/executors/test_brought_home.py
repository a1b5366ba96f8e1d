"""A run that other machines have begun, and that goes on with this machine alone."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.executors.brought_home import open_home_executor
from flows.executors.executor import Listener
from flows.graph import StageNode
from flows.process import Processes
from flows.runs.job import Job, Result
from flows.runs.prepared_run import prepare_run
from flows.runs.snapshot import REFS
from tests.flows.conftest import DVC_WARNS, Server, shell
from tests.flows.executors.machines import Heard, connect, node_of, worked
from tests.flows.runs.test_takeover import published

pytestmark = DVC_WARNS


class Here:
    """Notes what this machine would execute."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def execute(self, stage: StageNode, job: Job, _listener: Listener, _held: int | None = None) -> Result:
        self.stages.append(stage.name)
        return Result(job, {}, ran=True)


def test_it_uses_their_results_and_cleans_up_after_them(
    fresh: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, cancelled = connect(fresh), list[str]()
    with published(fresh, "train@gan") as (run, _, order):
        outcome, _ = worked(order, fresh.parent / "home")
    store, here = fresh.parent / "store/genai", Here()
    assert [path.parent.name for path in store.rglob("*") if path.is_file()] == [run.id]
    left = {"key": (SimpleNamespace(), order)}
    monkeypatch.setattr("flows.executors.pool._jobs_under_way", lambda _client, name: cancelled.append(name) or left)
    with (
        temporary_settings({PREFECT_API_URL: server.url}),
        get_client(sync_client=True) as client,
        prepare_run(fresh, (), run.id, print) as again,
    ):
        assert again.active is not None
        place = again.active.place
        with open_home_executor(here, place, fresh, run.id, run.snapshot, Processes(), {}) as executor:
            assert f"genai-run-{run.id}" in [variable.name for variable in client.read_variables()]
            assert cancelled == [run.id]
            for stage in ("prepare", "train@gan"):
                job = place.job(run.id, run.snapshot, stage, {})
                result = executor.execute(node_of(place, stage), job, Heard())
                assert result.entry == (outcome.entry if stage == "prepare" else {})
            again.active.recorder.set(state="completed")
    assert here.stages == ["train@gan"]
    assert shell(bare, f"git for-each-ref {REFS}") == ""
    assert not [path for path in store.rglob("*") if path.is_file()]
