"""The checks of `genai doctor`: each says what it found and what to do. Changes nothing."""

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
from flows.resources import MachineError, this_machine
from flows.runs.checkout import WORKTREES
from flows.services.api import ApiError
from flows.services.check import Check
from flows.services.deployment_file import DEPLOYMENTS, ServicesError, deployment_file, faults
from flows.services.doctor_locks import check_locks
from flows.services.doctor_retraining import check_gate, check_retraining
from flows.services.doctor_server import check_schedules, check_server, check_workers, check_zombie_runs
from flows.services.doctor_worker import (
    check_api,
    check_clock,
    check_data_remote,
    check_git_remote,
    check_home,
    check_packages,
)
from flows.services.serve_service import check_serving
from flows.services.settings import SettingsError
from flows.web import WebError
from genai_core.config import PARAMS_FILE, ConfigError, load_config
from genai_core.counted import counted

PACKAGE = "genai-pipeline"
MIN_FREE_GB, RECOMMENDED_FREE_GB = 1.0, 10.0
# Longer than any retraining.
OLD_WORKTREE_S = 14 * 86400.0
EXPECTED = (
    ApiError,
    ConfigError,
    GitError,
    GraphError,
    MachineError,
    OSError,
    RegistryError,
    RemoteError,
    ServicesError,
    SettingsError,
    WebError,
)


def examine(workspace: Path) -> list[Check]:
    """Run every check, in the order in which to fix faults. A check that raises an error counts as failed."""
    checks: list[tuple[str, Callable[[Path], Check]]] = [
        ("versions", _versions),
        ("params.yaml", _parameters),
        ("git", _git),
        ("locks", check_locks),
        ("worktrees", _worktrees),
        ("retraining", check_retraining),
        ("gate", check_gate),
        ("disk", _disk),
        ("GPU", _gpu),
        ("deployments", _deployments),
        ("server", check_server),
        ("workers", check_workers),
        ("schedules", check_schedules),
        ("zombie runs", check_zombie_runs),
        ("serving", check_serving),
        ("data pushed", _data),
        ("tags pushed", _tags),
    ]
    return _examined(workspace, checks)


def examine_worker(checkout: Path) -> list[Check]:
    """Run the checks of a machine that works for runs of other machines. checkout: where its code was installed."""
    return _examined(
        checkout,
        [
            ("packages", check_packages),
            ("git remote", check_git_remote),
            ("DVC remote", check_data_remote),
            ("server", check_api),
            ("clock", check_clock),
            ("worker's home", check_home),
            ("GPU", _gpu),
        ],
    )


def _examined(folder: Path, checks: list[tuple[str, Callable[[Path], Check]]]) -> list[Check]:
    found = []
    for name, check in checks:
        try:
            found.append(check(folder))
        except EXPECTED as error:
            found.append(Check(name, "fail", " ".join(str(error).split())))
    return found


def _versions(_workspace: Path) -> Check:
    """Compare the installed packages with the version ranges of pyproject.toml."""
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
            wrong.append(f"{requirement.name} {found}, expected {requirement.specifier}")
    if wrong:
        return Check("versions", "fail", "; ".join(wrong), "make setup installs the pinned versions")
    return Check("versions", "ok", f"Python {sys.version.split()[0]}, {len(wanted)} requirements met")


def _parameters(workspace: Path) -> Check:
    config = load_config(workspace / PARAMS_FILE)
    return Check("params.yaml", "ok", f"{counted(len(config.models), 'model')}: {', '.join(config.models)}")


def _git(workspace: Path) -> Check:
    git(workspace, "var", "GIT_COMMITTER_IDENT")  # raises if user.name or user.email is not set
    branch = git(workspace, "rev-parse", "--abbrev-ref", "HEAD").strip()
    changed = changed_files(workspace)
    if changed:
        return Check(
            "git", "warn", f"{counted(len(changed), 'file')} changed since the last commit", "commit before you promote"
        )
    if branch == "HEAD":
        return Check(
            "git", "warn", "no branch is checked out", "git switch BRANCH: commits on no branch are easily lost"
        )
    return Check("git", "ok", f"branch {branch}, no uncommitted changes")


def _worktrees(workspace: Path) -> Check:
    """Checkouts that runs left. The next run on the same branch reuses one, so an old one is abandoned."""
    place = workspace / WORKTREES
    left = sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
    old = [path for path in left if time.time() - path.stat().st_mtime > OLD_WORKTREE_S]
    if old:
        found = (
            f"{len(old)} are older than {OLD_WORKTREE_S / 86400:.0f} days: {', '.join(path.name for path in old[:3])}"
        )
        return Check("worktrees", "warn", found, f"if no run needs it: git worktree remove --force {WORKTREES}/NAME")
    return Check("worktrees", "ok", f"{len(left)} of unfinished runs" if left else "none")


def _disk(workspace: Path) -> Check:
    with open_repo(workspace, leaves_no_trace=True) as repo:
        cache = Path(repo.cache.local.path)
    places = {path: shutil.disk_usage(path).free / 1e9 for path in (workspace, cache) if path.exists()}
    place, free = min(places.items(), key=lambda item: item[1])
    found = f"{free:,.1f} GB free at {place}"
    if free < MIN_FREE_GB:
        return Check("disk", "fail", found, "genai gc removes what nothing uses")
    if free < RECOMMENDED_FREE_GB:
        return Check(
            "disk", "warn", found, f"less than {RECOMMENDED_FREE_GB:g} GB: a training may run out of disk space"
        )
    return Check("disk", "ok", found)


def _gpu(workspace: Path) -> Check:
    compute = load_config(workspace / PARAMS_FILE).compute
    wanted, threads = compute.accelerator, compute.cpu_threads
    machine = this_machine("cuda" if wanted == "cuda" else "auto")
    found = f"{counted(len(machine.gpus), 'GPU')}, {counted(machine.cores, 'core')}, {machine.memory_gb:.0f} GB memory"
    if wanted == "cuda" and not machine.gpus:
        return Check("GPU", "fail", f"{found}, but compute.accelerator is cuda", "set it to auto, or fix the driver")
    if threads > machine.cores:
        found = f"{found}, but compute.cpu_threads is {threads}: the threads will compete for cores"
        return Check("GPU", "warn", found, "set it to the number of cores, or give the container more cores")
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
        found = f"{len(checked.faults):,} of {checked.objects:,} objects are missing or damaged at {checked.address}"
        return Check("data pushed", "warn", found, "genai data push")
    return Check("data pushed", "ok", f"all {checked.objects:,} objects are at {checked.address}")


def _tags(workspace: Path) -> Check:
    ours, remote = read_registry(workspace).tags, remote_of(workspace)
    if not ours:
        return Check("tags pushed", "ok", "no version is registered yet")
    if remote is None:
        return Check(
            "tags pushed", "warn", "no git remote: the registry is in this clone only", "git remote add origin URL"
        )
    theirs = tags_at(workspace, remote)
    here, there = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
    if here or there:
        found = f"{counted(len(here), 'tag')} only here, {len(there)} only at {remote}"
        return Check(
            "tags pushed", "warn", found, "genai registry show fetches tags, the next genai promote pushes them"
        )
    return Check("tags pushed", "ok", f"{counted(len(ours), 'tag')}, the same at {remote}")
