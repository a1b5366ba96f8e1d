"""Data to and from a DVC remote, by DVC's own stores and layout, and nothing taken for granted on either side.

`dvc push` and `dvc pull` trust an index that an interrupted push leaves half true, and `dvc pull` takes whatever bytes
a remote has. Here each object is looked at: a push ends when everything that the revision needs is at the remote, and
what a pull fetches is hashed before it enters the cache.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import (
    MISSING,
    Fault,
    Needs,
    OnProgress,
    RemoteError,
    add_output,
    address_of,
    cached_size,
    describe_faults,
    faults_by_content,
    faults_by_size,
    needed,
    sizes_at,
)
from flows.data.opened import opened_remote
from flows.data.transfer import fetch, send
from flows.graph import open_repo
from flows.workspace import changing

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

ATTEMPTS = 2


@dataclass(frozen=True)
class Pushed:
    """What a push did: objects that this revision needs, those that had to be sent, and their bytes."""

    address: str
    objects: int
    sent: int
    sent_bytes: int
    runs: int  # entries of the run-cache


@dataclass(frozen=True)
class Pulled:
    """What a pull fetched and what it changed in the workspace; `missing` outputs are not whole at the remote."""

    address: str
    objects: int
    fetched: int
    fetched_bytes: int
    changed: tuple[str, ...]
    missing: tuple[Fault, ...]


@dataclass(frozen=True)
class Checked:
    """What a remote holds of the objects that are needed."""

    address: str
    objects: int
    size_bytes: int
    faults: tuple[Fault, ...]


def ignore_progress(_done: int, _total: int) -> None:
    """For those who do not look."""


def push(
    workspace: Path,
    remote: str | None = None,
    *,
    content: bool = False,
    run_cache: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> Pushed:
    """Send what the workspace's revision needs, and see to it that all of it is there.

    content: read what is at the remote too, and send again what is damaged. run_cache: send earlier runs' outputs too.
    Raises RemoteError when something is neither in the cache nor at the remote, or is still missing at the end.
    """
    with opened_remote(workspace, remote) as (repo, store):
        cache, address = repo.cache.local, address_of(store)
        needs = needed(repo, store)
        if run_cache:
            for run in _runs(repo, None):  # of old runs what is left: no one needs them
                if not run.unlisted and all(cached_size(cache, oid) is not None for oid in run.paths):
                    needs.take(run)
        sizes = sizes_at(store, needs.paths)
        faults = faults_by_size(needs, cache, sizes)
        if content:
            faults += faults_by_content(store, needs, sizes.keys() - {fault.oid for fault in faults}, ignore_progress)
        sent: set[str] = set()
        for _attempt in range(ATTEMPTS):
            if not faults:
                break
            wrong = [fault.oid for fault in faults]
            _refuse_what_is_nowhere(needs, cache, wrong, address)
            send(cache, store, needs, faults, on_progress)
            sent.update(wrong)
            faults = faults_by_size(needs, cache, sizes_at(store, needs.paths))
        if faults:
            raise RemoteError(f"{address}: not complete after {ATTEMPTS} attempts: {describe_faults(faults)}")
        # Last: an entry of the run-cache promises what lies in the cache.
        runs = len(repo.stage_cache.push(remote)) if run_cache else 0
        return Pushed(address, len(needs.paths), len(sent), sum(cached_size(cache, oid) or 0 for oid in sent), runs)


def verify(
    workspace: Path,
    remote: str | None = None,
    *,
    content: bool = False,
    revision: str | None = None,
    all_commits: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> Checked:
    """Look at every object that the workspace, a revision or all commits need: is it at the remote, with its size?

    content: read them all and compare hashes too. Changes nothing.
    """
    with opened_remote(workspace, remote, leaves_no_trace=True) as (repo, store):
        needs = needed(repo, store, revisions=[revision] if revision else (), all_commits=all_commits)
        sizes = sizes_at(store, needs.paths)
        faults = faults_by_size(needs, repo.cache.local, sizes)
        if content:
            wrong = {fault.oid for fault in faults}
            faults += faults_by_content(store, needs, sizes.keys() - wrong, on_progress)
        return Checked(address_of(store), len(needs.paths), sum(sizes.values()), tuple(faults))


def pull(
    workspace: Path, remote: str | None = None, *, run_cache: bool = False, on_progress: OnProgress = ignore_progress
) -> Pulled:
    """Fetch what the workspace's revision needs and the cache has not, and check it out.

    Raises RemoteError when an object at the remote is damaged; what is whole has then come, and is not checked out.
    """
    with changing(workspace, "pull"), opened_remote(workspace, remote) as (repo, store):
        cache, address = repo.cache.local, address_of(store)
        here = needed(repo, None)
        fetched = fetch(repo, store, here.unlisted, here, ignore_progress)  # listings say what else is needed
        needs = needed(repo, store)
        if run_cache:
            repo.stage_cache.pull(remote)
            for run in _runs(repo, store):
                there = sizes_at(store, run.paths)
                if all(oid in there for oid in run.paths):
                    needs.take(run)
        absent = [oid for oid in needs.paths if cached_size(cache, oid) is None]
        fetched += fetch(repo, store, absent, needs, on_progress)
        changed = _check_out(repo, cache)
        sizes = {oid: cached_size(cache, oid) for oid in needs.paths}
        missing = tuple(Fault(oid, needs.paths[oid], MISSING) for oid, size in sizes.items() if size is None)
        return Pulled(
            address, len(needs.paths), len(fetched), sum(sizes[oid] or 0 for oid in fetched), tuple(changed), missing
        )


def fetch_output(workspace: Path, path: str) -> bool:
    """Bring one output of the workspace's revision into the cache, checked, where it is not; False: nowhere to get it.

    Raises RemoteError.
    """
    with open_repo(workspace) as repo:
        out = next((out for out in repo.index.outs if out.fs_path == str(workspace.resolve() / path)), None)
        if out is None or not out.hash_info:
            return False
        here = Needs()
        add_output(here, repo.cache.local, None, path, out.hash_info.value, out.meta.size)
        absent = [oid for oid in here.paths if cached_size(repo.cache.local, oid) is None]
        if not here.unlisted and not absent:
            return True
        if not repo.config["core"].get("remote"):
            return False
    with opened_remote(workspace, None) as (repo, store):
        cache, needs = repo.cache.local, Needs()
        add_output(needs, cache, store, path, out.hash_info.value, out.meta.size)
        absent = [oid for oid in needs.paths if cached_size(cache, oid) is None]
        return len(fetch(repo, store, absent, needs, ignore_progress)) == len(absent) and not needs.unlisted


def _refuse_what_is_nowhere(needs: Needs, cache: "HashFileDB", oids: Iterable[str], address: str) -> None:
    lost = [Fault(oid, needs.paths[oid], "") for oid in oids if cached_size(cache, oid) is None]
    if lost:
        raise RemoteError(
            f"neither in DVC's cache here nor whole at {address}: {describe_faults(lost)}; "
            "nothing was sent; push from where they were made, or make them again (genai run)"
        )


def _check_out(repo: "Repo", cache: "HashFileDB") -> list[str]:
    """Bring every output that the cache holds whole into the workspace; returns those that changed."""
    targets = []
    for out in repo.index.outs:
        if out.use_cache and out.hash_info:
            needs = Needs()
            add_output(needs, cache, None, str(out), out.hash_info.value, None)
            if not needs.unlisted and all(cached_size(cache, oid) is not None for oid in needs.paths):
                targets.append(out.fs_path)
    if not targets:
        return []
    result = repo.checkout(targets)
    changed = [Path(path).resolve() for kind in ("added", "modified", "deleted") for path in result[kind]]
    root = Path(repo.root_dir).resolve()  # DVC names them from the current folder
    return sorted(path.relative_to(root).as_posix() for path in changed)


def _runs(repo: "Repo", store: "HashFileDB | None") -> list[Needs]:
    """What the entries of the run-cache name as outputs, each entry by itself."""
    runs = Path(repo.stage_cache.cache_dir)
    found = []
    for path in sorted(runs.glob("*/*/*")):
        entry = repo.stage_cache._load_cache(path.parent.name, path.name)
        needs = Needs()
        for out in (entry or {}).get("outs", []):
            if "md5" in out and out.get("hash") == "md5":
                add_output(needs, repo.cache.local, store, out["path"], out["md5"], out.get("size"))
        found.append(needs)
    return found
