"""Cached results for raw files, so that each file is decoded only once: private files outside DVC's outputs.

Safe to delete; results do not depend on them. A file is recognised by its extension, inode, size and times, as in git's
index. Where these differ (a fresh checkout, a rename), its content hash decides, which takes a tenth of the time of
decoding. A file changed less than RACY_NS before it was examined is not recognised by its times: it may have changed
again within their resolution. The images of a pack are recognised together, by the pack's times, and have their own
cache file: for an old pack, nothing is looked up and nothing is rewritten.
"""

import hashlib
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.data.cache.cache_file import CACHE_EXTENSION, CacheMissError, delete_caches, read_cache, write_cache
from genai_core.data.cache.digest_index import DigestIndex, may_be_in
from genai_core.data.dataset.facts import Digests, Indices, as_opaque, take_rows
from genai_core.data.decoding import image, pool, wide_pixels, worker
from genai_core.data.decoding.image import DecodeRule, Rejection
from genai_core.data.decoding.versions import decoder_versions
from genai_core.data.prepare import near
from genai_core.data.raw.images import RawImages
from genai_core.data.raw.pack_indexes import RACY_NS, PackStamp, stamp_pack

RECORDS_DTYPE = np.dtype(
    [
        ("sha256", "u1", (32,)),  # of the pixels; zeros: rejected
        ("near_hash", "<u8"),
        ("total", "<u8"),  # sum over all pixels and channels; `squares`: sum of the squares
        ("squares", "<u8"),
        ("width", "<u4"),
        ("height", "<u4"),
    ]
)

Records = npt.NDArray[np.void]
# Files rejected for these reasons are tried again, because the failure may be temporary.
_RETRIED_REASONS = ("decoder_died", "unreadable")
_FILE_HASHES: dict[str, npt.DTypeLike] = {"file_sha256": np.uint8, "extensions": np.int64}


@dataclass
class FileRecords:
    """Cached information about N files, in their order.

    records: RECORDS_DTYPE (N,). file_sha256: (N, 32), zeros if unknown. extensions: (N,) a number for each
    file extension. stamps: (N, 4) inode, size, mtime and ctime; zeros never match. flags and rejected: by index,
    for the few files that have them. again: indices to decode again in any case.
    """

    records: Records
    file_sha256: Digests
    extensions: Indices
    stamps: Indices
    flags: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, Rejection] = field(default_factory=dict)
    again: tuple[int, ...] = ()

    @classmethod
    def empty(cls, count: int) -> "FileRecords":
        return cls(
            np.zeros(count, dtype=RECORDS_DTYPE),
            np.zeros((count, 32), dtype=np.uint8),
            np.zeros(count, dtype=np.int64),
            np.zeros((count, 4), dtype=np.int64),
        )

    def take(self, other: "FileRecords", here: Indices, there: Indices | None = None) -> None:
        """Copy rows `there` of `other` (None: all of them) into the rows `here`."""
        records = as_opaque(other.records)
        as_opaque(self.records)[here] = records if there is None else records[there]
        if other.flags or other.rejected:
            there = np.arange(len(here)) if there is None else there
            listed = np.fromiter(other.flags.keys() | other.rejected.keys(), dtype=np.int64)
            for at in np.flatnonzero(np.isin(there, listed)).tolist():
                index, old = int(here[at]), int(there[at])
                if old in other.flags:
                    self.flags[index] = other.flags[old]
                if old in other.rejected:
                    self.rejected[index] = other.rejected[old]

    def at(self, rows: Indices) -> "FileRecords":
        """Return a copy of some rows."""
        part = FileRecords(
            take_rows(self.records, rows), take_rows(self.file_sha256, rows), self.extensions[rows], self.stamps[rows]
        )
        if self.flags or self.rejected or self.again:
            index_of = {row: index for index, row in enumerate(rows.tolist())}
            part.flags = {index_of[row]: words for row, words in self.flags.items() if row in index_of}
            part.rejected = {index_of[row]: rejected for row, rejected in self.rejected.items() if row in index_of}
            part.again = tuple(index_of[row] for row in self.again if row in index_of)
        return part


class RecordCache:
    """Cache files in a folder for one decode rule, this version of the code, and its image libraries.

    `files-RULE` holds the loose files, `files-RULE-KEY` the images of the pack with that stamp.
    """

    def __init__(self, folder: Path, rule: DecodeRule) -> None:
        code = b"".join(Path(str(m.__file__)).read_bytes() for m in (image, wide_pixels, worker, pool, near))
        depends_on = repr((rule, decoder_versions())).encode() + code
        self._folder = folder
        self._name = f"files-{hashlib.sha256(depends_on).hexdigest()[:16]}"

    def of_files(self) -> Path:
        return self._folder / f"{self._name}{CACHE_EXTENSION}"

    def of_pack(self, stamp: PackStamp) -> Path:
        return self._folder / _pack_name(self._name, stamp, racy="-racy" if stamp.is_racy else "")

    def lacks_any(self, raw: Path, files: Sequence[str], packs: Sequence[str]) -> bool:
        """Quick check whether anything is uncached: loose files, or the images of one of the packs."""
        with suppress(OSError):  # a missing pack holds nothing to decode
            is_cached = [self.of_pack(stamp_pack(raw / pack)).is_file() for pack in packs]
            return not all(is_cached) or (len(files) > 0 and not self.of_files().is_file())
        return False

    def all(self) -> list[Path]:
        """Return every cache file, including those of deleted packs: their images may be in other packs now."""
        return sorted(self._folder.glob(f"{self._name}*{CACHE_EXTENSION}"))

    def delete_others(self, paths: Sequence[Path]) -> None:
        """Delete the cache files of deleted packs and of other decode rules."""
        delete_caches(self._folder, "files-", paths)


