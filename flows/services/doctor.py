"""What keeps runs from working: one check a thing, each with what was found and what to do. Changes nothing."""

import shutil
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from flows.data.objects import RemoteError
from flows.data.remote import verify
from flows.git import GitError, changed_files, git, remote_of
from flows.graph import GraphError, open_repo
from flows.registry.read import RegistryError, read_registry
from flows.registry.write import tags_at
from flows.resources import this_machine
from flows.runs.checkout import WORKTREES
from flows.services.api import ApiError
from flows.services.check import Check
from flows.services.deployment_file import DEPLOYMENTS, ServicesError, deployment_file, faults
from flows.services.doctor_locks import check_locks
from flows.services.doctor_retraining import check_retraining
from flows.services.doctor_server import check_schedules, check_server, check_silent_runs, check_workers
from flows.services.settings import SettingsError
from genai_core.config import PARAMS_FILE, ConfigError, load_config

PACKAGE = "genai-pipeline"
LEAST_FREE_GB, WANTED_FREE_GB = 1.0, 10.0
# No retraining takes so long.
OLD_WORKTREE_S = 14 * 86400.0
EXPECTED = (
    ApiError,
    ConfigError,
    GitError,
    GraphError,
    OSError,
    RegistryError,
    RemoteError,
    ServicesError,
    SettingsError,
)


def examine(workspace: Path) -> list[Check]:
    """Every check, in the order in which to fix things. A check that breaks has failed."""
    checks: list[tuple[str, Callable[[Path], Check]]] = [
        ("versions", _versions),
        ("params.yaml", _parameters),
        ("git", _git),
        ("locks", check_locks),
        ("worktrees", _worktrees),
        ("retraining", check_retraining),
        ("disk", _disk),
        ("GPU", _gpu),
        ("deployments", _deployments),
        ("server", check_server),
        ("workers", check_workers),
        ("schedules", check_schedules),
        ("silent runs", check_silent_runs),
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
    changed = changed_files(workspace)
    if changed:
        return Check("git", "warn", f"{len(changed)} files differ from the last commit", "commit before you promote")
    if branch == "HEAD":
        return Check("git", "warn", "no branch is checked out", "git switch BRANCH, or commits are easily lost")
    return Check("git", "ok", f"branch {branch}, all committed")


def _worktrees(workspace: Path) -> Check:
    """Checkouts that runs left: the next one on the same branch takes them up, so an old one is of a run given up."""
    place = workspace / WORKTREES
    left = sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
    old = [path for path in left if time.time() - path.stat().st_mtime > OLD_WORKTREE_S]
    if old:
        found = (
            f"{len(old)} are older than {OLD_WORKTREE_S / 86400:.0f} days: {', '.join(path.name for path in old[:3])}"
        )
        return Check("worktrees", "warn", found, f"git worktree remove --force {WORKTREES}/NAME, when no run needs it")
    return Check("worktrees", "ok", f"{len(left)} of runs that go on" if left else "none left by runs")


def _disk(workspace: Path) -> Check:
    with open_repo(workspace, leaves_no_trace=True) as repo:
        cache = Path(repo.cache.local.path)
    places = {path: shutil.disk_usage(path).free / 1e9 for path in (workspace, cache) if path.exists()}
    place, free = min(places.items(), key=lambda item: item[1])
    found = f"{free:,.1f} GB free at {place}"
    if free < LEAST_FREE_GB:
        return Check("disk", "fail", found, "make room: genai gc frees what nothing needs any more")
    if free < WANTED_FREE_GB:
        return Check("disk", "warn", found, f"less than {WANTED_FREE_GB:g} GB: a training may not find room")
    return Check("disk", "ok", found)


def _gpu(workspace: Path) -> Check:
    compute = load_config(workspace / PARAMS_FILE).compute
    wanted, threads = compute.accelerator, compute.cpu_threads
    machine = this_machine("cuda" if wanted == "cuda" else "auto")
    found = f"{len(machine.gpus)} GPUs, {machine.cores} cores, {machine.memory_gb:.0f} GB memory"
    if wanted == "cuda" and not machine.gpus:
        return Check("GPU", "fail", f"{found}, and compute.accelerator is cuda", "set it to auto, or fix the driver")
    if threads > machine.cores:
        told = f"{found}, and compute.cpu_threads is {threads}: they will wait for each other"
        return Check("GPU", "warn", told, "set it to the cores, or give the container more")
    return Check("GPU", "ok", found)


def _deployments(workspace: Path) -> Check:
    found = faults(workspace)
    if found:
        return Check("deployments", "fail", "; ".join(found), f"fix {DEPLOYMENTS}, then run genai up")
    return Check("deployments", "ok", ", ".join(str(entry["name"]) for entry in deployment_file(workspace)))


def _data(workspace: Path) -> Check:
    with open_repo(workspace, leaves_no_trace=True) as repo:
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
