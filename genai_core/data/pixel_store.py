"""Where prepare finds pixels by their hash: in the version before, or among what was decoded in this run."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from genai_core.data.dataset import Dataset, Split, load_dataset
from genai_core.data.facts import Digests, Indices, Pixels, find_digests


class OldPixels:
    """The images of the version before, those too that it no longer names; empty without one.

    Only shards whose bytes are what their names say: whatever happened to the folder since, nothing wrong is taken.
    """

    def __init__(self, dataset: Dataset | None, image_size: int, channels: int) -> None:
        if dataset is not None and (dataset.info.image_size, dataset.info.channels) != (image_size, channels):
            dataset = None
        self.dataset = dataset
        self._empty = np.empty((0, channels, image_size, image_size), dtype=np.uint8)
        split_of: dict[str, Split] = {}
        if dataset is not None:
            named = dataset.manifest.drop_duplicates("shard")
            split_of = {
                str(name): split
                for name, split in zip(named["shard"], named["split"], strict=True)
                if _is_whole(dataset.folder / "shards" / str(name))
            }
        self.shards = tuple(split_of)
        facts = [dataset.shard_facts(name)["sha256"] for name in split_of] if dataset else []
        self.digests: Digests = np.concatenate([np.empty((0, 32), dtype=np.uint8), *facts])
        self.lengths = np.array([len(part) for part in facts], dtype=np.int64)
        self.shard_code = np.repeat(np.arange(len(facts)), self.lengths)
        self.row = np.concatenate([np.empty(0, dtype=np.int64), *(np.arange(len(part)) for part in facts)])
        self.is_train = np.repeat(np.array([split == "train" for split in split_of.values()], dtype=bool), self.lengths)

    def find(self, digests: Digests, split: Split | None = None) -> Indices:
        """For each hash (N, 32) where it stands, in shards of that split or in any, or -1."""
        if split is None:
            return find_digests(digests, self.digests)
        among = np.flatnonzero(self.is_train == (split == "train"))
        found = find_digests(digests, self.digests[among])
        return np.where(found >= 0, among[found], -1) if len(among) else found

    def at(self, indices: Indices) -> Pixels:
        """The pixels (N, C, H, W) at these places, as `find` gives them."""
        if self.dataset is None or len(indices) == 0:
            return self._empty
        names = np.array(self.shards, dtype=object)[self.shard_code[indices]]
        return self.dataset.images_at(pd.DataFrame({"shard": names, "row": self.row[indices]}))


class Spool:
    """A file of the pixels that were decoded in this run: memory stays bounded while every image is being looked at.

    A context: at its end the file is gone.
    """

    def __init__(self, path: Path, image_size: int, channels: int) -> None:
        self._path = path
        self._shape = (channels, image_size, image_size)
        self._file = path.open("wb")
        self.images = 0

    def add(self, pixels: Pixels) -> Indices:
        """Append images (N, C, H, W); returns their places."""
        self._file.write(np.ascontiguousarray(pixels).data)
        self.images += len(pixels)
        return np.arange(self.images - len(pixels), self.images)

    def at(self, indices: Indices) -> Pixels:
        """The images at these places. The file is mapped anew each time, or all that was read would stay mapped."""
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


def previous_dataset(folder: Path) -> Dataset | None:
    """The version that a stage made before, if it is there and whole enough to be read."""
    try:
        return load_dataset(folder)
    except (FileNotFoundError, ValueError):
        return None


def _is_whole(shard: Path) -> bool:
    with shard.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == shard.stem
