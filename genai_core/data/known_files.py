"""What earlier runs found in the raw files, so that a file is decoded once: a private file outside DVC's outputs.

It may be deleted at any time, and never changes what prepare makes. A file is known by its path's ending, inode, size
and times, as in git's index; and where these differ (a fresh checkout, a rename) by its content's hash, which takes a
tenth of the time of decoding. What was changed less than RACY_NS before it was looked at is not known by its times: it
may have been changed again within their resolution. An image in a pack is known by its pack's times and its own place.
"""

import hashlib
import json
import os
import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.data import decode, decode_worker, decoder_pool, near
from genai_core.data.decode import DecodeRule, Rejected
from genai_core.data.facts import Indices, find_digests
from genai_core.data.pack_indexes import RACY_NS
from genai_core.data.raw_images import RawImages

# stamp of a file: inode, size, mtime, ctime and the name's ending; of a part of a pack: a hash of the next three, its
# size, its pack's stamp, where it begins, and the ending. Zeros are never known.
FILES_DTYPE = np.dtype(
    [
        ("stamp", "<i8", (5,)),
        ("file_sha256", "u1", (32,)),
        ("sha256", "u1", (32,)),  # of the pixels; zeros: rejected
        ("near_hash", "<u8"),
        ("total", "<u8"),  # the sum of the values of all pixels and channels, and of their squares
        ("squares", "<u8"),
        ("width", "<u4"),
        ("height", "<u4"),
    ]
)

Records = npt.NDArray[np.void]
# Of Fibonacci hashing (Knuth 1973, section 6.4): 2**64 over the golden ratio.
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Files:
    """What is known of files, in their order: records FILES_DTYPE (N,), and by index what only few of them have."""

    records: Records
    flags: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, Rejected] = field(default_factory=dict)

    def take(self, other: "Files", here: Indices, there: Indices) -> None:
        """Take over the rows `there` of `other` into the rows `here`, but not their stamps."""
        for name in FILES_DTYPE.names or ():
            if name != "stamp":
                self.records[name][here] = other.records[name][there]
        if other.flags or other.rejected:
            for index, old in zip(here.tolist(), there.tolist(), strict=True):
                if old in other.flags:
                    self.flags[index] = other.flags[old]
                if old in other.rejected:
                    self.rejected[index] = other.rejected[old]


def stamp_files(images: RawImages) -> Files:
    """Nothing but the stamps of files; zeros for one that cannot be looked at, or was changed just now."""
    records = np.zeros(len(images), dtype=FILES_DTYPE)
    stamps = records["stamp"]
    endings = _endings(images.names)
    root, now_ns = os.fspath(images.raw) + "/", time.time_ns()
    alone = np.flatnonzero(images.pack < 0)
    values: list[int] = []
    for row in alone.tolist():
        try:
            stat = os.stat(root + images.names[row])  # noqa: PTH116 - Path.stat takes three times as long
            values += (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        except OSError:
            values += (0, 0, 0, 0)
    stamps[alone, :4] = np.array(values, dtype=np.int64).reshape(-1, 4)
    racy = stamps[:, 2:4].max(axis=1, initial=0) > now_ns - RACY_NS
    packed = np.flatnonzero(images.pack >= 0)
    if len(packed):
        keys = np.array([stamp.key for stamp in images.stamps], dtype=np.int64)[images.pack[packed]]
        offsets = images.offsets[packed]
        # Spread over 62 bits: files are looked up by the first number of their stamp.
        mixed = (keys.astype(np.uint64) ^ offsets.astype(np.uint64) * _ODD) * _ODD >> np.uint64(2)
        parts = (mixed.astype(np.int64) | 1, images.sizes[packed], keys, offsets)
        stamps[packed, :4] = np.stack(parts, axis=1)
        racy[packed] = np.array([stamp.is_racy for stamp in images.stamps])[images.pack[packed]]
    stamps[:, 4] = endings
    stamps[racy, 0] = 0
    return Files(records)


def _endings(names: Sequence[str]) -> Indices:
    """A number for the ending of each name: a file whose name says another format is flagged, so that the same content
    under another ending is another case."""
    endings = [name[name.rfind(".") :] for name in names]
    numbers = {ending: zlib.crc32(ending.lower().encode()) + 1 for ending in set(endings)}
    return np.fromiter(map(numbers.__getitem__, endings), dtype=np.int64, count=len(endings))


def same_stamps(known: Files, files: Files) -> Indices:
    """For each of `files` the index of the known file with the same stamp, or -1."""
    if len(known.records) == 0:
        return np.full(len(files.records), -1, dtype=np.int64)
    inodes = known.records["stamp"][:, 0]
    order = np.argsort(inodes, kind="stable")
    place = np.minimum(np.searchsorted(inodes[order], files.records["stamp"][:, 0]), len(order) - 1)
    same = order[place]
    equal = (known.records["stamp"][same] == files.records["stamp"]).all(axis=1) & (files.records["stamp"][:, 0] > 0)
    return np.where(equal, same, -1)


def same_content(known: Files, files: Files, rows: Indices) -> Indices:
    """For each of the `rows` of files, by file_sha256 and ending, the index of a known file, or -1."""
    found = find_digests(files.records["file_sha256"][rows], known.records["file_sha256"])
    hashed = files.records["file_sha256"][rows].any(axis=1)
    same_ending = known.records["stamp"][found, 4] == files.records["stamp"][rows, 4] if len(known.records) else hashed
    return np.where((found >= 0) & hashed & same_ending, found, -1)


def known_files_path(folder: Path, rule: DecodeRule) -> Path:
    """Where files decoded by this rule and this code are remembered."""
    code = b"".join(Path(str(m.__file__)).read_bytes() for m in (decode, decode_worker, decoder_pool, near))
    key = hashlib.sha256(repr(rule).encode() + code).hexdigest()[:16]
    return folder / f"files-{key}.npz"


def load_known_files(path: Path) -> Files:
    """What was saved; nothing when it is not there or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            records = saved["records"]
            rare = json.loads(saved["rare"].tobytes())
        if records.dtype != FILES_DTYPE:
            raise ValueError("another form")
        flags = {int(index): str(flags) for index, flags in rare["flags"].items()}
        rejected = {int(index): Rejected(*value) for index, value in rare["rejected"].items()}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return Files(np.empty(0, dtype=FILES_DTYPE))
    return Files(records, flags, rejected)


def save_known_files(path: Path, files: Files) -> None:
    """Remember files; those of other rules are forgotten."""
    records = files.records.copy()
    stamps = records["stamp"]
    # A file that ended its decoder, or could not be read, may do better on another day.
    rejected = {i: r for i, r in files.rejected.items() if r.reason not in ("decoder_died", "unreadable")}
    for index in files.rejected.keys() - rejected.keys():
        stamps[index, 0] = 0
        records["file_sha256"][index] = 0
    rare = {"flags": files.flags, "rejected": {i: (r.reason, r.detail) for i, r in rejected.items()}}
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        np.savez(file, records=records, rare=np.frombuffer(json.dumps(rare).encode(), dtype=np.uint8))
    os.replace(new, path)
    for other in path.parent.glob("files-*.npz"):
        if other != path:
            other.unlink(missing_ok=True)
