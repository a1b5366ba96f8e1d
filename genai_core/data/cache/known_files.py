"""What earlier runs found in the raw files, so that a file is decoded once: private files outside DVC's outputs.

They may be deleted at any time, and never change what prepare makes. A file is known by its path's ending, inode, size
and times, as in git's index; and where these differ (a fresh checkout, a rename) by its content's hash, which takes a
tenth of the time of decoding. What was changed less than RACY_NS before it was looked at is not known by its times: it
may have been changed again within their resolution. The images of a pack are known together, by the times of the pack,
and kept in a file of their own: of an old pack nothing is looked up and nothing is written again.
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
from genai_core.data.decoding.image import DecodeRule, Rejected
from genai_core.data.decoding.versions import decoder_versions
from genai_core.data.prepare import near
from genai_core.data.raw.images import RawImages
from genai_core.data.raw.pack_indexes import RACY_NS, PackStamp, stamp_pack

RECORDS_DTYPE = np.dtype(
    [
        ("sha256", "u1", (32,)),  # of the pixels; zeros: rejected
        ("near_hash", "<u8"),
        ("total", "<u8"),  # the sum of the values of all pixels and channels, and of their squares
        ("squares", "<u8"),
        ("width", "<u4"),
        ("height", "<u4"),
    ]
)

Records = npt.NDArray[np.void]
# What may do better on another day is asked again: a file that ended its decoder, or could not be read.
_NOT_REMEMBERED = ("decoder_died", "unreadable")
_CONTENTS: dict[str, npt.DTypeLike] = {"contents": np.uint8, "endings": np.int64}


@dataclass
class Files:
    """What is known of N files, in their order.

    records: RECORDS_DTYPE (N,). contents: (N, 32) sha256 of the files, zeros where it is not known. endings: (N,),
    a number for the ending of each name. stamps: (N, 4) inode, size, mtime and ctime; zeros are never known. flags and
    rejected: by index what only few of them have; again: those that are to be decoded again whatever is known of them.
    """

    records: Records
    contents: Digests
    endings: Indices
    stamps: Indices
    flags: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, Rejected] = field(default_factory=dict)
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
        """Take over what was decoded in the rows `there` of `other`, or in all of them, into the rows `here`."""
        records = pieces_of(other.records)
        pieces_of(self.records)[here] = records if there is None else records[there]
        if other.flags or other.rejected:
            there = np.arange(len(here)) if there is None else there
            rare = np.fromiter(other.flags.keys() | other.rejected.keys(), dtype=np.int64)
            for at in np.flatnonzero(np.isin(there, rare)).tolist():
                index, old = int(here[at]), int(there[at])
                if old in other.flags:
                    self.flags[index] = other.flags[old]
                if old in other.rejected:
                    self.rejected[index] = other.rejected[old]

    def at(self, rows: Indices) -> "Files":
        """Some of them, as files of their own."""
        part = Files(rows_at(self.records, rows), rows_at(self.contents, rows), self.endings[rows], self.stamps[rows])
        if self.flags or self.rejected or self.again:
            place = {row: index for index, row in enumerate(rows.tolist())}
            part.flags = {place[row]: words for row, words in self.flags.items() if row in place}
            part.rejected = {place[row]: rejected for row, rejected in self.rejected.items() if row in place}
            part.again = tuple(place[row] for row in self.again if row in place)
        return part


class Memory:
    """What is kept in a folder for one rule of decoding, this code, and the libraries that image.

    `files-RULE.kept` has the files of their own, `files-RULE-KEY.kept` the images of the pack with that stamp.
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
        """Quickly, whether images are there of which nothing is kept: files, or the images of one of the packs."""
        with suppress(OSError):  # a pack that is gone holds nothing to decode
            is_kept = [self.of_pack(stamp_pack(raw / pack)).is_file() for pack in packs]
            return not all(is_kept) or (len(files) > 0 and not self.of_files().is_file())
        return False

    def all(self) -> list[Path]:
        """Of packs that are gone, too: their images may be in others now."""
        return sorted(self._folder.glob(f"{self._name}*{KEPT_EXTENSION}"))

    def forget_all_but(self, paths: Sequence[Path]) -> None:
        """Forget packs that are gone, and what was decoded by other rules."""
        forget_kept(self._folder, "files-", paths)


