"""`genai doctor`: what it asks Prefect's server, the one that is configured or that `genai up` started."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.redact import without_secrets
from flows.services.api import Api, ApiError, api_at
from flows.services.check import Check
from flows.services.deployment_file import deployment_file, work_pools
from flows.services.settings import configured_api_url
from flows.services.silence import PENDING_S, SILENCE_S, not_as_wanted
from flows.services.started import read_state


def check_server(workspace: Path) -> Check:
    api = _api(workspace)
    if api is None:
        return Check("server", "ok", "none is configured; genai run starts a temporary one")
    try:
        api.post("flows/filter", limit=1)  # asks the database, too, and lets in whom the server knows
    except ApiError as error:
        return Check("server", "fail", str(error), "genai up, or unset PREFECT_API_URL")
    version = "of Prefect Cloud"
    with suppress(ApiError):  # Cloud says none
        version = f"version {api.get('admin/version')}"
    return Check("server", "ok", f"{without_secrets(api.url)}, {version}, its database answers")


def check_workers(workspace: Path) -> Check:
    api = _api(workspace)
    if api is None:
        return Check("workers", "ok", "no server, none needed")
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
    """The server's schedules against the file's: cron, interval or rule, time zone, active or not."""
    api = _api(workspace)
    if api is None:
        return Check("schedules", "ok", "no server, none active")
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
        return Check("schedules", "warn", "; ".join(differing), "genai up deploys what the file says")
    return Check("schedules", "ok", f"{len(deployment_file(workspace))} deployments as in the file")


def _schedule(values: dict[str, Any]) -> str:
    when = next((f"{key} {values[key]}" for key in ("cron", "interval", "rrule") if values.get(key)), "?")
    zone = values.get("timezone") or "UTC"
    return f"{when} {zone}" + ("" if values.get("active", True) else " (off)")


def check_silent_runs(workspace: Path) -> Check:
    """Runs that are called running though nothing is heard of them, and what would mark them crashed."""
    api = _api(workspace)
    if api is None:
        return Check("silent runs", "ok", "no server, none")
    if missing := not_as_wanted(api):
        found = f"what marks runs of dead workers as crashed is missing or was changed: {', '.join(missing)}"
        return Check("silent runs", "warn", found, "genai up, or prefect deploy, makes the automations")
    running = api.post("flow_runs/filter", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})
    beats = api.post("events/filter", filter={"event": {"name": ["prefect.flow-run.heartbeat"]}}, limit=50)
    heard = {event["resource"]["prefect.resource.id"] for event in beats["events"]}
    old = [
        run["name"]
        for run in running
        if f"prefect.flow-run.{run['id']}" not in heard and _is_older(run.get("start_time"), 2 * SILENCE_S)
    ]
    taken = api.post("flow_runs/filter", flow_runs={"state": {"type": {"any_": ["PENDING"]}}})
    stuck = [run["name"] for run in taken if _is_older(run["state"]["timestamp"], 2 * PENDING_S)]
    faults = [f"running, and not heard of: {', '.join(old[:3])}"] if old else []
    faults += [f"taken by a worker that is gone, and never begun: {', '.join(stuck[:3])}"] if stuck else []
    if faults:
        return Check("silent runs", "warn", "; ".join(faults), "cancel or delete them in the pages")
    return Check("silent runs", "ok", f"none; a run counts as crashed after {SILENCE_S:g} s of silence")


def _is_older(moment: str | None, seconds: float) -> bool:
    """Whether something lies so long back that it must have been heard of since."""
    when = datetime.fromisoformat(moment.replace("Z", "+00:00")) if moment else None
    return when is not None and (datetime.now(UTC) - when).total_seconds() > seconds


def _api(workspace: Path) -> Api | None:
    """The server that was configured, or that `genai up` started."""
    configured, state = configured_api_url(), read_state(workspace)
    own = state.url if state and state.living() else None
    url = configured or own
    return api_at(url, ours=url == own) if url else None
