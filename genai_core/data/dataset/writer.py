"""Write a dataset (format in dataset.py): new images go into new shards, existing shards are linked."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genai_core.data.dataset.dataset import (
    CAPTIONS,
    NO_LABEL,
    SCHEMA_VERSION,
    SPLITS,
    STORED_COLUMNS,
    Dataset,
    DatasetInfo,
    Labels,
    Split,
)
from genai_core.data.dataset.facts import Digests, Facts, Indices, Pixels, facts_of, hex_column, moments
from genai_core.image_size import ImageSize

# While a dataset is written, repeated names are dictionary-encoded: integers, which sort quickly.
_FEW = pa.dictionary(pa.int32(), pa.large_string())
ROWS_SCHEMA = pa.schema(
    {
        "id": pa.large_string(),
        "label": pa.int64(),
        "split": _FEW,
        "source": pa.large_string(),
        "shard": _FEW,
        "row": pa.int64(),
        "flags": _FEW,
    }
)


class DatasetWriter:
    """Writes a dataset into an empty folder: `add` new images and `keep` those of another dataset, then `finish`.

    Images are stored in the order in which they are added. Memory: at most one shard of pixels besides what the caller
    holds.
    """

    def __init__(
        self, folder: Path, *, image_size: ImageSize, channels: int, classes: Sequence[str], shard_images: int
    ) -> None:
        self._folder = folder
        self._image_size, self._channels = image_size, channels
        self._classes = tuple(classes)
        self._shard_images = shard_images
        self._rows: list[pa.Table] = []
        self._facts: list[Callable[[], Facts]] = []
        self._links: list[tuple[Path, str]] = []
        for name in ("shards", "facts"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def add(
        self,
        split: Split,
        images: Pixels,
        labels: Labels | None = None,
        *,
        ids: Sequence[str] | None = None,
        sources: Sequence[str] | pa.Array | None = None,
        flags: Sequence[str] | pa.Array | None = None,
        digests: Digests | None = None,
    ) -> None:
        """Add images (N, C, H, W) uint8 with labels (N,); labels are None exactly when the dataset has no classes.

        ids: default to the first 16 digits of the pixels' sha256. digests (N, 32): these hashes if already known.
        Raises ValueError when a shape or a label does not fit.
        """
        shape = (self._channels, *self._image_size)
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            expected = ", ".join(map(str, ("N", *shape)))
            raise ValueError(f"images must be uint8 ({expected}), got {images.dtype} {images.shape}")
        count = len(images)
        if (labels is None) != (not self._classes):
            raise ValueError("pass labels exactly when the dataset has classes")
        if labels is None:
            labels = np.full(count, NO_LABEL, dtype=np.int64)
        elif len(labels) != count or (count and not 0 <= labels.min() <= labels.max() < len(self._classes)):
            raise ValueError(f"labels must be {count} numbers from 0 to {len(self._classes) - 1}")
        for begin in range(0, count, self._shard_images):
            part = slice(begin, begin + self._shard_images)
            name, facts = self.write_shard(images[part], None if digests is None else digests[part])
            rows = {
                "id": _texts(None if ids is None else ids[part], len(facts)),
                "label": pa.array(labels[part], pa.int64()),
                "split": one_text(split, len(facts)),
                "source": _texts(None if sources is None else sources[part], len(facts)),
                "shard": one_text(name, len(facts)),
                "row": pa.array(np.arange(len(facts))),
                "flags": _texts(None if flags is None else flags[part], len(facts)).dictionary_encode(),
            }
            self.add_rows(pa.table(rows, schema=ROWS_SCHEMA), partial(np.asarray, facts))

    def keep(self, dataset: Dataset, rows: pd.DataFrame) -> None:
        """Reuse images of another dataset of the same shape, without rewriting its shards.

        rows: some rows of its manifest; label, split, source and flags may have changed.
        """
        table = pa.Table.from_pandas(rows[STORED_COLUMNS], preserve_index=False).replace_schema_metadata(None)
        encoded = _encoded(table)
        self.link_shards(dataset.folder, pc.unique(encoded["shard"]).to_pylist())
        self.add_rows(encoded, partial(dataset.facts_at, rows))

    def write_shard(self, images: Pixels, digests: Digests | None = None) -> tuple[str, Facts]:
        """Write images (N, C, H, W) uint8 as a new shard; return its name and facts. Call `add_rows` for its images."""
        facts = facts_of(images, digests)
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(images), allow_pickle=False)
        name = hashlib.sha256(file.getbuffer()).hexdigest() + ".npy"
        (self._folder / "shards" / name).write_bytes(file.getbuffer())
        np.save(self._folder / "facts" / name, facts, allow_pickle=False)
        return name, facts

    def link_shards(self, folder: Path, names: Sequence[str]) -> None:
        """Link shards of the dataset in `folder` when finishing. Call `add_rows` for their images."""
        self._links += [(folder, name) for name in names]

    def add_rows(self, rows: pa.Table, facts: Callable[[], Facts]) -> None:
        """Add manifest rows for images of existing shards. rows: ROWS_SCHEMA (N); empty id: the start of the hash.

        All rows of a dataset have a further column of captions, or none has it.
        facts: returns the facts of these images (N,). Called in `finish`, while the manifest is written.
        """
        self._rows.append(rows)
        self._facts.append(facts)

    def finish(self) -> DatasetInfo:
        """Write manifest and description. Raises ValueError when a split is empty."""
        if not self._rows:
            raise ValueError("a dataset needs images, got none")
        rows = pa.concat_tables(self._rows).unify_dictionaries().combine_chunks()
        self._rows = []  # rows and facts of a million images take hundreds of megabytes: free them early
        is_train = _is_text(rows["split"], SPLITS[0])
        counts: dict[str, int] = {"train": int(is_train.sum()), "test": int((~is_train).sum())}
        if not all(counts.values()):
            raise ValueError(f"a dataset needs images in train and in test, got {counts}")
        with ThreadPoolExecutor(1) as executor:  # writing the manifest is half of the work; it runs on a second core
            ids_facts = self._all_facts() if pc.max(pc.binary_length(rows["id"])).as_py() else None
            written = executor.submit(_write_manifest, self._folder / "manifest.parquet", rows, ids_facts)
            for folder, name in self._links:
                for kind in ("shards", "facts"):
                    _link(folder / kind / name, self._folder / kind / name)
            facts = self._all_facts() if ids_facts is None else ids_facts
            info = self._info(rows["label"].to_numpy(), is_train, facts, counts)
            written.result()
        (self._folder / "dataset.json").write_text(json.dumps(info.to_json(), indent=2) + "\n")
        return info

    def _all_facts(self) -> Facts:
        facts = np.concatenate([part() for part in self._facts])
        self._facts = []
        return facts

    def _info(
        self, labels: Labels, is_train: npt.NDArray[np.bool_], facts: Facts, counts: dict[str, int]
    ) -> DatasetInfo:
        mean, std = moments(facts[is_train], self._image_size)
        return DatasetInfo(
            schema_version=SCHEMA_VERSION,
            image_size=self._image_size,
            channels=self._channels,
            classes=self._classes,
            counts=counts,
            mean=mean,
            std=std,
            fingerprint=self._fingerprint(labels, is_train, facts),
        )

    def _fingerprint(self, labels: Labels, is_train: npt.NDArray[np.bool_], facts: Facts) -> str:
        digest = hashlib.sha256()
        digest.update(json.dumps([SCHEMA_VERSION, self._image_size.to_json(), self._channels, self._classes]).encode())
        digest.update(np.ascontiguousarray(facts["sha256"]).data)
        digest.update(labels.astype("<i8").tobytes())
        digest.update(is_train.tobytes())
        return digest.hexdigest()


def dictionary_column(codes: Indices, texts: Sequence[str]) -> pa.DictionaryArray:
    """Return texts[codes] (N,) as a column."""
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(list(texts), pa.large_string()))


def one_text(text: str, count: int) -> pa.DictionaryArray:
    """Return a column of one text, repeated `count` times."""
    return dictionary_column(np.zeros(count, dtype=np.int64), [text])


def _texts(texts: Sequence[str] | pa.Array | None, count: int) -> pa.Array:
    if texts is None:
        return pa.repeat(pa.scalar("", pa.large_string()), count)
    return texts if isinstance(texts, pa.Array) else pa.array(list(texts), pa.large_string())


def _encoded(table: pa.Table) -> pa.Table:
    columns = {}
    for name, kind in zip(ROWS_SCHEMA.names, ROWS_SCHEMA.types, strict=True):
        column = table[name].combine_chunks()
        if kind == _FEW:
            column = column.cast(pa.large_string()).dictionary_encode()
        columns[name] = column.cast(kind)
    return pa.table(columns, schema=ROWS_SCHEMA)


def _is_text(column: pa.ChunkedArray, text: str) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.equal(column, pa.scalar(text, pa.large_string())).to_numpy(zero_copy_only=False), dtype=bool)


def _write_manifest(path: Path, rows: pa.Table, facts: Facts | None) -> None:
    """Write the manifest in compact form, since every added or removed image rewrites it.

    Integers take few bits, names are dictionary-encoded. facts: of the rows, if some have an id; an id equal to the
    start of its hash is stored as an empty string.
    """
    if facts is not None:
        is_default = pc.equal(rows["id"], hex_column(facts["sha256"], digits=16))
        ids = pc.if_else(is_default, pa.scalar("", pa.large_string()), rows["id"])
        rows = rows.set_column(rows.schema.get_field_index("id"), "id", ids)
    # A dictionary of all-different names only costs space. Without the stored schema, readers get plain strings.
    few = [name for name in STORED_COLUMNS if name not in ("id", "source")]
    # No statistics: minimum and maximum values only help readers that read a part of the file.
    pq.write_table(
        rows.select([*STORED_COLUMNS, *(name for name in (CAPTIONS,) if name in rows.column_names)]),
        path,
        compression="zstd",
        use_dictionary=few,
        store_schema=False,
        write_statistics=False,
    )


def _link(old: Path, new: Path) -> None:
    """Hard-link a file, so that neither DVC nor the disk stores it twice. Copies where hard links are not available."""
    if new.exists():
        return
    if old.is_symlink():  # DVC may have made it a link into its cache
        old = old.resolve()
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)