def carry_over(folder: Path, old: PackStamp, new: PackStamp, kept: Indices) -> None:
    """A pack was written anew with only the images `kept` of it: what is known of them stays known."""
    for path in folder.glob(_pack_name("*", old)):
        known = load(path)
        if known is not None and len(known.records) > kept.max(initial=-1):
            save(path.with_name(_pack_name(path.name.rpartition("-")[0], new)), known.at(kept))


def stamp_files(images: RawImages, rows: Indices) -> Indices:
    """The stamps (n, 4) of some files; zeros for one that cannot be looked at, or was changed just now."""
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
    """A number for the ending of each name: a file whose name says another format is flagged, so that the same content
    under another ending is another case."""
    endings = [name[name.rfind(".") :] for name in names]
    numbers = {ending: zlib.crc32(ending.lower().encode()) + 1 for ending in set(endings)}
    return np.fromiter(map(numbers.__getitem__, endings), dtype=np.int64, count=len(endings))


def same_stamps(known: Files, stamps: Indices, endings: Indices) -> Indices:
    """For each of the stamps (n, 4) and endings the index of the known file that has them, or -1."""
    if len(known.records) == 0:
        return np.full(len(stamps), -1, dtype=np.int64)
    inodes = known.stamps[:, 0]
    order = np.argsort(inodes, kind="stable")
    place = np.minimum(np.searchsorted(inodes[order], stamps[:, 0]), len(order) - 1)
    same = order[place]
    equal = (known.stamps[same] == stamps).all(axis=1) & (stamps[:, 0] > 0) & (known.endings[same] == endings)
    return np.where(equal, same, -1)


def take_same_content(paths: Sequence[Path], files: Files, rows: Indices) -> Indices:
    """Fill in those of the rows whose content and ending one of the memories knows; returns the others."""
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
    """What was saved; None when it is not there or damaged. Without contents these, endings and stamps are empty."""
    try:
        wanted: dict[str, npt.DTypeLike] = {"records": RECORDS_DTYPE}
        if with_contents:
            wanted |= {**_CONTENTS, "stamps": np.int64}
        arrays, rare = read_kept(path, wanted)
        files = Files.empty(0)
        files.records = arrays.pop("records")
        if any(len(array) != len(files.records) for array in arrays.values()):
            return None
        for name, array in arrays.items():
            setattr(files, name, array)
        files.flags = {int(index): str(flags) for index, flags in rare["flags"].items()}
        files.rejected = {int(index): Rejected(*value) for index, value in rare["rejected"].items()}
        files.again = tuple(map(int, rare["again"]))
    except (NotKeptError, ValueError, KeyError, TypeError):
        return None
    return files


def save(path: Path, files: Files) -> None:
    """Remember files."""
    again = {index for index, rejected in files.rejected.items() if rejected.reason in _NOT_REMEMBERED}
    stamps, contents = files.stamps, files.contents
    if again:
        stamps, contents = stamps.copy(), contents.copy()
        stamps[list(again)] = 0
        contents[list(again)] = 0
    rejected = {index: (r.reason, r.detail) for index, r in files.rejected.items() if index not in again}
    rare = {"flags": files.flags, "rejected": rejected, "again": sorted(again | set(files.again))}
    arrays = {"records": files.records, "contents": contents, "endings": files.endings, "stamps": stamps}
    write_kept(path, arrays, rare)


def _pack_name(rule: str, stamp: PackStamp, racy: str = "") -> str:
    return f"{rule}-{stamp.key:016x}{racy}{KEPT_EXTENSION}"
