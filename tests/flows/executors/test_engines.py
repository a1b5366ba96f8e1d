"""Ray and Dask as engines, with real clusters: the same hashes, a lost worker, a stop, and what is refused."""

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from flows.executors import dask_engine
from flows.executors.dask_engine import DaskEngine, open_dask
from flows.executors.dispatch import Dispatch, published_snapshot
from flows.executors.engine import Engine, EngineExecutor, check_stages
from flows.executors.locality import Near
from flows.executors.order import Order
from flows.executors.shares import Share
from flows.executors.software import Software
from flows.graph import Needs, StageNode
from flows.process import Processes, Stopped
from flows.runs.job import Job, Result
from flows.runs.place import Place
from flows.runs.snapshot import take_snapshot
from genai_core.config import ConfigError
from tests.flows.conftest import DVC_WARNS, genai, wait_for
from tests.flows.executors.clusters import Cluster, dask_cluster, ray_cluster, slurm_cluster
from tests.flows.executors.machines import Heard, connect, node_of
from tests.flows.executors.test_pools import compute
from tests.flows.runs.places import job_of, locked, place_of

pytestmark = [DVC_WARNS, pytest.mark.timeout(240)]

CLUSTERS = {"dask": dask_cluster, "ray": ray_cluster, "slurm": slurm_cluster}
# Those that the test environment has not, or that wait long for a machine that died.
ENGINES = ["dask", pytest.param("ray", marks=pytest.mark.long), pytest.param("slurm", marks=pytest.mark.long)]
FORKS = "flows.executors.fork_server"
SLOW = 90.0


@contextmanager
def opened(name: str, cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    for variable, value in cluster.variables.items():
        monkeypatch.setenv(variable, value)
    if name == "dask":
        with open_dask() as dask:
            yield dask
    elif name == "ray":
        from flows.executors.ray_engine import open_ray

        with open_ray() as ray:
            yield ray
    else:
        from flows.executors.slurm_engine import open_slurm

        with open_slurm("one", compute().slurm, folder / "slurm") as slurm:
            yield slurm


class Site(NamedTuple):
    """Two machines of an engine, and an executor of the run "one" there."""

    cluster: Cluster
    place: Place
    engine: Engine
    executor: EngineExecutor
    snapshot: str

    def job(self, stage: str) -> Job:
        return replace(job_of(self.place, stage), run="one", snapshot=self.snapshot)


@contextmanager
def two_machines(
    name: str, fresh: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, processes: Processes
) -> Iterator[Site]:
    snapshot = take_snapshot(fresh).commit
    with (
        CLUSTERS[name](folder) as cluster,
        place_of(fresh) as place,
        published_snapshot(fresh, "one", snapshot) as address,
        opened(name, cluster, folder, monkeypatch) as engine,
    ):
        wait_for(lambda: len(engine.offers()) == 2, SLOW)
        yield Site(
            cluster, place, engine, EngineExecutor(engine, Dispatch(place, address, {}), processes, compute()), snapshot
        )


class Background:
    """A stage that is executed in a thread, as by a run."""

    def __init__(self, executor: EngineExecutor, stage: StageNode, job: Job) -> None:
        self.heard = Heard()
        self.result: Result | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._execute, args=(executor, stage, job))
        self._thread.start()

    def end(self) -> Result | None:
        self._thread.join(SLOW)
        assert not self._thread.is_alive()
        return self.result

    def _execute(self, executor: EngineExecutor, stage: StageNode, job: Job) -> None:
        try:
            self.result = executor.execute(stage, job, self.heard)
        except BaseException as error:
            self.error = error