def carry_over(folder: Path, old: PackStamp, new: PackStamp, kept: Indices) -> None:
    """Copy the cached records when a pack was rewritten with only its images `kept`."""
    for path in folder.glob(_pack_name("*", old)):
        known = load(path)
        if known is not None and len(known.records) > kept.max(initial=-1):
            save(path.with_name(_pack_name(path.name.rpartition("-")[0], new)), known.at(kept))


def stamp_files(images: RawImages, rows: Indices) -> Indices:
    """Return the stamps (n, 4) of some files; zeros for a file that cannot be examined or was changed just now."""
    root, now_ns = os.fspath(images.raw) + "/", time.time_ns()
    values: list[int] = []
    for row in rows.tolist():
        try:
            stat = os.stat(root + images.names[row])  # noqa: PTH116 - Path.stat takes three times as long
            values += (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        except OSError:
            values += (0, 0, 0, 0)
    stamps = np.array(values, dtype=np.int64).reshape(-1, 4)
    stamps[stamps[:, 2:].max(axis=1, initial=0) > now_ns - RACY_NS] = 0
    return stamps


def extension_codes(names: Sequence[str]) -> Indices:
    """Return a number for each file extension.

    A file with the wrong extension is flagged, so the same content under another extension is a different case.
    """
    extensions = [name[name.rfind(".") :] for name in names]
    numbers = {extension: zlib.crc32(extension.lower().encode()) + 1 for extension in set(extensions)}
    return np.fromiter(map(numbers.__getitem__, extensions), dtype=np.int64, count=len(extensions))


def match_stamps(known: FileRecords, stamps: Indices, extensions: Indices) -> Indices:
    """Return for each stamp (n, 4) and extension the index of the known file that has both, or -1."""
    if len(known.records) == 0:
        return np.full(len(stamps), -1, dtype=np.int64)
    inodes = known.stamps[:, 0]
    order = np.argsort(inodes, kind="stable")
    position = np.minimum(np.searchsorted(inodes[order], stamps[:, 0]), len(order) - 1)
    same = order[position]
    equal = (known.stamps[same] == stamps).all(axis=1) & (stamps[:, 0] > 0) & (known.extensions[same] == extensions)
    return np.where(equal, same, -1)


def take_by_content(paths: Sequence[Path], files: FileRecords, rows: Indices) -> Indices:
    """Fill in the rows whose content and extension are in one of the cache files; return the remaining rows."""
    rows = np.asarray(rows)
    hashed = files.file_sha256[rows].any(axis=1)
    unknown, rows = rows[~hashed], rows[hashed]
    for path, file_sha256, extensions in _file_hashes(paths):
        if len(rows) == 0:
            break
        wanted = take_rows(files.file_sha256, rows)
        among = may_be_in(file_sha256, wanted)
        found = DigestIndex(take_rows(file_sha256, among)).find(DigestIndex(wanted))
        found[found >= 0] = among[found[found >= 0]]
        same = found
        if len(extensions):
            same = np.where((found >= 0) & (extensions[found] == files.extensions[rows]), found, -1)
        if (same >= 0).any() and (known := load(path)) is not None:
            files.take(known, rows[same >= 0], same[same >= 0])
            rows = rows[same < 0]
    return np.sort(np.concatenate([rows, unknown]))


def _file_hashes(paths: Sequence[Path]) -> Iterator[tuple[Path, Digests, Indices]]:
    for path in paths:
        try:
            arrays, _ = read_cache(path, _FILE_HASHES)
        except CacheMissError:
            continue
        yield path, arrays["file_sha256"], arrays["extensions"]


def load(path: Path, *, with_hashes: bool = True) -> FileRecords | None:
    """Load saved records; None if missing or damaged. Without hashes: file_sha256, extensions and stamps are empty."""
    try:
        wanted: dict[str, npt.DTypeLike] = {"records": RECORDS_DTYPE}
        if with_hashes:
            wanted |= {**_FILE_HASHES, "stamps": np.int64}
        arrays, metadata = read_cache(path, wanted)
        files = FileRecords.empty(0)
        files.records = arrays.pop("records")
        if any(len(array) != len(files.records) for array in arrays.values()):
            return None
        for name, array in arrays.items():
            setattr(files, name, array)
        files.flags = {int(index): str(flags) for index, flags in metadata["flags"].items()}
        files.rejected = {int(index): Rejection(*value) for index, value in metadata["rejected"].items()}
        files.again = tuple(map(int, metadata["again"]))
    except (CacheMissError, ValueError, KeyError, TypeError):
        return None
    return files


def save(path: Path, files: FileRecords) -> None:
    """Save records to a cache file."""
    again = {index for index, rejected in files.rejected.items() if rejected.reason in _RETRIED_REASONS}
    stamps, file_sha256 = files.stamps, files.file_sha256
    if again:
        stamps, file_sha256 = stamps.copy(), file_sha256.copy()
        stamps[list(again)] = 0
        file_sha256[list(again)] = 0
    rejected = {index: (r.reason, r.detail) for index, r in files.rejected.items() if index not in again}
    metadata = {"flags": files.flags, "rejected": rejected, "again": sorted(again | set(files.again))}
    arrays = {"records": files.records, "file_sha256": file_sha256, "extensions": files.extensions, "stamps": stamps}
    write_cache(path, arrays, metadata)


def _pack_name(rule: str, stamp: PackStamp, racy: str = "") -> str:
    return f"{rule}-{stamp.key:016x}{racy}{CACHE_EXTENSION}"
