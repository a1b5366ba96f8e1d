"""Many workers of a Prefect work pool in one light process, for benchmarks/scale_out_size.py.

    python -m benchmarks.size_workers --workers 100 --seconds 30 --workspace FOLDER

Each is Prefect's own process worker, with its own polling, heartbeats, connections and states. Only the process that it
would start for a job is simulated: an asyncio task sends the calls that such a process makes (`SimulatedJob`), waits so
many seconds, and makes a result that the coordinator accepts. The calls are those of flows/services/job_run.py and
job_report.py. 100 real ones would need 100 x 0.1 GB, and cores for their imports.
"""

import argparse
import asyncio
import hashlib
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
import anyio.abc
import httpx
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from benchmarks.scale_out_machines import POOL
from flows.data.stores import opened_remote
from flows.executors.open_results import OpenResults
from flows.executors.order import Order, Outcome, order_from
from flows.executors.pool_report import ARTIFACT, BEAT_S, LOGGER
from flows.runs.job import key_of
from flows.services.job_report import progress_pause_s

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB


@dataclass(frozen=True)
class Work:
    """What all simulated jobs share. store: the DVC remote. seconds: of each job."""

    store: "HashFileDB"
    seconds: float


class SimulatedWorker(ProcessWorker):
    """Prefect's process worker, but for the process."""

    work: Work

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        del configuration
        if task_status is not None:
            task_status.started(os.getpid())
        # A worker's own lines; its log handler is one of the whole process, and off here.
        async with _client(self.name, flow_run) as client:
            lines = [_line(flow_run, "prefect.flow_runs.worker", "submitted")]
            await client.post("/logs/", json=lines)
            await SimulatedJob(client, flow_run, self.work).run()
        return ProcessWorkerResult(status_code=0, identifier=str(os.getpid()))


class SimulatedJob:
    """The calls of one process that runs flows/services/job_run.py."""

    def __init__(self, client: httpx.AsyncClient, run: FlowRun, work: Work) -> None:
        self._client, self._run, self._work = client, run, work
        self._order: Order = order_from(run.parameters["order"])
        self._data: dict[str, Any] = dict.fromkeys(("waits", "gpus", "progress", "outcome"))
        self._data |= {"beat": 0, "lines": 0, "host": "simulated", "home": ""}

    async def run(self) -> None:
        await self._call("GET", f"/flow_runs/{self._run.id}")
        await self._state("RUNNING")
        data = {"type": ARTIFACT, "flow_run_id": str(self._run.id), "data": self._data}
        created = await self._call("POST", "/artifacts/", json=data)
        await self._call("POST", "/events", json=[self._heartbeat()])
        await self._working(created.json()["id"])
        await self._state("COMPLETED")

    async def _working(self, artifact: str) -> None:
        """Lines at the beginning and the end, progress now and then, a beat every BEAT_S."""
        self._data |= {"gpus": [], "lines": 2}
        await self._lines(2)
        passed, beaten, path = 0.0, 0.0, f"/artifacts/{artifact}"
        while passed < self._work.seconds:
            pause_s = min(progress_pause_s(passed), self._work.seconds - passed)
            await asyncio.sleep(pause_s)
            passed += pause_s
            self._data["progress"] = _progress(passed, self._work.seconds)
            if passed - beaten >= BEAT_S:
                beaten = passed
                self._data["beat"] += 1
                await self._call("GET", f"/flow_runs/{self._run.id}")
            await self._call("PATCH", path, json={"data": self._data})
        outcome = await asyncio.to_thread(make_result, self._order, self._work.store)
        await self._lines(2)
        self._data |= {"lines": 4, "outcome": outcome.text()}
        await self._call("PATCH", path, json={"data": self._data})

    async def _lines(self, count: int) -> None:
        lines = [_line(self._run, f"prefect.flow_runs.{LOGGER}", f"line {number}") for number in range(count)]
        await self._call("POST", "/logs/", json=lines)

    async def _state(self, kind: str) -> None:
        await self._call("POST", f"/flow_runs/{self._run.id}/set_state", json={"state": {"type": kind}})

    async def _call(self, method: str, path: str, *, json: Any = None) -> httpx.Response:
        answer = await self._client.request(method, path, json=json)
        answer.raise_for_status()
        return answer

    def _heartbeat(self) -> dict[str, Any]:
        resource = {"prefect.resource.id": f"prefect.flow-run.{self._run.id}"}
        now = datetime.now(UTC).isoformat()
        return {"id": str(uuid4()), "occurred": now, "event": "prefect.flow-run.heartbeat", "resource": resource}


def make_result(order: Order, store: "HashFileDB") -> Outcome:
    """The outcome of a job with one small file as output, which is at the remote when this returns.

    The path of the output is the last word of the command.
    """
    path = str(order.job.inputs["cmd"]).split()[-1]
    content = f"{order.job.stage}\n".encode()
    oid = hashlib.md5(content, usedforsecurity=False).hexdigest()
    target = Path(store.oid_to_path(oid))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    outs = [{"path": path, "hash": "md5", "md5": oid, "size": len(content)}]
    entry = {**order.job.inputs, "outs": outs}
    outcome = Outcome(key_of(order.job), order.job.attempt, entry, ran=True, machine={"host": "simulated"})
    OpenResults(store, order.job.run).add(outcome)
    return outcome


def _progress(done: float, total: float) -> dict[str, Any]:
    """What a stage writes into its progress file."""
    left, figures = total - done, {"loss": 0.5}
    numbers = {"done": done, "total": total, "per_second": 1.0, "seconds_left": left, "figures": figures}
    return {"phase": "work", "unit": "seconds", **numbers}


def _line(run: FlowRun, logger: str, message: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {"name": logger, "level": logging.INFO, "message": message, "timestamp": now, "flow_run_id": str(run.id)}


def _client(worker: str, run: FlowRun) -> httpx.AsyncClient:
    """A client with a connection of its own, as a process has, and with the headers that Prefect's would send."""
    headers = {"X-Prefect-Worker-Name": worker, "X-Prefect-Flow-Id": str(run.flow_id)}
    return httpx.AsyncClient(base_url=PREFECT_API_URL.value(), headers=headers, timeout=120.0)


async def work(workers: int, workspace: Path, seconds: float) -> None:
    """Run so many workers until the process is ended."""
    with opened_remote(workspace, None) as (_, store):
        SimulatedWorker.work = Work(store, seconds)
        names = [f"simulated-{number:03}" for number in range(workers)]
        started = [SimulatedWorker(work_pool_name=POOL, name=name, limit=1) for name in names]
        await asyncio.gather(*(worker.start(printer=_say_nothing) for worker in started))


def _say_nothing(*_words: object) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each job")
    parser.add_argument("--workspace", type=Path, required=True, help="whose DVC remote gets the results; a folder")
    arguments = parser.parse_args()
    asyncio.run(work(arguments.workers, arguments.workspace, arguments.seconds))


if __name__ == "__main__":
    main()
