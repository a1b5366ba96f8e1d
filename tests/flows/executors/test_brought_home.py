"""A run that other machines have begun, and that goes on with this machine alone."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.data.objects import UnreachableError
from flows.executors.brought_home import open_home_executor
from flows.executors.checkpoints import CHECKPOINTS, RemoteCheckpoints
from flows.executors.executor import Listener
from flows.graph import StageNode
from flows.process import Processes
from flows.runs.job import Job, Result, key_of
from flows.runs.prepared_run import prepare_run
from flows.runs.record import read_runs
from flows.runs.snapshot import REFS
from tests.flows.conftest import DVC_WARNS, Server, diary, genai, shell
from tests.flows.executors.machines import Heard, connect, node_of, worked
from tests.flows.runs.places import locked
from tests.flows.runs.test_takeover import published

pytestmark = DVC_WARNS


class Here:
    """Notes what this machine would execute, and from which checkpoints."""

    def __init__(self, workspace: Path) -> None:
        self._folder = workspace / CHECKPOINTS
        self.stages: list[str] = []
        self.checkpoints: list[Path] = []

    def execute(self, stage: StageNode, job: Job, _listener: Listener, _held: int | None = None) -> Result:
        self.stages.append(stage.name)
        self.checkpoints += [path.relative_to(self._folder) for path in self._folder.glob("*/*")]
        return Result(job, {}, ran=True)


def test_it_uses_their_results_and_cleans_up_after_them(
    fresh: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, cancelled = connect(fresh), list[str]()
    with published(fresh, "train@gan") as (run, _, order):
        outcome, _ = worked(order, fresh.parent / "home")
    store, here = fresh.parent / "store/genai", Here(fresh)
    assert [path.parent.name for path in store.rglob("*") if path.is_file()] == [run.id]
    left = {"key": (SimpleNamespace(), order)}
    monkeypatch.setattr(
        "flows.executors.pool_left.jobs_under_way", lambda _client, name: cancelled.append(name) or left
    )
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
                (sent := store / "checkpoints" / key_of(job) / "one" / "step-7").parent.mkdir(parents=True)
                sent.write_text("weights")
                result = executor.execute(node_of(place, stage), job, Heard())
                assert result.entry == (outcome.entry if stage == "prepare" else {})

            def away(_: RemoteCheckpoints) -> None:
                asked.append(1)
                raise UnreachableError("away")

            asked, heard = list[int](), Heard()
            with monkeypatch.context() as patch:
                patch.setattr(RemoteCheckpoints, "delete", away)
                executor.execute(node_of(place, "train@gan"), job, heard)  # its result does not wait for a deletion
            assert (asked, heard.lines) == ([1], [])
            again.active.recorder.set(state="completed")
    assert here.stages == ["train@gan"] * 2
    assert here.checkpoints == [Path("one/step-7")] * 2
    assert shell(bare, f"git for-each-ref {REFS}") == ""
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_a_run_begun_on_another_executor_is_completed_by_the_command(fresh: Path, done: Path, server: Server) -> None:
    """Its coordinator was killed after a worker had left a result, and before a training ended."""
    bare = connect(fresh)
    with published(fresh, "train@gan", "dask") as (run, _, order):
        worked(order, fresh.parent / "home")
    answer = genai(fresh, "run", "--resume", run.id[-4:], "--executor", "local", api_url=server.url)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (diary(fresh, "prepare"), len(diary(fresh, "train@gan"))) == ([], 1)
    made, wanted = locked(fresh), locked(done)
    assert {stage: wanted[stage] for stage in made} == made
    (record,) = read_runs(fresh)
    assert (record.state, record.executor) == ("completed", "local")
    outcomes = {name: stage.outcome for name, stage in record.stages.items()}
    assert outcomes == {"data/raw.dvc": "kept", "prepare": "ran", "train@gan": "ran"}
    assert shell(bare, f"git for-each-ref {REFS}") == ""
    assert not [path for path in (fresh.parent / "store/genai").rglob("*") if path.is_file()]
