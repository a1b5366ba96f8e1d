"""The objects in DVC's cache that a revision needs, and which of them are at a remote.

If a folder's listing is at the remote, DVC assumes that the folder's files are there too. That is wrong after an
interrupted push, so this code checks every object.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.redact import redacted, without_secrets
from genai_core import GenaiError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

FOLDER_SUFFIX = ".dir"  # of the hash of a folder: the object is the listing of its files
JOBS = 16
CHUNK_BYTES = 1 << 20

SHOWN_FAULTS = 5
MISSING, DAMAGED = "missing", "damaged: wrong content"

OnProgress = Callable[[int, int], None]  # objects done, of all


class RemoteError(GenaiError):
    """A remote cannot be used or is incomplete; the message says what to do."""


class UnreachableError(RemoteError):
    """A remote did not answer as expected; it may do so later."""


@dataclass(frozen=True)
class Listing:
    """A folder: its listing's hash, the hash of each of its files, and their total size as DVC recorded it."""

    path: str
    oid: str
    files: tuple[str, ...]
    size_bytes: int | None


@dataclass
class NeededObjects:
    """The objects that some revisions need. If an object has several paths in the workspace, the first one counts."""

    paths: dict[str, str] = field(default_factory=dict)  # hash of an object -> path
    sizes: dict[str, int] = field(default_factory=dict)  # if known: from the cache, or as recorded
    listings: dict[str, Listing] = field(default_factory=dict)  # hash of the listing -> its content
    unlisted: dict[str, str] = field(default_factory=dict)  # missing or damaged listings -> path

    def add(self, oid: str, path: str, size_bytes: int | None = None) -> None:
        self.paths.setdefault(oid, path)
        if size_bytes is not None:
            self.sizes.setdefault(oid, size_bytes)

    def merge(self, other: "NeededObjects") -> None:
        """Add another revision's objects."""
        self.paths = {**other.paths, **self.paths}
        self.sizes = {**other.sizes, **self.sizes}
        self.listings = {**other.listings, **self.listings}
        self.unlisted = {**other.unlisted, **self.unlisted}


@dataclass(frozen=True)
class ObjectFault:
    """An object that is missing or damaged."""

    oid: str
    path: str
    what: str  # MISSING, DAMAGED, "3 bytes instead of 5"


def needed(
    repo: "Repo", remote: "HashFileDB | None", *, revision: str | None = None, all_commits: bool = False
) -> NeededObjects:
    """The objects that dvc.lock and all .dvc files name: in the workspace, in `revision`, or in all commits.

    Folder listings are read from the cache, else from `remote`.
    """
    cache, needs, revisions = repo.cache.local, NeededObjects(), [revision] if revision else []
    for _revision in repo.brancher(revs=revisions, all_commits=all_commits, workspace=False):
        root = Path(repo.root_dir)
        for out in repo.index.outs:
            if out.use_cache and out.can_push and out.hash_info and not out.stage.is_repo_import:
                path = Path(out.fs_path).relative_to(root).as_posix()
                add_output(needs, cache, remote, path, out.hash_info.value, out.meta.size)
    return needs


def add_output(
    needs: NeededObjects, cache: "HashFileDB", remote: "HashFileDB | None", path: str, oid: str, size_bytes: int | None
) -> None:
    """Add an output: a file, or a folder with all its files."""
    if not oid.endswith(FOLDER_SUFFIX):
        needs.add(oid, path, size_bytes)
        return
    if oid in needs.listings or oid in needs.unlisted:
        return
    needs.add(oid, path)
    entries = read_listing(cache, oid)
    if entries is None and remote:  # not `or`: the listing of an empty folder is an empty one
        entries = read_listing(remote, oid)
    if entries is None:
        needs.unlisted[oid] = path
        return
    needs.listings[oid] = Listing(path, oid, tuple(entries.values()), size_bytes)
    for name, file_oid in entries.items():
        needs.add(file_oid, f"{path}/{name}")


