"""What a revision needs of DVC's cache, object by object, and what of it lies at a remote.

DVC itself trusts a folder's listing: where that is at the remote it takes the folder's files to be there too, which
after an interrupted push is not so. Here every object is looked at.
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
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

FOLDER_SUFFIX = ".dir"  # of the hash of a folder: the object is the listing of its files

# From so many objects on a remote is listed (a thousand a page in S3) instead of asked for each of them: an object that
# is not there costs five questions.
LIST_FROM_OBJECTS = 64
JOBS = 16
_CHUNK_BYTES = 1 << 20

SHOWN_FAULTS = 5
MISSING = "missing"

OnProgress = Callable[[int, int], None]  # objects done, of all


class RemoteError(GenaiError):
    """A remote cannot be used, or does not hold what it should; the message says what to do."""


@dataclass(frozen=True)
class Listing:
    """One folder: its listing's hash, the hash of each of its files, and their bytes as DVC recorded them."""

    path: str
    oid: str
    files: tuple[str, ...]
    size_bytes: int | None


@dataclass
class Needs:
    """The objects of some revisions. A path is what an object is in the workspace: the first one found."""

    paths: dict[str, str] = field(default_factory=dict)  # hash of an object -> path
    sizes: dict[str, int] = field(default_factory=dict)  # what is known of them: from the cache, or as recorded
    listings: dict[str, Listing] = field(default_factory=dict)  # hash of the listing -> what stands in it
    unlisted: dict[str, str] = field(default_factory=dict)  # listings that are nowhere, or damaged -> path

    def add(self, oid: str, path: str, size_bytes: int | None = None) -> None:
        self.paths.setdefault(oid, path)
        if size_bytes is not None:
            self.sizes.setdefault(oid, size_bytes)

    def take(self, other: "Needs") -> None:
        """Add all that others need."""
        self.paths = {**other.paths, **self.paths}
        self.sizes = {**other.sizes, **self.sizes}
        self.listings = {**other.listings, **self.listings}
        self.unlisted = {**other.unlisted, **self.unlisted}


@dataclass(frozen=True)
class Fault:
    """An object that is not at the remote as it should be."""

    oid: str
    path: str
    what: str  # MISSING, "3 bytes instead of 5", "damaged: another content"


def needed(
    repo: "Repo", remote: "HashFileDB | None", *, revisions: Iterable[str] = (), all_commits: bool = False
) -> Needs:
    """What data/raw.dvc, dvc.lock and every other .dvc file name: in the workspace, or in the given revisions.

    Folder listings come from the cache, else from `remote`, where they are only read.
    """
    cache, needs = repo.cache.local, Needs()
    chosen = list(revisions)
    for _revision in repo.brancher(revs=chosen, all_commits=all_commits, workspace=False):
        root = Path(repo.root_dir)
        for out in repo.index.outs:
            if out.use_cache and out.can_push and out.hash_info and not out.stage.is_repo_import:
                add_output(needs, cache, remote, _path(out, root), out.hash_info.value, out.meta.size)
    return needs


def add_output(
    needs: Needs, cache: "HashFileDB", remote: "HashFileDB | None", path: str, oid: str, size_bytes: int | None
) -> None:
    """Add an output, a file or a folder with all its files."""
    if not oid.endswith(FOLDER_SUFFIX):
        needs.add(oid, path, size_bytes)
        return
    if oid in needs.listings or oid in needs.unlisted:
        return
    needs.add(oid, path)
    entries = read_listing(cache, oid) or (read_listing(remote, oid) if remote else None)
    if entries is None:
        needs.unlisted[oid] = path
        return
    needs.listings[oid] = Listing(path, oid, tuple(entries.values()), size_bytes)
    for name, file_oid in entries.items():
        needs.add(file_oid, f"{path}/{name}")


def read_listing(store: "HashFileDB", oid: str) -> dict[str, str] | None:
    """The files of a folder, name -> hash; None where the listing is missing or not what its name says."""
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
    """Bytes of an object in the local cache; None when it is not there."""
    try:
        return Path(cache.oid_to_path(oid)).stat().st_size
    except FileNotFoundError:
        return None


