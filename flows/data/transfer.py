"""Objects from DVC's cache to a remote's store and back, each checked where it begins and where it arrives."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import (
    FOLDER_SUFFIX,
    JOBS,
    MISSING,
    Fault,
    Needs,
    OnProgress,
    RemoteError,
    address_of,
    cached_size,
    content_hash,
    describe_faults,
    sizes_at,
    unreachable,
)
from flows.scratch import scratch_folder

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

BATCH_OBJECTS = 128  # are sent, or fetched, checked and taken into the cache, together


def send(
    cache: "HashFileDB", store: "HashFileDB", needs: Needs, faults: Iterable[Fault], on_progress: OnProgress
) -> None:
    """Send what is at fault: files first, and a folder's listing only when all its files are there.

    DVC takes a listing as the word that they are. Raises RemoteError.
    """
    wrong = {fault.oid: fault for fault in faults}
    replaced = {oid for oid, fault in wrong.items() if fault.what != MISSING}
    files = [oid for oid in wrong if not oid.endswith(FOLDER_SUFFIX)]
    _upload(cache, store, needs, files, replaced, lambda done: on_progress(done, len(wrong)))
    there = sizes_at(store, files)
    late = {oid for oid in files if there.get(oid) != cached_size(cache, oid)}
    whole = [oid for oid in wrong if oid in needs.listings and late.isdisjoint(needs.listings[oid].files)]
    _upload(cache, store, needs, whole, replaced, lambda done: on_progress(len(files) + done, len(wrong)))


def fetch(repo: "Repo", store: "HashFileDB", oids: Iterable[str], needs: Needs, on_progress: OnProgress) -> list[str]:
    """Fetch those objects that are at the remote; each is hashed before it enters the cache.

    Raises RemoteError when some were damaged; the others have come.
    """
    from dvc_objects.fs import generic

    cache = repo.cache.local
    wanted = list(sizes_at(store, oids))
    fetched: list[str] = []
    damaged: list[Fault] = []
    with scratch_folder(Path(repo.root_dir), "incoming") as incoming:
        for begin in range(0, len(wanted), BATCH_OBJECTS):
            batch = wanted[begin : begin + BATCH_OBJECTS]
            places = [str(incoming / oid) for oid in batch]
            try:
                sources = [store.oid_to_path(oid) for oid in batch]
                generic.transfer(store.fs, sources, cache.fs, places, batch_size=JOBS)
            except Exception as error:
                raise unreachable(store, error) from None
            right = {oid: content_hash(cache, place) == _md5(oid) for oid, place in zip(batch, places, strict=True)}
            good = [oid for oid in batch if right[oid]]
            if good:
                cache.add([str(incoming / oid) for oid in good], cache.fs, good, hardlink=True, check_exists=False)
            fetched += good
            damaged += [Fault(oid, needs.paths[oid], "damaged: another content") for oid in batch if not right[oid]]
            for place in places:
                Path(place).unlink(missing_ok=True)
            on_progress(begin + len(batch), len(wanted))
    if damaged:
        raise RemoteError(
            f"{address_of(store)}: {describe_faults(damaged)}; not taken over, and nothing was checked out; "
            "send it again from where it is whole (genai data push --content)"
        )
    return fetched


def _upload(
    cache: "HashFileDB",
    store: "HashFileDB",
    needs: Needs,
    oids: list[str],
    replaced: set[str],
    on_sent: Callable[[int], None],
) -> None:
    for begin in range(0, len(oids), BATCH_OBJECTS):
        batch = oids[begin : begin + BATCH_OBJECTS]
        sources = [cache.oid_to_path(oid) for oid in batch]
        for oid, source in zip(batch, sources, strict=True):
            if content_hash(cache, source) != oid.removesuffix(FOLDER_SUFFIX):
                raise RemoteError(
                    f"{needs.paths[oid]}: damaged in DVC's cache ({source}), not sent; delete that file, "
                    "then pull it (genai data pull) or make it again (genai run)"
                )
        errors: list[BaseException] = []
        try:
            for oid in replaced.intersection(batch):  # DVC leaves what is there as it is
                store.delete(oid)
            store.add(
                sources,
                cache.fs,
                batch,
                check_exists=False,
                verify=False,
                batch_size=JOBS,
                on_error=partial(_note, errors),
            )
        except Exception as error:
            raise unreachable(store, error) from None
        if errors:
            raise unreachable(store, errors[0])
        on_sent(begin + len(batch))


def _note(errors: list[BaseException], _oid: str, error: BaseException) -> None:
    errors.append(error)


def _md5(oid: str) -> str:
    return oid.removesuffix(FOLDER_SUFFIX)
