"""The dataset format that every later stage reads: a manifest, shards of uint8 pixels, and a description.

A dataset folder holds
    dataset.json        the description (DatasetInfo); its fingerprint covers everything that a model learns from
    manifest.parquet    one row per image, what can change without its pixels: label, split, source, location, flags,
                        captions
    shards/<sha>.npy    uint8 (N, C, H, W), named by the sha256 of the file; a shard holds images of one split
    facts/<sha>.npy     hash and sums of each image of that shard (facts.py)
and, depending on the stage, card.md with pictures, and decoders.json (decoding/versions.py).

A shard may hold images that the manifest no longer lists: they were removed, and rewriting the shard would have cost
more than it saves (layout.py).
"""

import dataclasses
import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genai_core.data.dataset.facts import Facts, Pixels, facts_dtype, hex_column
from genai_core.image_size import ImageSize

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

SCHEMA_VERSION = 2
NO_LABEL = -1

MANIFEST_COLUMNS = {
    "id": "str",  # short name: the first 16 digits of sha256; for an augmented copy, its origin's id and a number
    "sha256": "str",  # of the pixels in the shard, (C, H, W) in C order
    "label": "int64",  # index into classes, or NO_LABEL
    "split": "str",
    "source": "str",  # source file, relative to the raw data
    "shard": "str",  # file name below shards/ and facts/
    "row": "int64",  # index in the shard
    "flags": "str",  # words separated by spaces, such as "wrong_extension" or "augmented:<id of the origin>"
}
# Only in a dataset with captions: list<str>, null for an image without one. Not in the fingerprint, because no model
# reads them yet: other captions are another manifest of the same dataset, and train nothing again.
CAPTIONS = "captions"
# sha256 is stored in the facts. An id that is the start of it is stored as an empty string.
STORED_COLUMNS = [column for column in MANIFEST_COLUMNS if column != "sha256"]

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DatasetInfo:
    """dataset.json. `mean` and `std`: per channel, over the train split, of pixels scaled to 0..1."""

    schema_version: int
    image_size: ImageSize
    channels: int
    classes: tuple[str, ...]  # empty: the images have no labels
    counts: dict[str, int]  # images by split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str  # sha256 of shape, classes and every image's pixels, label and split, in manifest order

    def to_json(self) -> dict[str, Any]:
        """Return the contents of dataset.json."""
        return {**dataclasses.asdict(self), "image_size": self.image_size.to_json()}


class Dataset:
    """A dataset on disk: the manifest in memory, pixels read on demand."""

    def __init__(self, folder: Path, info: DatasetInfo, manifest: pd.DataFrame) -> None:
        self.folder = folder
        self.info = info
        self.manifest = manifest

    def rows(self, split: Split) -> pd.DataFrame:
        """Return the manifest rows of one split, in manifest order."""
        return self.manifest[self.manifest["split"] == split]

    def images(self, split: Split) -> Pixels:
        """Return all images of one split, uint8 (N, C, H, W), in manifest order."""
        return self.images_at(self.rows(split))

    def labels(self, split: Split) -> Labels | None:
        """Return class indices (N,) int64 in the order of `images(split)`, or None when there are no labels."""
        if not self.info.classes:
            return None
        return self.rows(split)["label"].to_numpy(dtype=np.int64)

    def images_at(self, rows: pd.DataFrame) -> Pixels:
        """Return the images of these manifest rows, uint8 (N, C, H, W), in the order of `rows`."""
        images = np.empty((len(rows), self.info.channels, *self.info.image_size), dtype=np.uint8)
        codes, shards = pd.factorize(rows["shard"])
        index_in_shard = rows["row"].to_numpy()
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(shards)))
        for shard, wanted in zip(shards, np.split(order, ends)[:-1], strict=True):
            images[wanted] = self.shard(str(shard))[index_in_shard[wanted]]
        return images

    def shard(self, name: str) -> Pixels:
        """Return the pixels of one shard, memory-mapped: read on demand."""
        pixels: Pixels = np.load(self.folder / "shards" / name, mmap_mode="r", allow_pickle=False)
        return pixels

    def shard_facts(self, name: str) -> Facts:
        """Return the facts of one shard, including those of removed images."""
        return read_facts(self.folder, name, self.info.channels)

    def facts_at(self, rows: pd.DataFrame) -> Facts:
        """Return the facts of these manifest rows (N,), in the order of `rows`."""
        return _facts_at(self.folder, rows, self.info.channels)


