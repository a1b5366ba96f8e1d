"""Find intact shards: those whose bytes match the hash in their name.

A shard is hashed once and then recognised by its inode, size and mtime, as DVC recognises the files of its cache. The
result is stored in a private file that is safe to delete: the shards are then hashed again. ctime, also used for raw
files, is useless here: every new link to a shard changes it, and each version consists of links. Code that reads images
of such a shard therefore hashes them (pixel_store.py). A shard written less than RACY_NS before the check is hashed
again next time, because it may have changed within the resolution of its time.
"""

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genai_core.data.cache.kept_arrays import KEPT_EXTENSION, NotKeptError, read_kept, write_kept
from genai_core.data.raw.pack_indexes import RACY_NS

HASHING_THREADS = 2
_FILE = f"shards{KEPT_EXTENSION}"


@dataclass(frozen=True)
class WholeShard:
    """An intact shard. stamp: inode, size and mtime in ns. shape: (N, C, H, W) of the uint8 data that end the file."""

    stamp: tuple[int, int, int]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """File size in bytes."""
        return self.stamp[1]


def whole_shards(folder: Path, names: Sequence[str], memory: Path | None) -> dict[str, WholeShard]:
    """Return the intact shards in `folder` by name. memory: folder of the private file with earlier results."""
    known = {} if memory is None else _load(memory)
    now_ns = time.time_ns()
    stamps = {name: _stamp(folder / name) for name in names}
    whole = {name: known[name] for name in names if name in known and known[name].stamp == stamps[name]}
    if unknown := [name for name in names if name not in whole]:
        with ThreadPoolExecutor(HASHING_THREADS) as threads:
            shapes = threads.map(lambda name: _shape_of_whole(folder / name), unknown)
            for name, shape in zip(unknown, shapes, strict=True):
                # The stamp was taken before hashing: a later write has another time.
                if (stamp := stamps[name]) is not None and shape is not None:
                    whole[name] = WholeShard(stamp, shape)
    to_keep = {name: shard for name, shard in whole.items() if shard.stamp[2] <= now_ns - RACY_NS}
    if memory is not None and to_keep != known:
        write_kept(memory / _FILE, {}, {name: (shard.stamp, shard.shape) for name, shard in to_keep.items()})
    return whole


def forget_whole_shards(memory: Path | None) -> None:
    """Delete the stored results; all shards are hashed next time."""
    if memory is not None:
        (memory / _FILE).unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _shape_of_whole(path: Path) -> tuple[int, ...] | None:
    """Return the shape of a shard's array, or None if its bytes do not match its name."""
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != path.stem:
                return None
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return images.shape if images.dtype == np.uint8 and images.flags.c_contiguous else None


def _load(memory: Path) -> dict[str, WholeShard]:
    try:
        _, shards = read_kept(memory / _FILE, {})
        return {name: WholeShard(tuple(stamp), tuple(shape)) for name, (stamp, shape) in shards.items()}
    except (NotKeptError, AttributeError, TypeError, ValueError):
        return {}