@pytest.mark.parametrize("name", ENGINES)
def test_jobs_on_an_engine(fresh: Path, done: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(fresh)
    go, never = tmp_path / "go", tmp_path / "never"
    monkeypatch.setenv("TOY", json.dumps({"train@gan": {"until": str(go)}, "select": {"until": str(never)}}))
    monkeypatch.setenv("TOY_DIARY", str(tmp_path / "diary"))
    processes = Processes()
    with two_machines(name, fresh, tmp_path, monkeypatch, processes) as site:
        cluster, place = site.cluster, site.place

        def started(stage: str, needs: Needs) -> Background:
            return Background(site.executor, replace(node_of(place, stage), needs=needs), site.job(stage))

        def outcome(running: Background, stage: str) -> None:
            result = running.end()
            assert result is not None, (running.error, running.heard.lines)
            assert (result.ran, result.entry) == (True, locked(done)[stage])

        # The worker with the label gets it, and its lines arrive here.
        prepare = started("prepare", Needs(place="cellar", memory_gb=1.0))
        outcome(prepare, "prepare")
        assert "prepare did 1 steps" in prepare.heard.lines
        assert prepare.heard.gpus == [()]
        assert [any(home.glob("*/cache")) for home in cluster.homes] == [True, False]

        # The next one goes where that has left its outputs. If there is no room, it does not wait for it.
        training = started("train@gan", Needs(cores=2))
        wait_for(lambda: "train@gan begins" in training.heard.lines, SLOW)
        (victim,) = cluster.busy()
        outcome(other := started("train@diffusion", Needs()), "train@diffusion")
        if name != "slurm":  # which chooses the node by itself
            assert victim == 0
            assert [any(home.glob("*/cache")) for home in cluster.homes] == [True, True]
            assert any(
                re.fullmatch(r"placed on .*, which has (.*) of \1 to read", line) for line in training.heard.lines
            )
            assert any(re.fullmatch(r"placed on .*, but no room", line) for line in other.heard.lines)

        # A worker whose machine dies: another one gets the job, as a new attempt.
        before = {offer.name for offer in site.engine.offers()}
        cluster.kill(victim)
        go.touch()
        outcome(training, "train@gan")
        assert any(line.startswith("lost: ") and "another worker gets the job" in line for line in training.heard.lines)
        assert "train@gan did 1 steps" in training.heard.lines

        if name == "dask":
            (gone,) = before - {offer.name for offer in site.engine.offers()}
            assert ran_elsewhere(site, gone, monkeypatch)

        # Nobody has it any more, or never had: refused before a run starts.
        huge = replace(node_of(place, "select"), needs=Needs(cores=3))
        with pytest.raises(ConfigError, match=r"select needs 3 cores.* and no worker has that: 1 with 2 cores"):
            check_stages(site.engine, [huge], compute())

        # A stop reaches the command, and nothing is left there.
        stopped = started("select", Needs())
        wait_for(lambda: cluster.busy() == [0, 1], SLOW)  # what the dead machine had is still there
        wait_for(lambda: "select begins" in stopped.heard.lines, SLOW)
        processes.stop()
        stopped.end()
        assert isinstance(stopped.error, Stopped)
        wait_for(lambda: cluster.busy() == [victim], SLOW)


def ran_elsewhere(site: Site, gone: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a task for a worker that has just died goes to another one. Its order cannot be read, which is quick."""
    order = Order(site.job("prepare"), "", "", "", (), {}, Software("", "", {}))
    events: Sequence[Sequence[Any]] = ()
    with monkeypatch.context() as patch:
        patch.setattr(dask_engine, "BEGIN_S", 0.2)
        patch.setattr(DaskEngine, "_free", lambda *_: (gone,))
        patch.setattr(Order, "text", lambda _: "{}")
        attempt = site.engine.submit(order, Share(1, 0.1, 0, None), [Near(gone, 1, "")])
        while not events:
            events = attempt.news(0.1)
    kind, where = events[0]
    return kind == "placed" and bool(where["worker"] != gone)


@pytest.mark.long
@pytest.mark.parametrize("name", CLUSTERS)
def test_a_stage_on_two_machines(
    fresh: Path, done: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them dies: both begin again, elsewhere or there."""
    connect(fresh)
    go = tmp_path / "go"
    monkeypatch.setenv("TOY", json.dumps({"prepare": {"until": str(go)}}))
    monkeypatch.setenv("TOY_DIARY", str(tmp_path / "diary"))
    with two_machines(name, fresh, tmp_path, monkeypatch, Processes()) as site:
        cluster = site.cluster
        stage = replace(node_of(site.place, "prepare"), needs=Needs(cores=2, nodes=2))
        running = Background(site.executor, stage, site.job("prepare"))
        lines = running.heard.lines
        begins = ("prepare begins", "machine 2 of 2: prepare begins")
        wait_for(lambda: all(line in lines for line in begins) or running.error, SLOW)
        assert cluster.busy() == [0, 1], (running.error, lines)
        kill_job(cluster.homes[1])
        wait_for(lambda: all(lines.count(line) == 2 for line in begins) or running.error, SLOW)
        go.touch()
        result = running.end()
        assert result is not None, (running.error, lines)
        assert (result.ran, result.entry) == (True, locked(done)["prepare"])
        assert sum(line.startswith("lost: ") for line in lines) == 1
        assert "machine 2 of 2: prepare did 1 steps" in lines
        wait_for(lambda: cluster.busy() == [], SLOW)


def kill_job(home: Path) -> None:
    """Kill the process of a job, as if there were no memory left."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command, parent = process.cmdline(), process.parent()
            is_forked = FORKS in command and parent is not None and FORKS in parent.cmdline()
            is_job = is_forked or "flows.executors.job_process" in command
            if is_job and process.environ().get("GENAI_WORKER_HOME") == str(home):
                process.kill()


def test_a_dask_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_engine, "CONNECT_S", 0.5)
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    with (
        pytest.raises(ConfigError, match=r"\(dask scheduler\) and set DASK_SCHEDULER_ADDRESS"),
        open_dask(),
    ):
        pass
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"tcp://127.0.0.1:9 \(DASK_SCHEDULER_ADDRESS\): no Dask"), open_dask():
        pass


@pytest.mark.long
def test_a_ray_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="its extra is not part of the test environment")
    from flows.executors.ray_engine import open_ray

    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:9")
    with pytest.raises(ConfigError, match="make this machine a node: ray start --address"), open_ray():
        pass
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"no Ray cluster at 127.0.0.1:9 \(RAY_ADDRESS\)"), open_ray():
        pass


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_a_library_that_is_not_installed(fresh: Path) -> None:
    answer = genai(fresh, "run", "--executor", "ray")
    assert answer.returncode == 2
    assert "executor ray needs the package ray, here and on every worker: pip install 'genai-pipeline[ray]'" in (
        " ".join(answer.stderr.split())
    )
    assert not (fresh / ".genai" / "runs").exists()
