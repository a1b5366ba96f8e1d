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

from genai_core.data.cache.digest_index import DigestIndex, may_be_in
from genai_core.data.cache.kept_arrays import KEPT_EXTENSION, NotKeptError, forget_kept, read_kept, write_kept
from genai_core.data.dataset.facts import Digests, Indices, pieces_of, rows_at
from genai_core.data.decoding import image, pool, worker
from genai_core.data.decoding.image import DecodeFault, DecodeRule
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
# Failures that may be temporary are tried again: a file that killed its decoder, or could not be read.
_NOT_REMEMBERED = ("decoder_died", "unreadable")
_CONTENTS: dict[str, npt.DTypeLike] = {"contents": np.uint8, "endings": np.int64}


@dataclass
class Files:
    """Cached information about N files, in their order.

    records: RECORDS_DTYPE (N,). contents: (N, 32) sha256 of the files, zeros if unknown. endings: (N,), a number for
    each file extension. stamps: (N, 4) inode, size, mtime and ctime; zeros never match. flags and rejected: by index,
    for the few files that have them. again: indices to decode again in any case.
    """

    records: Records
    contents: Digests
    endings: Indices
    stamps: Indices
    flags: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, DecodeFault] = field(default_factory=dict)
    again: tuple[int, ...] = ()

    @classmethod
    def empty(cls, count: int) -> "Files":
        return cls(
            np.zeros(count, dtype=RECORDS_DTYPE),
            np.zeros((count, 32), dtype=np.uint8),
            np.zeros(count, dtype=np.int64),
            np.zeros((count, 4), dtype=np.int64),
        )

    def take(self, other: "Files", here: Indices, there: Indices | None = None) -> None:
        """Copy rows `there` of `other` (None: all of them) into the rows `here`."""
        records = pieces_of(other.records)
        pieces_of(self.records)[here] = records if there is None else records[there]
        if other.flags or other.rejected:
            there = np.arange(len(here)) if there is None else there
            special = np.fromiter(other.flags.keys() | other.rejected.keys(), dtype=np.int64)
            for at in np.flatnonzero(np.isin(there, special)).tolist():
                index, old = int(here[at]), int(there[at])
                if old in other.flags:
                    self.flags[index] = other.flags[old]
                if old in other.rejected:
                    self.rejected[index] = other.rejected[old]

    def at(self, rows: Indices) -> "Files":
        """Return a subset as separate Files."""
        part = Files(rows_at(self.records, rows), rows_at(self.contents, rows), self.endings[rows], self.stamps[rows])
        if self.flags or self.rejected or self.again:
            place = {row: index for index, row in enumerate(rows.tolist())}
            part.flags = {place[row]: words for row, words in self.flags.items() if row in place}
            part.rejected = {place[row]: rejected for row, rejected in self.rejected.items() if row in place}
            part.again = tuple(place[row] for row in self.again if row in place)
        return part


class KnownRawFiles:
    """Cache files in a folder for one decode rule, this version of the code, and its image libraries.

    `files-RULE.kept` holds the loose files, `files-RULE-KEY.kept` the images of the pack with that stamp.
    """

    def __init__(self, folder: Path, rule: DecodeRule) -> None:
        code = b"".join(Path(str(m.__file__)).read_bytes() for m in (image, worker, pool, near))
        shaped_by = repr((rule, decoder_versions())).encode() + code
        self._folder = folder
        self._name = f"files-{hashlib.sha256(shaped_by).hexdigest()[:16]}"

    def of_files(self) -> Path:
        return self._folder / f"{self._name}{KEPT_EXTENSION}"

    def of_pack(self, stamp: PackStamp) -> Path:
        return self._folder / _pack_name(self._name, stamp, racy="-racy" if stamp.is_racy else "")

    def lacks_any(self, raw: Path, files: Sequence[str], packs: Sequence[str]) -> bool:
        """Quick check whether anything is uncached: loose files, or the images of one of the packs."""
        with suppress(OSError):  # a missing pack holds nothing to decode
            is_kept = [self.of_pack(stamp_pack(raw / pack)).is_file() for pack in packs]
            return not all(is_kept) or (len(files) > 0 and not self.of_files().is_file())
        return False

    def all(self) -> list[Path]:
        """Return every cache file, including those of deleted packs: their images may be in other packs now."""
        return sorted(self._folder.glob(f"{self._name}*{KEPT_EXTENSION}"))

    def forget_all_but(self, paths: Sequence[Path]) -> None:
        """Delete the cache files of deleted packs and of other decode rules."""
        forget_kept(self._folder, "files-", paths)


