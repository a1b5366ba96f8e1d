"""Delete what nothing uses any more in DVC's cache and run-cache, and what killed commands left below .genai.

`dvc gc --workspace` keeps only what one checkout names. It deletes production's model, the versions for a rollback, and
the results of a retraining in another checkout. This code keeps what any git reference names (registered versions are
tags, runs and branches have references), what any checkout names, and what a run would restore there.
"""

import shutil
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.gc.cache import Cache, CachedRun, StoredFile
from flows.gc.locks import locked_dvc, runs_blocked
from flows.gc.paths import paths_of
from flows.gc.roots import CollectError, checkouts, describe_roots, roots
from flows.gc.scratch import Scratch, left_by_runs, links_below, scratch_in
from flows.graph import GraphError, read_graph
from flows.plan import hashes_to_restore
from flows.runs.leftovers import left_checkouts, remove_left_checkouts

if TYPE_CHECKING:
    from dvc.repo import Repo

RUN_CACHE, HALF_WRITTEN, UNKNOWN = "run-cache", "half written", "unknown origin"


@dataclass(frozen=True)
class Freed:
    """Files of one kind: the output that they were (data/prepared, models ...), or their folder."""

    kind: str
    files: int
    size_bytes: int


@dataclass(frozen=True)
class Collected:
    """What was or would be freed, largest first, and what is kept. needed_by and notes: text for the user."""

    freed: tuple[Freed, ...]
    kept_files: int
    kept_bytes: int
    needed_by: str
    notes: tuple[str, ...]


def collect(workspace: Path, *, dry_run: bool) -> Collected:
    """Delete what nothing uses; dry_run: only report it.

    During an active run, objects added since the run began are kept: nothing may refer to them yet.
    Raises CollectError, GraphError or GitError, and deletes nothing then.
    """
    folders = checkouts(workspace)
    # Checkouts of killed runs whose keepers were killed too. Their records name their results.
    left = [checkout.resolve() for folder in folders for checkout in left_checkouts(folder)]
    folders = tuple(folder for folder in folders if not any(folder.is_relative_to(checkout) for checkout in left))
    with ExitStack() as stack:
        since = stack.enter_context(runs_blocked(folders))
        repos = {f: stack.enter_context(locked_dvc(f)) for f in folders if (f / ".dvc").is_dir()}
        if workspace.resolve() not in repos:
            raise CollectError(f"{workspace}: no .dvc here; run genai in a checkout of the project")
        cache = Cache(repos[workspace.resolve()])
        _check_unshared(cache, folders)
        named = roots(workspace, folders)
        wanted = {item.md5 for root in named for item in root.outputs if item.md5}
        restored, notes = _to_restore(repos)
        links = {oid for folder in folders for path in links_below(folder) if (oid := cache.oid_at(path))}
        runs, objects = cache.runs(), cache.objects()
        young = [run for run in runs if since is not None and run.file.added_at >= since]
        wanted |= restored | links | {item.md5 for run in young for item in run.outputs}
        kept = cache.with_contents(wanted)
        if since is not None:
            kept |= {oid for oid, file in objects.items() if file.added_at >= since}
            notes.append("a run is active: files added to the cache since it began are kept")
        # An entry of the run-cache promises its outputs.
        useless = [run for run in runs if not kept.issuperset(item.md5 for item in run.outputs) or not run.outputs]
        useless = [run for run in useless if since is None or run.file.added_at < since]
        garbage = {oid: file for oid, file in objects.items() if oid not in kept}
        paths = paths_of(workspace, cache, runs, garbage)
        half, half_runs = (
            [file for file in found if since is None or file.added_at < since]
            for found in (cache.half_written(), cache.half_written_runs())
        )
        scratch = [item for folder in folders for item in scratch_in(folder)]
        if not dry_run:
            cache.drop([*(run.file for run in useless), *half_runs])
            _delete([*_listings_first(garbage), *half], scratch)
        collected = Collected(
            freed=_sums(garbage, paths, useless, [*half, *half_runs], [*scratch, *left_by_runs(left)]),
            kept_files=len(objects) - len(garbage),
            kept_bytes=sum(file.size_bytes for oid, file in objects.items() if oid in kept),
            needed_by=describe_roots(named),
            notes=tuple(notes),
        )
    if not dry_run:  # only now: each removal takes its run's lock, which was locked until here
        for folder in folders:
            remove_left_checkouts(folder)
    return collected


def _check_unshared(cache: Cache, folders: tuple[Path, ...]) -> None:
    """Raise CollectError for a cache that others may use: their needs are unknown."""
    if not any(folder / ".dvc" in cache.folder.parents for folder in folders):
        raise CollectError(
            f"DVC's cache {cache.folder} is outside this repository's checkouts, so other projects may share it, and "
            "the files that they use are unknown. Nothing was freed"
        )


def _to_restore(repos: dict[Path, "Repo"]) -> tuple[set[str], list[str]]:
    """What each checkout's next run would restore from the run-cache: also stages that an interrupted run finished."""
    found: set[str] = set()
    notes = []
    for folder, repo in repos.items():
        if (folder / "dvc.yaml").is_file():
            read_graph(repo)  # an unreadable dvc.yaml is an error; missing data is not
            try:
                found |= hashes_to_restore(repo)
            except GraphError as error:
                notes.append(f"{folder}: {error}")
    return found, notes


def _listings_first(garbage: dict[str, StoredFile]) -> list[StoredFile]:
    """Order the deletions: a listing promises its files, so it is deleted first."""
    return [garbage[oid] for oid in sorted(garbage, key=lambda oid: (not oid.endswith(".dir"), oid))]


def _delete(files: Iterable[StoredFile], scratch: Iterable[Scratch]) -> None:
    for file in files:
        file.path.unlink(missing_ok=True)
    for item in scratch:
        if item.path.is_dir() and not item.path.is_symlink():
            shutil.rmtree(item.path, ignore_errors=True)
        else:
            item.path.unlink(missing_ok=True)


def _sums(
    garbage: dict[str, StoredFile],
    paths: dict[str, str],
    useless: list[CachedRun],
    half: list[StoredFile],
    scratch: list[Scratch],
) -> tuple[Freed, ...]:
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for kind, count, size in [
        *((_kind(paths.get(oid)), 1, file.freed_bytes) for oid, file in garbage.items()),
        *((RUN_CACHE, 1, run.file.freed_bytes) for run in useless),
        *((HALF_WRITTEN, 1, file.freed_bytes) for file in half),
        *((item.kind, item.files, item.size_bytes) for item in scratch),
    ]:
        files[kind] += count
        sizes[kind] += size
    return tuple(Freed(kind, files[kind], size) for kind, size in sizes.most_common())


def _kind(path: str | None) -> str:
    """The kind that the report groups by: data/prepared, models ..."""
    if path is None:
        return UNKNOWN
    first, _, rest = path.partition("/")
    return f"{first}/{rest.partition('/')[0]}" if first == "data" and rest else first
