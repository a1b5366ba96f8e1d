"""Which objects are at a remote, and their sizes: by listing the remote, or by asking for each object.

DVC's own query (`ObjectDB.oids_exist`) returns no sizes, so a truncated object counts as present.
"""

import math
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from flows.data.objects import CHUNK_BYTES, JOBS, unreachable

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

MIN_LISTED = 64  # for fewer objects, the remote is never listed
PAGE_OBJECTS = 1000  # per listing request to S3 and similar stores
_FOLDER_DIGITS = 2  # of an object's hash: the name of its folder


def sizes_at(remote: "HashFileDB", oids: Iterable[str]) -> dict[str, int]:
    """Sizes of those objects that are at the remote. Raises RemoteError if it does not answer."""
    wanted = list(oids)
    try:
        # S3 and similar file systems cache listings; one from before a push is outdated.
        remote.fs.fs.invalidate_cache()
        can_list = remote.fs.CAN_TRAVERSE and remote.fs.protocol != "local"  # HTTP servers do not list folders
        listed = _listed_sizes(remote, wanted) if can_list and len(wanted) >= MIN_LISTED else None
        if listed is not None:
            return {oid: listed[oid] for oid in wanted if oid in listed}
        paths = [remote.oid_to_path(oid) for oid in wanted]
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
        size = info.get("size")
        sizes[oid] = _size_by_reading(remote, oid) if size is None else int(size)
    return sizes


def _size_by_reading(remote: "HashFileDB", oid: str) -> int:
    """An HTTP server need not say how long an answer is."""
    try:
        with remote.fs.open(remote.oid_to_path(oid), "rb") as file:
            return sum(len(chunk) for chunk in iter(lambda: file.read(CHUNK_BYTES), b""))
    except Exception as error:
        raise unreachable(remote, error) from None


def _listed_sizes(remote: "HashFileDB", wanted: Collection[str]) -> dict[str, int] | None:
    """Sizes of objects at a remote by listing it; None if asking for each object takes fewer requests.

    A remote that many projects share may have millions of objects. Like DVC, estimate their number from one of the 256
    folders. Then list all at once, or only the folders that are needed, in parallel.
    """
    folders = sorted({oid[:_FOLDER_DIGITS] for oid in wanted})

    def listed(folder: str) -> dict[str, int]:
        try:
            found = remote.fs.fs.find(f"{remote.path}/{folder}".rstrip("/"), detail=True)
        except FileNotFoundError:
            return {}
        return {"".join(name.split("/")[-2:]): info["size"] for name, info in found.items()}

    first = listed(folders[0])
    pages = max(1, math.ceil(len(first) / PAGE_OBJECTS))  # per folder
    if len(first) * 16**_FOLDER_DIGITS <= PAGE_OBJECTS * JOBS:
        return listed("")
    if len(wanted) < pages * len(folders):
        return None
    with ThreadPoolExecutor(JOBS) as pool:
        return {oid: size for part in (first, *pool.map(listed, folders[1:])) for oid, size in part.items()}
