"""Send objects from DVC's cache to a remote's store and back. Checks each object at both ends.

dvc_data's `transfer` is not used. It treats a truncated object as present, sends a damaged one from a read-only cache,
logs an error without returning it, and puts a damaged object into the cache before `verify` removes it. Its
`HashFileDB.check` deletes damaged objects at the remote.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import (
    DAMAGED,
    FOLDER_SUFFIX,
    JOBS,
    MISSING,
    NeededObjects,
    ObjectFault,
    OnProgress,
    RemoteError,
    address_of,
    cached_size,
    content_hash,
    describe_faults,
    faults_by_size,
    unreachable,
)
from flows.data.sizes import sizes_at
from flows.scratch import scratch_folder

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

ATTEMPTS = 2
BATCH_OBJECTS = 128  # per batch of sending, or of fetching, checking and adding to the cache


def send(
    cache: "HashFileDB",
    store: "HashFileDB",
    needs: NeededObjects,
    faults: Iterable[ObjectFault],
    on_progress: OnProgress,
) -> None:
    """Send the faulty objects: files first, and a folder's listing only when all its files are at the remote.

    For DVC, a listing at the remote implies that its files are there. Raises RemoteError.
    """
    wrong = {fault.oid: fault for fault in faults}
    replaced = {oid for oid, fault in wrong.items() if fault.what != MISSING}
    files = [oid for oid in wrong if not oid.endswith(FOLDER_SUFFIX)]
    _upload(cache, store, needs, files, replaced, lambda done: on_progress(done, len(wrong)))
    there = sizes_at(store, files)
    late = {oid for oid in files if there.get(oid) != cached_size(cache, oid)}
    whole = [oid for oid in wrong if oid in needs.listings and late.isdisjoint(needs.listings[oid].files)]
    _upload(cache, store, needs, whole, replaced, lambda done: on_progress(len(files) + done, len(wrong)))


def send_until_complete(
    cache: "HashFileDB",
    store: "HashFileDB",
    needs: NeededObjects,
    faults: Iterable[ObjectFault] | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> set[str]:
    """Send what the store lacks, until it has every object, by size. Return the hashes of what was sent.

    faults: those already found; None: ask the store first. Raises RemoteError if an object is neither in the cache nor
    at the store, or is still missing at the end.
    """
    address = address_of(store)
    left = list(faults) if faults is not None else faults_by_size(needs, cache, sizes_at(store, needs.paths))
    sent: set[str] = set()
    for _attempt in range(ATTEMPTS):
        if not left:
            break
        wrong = [fault.oid for fault in left]
        lost = [ObjectFault(oid, needs.paths[oid], "") for oid in wrong if cached_size(cache, oid) is None]
        if lost:
            raise RemoteError(
                f"neither in DVC's cache here nor complete at {address}: {describe_faults(lost)}; nothing was "
                "sent. Push from the machine that made them, or make them again (genai run)"
            )
        send(cache, store, needs, left, on_progress)
        sent.update(wrong)
        left = faults_by_size(needs, cache, sizes_at(store, needs.paths))
    if left:
        raise RemoteError(f"{address}: not complete after {ATTEMPTS} attempts: {describe_faults(left)}")
    return sent


def fetch(
    repo: "Repo", store: "HashFileDB", oids: Iterable[str], needs: NeededObjects, on_progress: OnProgress
) -> list[str]:
    """Fetch the objects that are at the remote. Hashes each before it enters the cache.

    Raises RemoteError if some are damaged; the others are in the cache then.
    """
    from dvc_objects.fs import generic

    cache = repo.cache.local
    wanted = list(sizes_at(store, oids))
    fetched: list[str] = []
    damaged: list[ObjectFault] = []
    with scratch_folder(Path(repo.root_dir), "incoming") as incoming:
        for begin in range(0, len(wanted), BATCH_OBJECTS):
            batch = wanted[begin : begin + BATCH_OBJECTS]
            sources, targets = [store.oid_to_path(oid) for oid in batch], [str(incoming / oid) for oid in batch]
            try:
                generic.transfer(store.fs, sources, cache.fs, targets, batch_size=JOBS)
            except Exception as error:
                raise unreachable(store, error) from None
            hashes = {oid: content_hash(cache, str(incoming / oid)) for oid in batch}
            good = [oid for oid in batch if hashes[oid] == oid.removesuffix(FOLDER_SUFFIX)]
            if good:
                cache.add([str(incoming / oid) for oid in good], cache.fs, good, hardlink=True, check_exists=False)
            fetched += good
            damaged += [ObjectFault(oid, needs.paths[oid], DAMAGED) for oid in batch if oid not in good]
            for oid in batch:
                (incoming / oid).unlink(missing_ok=True)
            on_progress(begin + len(batch), len(wanted))
    if damaged:
        raise RemoteError(
            f"{address_of(store)}: {describe_faults(damaged)}. Not added to the cache; nothing was checked out. "
            "Replace it from a machine that has it: genai data push --content"
        )
    return fetched


def _upload(
    cache: "HashFileDB",
    store: "HashFileDB",
    needs: NeededObjects,
    oids: list[str],
    replaced: set[str],
    on_sent: Callable[[int], None],
) -> None:
    errors: list[BaseException] = []
    for begin in range(0, len(oids), BATCH_OBJECTS):
        batch = oids[begin : begin + BATCH_OBJECTS]
        sources = [cache.oid_to_path(oid) for oid in batch]
        for oid, source in zip(batch, sources, strict=True):
            if content_hash(cache, source) != oid.removesuffix(FOLDER_SUFFIX):
                raise RemoteError(
                    f"{needs.paths[oid]}: damaged in DVC's cache ({source}), so it was not sent. Delete that file, "
                    "then pull it (genai data pull) or make it again (genai run)"
                )
        try:
            for oid in replaced.intersection(batch):  # DVC does not replace an existing object
                store.delete(oid)
            store.add(
                sources,
                cache.fs,
                batch,
                check_exists=False,
                verify=False,
                batch_size=JOBS,
                on_error=lambda _oid, error: errors.append(error),
            )
        except Exception as error:
            raise unreachable(store, error) from None
        if errors:
            raise unreachable(store, errors[0])
        on_sent(begin + len(batch))
