"""Push to a DVC remote, pull from it, and verify it, with DVC's stores and layout.

`dvc push` and `dvc pull` trust an index that may be wrong after an interrupted push, and `dvc pull` accepts whatever
bytes a remote has. This code checks each object: a push ends when the remote has everything that the revision needs,
and each pulled object is hashed before it enters the cache.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import (
    JOBS,
    MISSING,
    NeededObjects,
    ObjectFault,
    OnProgress,
    RemoteError,
    add_output,
    address_of,
    cached_size,
    faults_by_content,
    faults_by_size,
    needed,
    unreachable,
)
from flows.data.sizes import sizes_at
from flows.data.stores import opened_remote
from flows.data.transfer import fetch, send_until_complete
from flows.graph import open_repo
from flows.workspace import changing

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


@dataclass(frozen=True)
class Pushed:
    """The result of a push: objects that the revision needs, those that were sent, and their size."""

    address: str
    objects: int
    sent: int
    sent_bytes: int
    runs: int  # entries of the run-cache


@dataclass(frozen=True)
class Pulled:
    """The result of a pull: fetched objects, changed outputs, and objects that the remote lacks."""

    address: str
    objects: int
    fetched: int
    fetched_bytes: int
    changed: tuple[str, ...]
    missing: tuple[ObjectFault, ...]


@dataclass(frozen=True)
class Verified:
    """Needed objects, the size of those at the remote, and the faults."""

    address: str
    objects: int
    size_bytes: int
    faults: tuple[ObjectFault, ...]


def ignore_progress(_done: int, _total: int) -> None:
    """Do nothing."""


def push(
    workspace: Path,
    remote: str | None = None,
    *,
    revision: str | None = None,
    content: bool = False,
    run_cache: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> Pushed:
    """Send what the workspace or a revision needs, and check that the remote has all of it.

    content: also read the objects at the remote, and replace damaged ones. run_cache: also send earlier runs' outputs.
    Raises RemoteError if an object is neither in the cache nor at the remote, or is still missing at the end.
    """
    with opened_remote(workspace, remote) as (repo, store):
        cache, address = repo.cache.local, address_of(store)
        needs = needed(repo, store, revision=revision)
        entries = []
        if run_cache:
            for entry, run in _runs(repo, None):  # incomplete old runs are skipped: nobody needs them
                if not run.unlisted and all(cached_size(cache, oid) is not None for oid in run.paths):
                    needs.merge(run)
                    entries.append(entry)
        sizes = sizes_at(store, needs.paths)
        faults = faults_by_size(needs, cache, sizes)
        if content:
            faults += faults_by_content(store, needs, sizes.keys() - {fault.oid for fault in faults}, ignore_progress)
        sent = send_until_complete(cache, store, needs, faults, on_progress)
        # Last: an entry of the run-cache implies that its objects exist.
        _send_runs(repo, remote, entries)
        sent_bytes = sum(cached_size(cache, oid) or 0 for oid in sent)
        return Pushed(address, len(needs.paths), len(sent), sent_bytes, len(entries))


def push_commit(workspace: Path, commit: str) -> Pushed:
    """Send what a commit needs to the default remote, whatever the workspace has. Raises RemoteError."""
    return push(workspace, revision=commit)


def verify(
    workspace: Path,
    remote: str | None = None,
    *,
    content: bool = False,
    revision: str | None = None,
    all_commits: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> Verified:
    """Check that every object that the workspace, a revision or all commits need is at the remote, by size.

    content: also read every object and compare its hash. Changes nothing.
    """
    with opened_remote(workspace, remote, leaves_no_trace=True) as (repo, store):
        needs = needed(repo, store, revision=revision, all_commits=all_commits)
        sizes = sizes_at(store, needs.paths)
        faults = faults_by_size(needs, repo.cache.local, sizes)
        if content:
            wrong = {fault.oid for fault in faults}
            faults += faults_by_content(store, needs, sizes.keys() - wrong, on_progress)
        return Verified(address_of(store), len(needs.paths), sum(sizes.values()), tuple(faults))


def pull(
    workspace: Path, remote: str | None = None, *, run_cache: bool = False, on_progress: OnProgress = ignore_progress
) -> Pulled:
    """Fetch the objects that the workspace's revision needs and the cache lacks, and check them out.

    Raises RemoteError if an object at the remote is damaged; the others are in the cache then, but not checked out.
    """
    with changing(workspace, "pull"), opened_remote(workspace, remote) as (repo, store):
        cache, address = repo.cache.local, address_of(store)
        here = needed(repo, None)
        fetched = fetch(repo, store, here.unlisted, here, ignore_progress)  # listings name further objects
        needs = needed(repo, store)
        if run_cache:
            repo.stage_cache.pull(remote)
            for _entry, run in _runs(repo, store):
                there = sizes_at(store, run.paths)
                if all(oid in there for oid in run.paths):
                    needs.merge(run)
        absent = [oid for oid in needs.paths if cached_size(cache, oid) is None]
        fetched += fetch(repo, store, absent, needs, on_progress)
        changed = _check_out(repo, cache)
        sizes = {oid: cached_size(cache, oid) for oid in needs.paths}
        missing = tuple(ObjectFault(oid, needs.paths[oid], MISSING) for oid, size in sizes.items() if size is None)
        return Pulled(
            address, len(needs.paths), len(fetched), sum(sizes[oid] or 0 for oid in fetched), tuple(changed), missing
        )


def fetch_output(workspace: Path, path: str) -> bool:
    """Fetch an output of the workspace's revision into the cache, unless it is there; False if the remote lacks it.

    Raises RemoteError.
    """
    with open_repo(workspace) as repo:
        out = next((out for out in repo.index.outs if out.fs_path == str(workspace.resolve() / path)), None)
        if out is None or not out.hash_info:
            return False
        here = NeededObjects()
        add_output(here, repo.cache.local, None, path, out.hash_info.value, out.meta.size)
        absent = [oid for oid in here.paths if cached_size(repo.cache.local, oid) is None]
        if not here.unlisted and not absent:
            return True
        if not repo.config["core"].get("remote"):
            return False
    with opened_remote(workspace, None) as (repo, store):
        cache, needs = repo.cache.local, NeededObjects()
        add_output(needs, cache, store, path, out.hash_info.value, out.meta.size)
        absent = [oid for oid in needs.paths if cached_size(cache, oid) is None]
        return len(fetch(repo, store, absent, needs, ignore_progress)) == len(absent) and not needs.unlisted


def _check_out(repo: "Repo", cache: "HashFileDB") -> list[str]:
    """Check out every output that the cache has completely; return the paths that changed."""
    targets = []
    for out in repo.index.outs:
        if out.use_cache and out.hash_info:
            needs = NeededObjects()
            add_output(needs, cache, None, str(out), out.hash_info.value, None)
            if not needs.unlisted and all(cached_size(cache, oid) is not None for oid in needs.paths):
                targets.append(out.fs_path)
    if not targets:
        return []
    result = repo.checkout(targets)
    changed = [Path(path).resolve() for kind in ("added", "modified", "deleted") for path in result[kind]]
    root = Path(repo.root_dir).resolve()  # DVC's paths are relative to the current folder
    return sorted(path.relative_to(root).as_posix() for path in changed)


def _runs(repo: "Repo", store: "HashFileDB | None") -> list[tuple[Path, NeededObjects]]:
    """The entries of the run-cache, and the objects that each needs."""
    runs = Path(repo.stage_cache.cache_dir)
    found = []
    for path in sorted(runs.glob("*/*/*")):
        entry = repo.stage_cache._load_cache(path.parent.name, path.name)
        needs = NeededObjects()
        for out in (entry or {}).get("outs", []):
            if "md5" in out and out.get("hash") == "md5":
                add_output(needs, repo.cache.local, store, out["path"], out["md5"], out.get("size"))
        found.append((path, needs))
    return found


def _send_runs(repo: "Repo", remote: str | None, entries: list[Path]) -> None:
    """Send these entries of the run-cache. DVC's own push would send all, also those whose outputs were skipped."""
    if not entries:
        return
    from dvc.fs import HTTPFileSystem, LocalFileSystem
    from dvc_objects.fs.generic import copy

    store = repo.cloud.get_remote_odb(remote, "push --run-cache", hash_name="md5-dos2unix")
    if isinstance(store.fs, HTTPFileSystem):
        raise RemoteError(f"{address_of(store)}: DVC keeps no run-cache at HTTP remotes; push without --run-cache")
    runs, here = Path(repo.stage_cache.cache_dir), LocalFileSystem()

    def send_one(entry: Path) -> None:
        copy(here, str(entry), store.fs, store.fs.join(store.path, "runs", *entry.relative_to(runs).parts))

    try:
        with ThreadPoolExecutor(JOBS) as pool:
            list(pool.map(send_one, entries))
    except Exception as error:
        raise unreachable(store, error) from None
