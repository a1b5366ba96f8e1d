"""Writing a dataset (the form is described in dataset.py): new images into new shards, old ones where they are."""

import dataclasses
import hashlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genai_core.data.dataset import (
    MANIFEST_COLUMNS,
    NO_LABEL,
    SCHEMA_VERSION,
    SPLITS,
    STORED_COLUMNS,
    Dataset,
    DatasetInfo,
    Labels,
    Split,
)
from genai_core.data.facts import Digests, Facts, Pixels, facts_of, hex_column, moments, order_of


class DatasetWriter:
    """Writes a dataset into an empty folder: `add` new images and `keep` those of another dataset, then `finish`.

    Images get their place in the order in which they come. Memory: never more than one shard of pixels besides what
    the caller holds.
    """

    def __init__(
        self, folder: Path, *, image_size: int, channels: int, classes: Sequence[str], shard_images: int
    ) -> None:
        self._folder = folder
        self._image_size, self._channels = image_size, channels
        self._classes = tuple(classes)
        self._shard_images = shard_images
        self._rows: list[pd.DataFrame] = []
        self._facts: list[Facts] = []
        for name in ("shards", "facts"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def add(
        self,
        split: Split,
        images: Pixels,
        labels: Labels | None = None,
        *,
        ids: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        flags: Sequence[str] | None = None,
        digests: Digests | None = None,
    ) -> None:
        """Add images (N, C, H, W) uint8 with labels (N,); labels are None exactly when the dataset has no classes.

        ids default to the head of the pixels' sha256; digests (N, 32) are these hashes, where they are known already.
        Raises ValueError when a shape or a label does not fit.
        """
        shape = (self._channels, self._image_size, self._image_size)
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            expected = ", ".join(map(str, ("N", *shape)))
            raise ValueError(f"images must be uint8 ({expected}), got {images.dtype} {images.shape}")
        count = len(images)
        if (labels is None) != (not self._classes):
            raise ValueError("labels must be given exactly when the dataset has classes")
        if labels is None:
            labels = np.full(count, NO_LABEL, dtype=np.int64)
        elif len(labels) != count or (count and not 0 <= labels.min() <= labels.max() < len(self._classes)):
            raise ValueError(f"labels must be {count} numbers from 0 to {len(self._classes) - 1}")
        rows = pd.DataFrame(
            {
                "id": "" if ids is None else list(ids),
                "label": labels,
                "split": split,
                "source": "" if sources is None else list(sources),
                "flags": "" if flags is None else list(flags),
            },
            index=range(count),
        )
        for begin in range(0, count, self._shard_images):
            part = slice(begin, begin + self._shard_images)
            facts = facts_of(images[part], None if digests is None else digests[part])
            name = self._write_shard(images[part], facts)
            self._rows.append(rows[part].assign(shard=name, row=np.arange(len(facts))))
            self._facts.append(facts)

    def keep(self, dataset: Dataset, rows: pd.DataFrame) -> None:
        """Take over images of another dataset of the same shape, whose shards stay as they are.

        rows: some of its manifest; label, split, source and flags may have changed.
        """
        for name in pd.unique(rows["shard"]):
            for folder in ("shards", "facts"):
                _link(dataset.folder / folder / str(name), self._folder / folder / str(name))
        self._rows.append(rows[STORED_COLUMNS])
        self._facts.append(dataset.facts_at(rows))

    def finish(self, *, by_content: bool = False) -> DatasetInfo:
        """Write manifest and description; by_content: in the order of split and hash instead of that of coming.

        Raises ValueError when a split is empty.
        """
        if not self._rows:
            raise ValueError("a dataset needs images, got none")
        rows, facts = pd.concat(self._rows, ignore_index=True), np.concatenate(self._facts)
        self._rows, self._facts = [], []  # of a million images they would take hundreds of megabytes
        if by_content:
            order = order_of(facts["sha256"])
            order = order[np.argsort(rows["split"].to_numpy()[order] != SPLITS[0], kind="stable")]
            rows, facts = rows.iloc[order].reset_index(drop=True), facts[order]
        is_split = {split: (rows["split"] == split).to_numpy() for split in SPLITS}
        counts: dict[str, int] = {split: int(rows_of.sum()) for split, rows_of in is_split.items()}
        if not all(counts.values()):
            raise ValueError(f"a dataset needs images in train and in test, got {counts}")
        mean, std = moments(facts[is_split["train"]], self._image_size)
        info = DatasetInfo(
            schema_version=SCHEMA_VERSION,
            image_size=self._image_size,
            channels=self._channels,
            classes=self._classes,
            counts=counts,
            mean=mean,
            std=std,
            fingerprint=self._fingerprint(rows, facts),
        )
        _write_manifest(self._folder / "manifest.parquet", rows, facts)
        (self._folder / "dataset.json").write_text(json.dumps(dataclasses.asdict(info), indent=2) + "\n")
        return info

    def _write_shard(self, images: Pixels, facts: Facts) -> str:
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(images), allow_pickle=False)
        name = hashlib.sha256(file.getbuffer()).hexdigest() + ".npy"
        (self._folder / "shards" / name).write_bytes(file.getbuffer())
        np.save(self._folder / "facts" / name, facts, allow_pickle=False)
        return name

    def _fingerprint(self, rows: pd.DataFrame, facts: Facts) -> str:
        digest = hashlib.sha256()
        digest.update(json.dumps([SCHEMA_VERSION, self._image_size, self._channels, self._classes]).encode())
        digest.update(np.ascontiguousarray(facts["sha256"]).tobytes())
        digest.update(rows["label"].to_numpy(dtype="<i8").tobytes())
        digest.update((rows["split"] == SPLITS[0]).to_numpy().tobytes())
        return digest.hexdigest()


def _write_manifest(path: Path, rows: pd.DataFrame, facts: Facts) -> None:
    """Small, since it is written anew whenever one image comes or goes: numbers in few bits, names in dictionaries."""
    heads = pd.Series(hex_column(facts["sha256"], digits=16), dtype="str")
    stored = rows[STORED_COLUMNS].astype({name: MANIFEST_COLUMNS[name] for name in STORED_COLUMNS})
    stored["id"] = stored["id"].where(stored["id"] != heads, "")
    table = pa.Table.from_pandas(stored, preserve_index=False)
    # A dictionary of names that are all different only costs.
    few = [name for name in STORED_COLUMNS if name not in ("id", "source", "row")]
    pq.write_table(table, path, compression="zstd", use_dictionary=few)


def _link(old: Path, new: Path) -> None:
    """The same file in two folders: neither DVC nor the disk sees a new one. A copy where there are no hard links."""
    if new.exists():
        return
    old = old.resolve()  # DVC may have made it a link into its cache
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)