def read_listing(store: "HashFileDB", oid: str) -> dict[str, str] | None:
    """The files of a folder, name -> hash; None if the listing is missing or does not have this hash."""
    try:
        with store.fs.open(store.oid_to_path(oid), "rb") as file:
            content: bytes = file.read()
    except FileNotFoundError:
        return None
    except Exception as error:
        raise unreachable(store, error) from None
    if hashlib.md5(content, usedforsecurity=False).hexdigest() + FOLDER_SUFFIX != oid:
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def cached_size(cache: "HashFileDB", oid: str) -> int | None:
    """Size of an object in the local cache; None if it is missing."""
    try:
        return Path(cache.oid_to_path(oid)).stat().st_size
    except FileNotFoundError:
        return None


def faults_by_size(needs: NeededObjects, cache: "HashFileDB", sizes: Mapping[str, int]) -> list[ObjectFault]:
    """Missing objects, and those of a wrong size. sizes: of the objects at the remote (sizes.py)."""
    faults = [ObjectFault(oid, path, MISSING) for oid, path in needs.paths.items() if oid not in sizes]
    faults += [
        ObjectFault(oid, path, "damaged: not a folder listing") for oid, path in needs.unlisted.items() if oid in sizes
    ]
    unknown = set()  # DVC recorded only the size of the whole folder
    for oid, size in sizes.items():
        right = cached_size(cache, oid)
        right = needs.sizes.get(oid) if right is None else right
        if right is None:
            unknown.add(oid)
        elif size != right:
            faults.append(ObjectFault(oid, needs.paths[oid], f"{size:,} bytes instead of {right:,}"))
    bad = {fault.oid for fault in faults}
    for listing in needs.listings.values():
        if listing.size_bytes is None or bad.intersection(listing.files) or not unknown.intersection(listing.files):
            continue
        total = sum(sizes[oid] for oid in listing.files)
        if total != listing.size_bytes:
            what = (
                f"its files have {total:,} bytes in total instead of {listing.size_bytes:,}; --content finds the file"
            )
            faults.append(ObjectFault(listing.oid, listing.path, what))
    return faults


def faults_by_content(
    remote: "HashFileDB", needs: NeededObjects, oids: Iterable[str], on_progress: OnProgress
) -> Iterator[ObjectFault]:
    """Read objects at a remote completely, and compare each with its hash."""
    wanted = list(oids)
    with ThreadPoolExecutor(JOBS) as pool:
        found = pool.map(lambda oid: content_hash(remote, remote.oid_to_path(oid)), wanted)
        for done, (oid, actual) in enumerate(zip(wanted, found, strict=True), start=1):
            on_progress(done, len(wanted))
            if actual != oid.removesuffix(FOLDER_SUFFIX):
                yield ObjectFault(oid, needs.paths[oid], DAMAGED)


def content_hash(store: "HashFileDB", path: str) -> str:
    """md5 of a file in a store. Raises RemoteError if it cannot be read."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with store.fs.open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except Exception as error:
        raise unreachable(store, error) from None
    return digest.hexdigest()


def unreachable(store: "HashFileDB", error: BaseException) -> UnreachableError:
    """Return the error for a remote that does not answer as expected."""
    text: Any = str(error).strip() or type(error).__name__
    # S3's "access denied" is one, too; credentials that have expired may be renewed, so this may end by itself.
    hint = (
        "; `genai doctor --worker` tries what this machine may do there" if isinstance(error, PermissionError) else ""
    )
    fault = f"{redacted(' '.join(text.split()))} ({type(error).__name__})"
    return UnreachableError(f"{address_of(store)}: {fault}{hint}")


def address_of(store: "HashFileDB") -> str:
    """A store's location for people, without secrets."""
    url = without_secrets(store.fs.unstrip_protocol(store.path))
    return url.removeprefix("file://").removesuffix("/files/md5")


def describe_faults(faults: Iterable[ObjectFault]) -> str:
    """Describe the first faults, and count the others."""
    listed = list(faults)
    shown = [f"{fault.path} ({fault.oid}) {fault.what}" for fault in listed[:SHOWN_FAULTS]]
    more = [f"and {len(listed) - SHOWN_FAULTS:,} more"] if len(listed) > SHOWN_FAULTS else []
    return "; ".join(shown + more)
