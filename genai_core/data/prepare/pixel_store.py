"""Pixel lookup by hash, in the previous version or among the images decoded in this run."""

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genai_core.data.cache.digest_index import DigestIndex
from genai_core.data.cache.intact_shards import IntactShard, delete_shard_cache, intact_shards
from genai_core.data.dataset.dataset import DatasetInfo, Split, load_info, read_facts
from genai_core.data.dataset.facts import Facts, Indices, Pixels, facts_dtype, take_rows
from genai_core.image_size import ImageSize


@dataclass(frozen=True)
class PreviousDataset:
    """The parts of the previous version needed for pixel lookup: its description and the split of each shard."""

    folder: Path
    info: DatasetInfo
    split_of: dict[str, Split]


class DamagedShardError(ValueError):
    """The pixels of a shard of the previous version have changed since it was written."""

    def __init__(self, name: str) -> None:
        super().__init__(f"shard {name} of the previous version is damaged; delete that version and run prepare again")


class PreviousPixels:
    """Images of the previous version, including unlisted ones; empty if no version can be read.

    shards: names. facts: (M,) of all images; shard_code, row: (M,) location of each. Only intact shards, whose bytes
    match the hash in their name, are used: whatever happened to the folder, no wrong pixels are read.
    cache_folder: holds the list of intact shards.
    """

    def __init__(
        self, folder: Path | None, image_size: ImageSize, channels: int, cache_folder: Path | None = None
    ) -> None:
        previous = None if folder is None else previous_dataset(folder)
        if previous is not None and (previous.info.image_size, previous.info.channels) != (image_size, channels):
            previous = None
        self.folder = None if previous is None else previous.folder
        self._shape = (channels, *image_size)
        split_of = {} if previous is None else previous.split_of
        intact = {} if self.folder is None else intact_shards(self.folder / "shards", tuple(split_of), cache_folder)
        read = {name: self._facts_of(name, intact[name]) for name in split_of if name in intact}
        self.shards = tuple(name for name, facts in read.items() if facts is not None)
        self._intact, self._cache_folder = intact, cache_folder
        parts = [facts for facts in read.values() if facts is not None]
        self.facts: Facts = np.concatenate([np.empty(0, dtype=facts_dtype(channels)), *parts])
        self._index = DigestIndex(self.facts["sha256"])
        self.lengths = np.array([len(part) for part in parts], dtype=np.int64)
        self.shard_code = np.repeat(np.arange(len(parts)), self.lengths)
        self.row = np.concatenate([np.empty(0, dtype=np.int64), *(np.arange(len(part)) for part in parts)])
        is_train = np.array([split_of[name] == "train" for name in self.shards], dtype=np.bool_)
        self.is_train = np.repeat(is_train, self.lengths)

    def find(self, wanted: DigestIndex, split: Split | None = None) -> Indices:
        """Return the index of each hash, in shards of that split or in any, or -1."""
        if split is None or len(wanted) == 0:
            return self._index.find(wanted)
        among = np.flatnonzero(self.is_train == (split == "train"))
        found = self._index.at(among).find(wanted)
        return np.where(found >= 0, among[found], -1) if len(among) else found

    def at(self, indices: Indices) -> Pixels:
        """Return the pixels (N, C, H, W) at these indices from `find`.

        Raises DamagedShardError when they do not match their hashes: the shard was damaged without a change of its
        time. All shards are then hashed next time.
        """
        pixels: Pixels = np.empty((len(indices), *self._shape), dtype=np.uint8)
        codes = self.shard_code[indices]
        for code in np.unique(codes).tolist():
            wanted = np.flatnonzero(codes == code)
            content = self._read(self.shards[code], indices[wanted])
            pixels[wanted] = np.frombuffer(content, np.uint8).reshape(-1, *self._shape)
        return pixels

    def _read(self, name: str, indices: Indices) -> bytes:
        """Read the pixels of one shard. Not memory-mapped: that takes ten times as long for a few of many images."""
        assert self.folder is not None
        image_bytes = math.prod(self._shape)
        begin = self._intact[name].size - self._intact[name].shape[0] * image_bytes
        with (self.folder / "shards" / name).open("rb", buffering=0) as file:
            rows = self.row[indices].tolist()
            parts = [os.pread(file.fileno(), image_bytes, begin + row * image_bytes) for row in rows]
        digests = b"".join(hashlib.sha256(part).digest() for part in parts)
        if digests != take_rows(self.facts, indices)["sha256"].tobytes():
            delete_shard_cache(self._cache_folder)
            raise DamagedShardError(name)
        return b"".join(parts)

    def _facts_of(self, name: str, shard: IntactShard) -> Facts | None:
        assert self.folder is not None
        try:
            facts = read_facts(self.folder, name, self._shape[0])
        except ValueError:
            return None
        return facts if shard.shape == (len(facts), *self._shape) else None


class Spool:
    """A temporary file of the pixels decoded in this run: bounds memory while every image is examined.

    A context manager that deletes the file on exit.
    """

    def __init__(self, path: Path, image_size: ImageSize, channels: int) -> None:
        self._path = path
        self._shape = (channels, *image_size)
        self._file = path.open("wb")
        self.images = 0

    def add(self, pixels: Pixels) -> Indices:
        """Append images (N, C, H, W); return their indices."""
        self._file.write(np.ascontiguousarray(pixels).data)
        self.images += len(pixels)
        return np.arange(self.images - len(pixels), self.images)

    def at(self, indices: Indices) -> Pixels:
        """Return the images at these indices. Maps the file anew each time, so that pages read do not stay mapped."""
        if len(indices) == 0:
            return np.empty((0, *self._shape), dtype=np.uint8)
        self._file.flush()
        pixels: Pixels = np.memmap(self._path, dtype=np.uint8, mode="r").reshape(-1, *self._shape)[indices]
        return np.asarray(pixels)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()
        self._path.unlink()


def previous_dataset(folder: Path) -> PreviousDataset | None:
    """Read the previous version of a stage's output; None if it is missing or too damaged."""
    try:
        columns = ["shard", "split"]
        # One thread and dictionary codes: starting threads and grouping strings takes longer than all the rest.
        manifest = pq.ParquetFile(folder / "manifest.parquet", read_dictionary=columns).read(columns, use_threads=False)
        shard, split = (manifest[name].unify_dictionaries().combine_chunks() for name in columns)
        shards, splits = shard.dictionary.to_pylist(), split.dictionary.to_pylist()
        # A shard holds images of one split.
        both = np.bincount(shard.indices.to_numpy().astype(np.int64) * len(splits) + split.indices.to_numpy())
        split_of = {shards[code // len(splits)]: splits[code % len(splits)] for code in np.flatnonzero(both).tolist()}
        return PreviousDataset(folder, load_info(folder), split_of)
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