def load_dataset(folder: Path, *, needs_pixels: bool = True) -> Dataset:
    """Open a dataset folder. Its shards may be missing if needs_pixels is false.

    Raises FileNotFoundError or ValueError, with what to do, when it is not a dataset or is damaged.
    """
    try:
        info = load_info(folder)
        manifest = _read_manifest(folder / "manifest.parquet")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} is not a dataset: {Path(error.filename or '').name} is missing; run `genai run prepare augment`"
        ) from None
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{folder} is damaged ({error}); delete it and run its stage again") from None
    missing = [column for column in STORED_COLUMNS if column not in manifest.columns]
    if missing:
        raise ValueError(f"{folder}/manifest.parquet lacks the columns {', '.join(missing)}; run its stage again")
    lost = [name for name in pd.unique(manifest["shard"]) if not (folder / "shards" / str(name)).is_file()]
    if lost and needs_pixels:
        raise FileNotFoundError(
            f"{folder} is damaged: {len(lost)} shards are missing, first {lost[0]}; try `dvc checkout`"
        )
    digests = _facts_at(folder, manifest, info.channels)["sha256"]
    manifest["sha256"] = pd.Series(hex_column(digests), dtype="str")
    prefixes = pd.Series(hex_column(digests, digits=16), dtype="str")
    manifest["id"] = prefixes.where(manifest["id"] == "", manifest["id"])
    return Dataset(folder, info, manifest[[name for name in (*MANIFEST_COLUMNS, CAPTIONS) if name in manifest]])


def caption_lines(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return the captions of these manifest rows as texts (N,), one caption per line, "" for an image without one."""
    if CAPTIONS not in rows:
        return pd.Series("", index=rows.index, dtype="str")
    lines = pc.fill_null(pc.binary_join(pa.chunked_array(pa.array(rows[CAPTIONS])), "\n"), "")
    return pd.Series(lines.to_numpy(zero_copy_only=False), index=rows.index, dtype="str")


def captions_of(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the captions of these manifest rows, () for an image without one."""
    if CAPTIONS not in rows:
        return [()] * len(rows)
    return [tuple(captions or ()) for captions in pa.array(rows[CAPTIONS]).to_pylist()]


def load_info(folder: Path) -> DatasetInfo:
    """Read the description of a dataset. Raises FileNotFoundError if missing, ValueError if damaged."""
    try:
        values = json.loads((folder / "dataset.json").read_text())
    except ValueError as error:
        raise ValueError(f"{folder} is damaged ({error}); delete it and run its stage again") from None
    return _parse_info(folder, values)


def read_facts(folder: Path, name: str, channels: int) -> Facts:
    """Read the facts of one shard, read-only. Raises ValueError when they are missing or damaged."""
    dtype = facts_dtype(channels)
    try:
        content = (folder / "facts" / name).read_bytes()
        # The header that np.save writes for this count. np.load takes several times longer to parse a header than to
        # read all the rest.
        header = _npy_header(dtype, max(0, len(content) - len(_npy_header(dtype, 1))) // dtype.itemsize)
        if content.startswith(header) and (len(content) - len(header)) % dtype.itemsize == 0:
            return np.frombuffer(content, dtype, offset=len(header))
        facts: Facts = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{folder} is damaged: facts/{name} cannot be read ({error}); try `dvc checkout`") from None
    if facts.dtype != dtype:
        raise ValueError(f"{folder} is damaged: facts/{name} has another dtype ({facts.dtype}); run its stage again")
    return facts


def _read_manifest(path: Path) -> pd.DataFrame:
    names = pq.read_schema(path).names
    manifest = pd.read_parquet(path, columns=[name for name in names if name != CAPTIONS])
    if CAPTIONS in names:
        # Stays in Arrow's form: as Python objects, lists take far longer to read than all other columns.
        column = pq.read_table(path, columns=[CAPTIONS])[CAPTIONS]
        manifest[CAPTIONS] = pd.Series(column, dtype=pd.ArrowDtype(column.type))
    return manifest


@cache
def _npy_header(dtype: np.dtype[Any], count: int) -> bytes:
    """Return the header of a .npy file for an array (count,)."""
    header = io.BytesIO()
    form = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(header, form)
    return header.getvalue()


def _facts_at(folder: Path, rows: pd.DataFrame, channels: int) -> Facts:
    codes, shards = pd.factorize(rows["shard"])
    parts = [read_facts(folder, str(name), channels) for name in shards]
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    index = rows["row"].to_numpy()
    if len(rows) and (index.min() < 0 or (index >= lengths[codes]).any()):
        raise ValueError(f"{folder}/manifest.parquet names rows that its shards do not have; run its stage again")
    facts: Facts = np.concatenate([np.empty(0, dtype=facts_dtype(channels)), *parts])
    rows_in_all = (np.cumsum(lengths) - lengths)[codes] + index
    return np.asarray(facts[rows_in_all])


def _parse_info(folder: Path, values: dict[str, Any]) -> DatasetInfo:
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{folder}/dataset.json has schema version {version}, this code reads {SCHEMA_VERSION}; run its stage again"
        )
    try:
        info = DatasetInfo(**{**values, "image_size": ImageSize.from_json(values["image_size"])})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}/dataset.json is damaged ({error}); run its stage again") from None
    # JSON only has lists.
    return dataclasses.replace(
        info, classes=tuple(info.classes), mean=tuple(info.mean), std=tuple(info.std), counts=dict(info.counts)
    )