def sizes_at(remote: "HashFileDB", oids: Iterable[str]) -> dict[str, int]:
    """Bytes of those objects that are at the remote. Raises RemoteError when it cannot be reached."""
    wanted = list(oids)
    paths = [remote.oid_to_path(oid) for oid in wanted]
    try:
        # S3 and its kin remember listings; what was asked before a push is no answer after it.
        remote.fs.fs.invalidate_cache()
        if remote.fs.protocol != "local" and len(wanted) >= LIST_FROM_OBJECTS:
            listed = remote.fs.fs.find(remote.path, detail=True)
            found = {"".join(name.split("/")[-2:]): info["size"] for name, info in listed.items()}
            return {oid: found[oid] for oid in wanted if oid in found}
        infos = remote.fs.info(paths, return_exceptions=True, batch_size=JOBS) if paths else []
    except FileNotFoundError:
        return {}
    except Exception as error:
        raise unreachable(remote, error) from None
    sizes = {}
    for oid, info in zip(wanted, infos, strict=True):
        if isinstance(info, (FileNotFoundError, NotADirectoryError)):
            continue
        if isinstance(info, BaseException):
            raise unreachable(remote, info)
        sizes[oid] = int(info["size"])
    return sizes


def faults_by_size(needs: Needs, cache: "HashFileDB", sizes: Mapping[str, int]) -> list[Fault]:
    """What is missing at a remote or has another size than it should have; sizes: what is there (sizes_at)."""
    faults = [Fault(oid, path, MISSING) for oid, path in needs.paths.items() if oid not in sizes]
    faults += [Fault(oid, path, "damaged: no listing") for oid, path in needs.unlisted.items() if oid in sizes]
    unsure = set()  # the size is recorded for the folder as a whole only
    for oid, size in sizes.items():
        right = cached_size(cache, oid)
        right = needs.sizes.get(oid) if right is None else right
        if right is None:
            unsure.add(oid)
        elif size != right:
            faults.append(Fault(oid, needs.paths[oid], f"{size:,} bytes instead of {right:,}"))
    bad = {fault.oid for fault in faults}
    for listing in needs.listings.values():
        if listing.size_bytes is None or bad.intersection(listing.files) or not unsure.intersection(listing.files):
            continue
        total = sum(sizes[oid] for oid in listing.files)
        if total != listing.size_bytes:
            what = f"its files have {total:,} bytes in all instead of {listing.size_bytes:,}; --content says which"
            faults.append(Fault(listing.oid, listing.path, what))
    return faults


def faults_by_content(
    remote: "HashFileDB", needs: Needs, oids: Iterable[str], on_progress: OnProgress
) -> Iterator[Fault]:
    """Read objects at a remote whole, and compare each with its hash."""
    wanted = list(oids)
    with ThreadPoolExecutor(JOBS) as pool:
        found = pool.map(lambda oid: content_hash(remote, remote.oid_to_path(oid)), wanted)
        for done, (oid, actual) in enumerate(zip(wanted, found, strict=True), start=1):
            on_progress(done, len(wanted))
            if actual != oid.removesuffix(FOLDER_SUFFIX):
                yield Fault(oid, needs.paths[oid], "damaged: another content")


def content_hash(store: "HashFileDB", path: str) -> str:
    """md5 of a file in a store, read to its end. Raises RemoteError when it cannot be read."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with store.fs.open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except Exception as error:
        raise unreachable(store, error) from None
    return digest.hexdigest()


def unreachable(store: "HashFileDB", error: BaseException) -> RemoteError:
    """The error for a remote that does not answer as it should."""
    said: Any = str(error).strip() or type(error).__name__
    return RemoteError(f"{address_of(store)}: {redacted(' '.join(said.split()))} ({type(error).__name__})")


def address_of(store: "HashFileDB") -> str:
    """Where a store is, as people write it, but for what is secret in it."""
    url = without_secrets(store.fs.unstrip_protocol(store.path))
    return url.removeprefix("file://").removesuffix("/files/md5")


def describe_faults(faults: Iterable[Fault]) -> str:
    """The first ones in words, and how many more."""
    listed = list(faults)
    shown = [f"{fault.path} ({fault.oid}) {fault.what}" for fault in listed[:SHOWN_FAULTS]]
    more = [f"and {len(listed) - SHOWN_FAULTS:,} more"] if len(listed) > SHOWN_FAULTS else []
    return "; ".join(shown + more)


def _path(out: "Output", root: Path) -> str:
    return Path(out.fs_path).relative_to(root).as_posix()
