"""The workers of a workspace's work pools, and the jobs that they have: what the Prefect server knows of them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.executors.pool_report import ARTIFACT, FLOW
from flows.services.api import NOT_FOUND, Api, ApiError, api_at
from flows.services.processes import read_state
from flows.services.settings import configured_api_url
from flows.view import describe_progress
from genai_core.config import PARAMS_FILE, ConfigError, load_config


@dataclass(frozen=True)
class Worker:
    """A worker. silent_s: since its last heartbeat, by the clock of this machine."""

    pool: str
    name: str
    status: str
    silent_s: float


@dataclass(frozen=True)
class RunningJob:
    """A job that a worker has, or that waits for one. doing: for people.

    part: "machine 2 of 2" of a training on several machines, which is one such job on each; else empty.
    """

    run: str
    stage: str
    attempt: str
    part: str
    state: str
    host: str
    home: str
    doing: str


@dataclass(frozen=True)
class Pools:
    """asked: the pools of compute.pools. workers: of all of them. missing: those that the server does not know."""

    asked: tuple[str, ...]
    workers: tuple[Worker, ...]
    jobs: tuple[RunningJob, ...]
    missing: tuple[str, ...]


def look_at_pools(workspace: Path) -> Pools:
    """Ask the configured server, or the one that `genai up` started. Raises ConfigError without one, ApiError."""
    api = _api(workspace)
    asked = tuple(load_config(workspace / PARAMS_FILE).compute.pools)
    workers: list[Worker] = []
    missing: list[str] = []
    for pool in asked:
        try:
            found = api.post(f"work_pools/{pool}/workers/filter")
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            missing.append(pool)
            continue
        workers += [Worker(pool, one["name"], one["status"].lower(), _ago(one["last_heartbeat_time"])) for one in found]
    return Pools(asked, tuple(workers), _jobs(api), tuple(missing))


def _jobs(api: Api) -> tuple[RunningJob, ...]:
    of_jobs = {"flows": {"name": {"any_": [FLOW]}}}
    states = {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]}}}
    runs = api.post("flow_runs/filter", **of_jobs, flow_runs=states, sort="START_TIME_ASC")
    if not runs:
        return ()
    wanted = {"id": {"any_": [run["id"] for run in runs]}}
    reports = api.post("artifacts/filter", flow_runs=wanted, artifacts={"type": {"any_": [ARTIFACT]}})
    by_run = {report["flow_run_id"]: report["data"] for report in reports}
    return tuple(_job(run, by_run.get(run["id"]) or {}) for run in runs)


def _job(run: dict[str, Any], report: dict[str, Any]) -> RunningJob:
    name, stage, attempt, part = (*run["name"].split(" ", 3), "", "", "", "")[:4]  # as pool.py names it
    doing = "waits for a worker" if not report else f"waits {report['waits']}" if report.get("waits") else "works"
    if report.get("progress"):
        doing = describe_progress(report["progress"])
    return RunningJob(
        name, stage, attempt, part, run["state"]["name"].lower(), report.get("host", ""), report.get("home", ""), doing
    )


def _ago(moment: str) -> float:
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment.replace("Z", "+00:00"))).total_seconds())


def _api(workspace: Path) -> Api:
    configured, state = configured_api_url(), read_state(workspace)
    own = state.url if state and state.living() else None
    url = configured or own
    if url is None:
        raise ConfigError("no Prefect server is configured; set PREFECT_API_URL, or start one: genai up")
    return api_at(url, ours=url == own)
