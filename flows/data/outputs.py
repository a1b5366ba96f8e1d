"""Send and fetch single outputs by their hashes: what a stage reads or makes on another machine."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from flows.data.objects import (
    FOLDER_SUFFIX,
    MISSING,
    NeededObjects,
    ObjectFault,
    RemoteError,
    UnreachableError,
    add_output,
    address_of,
    cached_size,
    describe_faults,
    read_listing,
)
from flows.data.transfer import fetch, send_until_complete

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

Answer = TypeVar("Answer")

WAITS_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # a restarted server, a short outage of the network


@dataclass(frozen=True)
class StoredOutput:
    """An output in DVC's cache or at its remote.

    path: from the repository's root. oid: DVC's hash; of a folder, that of its listing. size_bytes: None if unknown.
    parts: the paths in a folder that are needed, each a file or a folder; None: all.
    """

    path: str
    oid: str
    size_bytes: int | None = None
    parts: tuple[str, ...] | None = None

    def has(self, name: str) -> bool:
        """Whether a file of the folder is needed."""
        return self.parts is None or any(name == part or name.startswith(f"{part}/") for part in self.parts)


@dataclass(frozen=True)
class Moved:
    """What was sent or fetched, because it was missing there."""

    objects: int
    size_bytes: int


def patiently(move: Callable[[], Answer], say: Callable[[str], None]) -> Answer:
    """Return `move()`. While the remote does not answer, try again, for a minute. say: receives a line per wait."""
    for wait_s in WAITS_S:
        try:
            return move()
        except UnreachableError as error:
            say(f"{error}; trying again in {wait_s:g} s")
            time.sleep(wait_s)
    return move()


def send_outputs(repo: "Repo", store: "HashFileDB", outputs: Iterable[StoredOutput]) -> Moved:
    """Send outputs that are in the cache, whole, and check that the store has every object of them.

    Raises RemoteError, also if an object is neither in the cache nor at the store.
    """
    cache, needs = repo.cache.local, NeededObjects()
    for output in outputs:
        add_output(needs, cache, store, output.path, output.oid, output.size_bytes)
    sent = send_until_complete(cache, store, needs)
    return Moved(len(sent), sum(cached_size(cache, oid) or 0 for oid in sent))


def fetch_outputs(repo: "Repo", store: "HashFileDB", outputs: Iterable[StoredOutput]) -> Moved:
    """Fetch what the cache lacks of outputs, hashed before it enters the cache. Raises RemoteError."""
    wanted, cache = list(outputs), repo.cache.local
    listings = NeededObjects()
    for output in wanted:
        if output.oid.endswith(FOLDER_SUFFIX):
            listings.add(output.oid, output.path)
    fetched = _fetch_missing(repo, store, listings)
    needs = NeededObjects()
    for output in wanted:
        if not output.oid.endswith(FOLDER_SUFFIX):
            needs.add(output.oid, output.path)
            continue
        for name, oid in (read_listing(cache, output.oid) or {}).items():
            if output.has(name):
                needs.add(oid, f"{output.path}/{name}")
    fetched += _fetch_missing(repo, store, needs)
    return Moved(len(fetched), sum(cached_size(cache, oid) or 0 for oid in fetched))


def cached_bytes(cache: "HashFileDB", output: StoredOutput) -> int:
    """The size of what is needed of an output, as far as it is in the cache."""
    if not output.oid.endswith(FOLDER_SUFFIX):
        return cached_size(cache, output.oid) or 0
    listing = read_listing(cache, output.oid) or {}
    return sum(cached_size(cache, oid) or 0 for oid in {oid for name, oid in listing.items() if output.has(name)})


def _fetch_missing(repo: "Repo", store: "HashFileDB", needs: NeededObjects) -> list[str]:
    cache = repo.cache.local
    absent = [oid for oid in needs.paths if cached_size(cache, oid) is None]
    if not absent:
        return []
    fetched = fetch(repo, store, absent, needs, lambda _done, _total: None)
    lost = [ObjectFault(oid, needs.paths[oid], MISSING) for oid in absent if cached_size(cache, oid) is None]
    if lost:
        raise RemoteError(f"{address_of(store)}: {describe_faults(lost)}")
    return fetched
