"""What keeps runs from working: one check a thing, each with what was found and what to do. Changes nothing."""

import fcntl
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

import psutil
from packaging.requirements import Requirement

from flows.data.objects import RemoteError
from flows.data.remote import verify
from flows.git import GitError, git, remote_of
from flows.graph import GraphError, open_repo
from flows.registry.read import RegistryError, read_registry
from flows.registry.write import tags_at
from flows.resources import this_machine
from flows.services.api import Api, ApiError, auth_string
from flows.services.deployment_file import DEPLOYMENTS, ServicesError, deployment_file, faults, work_pools
from flows.services.local import read_state
from flows.services.server import configured_api_url
from flows.services.silence import SILENCE_S, find, is_as_wanted
from flows.worktree import PLACE
from genai_core.config import PARAMS_FILE, ConfigError, load_config

PACKAGE = "genai-pipeline"
LEAST_FREE_GB, WANTED_FREE_GB = 1.0, 10.0
# git writes its index within seconds; who left a lock of this age is dead.
OLD_LOCK_S = 600.0
# No retraining takes so long.
OLD_WORKTREE_S = 14 * 86400.0
EXPECTED = (ApiError, ConfigError, GitError, GraphError, OSError, RegistryError, RemoteError, ServicesError)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    todo: str = ""


def examine(workspace: Path) -> list[Check]:
    """Every check, in the order in which a person would mend things. A check that breaks has failed."""
    checks: list[tuple[str, Callable[[Path], Check]]] = [
        ("versions", _versions),
        ("params.yaml", _parameters),
        ("git", _git),
        ("locks", _locks),
        ("worktrees", _worktrees),
        ("disk", _disk),
        ("GPU", _gpu),
        ("deployments", _deployments),
        ("server", _server),
        ("workers", _workers),
        ("schedules", _schedules),
        ("silent runs", _silent_runs),
        ("data pushed", _data),
        ("tags pushed", _tags),
    ]
    found = []
    for name, check in checks:
        try:
            found.append(check(workspace))
        except EXPECTED as error:
            found.append(Check(name, "fail", " ".join(str(error).split())))
    return found


def _versions(_workspace: Path) -> Check:
    """Installed packages against the ranges in pyproject.toml, as the installed package records them."""
    try:
        wanted = [Requirement(text) for text in requires(PACKAGE) or []]
    except PackageNotFoundError:
        return Check("versions", "warn", f"{PACKAGE} is not installed here", "make setup")
    wrong = []
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found}, wanted {requirement.specifier}")
    if wrong:
        return Check("versions", "fail", "; ".join(wrong), "make setup takes the pinned ones")
    return Check("versions", "ok", f"Python {sys.version.split()[0]}, {len(wanted)} requirements met")


def _parameters(workspace: Path) -> Check:
    config = load_config(workspace / PARAMS_FILE)
    return Check("params.yaml", "ok", f"{len(config.models)} models: {', '.join(config.models)}")


def _git(workspace: Path) -> Check:
    git(workspace, "var", "GIT_COMMITTER_IDENT")  # raises when git does not know who commits
    branch = git(workspace, "rev-parse", "--abbrev-ref", "HEAD").strip()
    changed = git(workspace, "status", "--porcelain", "--untracked-files=no").splitlines()
    if changed:
        return Check("git", "warn", f"{len(changed)} files differ from the last commit", "commit before you promote")
    if branch == "HEAD":
        return Check("git", "warn", "no branch is checked out", "git switch BRANCH, or commits are easily lost")
    return Check("git", "ok", f"branch {branch}, all committed")


def _locks(workspace: Path) -> Check:
    faults, heals = [], []
    if _holder_is_dead(workspace / ".genai" / "run.lock"):
        faults.append("processes of a run that died still hold .genai/run.lock (lsof .genai/run.lock shows them)")
    lock_file = workspace / "dvc.lock"
    if lock_file.is_file() and not lock_file.read_bytes().strip():
        heals.append("dvc.lock is empty, an interrupted write")
    if dead := _dead_in_rwlock(workspace / ".dvc" / "tmp" / "rwlock"):
        heals.append(f".dvc/tmp/rwlock: {dead}")
    index = Path(git(workspace, "rev-parse", "--git-path", "index.lock").strip())
    index = index if index.is_absolute() else workspace / index
    if index.is_file() and time.time() - index.stat().st_mtime > OLD_LOCK_S:
        faults.append(f"{index} is older than {OLD_LOCK_S / 60:.0f} minutes; when no git runs: remove it")
    if faults:
        return Check("locks", "fail", "; ".join(faults + heals), "end what holds them, or remove them")
    if heals:
        return Check("locks", "warn", "; ".join(heals), "the next genai run mends it")
    return Check("locks", "ok", "none left by the dead")


def _holder_is_dead(path: Path) -> bool:
    """Whether a lock is held, and not by the process that took it."""
    if not path.is_file():
        return False
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read().strip()
            return not (holder.isdigit() and psutil.pid_exists(int(holder)))
    return False


def _dead_in_rwlock(path: Path) -> str:
    """What is wrong with DVC's note of who reads and writes what; empty when nothing is."""
    try:
        entries = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError:
        return "cut short, an interrupted write"
    holders = [entry.get("write") for entry in entries.values()]
    holders += [reader for entry in entries.values() for reader in entry.get("read") or []]
    dead = sorted({str(holder["pid"]) for holder in holders if holder and not psutil.pid_exists(int(holder["pid"]))})
    return f"names processes that ended: {', '.join(dead)}" if dead else ""


