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

from genai_core.data.cache.cache_file import CACHE_EXTENSION, CacheMissError, read_cache, write_cache
from genai_core.data.raw.pack_indexes import RACY_NS

HASHING_THREADS = 2
_FILE = f"shards{CACHE_EXTENSION}"


@dataclass(frozen=True)
class IntactShard:
    """An intact shard. stamp: inode, size and mtime in ns. shape: (N, C, H, W) of the uint8 data that end the file."""

    stamp: tuple[int, int, int]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """File size in bytes."""
        return self.stamp[1]


def intact_shards(folder: Path, names: Sequence[str], cache_folder: Path | None) -> dict[str, IntactShard]:
    """Return the intact shards in `folder` by name. cache_folder: holds the results of earlier runs."""
    known = {} if cache_folder is None else _load(cache_folder)
    now_ns = time.time_ns()
    stamps = {name: _stamp(folder / name) for name in names}
    intact = {name: known[name] for name in names if name in known and known[name].stamp == stamps[name]}
    if unknown := [name for name in names if name not in intact]:
        with ThreadPoolExecutor(HASHING_THREADS) as threads:
            shapes = threads.map(lambda name: _shape_if_intact(folder / name), unknown)
            for name, shape in zip(unknown, shapes, strict=True):
                # The stamp was taken before hashing: a later write has another time.
                if (stamp := stamps[name]) is not None and shape is not None:
                    intact[name] = IntactShard(stamp, shape)
    to_keep = {name: shard for name, shard in intact.items() if shard.stamp[2] <= now_ns - RACY_NS}
    if cache_folder is not None and to_keep != known:
        write_cache(cache_folder / _FILE, {}, {name: (shard.stamp, shard.shape) for name, shard in to_keep.items()})
    return intact


def delete_shard_cache(cache_folder: Path | None) -> None:
    """Delete the stored results; all shards are hashed next time."""
    if cache_folder is not None:
        (cache_folder / _FILE).unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _shape_if_intact(path: Path) -> tuple[int, ...] | None:
    """Return the shape of a shard's array, or None if its bytes do not match its name."""
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != path.stem:
                return None
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return images.shape if images.dtype == np.uint8 and images.flags.c_contiguous else None


def _load(cache_folder: Path) -> dict[str, IntactShard]:
    try:
        _, shards = read_cache(cache_folder / _FILE, {})
        return {name: IntactShard(tuple(stamp), tuple(shape)) for name, (stamp, shape) in shards.items()}
    except (CacheMissError, AttributeError, TypeError, ValueError):
        return {}
