"""The executor of work pools: what it refuses before anything starts, and whole runs on real workers."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from flows.runs.record import read_runs
from flows.runs.snapshot import REFS
from tests.flows.clones import fresh_clone
from tests.flows.conftest import DVC_WARNS, Server, asked, genai, set_parameter, shell, started_genai, wait_for
from tests.flows.executors.machines import connect
from tests.flows.runs.places import locked
from tests.project import ROOT

pytestmark = DVC_WARNS

POOL = "machines"
OFFER = {"cores": 8, "memory_gb": 64.0, "gpus": 0, "place": None}
SLOW = 240.0


def test_a_run_on_other_machines_needs_a_server_that_they_reach(fresh: Path) -> None:
    answer = genai(fresh, "run", "--executor", "pool")
    assert answer.returncode == 2
    assert "executor pool needs a Prefect server that the workers reach, too" in answer.stderr
    assert not (fresh / ".genai" / "runs").exists()
    answer = genai(fresh, "run", "--executor", "spark")
    assert "'spark' is not one of 'local', 'pool', 'ray', 'dask', 'slurm'" in answer.stderr
    answer = genai(fresh, "run", "--resume", "ab12", "train")
    assert "--resume continues the stages that the run was asked for; leave out STAGES" in answer.stderr


def test_a_pool_that_nobody_started_is_refused_before_any_stage(fresh: Path, server: Server) -> None:
    connect(fresh)
    set_parameter(fresh, "compute.pools", {POOL: {**OFFER, "memory_gb": 0.05}})
    answer = genai(fresh, "run", "--executor", "pool", api_url=server.url)
    assert answer.returncode == 2
    assert "needs 1 cores, 0.1 GB of memory and 0 GPUs, and no pool of compute.pools has that" in answer.stderr
    assert not (fresh / ".genai" / "runs").exists(), "the checkout alone tells"
    set_parameter(fresh, "compute.pools", {POOL: OFFER})
    answer = genai(fresh, "run", "--executor", "pool", api_url=server.url)
    assert answer.returncode == 2
    assert "none began" in genai(fresh, "runs").stdout
    assert f"the server has no work pool '{POOL}'; the first worker makes it: prefect worker start" in answer.stderr
    assert shell(fresh.parent / "origin.git", f"git for-each-ref {REFS}") == ""


@contextmanager
def worker(home: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A real worker with a home of its own. All of its processes are killed at the end, as if its machine died."""
    home.mkdir()
    own = {"GENAI_WORKER_HOME": str(home / "worker"), "HOME": str(home), "PREFECT_HOME": str(home / "prefect")}
    quick = {"PREFECT_API_URL": url, "PREFECT_WORKER_QUERY_SECONDS": "1", "PYTHONPATH": str(ROOT)}
    command = ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--limit", "1"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=home, env={**os.environ, **own, **quick}, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            _end_all(process)


def _end_all(process: "subprocess.Popen[bytes]") -> None:
    with suppress(psutil.NoSuchProcess):
        members = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for act in (psutil.Process.suspend, psutil.Process.kill):
            for member in members:
                with suppress(psutil.NoSuchProcess):
                    act(member)
    process.wait()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_worker_dies_then_the_coordinator_and_a_clone_takes_over(
    fresh: Path, done: Path, server: Server, monkeypatch: pytest.MonkeyPatch, prefect_home: Callable[[Path], Path]
) -> None:
    set_parameter(fresh, "compute.pools", {POOL: OFFER})
    bare = connect(fresh)
    monkeypatch.setenv("TOY", '{"train@gan": {"seconds": 5}}')
    monkeypatch.setenv("TOY_DIARY", str(fresh.parent / "diary"))
    first, second = fresh.parent / "beta", fresh.parent / "gamma"
    with worker(second, server.url), worker(first, server.url) as dying:
        pools = lambda: [pool["name"] for pool in server.post("work_pools/filter")]  # noqa: E731
        wait_for(lambda: POOL in pools(), SLOW)

        def works(home: Path) -> bool:
            return any((home / "worker").glob("*/jobs/*/checkout"))

        with started_genai(fresh, "run", "--executor", "pool", api_url=server.url) as run:
            wait_for(lambda: works(first) or run.poll() is not None, SLOW)
            _end_all(dying)
        wait_for(lambda: read_runs(fresh)[0].state == "killed", SLOW)
        (record,) = read_runs(fresh)
        clone = fresh_clone(bare, fresh.parent / "clone")
        _end_lease(server, record.id)  # as if a minute had passed
        answer = genai(clone, "run", "--resume", record.id, api_url=server.url, timeout=SLOW)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"run {record.id} was that of process {run.pid} in {fresh}" in answer.stderr
    assert "another worker gets the job" in answer.stdout + answer.stderr
    assert locked(clone) == locked(done)
    assert (clone / "out/selected").read_bytes() == (done / "out/selected").read_bytes()
    assert read_runs(clone)[0].state == "completed"
    assert shell(bare, f"git for-each-ref {REFS}") == ""
    assert not [path for path in (fresh.parent / "store/genai").rglob("*") if path.is_file()]
    assert not works(second)


def _end_lease(server: Server, run: str) -> None:
    asked(urllib.request.Request(f"{server.url}/variables/name/genai-run-{run}", method="DELETE"))