def _worktrees(workspace: Path) -> Check:
    """Checkouts that runs left: the next one on the same branch takes them up, so an old one is of a run given up."""
    place = workspace / PLACE
    left = sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
    old = [path for path in left if time.time() - path.stat().st_mtime > OLD_WORKTREE_S]
    if old:
        found = (
            f"{len(old)} are older than {OLD_WORKTREE_S / 86400:.0f} days: {', '.join(path.name for path in old[:3])}"
        )
        return Check("worktrees", "warn", found, f"git worktree remove --force {PLACE}/NAME, when no run needs it")
    return Check("worktrees", "ok", f"{len(left)} of runs that go on" if left else "none left by runs")


def _disk(workspace: Path) -> Check:
    with open_repo(workspace) as repo:
        cache = Path(repo.cache.local.path)
    places = {path: shutil.disk_usage(path).free / 1e9 for path in (workspace, cache) if path.exists()}
    place, free = min(places.items(), key=lambda item: item[1])
    found = f"{free:,.1f} GB free at {place}"
    if free < LEAST_FREE_GB:
        return Check("disk", "fail", found, "make room: dvc gc --workspace removes old versions")
    if free < WANTED_FREE_GB:
        return Check("disk", "warn", found, f"less than {WANTED_FREE_GB:g} GB: a training may not find room")
    return Check("disk", "ok", found)


def _gpu(workspace: Path) -> Check:
    wanted = load_config(workspace / PARAMS_FILE).compute.accelerator
    machine = this_machine("cuda" if wanted == "cuda" else "auto")
    found = f"{len(machine.gpus)} GPUs, {machine.cores} cores, {machine.memory_gb:.0f} GB memory"
    if wanted == "cuda" and not machine.gpus:
        return Check("GPU", "fail", f"{found}, and compute.accelerator is cuda", "set it to auto, or mend the driver")
    return Check("GPU", "ok", found)


def _deployments(workspace: Path) -> Check:
    found = faults(workspace)
    if found:
        return Check("deployments", "fail", "; ".join(found), f"mend {DEPLOYMENTS}, then genai up")
    return Check("deployments", "ok", ", ".join(str(entry["name"]) for entry in deployment_file(workspace)))


def _silent_runs(workspace: Path) -> Check:
    """Runs that are called running though nothing is heard of them, and what would mark them crashed."""
    api = _api(workspace)
    if api is None:
        return Check("silent runs", "ok", "no server, none")
    present = find(api)
    if present is None or not is_as_wanted(present):
        missing = "there is no automation that marks runs of dead workers as crashed, or it was changed"
        return Check("silent runs", "warn", missing, "genai up makes it")
    running = api.post("flow_runs/filter", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})
    beats = api.post("events/filter", filter={"event": {"name": ["prefect.flow-run.heartbeat"]}}, limit=50)
    heard = {event["resource"]["prefect.resource.id"] for event in beats["events"]}
    old = [run["name"] for run in running if f"prefect.flow-run.{run['id']}" not in heard and _is_old(run)]
    if old:
        return Check(
            "silent runs", "warn", f"running, and not heard of: {', '.join(old[:3])}", "cancel it in the pages"
        )
    return Check("silent runs", "ok", f"none; a run counts as crashed after {SILENCE_S:g} s of silence")


def _is_old(run: dict[str, Any]) -> bool:
    """Whether a run began so long ago that it must have been heard of."""
    began = datetime.fromisoformat(run["start_time"].replace("Z", "+00:00")) if run.get("start_time") else None
    return began is not None and (datetime.now(UTC) - began).total_seconds() > 2 * SILENCE_S


def _server(workspace: Path) -> Check:
    api = _api(workspace)
    if api is None:
        return Check("server", "ok", "none is configured; genai run starts its own for as long as it runs")
    try:
        api.get("ready")  # asks the database, too
    except ApiError as error:
        return Check("server", "fail", str(error), "genai up, or unset PREFECT_API_URL")
    return Check("server", "ok", f"{api.url}, version {api.get('admin/version')}, its database answers")


def _workers(workspace: Path) -> Check:
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


def _schedules(workspace: Path) -> Check:
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


def _data(workspace: Path) -> Check:
    with open_repo(workspace) as repo:
        remote = repo.config["core"].get("remote")
    if remote is None:
        todo = "genai data push --to FOLDER, or --to s3://BUCKET/PATH"
        return Check("data pushed", "warn", "no DVC remote: data and models are on this machine only", todo)
    checked = verify(workspace)
    if checked.faults:
        found = f"{len(checked.faults):,} of {checked.objects:,} objects are not whole at {checked.address}"
        return Check("data pushed", "warn", found, "genai data push")
    return Check("data pushed", "ok", f"all {checked.objects:,} objects are at {checked.address}")


def _tags(workspace: Path) -> Check:
    ours, remote = read_registry(workspace).tags, remote_of(workspace)
    if not ours:
        return Check("tags pushed", "ok", "no version is registered yet")
    if remote is None:
        return Check(
            "tags pushed", "warn", "no git remote: only this clone knows the registry", "git remote add origin URL"
        )
    theirs = tags_at(workspace, remote)
    here, there = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
    if here or there:
        found = f"{len(here)} tags are here only, {len(there)} at {remote} only"
        return Check("tags pushed", "warn", found, "genai registry show takes them over, the next genai promote pushes")
    return Check("tags pushed", "ok", f"{len(ours)} tags, the same at {remote}")


def _api(workspace: Path) -> Api | None:
    """The server that was configured, or that `genai up` started."""
    url, state = configured_api_url(), read_state(workspace)
    found = url or (state.url if state and state.living() else None)
    return Api(found.rstrip("/"), auth_string()) if found else None