def carry_over(folder: Path, old: PackStamp, new: PackStamp, kept: Indices) -> None:
    """Keep cached information when a pack was rewritten with only its images `kept`."""
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


def endings_of(names: Sequence[str]) -> Indices:
    """Return a number for each file extension.

    A file with the wrong extension is flagged, so the same content under another extension is a different case.
    """
    endings = [name[name.rfind(".") :] for name in names]
    numbers = {ending: zlib.crc32(ending.lower().encode()) + 1 for ending in set(endings)}
    return np.fromiter(map(numbers.__getitem__, endings), dtype=np.int64, count=len(endings))


def same_stamps(known: Files, stamps: Indices, endings: Indices) -> Indices:
    """Return for each stamp (n, 4) and extension the index of the known file that has both, or -1."""
    if len(known.records) == 0:
        return np.full(len(stamps), -1, dtype=np.int64)
    inodes = known.stamps[:, 0]
    order = np.argsort(inodes, kind="stable")
    place = np.minimum(np.searchsorted(inodes[order], stamps[:, 0]), len(order) - 1)
    same = order[place]
    equal = (known.stamps[same] == stamps).all(axis=1) & (stamps[:, 0] > 0) & (known.endings[same] == endings)
    return np.where(equal, same, -1)


def take_same_content(paths: Sequence[Path], files: Files, rows: Indices) -> Indices:
    """Fill in the rows whose content and extension are in one of the cache files; return the remaining rows."""
    rows = np.asarray(rows)
    hashed = files.contents[rows].any(axis=1)
    unknown, rows = rows[~hashed], rows[hashed]
    for path, contents, endings in _contents(paths):
        if len(rows) == 0:
            break
        wanted = rows_at(files.contents, rows)
        among = may_be_in(contents, wanted)
        found = DigestIndex(rows_at(contents, among)).find(DigestIndex(wanted))
        found[found >= 0] = among[found[found >= 0]]
        same = np.where((found >= 0) & (endings[found] == files.endings[rows]), found, -1) if len(endings) else found
        if (same >= 0).any() and (known := load(path)) is not None:
            files.take(known, rows[same >= 0], same[same >= 0])
            rows = rows[same < 0]
    return np.sort(np.concatenate([rows, unknown]))


def _contents(paths: Sequence[Path]) -> Iterator[tuple[Path, Digests, Indices]]:
    for path in paths:
        try:
            arrays, _ = read_kept(path, _CONTENTS)
        except NotKeptError:
            continue
        yield path, arrays["contents"], arrays["endings"]


def load(path: Path, *, with_contents: bool = True) -> Files | None:
    """Load saved Files; None if missing or damaged. Without contents: contents, endings and stamps are empty."""
    try:
        wanted: dict[str, npt.DTypeLike] = {"records": RECORDS_DTYPE}
        if with_contents:
            wanted |= {**_CONTENTS, "stamps": np.int64}
        arrays, metadata = read_kept(path, wanted)
        files = Files.empty(0)
        files.records = arrays.pop("records")
        if any(len(array) != len(files.records) for array in arrays.values()):
            return None
        for name, array in arrays.items():
            setattr(files, name, array)
        files.flags = {int(index): str(flags) for index, flags in metadata["flags"].items()}
        files.rejected = {int(index): DecodeFault(*value) for index, value in metadata["rejected"].items()}
        files.again = tuple(map(int, metadata["again"]))
    except (NotKeptError, ValueError, KeyError, TypeError):
        return None
    return files


def save(path: Path, files: Files) -> None:
    """Save files to the cache."""
    again = {index for index, rejected in files.rejected.items() if rejected.reason in _NOT_REMEMBERED}
    stamps, contents = files.stamps, files.contents
    if again:
        stamps, contents = stamps.copy(), contents.copy()
        stamps[list(again)] = 0
        contents[list(again)] = 0
    rejected = {index: (r.reason, r.detail) for index, r in files.rejected.items() if index not in again}
    metadata = {"flags": files.flags, "rejected": rejected, "again": sorted(again | set(files.again))}
    arrays = {"records": files.records, "contents": contents, "endings": files.endings, "stamps": stamps}
    write_kept(path, arrays, metadata)


def _pack_name(rule: str, stamp: PackStamp, racy: str = "") -> str:
    return f"{rule}-{stamp.key:016x}{racy}{KEPT_EXTENSION}"
