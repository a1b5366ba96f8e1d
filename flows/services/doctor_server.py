"""`genai doctor`: the checks of Prefect's server, which is configured or started by `genai up`."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.redact import without_secrets
from flows.services.api import Api, ApiError, api_at
from flows.services.check import Check
from flows.services.deployment_file import deployment_file, work_pools
from flows.services.processes import read_state
from flows.services.settings import configured_api_url
from flows.services.zombie_runs import HEARTBEAT_TIMEOUT_S, PENDING_TIMEOUT_S, outdated_automations


def check_server(workspace: Path) -> Check:
    api = _api(workspace)
    if api is None:
        return Check("server", "ok", "none is configured; genai run starts a temporary one")
    try:
        api.post("flows/filter", limit=1)  # needs the database and valid credentials
    except ApiError as error:
        return Check("server", "fail", str(error), "genai up, or unset PREFECT_API_URL")
    version = "of Prefect Cloud"
    with suppress(ApiError):  # Cloud has no such route
        version = f"version {api.get('admin/version')}"
    return Check("server", "ok", f"{without_secrets(api.url)}, {version}, database reachable")


def check_workers(workspace: Path) -> Check:
    api = _api(workspace)
    if api is None:
        return Check("workers", "ok", "no server, so none is needed")
    missing = []
    for pool in work_pools(workspace):
        try:
            workers = api.post(f"work_pools/{pool}/workers/filter")
        except ApiError as error:
            return Check("workers", "fail", str(error), "genai up")
        if not any(worker["status"] == "ONLINE" for worker in workers):
            missing.append(pool)
    if missing:
        return Check("workers", "fail", f"no worker is online for {', '.join(missing)}", "genai up")
    return Check("workers", "ok", f"online for {', '.join(work_pools(workspace))}")


def check_schedules(workspace: Path) -> Check:
    """Compare the schedules of server and file: cron, interval or rule, time zone, active or not."""
    api = _api(workspace)
    if api is None:
        return Check("schedules", "ok", "no server, so none is active")
    differing = []
    deployed = {entry["name"]: entry for entry in api.post("deployments/filter")}
    for entry in deployment_file(workspace):
        if entry["name"] not in deployed:
            differing.append(f"{entry['name']} is not deployed")
            continue
        ours = sorted(map(_schedule, entry.get("schedules") or []))
        theirs = sorted(
            _schedule({**s["schedule"], "active": s["active"]}) for s in deployed[entry["name"]]["schedules"]
        )
        if ours != theirs:
            differing.append(f"{entry['name']}: the file has {ours or 'none'}, the server {theirs or 'none'}")
        if deployed[entry["name"]].get("paused"):
            differing.append(f"{entry['name']} is paused at the server")
    if differing:
        return Check("schedules", "warn", "; ".join(differing), "genai up deploys the file")
    return Check("schedules", "ok", f"{len(deployment_file(workspace))} deployments match the file")


def _schedule(values: dict[str, Any]) -> str:
    when = next((f"{key} {values[key]}" for key in ("cron", "interval", "rrule") if values.get(key)), "?")
    zone = values.get("timezone") or "UTC"
    return f"{when} {zone}" + ("" if values.get("active", True) else " (off)")


def check_zombie_runs(workspace: Path) -> Check:
    """Check for runs without a heartbeat, and for the automations that mark them as crashed."""
    api = _api(workspace)
    if api is None:
        return Check("zombie runs", "ok", "no server, so there are none")
    if missing := outdated_automations(api):
        found = f"automations that mark runs of dead workers as crashed are missing or changed: {', '.join(missing)}"
        return Check("zombie runs", "warn", found, "genai up or prefect deploy creates them")
    running = api.post("flow_runs/filter", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})
    beats = api.post("events/filter", filter={"event": {"name": ["prefect.flow-run.heartbeat"]}}, limit=50)
    heard = {event["resource"]["prefect.resource.id"] for event in beats["events"]}
    old = [
        run["name"]
        for run in running
        if f"prefect.flow-run.{run['id']}" not in heard and _is_older(run.get("start_time"), 2 * HEARTBEAT_TIMEOUT_S)
    ]
    taken = api.post("flow_runs/filter", flow_runs={"state": {"type": {"any_": ["PENDING"]}}})
    stuck = [run["name"] for run in taken if _is_older(run["state"]["timestamp"], 2 * PENDING_TIMEOUT_S)]
    faults = [f"running, but without a heartbeat: {', '.join(old[:3])}"] if old else []
    faults += [f"stuck in Pending, because the worker is gone: {', '.join(stuck[:3])}"] if stuck else []
    if faults:
        return Check("zombie runs", "warn", "; ".join(faults), "cancel or delete them in Prefect's UI")
    return Check(
        "zombie runs", "ok", f"none; a run counts as crashed after {HEARTBEAT_TIMEOUT_S:g} s without a heartbeat"
    )


def _is_older(moment: str | None, seconds: float) -> bool:
    """Whether a moment is more than `seconds` ago."""
    when = datetime.fromisoformat(moment.replace("Z", "+00:00")) if moment else None
    return when is not None and (datetime.now(UTC) - when).total_seconds() > seconds


def _api(workspace: Path) -> Api | None:
    """The configured server, or the one that `genai up` started."""
    configured, state = configured_api_url(), read_state(workspace)
    own = state.url if state and state.living() else None
    url = configured or own
    return api_at(url, ours=url == own) if url else None
